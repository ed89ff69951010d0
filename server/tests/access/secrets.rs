//! Is a secret told anywhere? In the log, in errors, in settings, metrics, events, queries, or what SHOW answers.

use arrow::util::pretty::pretty_format_batches;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::TryStreamExt;
use tidewater_client::{Client, ClientOptions, Credentials, TokenOptions, UserChange};

use super::Least;
use super::world::{CANARY, World, basic, http, logged, password};

/// Uses secrets in every way that goes wrong, and returns where the server says one.
pub async fn told(world: &World) -> Vec<String> {
    let mut secrets = vec![CANARY.to_owned(), "$argon2id$".to_owned()];
    secrets.extend(Least::ALL.into_iter().skip(1).map(|least| basic(least.name())["Basic ".len()..].to_owned()));
    let made = world.root.create_token(TokenOptions::default()).await.expect("made");
    world.tokens.lock().expect("not poisoned").push(made.secret);
    for token in world.tokens.lock().expect("not poisoned").iter() {
        // The id in its middle is public.
        secrets.extend(token.splitn(3, '_').nth(2).map(str::to_owned));
    }
    misuse(world).await;

    let mut places = Vec::new();
    places.push(("the log", String::from_utf8_lossy(&logged().lock().expect("not poisoned")).into_owned()));
    places.push(("errors", world.said().join("\n")));
    let (status, metrics) = http(&world.server, "GET", "/metrics", Some(&basic("root")), "text/plain", b"").await;
    assert!(status == 200 && metrics.contains("tidewater_logins_failed_total"), "{status} {metrics}");
    places.push(("/metrics", metrics));
    for statement in [
        "SELECT * FROM system.settings",
        "SELECT * FROM system.events",
        "SELECT * FROM system.queries",
        "SELECT * FROM system.metrics",
        "SELECT * FROM system.users",
        "SELECT * FROM system.tokens",
        "SELECT * FROM information_schema.df_settings",
        "SHOW ALL",
        "SHOW TABLES",
    ] {
        let rows = rows(&world.root, statement).await;
        places.push((statement, rows));
    }
    let events = rows(&world.root, "SELECT kind, principal FROM system.events").await;
    let mut problems = Vec::new();
    for kind in [
        "user.create",
        "user.alter",
        "user.drop",
        "token.create",
        "token.revoke",
        "login.failed",
        "login.limited",
        "table.create",
    ] {
        if !events.contains(kind) {
            problems.push(format!("no event of the kind {kind}"));
        }
    }
    for (place, text) in &places {
        for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
            problems.push(format!("'{secret}' is told by {place}"));
        }
    }
    problems
}

/// The rows of a statement as text; what it says instead, if it is refused.
async fn rows(client: &Client, statement: &str) -> String {
    let answer = async { client.sql(statement).await?.try_collect::<Vec<_>>().await };
    match answer.await {
        Ok(batches) => pretty_format_batches(&batches).expect("text").to_string(),
        Err(error) => error.to_string(),
    }
}

/// Logs in with what is wrong, and sends secrets where they do not belong.
async fn misuse(world: &World) {
    let address = world.server.grpc_addr().to_string();
    let wrong = [
        Credentials::Basic { user: "root".to_owned(), password: format!("{CANARY} wrong") },
        Credentials::Basic { user: format!("{CANARY}-as-a-name"), password: "wrong password".to_owned() },
        Credentials::Bearer(format!("tw_{CANARY}_{CANARY}")),
        Credentials::Bearer(format!("tws_{CANARY}")),
        Credentials::Bearer(CANARY.to_owned()),
    ];
    for credentials in wrong {
        let options = ClientOptions { credentials, ..ClientOptions::default() };
        let client = Client::connect_with(&address, options).await.expect("connects");
        let refused = client.execute_update("SELECT 1").await.expect_err("refused");
        assert_eq!(refused.reason(), "UNAUTHENTICATED", "{refused}");
        world.note_text(refused.to_string());
    }
    guess(world).await;
    let refused = world.root.create_user("short", Some(format!("{CANARY}\n")), Vec::new()).await.expect_err("refused");
    world.note_text(refused.to_string());
    let change = UserChange { password: Some(password("target")), ..UserChange::default() };
    world.root.alter_user("target", change).await.expect("changed");
    let encoded = BASE64_STANDARD.encode(CANARY);
    let bodies = [
        format!(r#"{{"code": "{CANARY}", "name": "x", "password": "{CANARY}"}}"#),
        format!(r#"{{"password": "{CANARY}"#),
        format!(r#"{{"password": 1, "code": "{CANARY}", "{CANARY}": 2}}"#),
    ];
    for body in bodies {
        let answer = http(&world.server, "POST", "/api/v1/setup", None, "application/json", body.as_bytes()).await;
        world.note_text(answer.1);
    }
    for header in [format!("Basic {encoded}"), format!("Digest {CANARY}"), format!("Bearer {CANARY}")] {
        let (status, body) =
            http(&world.server, "POST", "/api/v1/sql", Some(&header), "application/sql", b"SELECT 1").await;
        assert_eq!(status, 401, "{body}");
        world.note_text(body);
    }
}

/// Tries one password after the other, until none is looked at any more.
async fn guess(world: &World) {
    for n in 0..100 {
        let header = format!("Basic {}", BASE64_STANDARD.encode(format!("keeper:{CANARY} guess {n}")));
        let (status, body) =
            http(&world.server, "POST", "/api/v1/sql", Some(&header), "application/sql", b"SELECT 1").await;
        world.note_text(body.clone());
        if status == 429 {
            assert!(n >= 10 && body.contains("TOO_MANY_WRONG_PASSWORDS"), "{n}: {body}");
            return;
        }
        assert_eq!(status, 401, "{body}");
    }
    panic!("a hundred were looked at");
}
