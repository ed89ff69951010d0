//! Which clients can set something? Those that are known again by their next call, also by another process.

use std::sync::Arc;

use arrow_flight::FlightDescriptor;
use tidewater_query::{Interface, Principal, Session};
use tidewater_storage::{Code, StoredSession};
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::{Server, schema_of};
use crate::auth::ANONYMOUS;
use crate::sessions::{Client, Sessions};

/// A client that shows the bearer of its first handshake for ever.
async fn of_first_bearer(server: &Server) -> Client {
    Client::of(&server.app, ANONYMOUS, &first_bearer(server).await)
}

/// The headers of such a client.
async fn first_bearer(server: &Server) -> MetadataMap {
    let bearer = server.app.auth.handshake(&server.app.storage, None).await.expect("given");
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", format!("Bearer {}", bearer.expose()).parse().expect("a header"));
    metadata
}

fn session(server: &Server) -> Session {
    server.app.query.session(Principal::admin(ANONYMOUS), Interface::FlightSql)
}

/// The sessions as the next process finds them.
fn after_a_restart(server: &Server) -> Sessions {
    let storage = &server.app.storage;
    Sessions::new(storage.env().clock.clone(), storage.sessions())
}

/// <https://github.com/apache/doris/issues/36331>
#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_outlives_the_process() {
    let server = Server::start().await;
    let client = of_first_bearer(&server).await;
    let begun = session(&server);
    let set = |name, value: &str| vec![(name, Some(value.to_owned()))];
    client.keep(&server.app, &begun, set("schema", "shop")).await.expect("kept");
    let known = client.settings(&after_a_restart(&server)).expect("not refused").expect("a session").lock().clone();
    assert_eq!((known.schema.as_str(), known.max_rows), ("shop", 0));
    // Every change, whichever call makes it.
    let at_once: Vec<_> = [("max_rows", "7"), ("timezone", "Europe/Berlin"), ("statement_timeout", "2s")]
        .map(|(name, value)| client.keep(&server.app, &begun, set(name, value)))
        .into();
    futures::future::try_join_all(at_once).await.expect("kept");
    let now = client.settings(&server.app.kept.sessions).expect("open").expect("a session").lock().clone();
    assert_eq!((now.schema.as_str(), now.max_rows, now.timezone.as_str()), ("shop", 7, "Europe/Berlin"));
    let known = client.settings(&after_a_restart(&server)).expect("not refused").expect("a session");
    assert_eq!(*known.lock(), now);
    client.close(&server.app).await.expect("closed");
    assert!(client.settings(&after_a_restart(&server)).expect("not refused").is_none());
    assert!(server.app.storage.sessions().is_empty());
}

/// As a name in SQL is.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_one_part_is_looked_for_in_the_schema_of_the_session() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT)", "CREATE TABLE shop.t (price BIGINT)"]).await;
    let headers = first_bearer(&server).await;
    let client = Client::of(&server.app, ANONYMOUS, &headers);
    client.keep(&server.app, &session(&server), vec![("schema", Some("shop".to_owned()))]).await.expect("kept");
    for (headers, column) in [(headers, "price"), (MetadataMap::new(), "id")] {
        let mut request = Request::new(FlightDescriptor::new_path(vec!["t".to_owned()]));
        *request.metadata_mut() = headers;
        let info = server.raw().get_flight_info(request).await.expect("told").into_inner();
        assert_eq!(schema_of(&info).field(0).name(), column);
    }
}

/// Connections of pools, and Metabase, set the same again before every statement.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_already_is_not_written_again() {
    let server = Server::start().await;
    let client = of_first_bearer(&server).await;
    let begun = session(&server);
    let mut records = Vec::new();
    for zone in ["Europe/Berlin", "Europe/Berlin", "UTC", "UTC"] {
        client.keep(&server.app, &begun, vec![("timezone", Some(zone.to_owned()))]).await.expect("kept");
        records.extend(server.app.storage.sessions());
        let now = client.settings(&after_a_restart(&server)).expect("not refused").expect("a session").lock().clone();
        assert_eq!(now.timezone, zone);
    }
    let is_written: Vec<_> = records.windows(2).map(|pair| !Arc::ptr_eq(&pair[0], &pair[1])).collect();
    assert_eq!(is_written, [false, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_set() {
    let server = Server::start().await;
    let client = of_first_bearer(&server).await;
    let begun = session(&server);
    client.keep(&server.app, &begun, vec![("schema", Some("shop".to_owned()))]).await.expect("kept");
    let refused = client.keep(&server.app, &begun, vec![("max_rows", Some("many".to_owned()))]).await;
    assert_eq!(refused.expect_err("refused").code(), Code::InvalidSetting);
    let other = of_first_bearer(&server).await;
    other.keep(&server.app, &session(&server), vec![("max_rows", Some("many".to_owned()))]).await.expect_err("refused");
    assert!(other.settings(&server.app.kept.sessions).expect("not refused").is_none(), "it was not begun");
    for sessions in [&server.app.kept.sessions, &after_a_restart(&server)] {
        let now = client.settings(sessions).expect("open").expect("a session").lock().clone();
        assert_eq!((now.schema.as_str(), now.max_rows), ("shop", 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_read_is_not_taken_for_none() {
    let server = Server::start().await;
    let client = of_first_bearer(&server).await;
    client.keep(&server.app, &session(&server), vec![("schema", Some("shop".to_owned()))]).await.expect("kept");
    let unknown = server.app.storage.sessions().into_iter().map(|stored| {
        let mut stored = StoredSession::clone(&stored);
        // As if a newer version had left it.
        stored.settings.insert("work_mem".to_owned(), "1".to_owned());
        Arc::new(stored)
    });
    let next = Sessions::new(server.app.storage.env().clock.clone(), unknown.collect());
    assert_eq!(client.settings(&next).expect_err("refused").code(), Code::HandleNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_without_cookies_sets_is_refused_rather_than_forgotten() {
    let server = Server::start().await;
    let own = concat!("tidewater-client/", env!("CARGO_PKG_VERSION"), " tonic/0.14");
    for (agent, keeps_cookies) in
        [(own, false), ("ADBC Flight SQL Driver v1.9.0 grpc-go/1.76.0", false), ("grpc-java-netty/1.65.0", true)]
    {
        let mut metadata = MetadataMap::new();
        metadata.insert("user-agent", agent.parse().unwrap());
        let client = Client::of(&server.app, ANONYMOUS, &metadata);
        let refused = client.check_known_again().err().map(|error| error.code());
        assert_eq!(refused, (!keeps_cookies).then_some(Code::NoSession), "{agent}");
        metadata.insert("cookie", "tidewater_cookies=1".parse().unwrap());
        assert!(Client::of(&server.app, ANONYMOUS, &metadata).is_known_again(), "{agent}");
        metadata.remove("cookie");
        let bearer = server.app.auth.handshake(&server.app.storage, None).await.unwrap();
        metadata.insert("authorization", format!("Bearer {}", bearer.expose()).parse().unwrap());
        assert!(Client::of(&server.app, ANONYMOUS, &metadata).is_known_again(), "{agent}");
    }
}
