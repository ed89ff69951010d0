//! Are users, tokens and sessions there after every start, and does nobody see half a change?

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::support::{Fixture, abandon};
use super::*;
use crate::access::{AccountChange, StoredGrant, StoredSession, Token, TokenLimits, User};

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password_hash: None,
        grants: vec![StoredGrant { role: 3, tables: "*".to_owned() }],
        disabled: false,
        created_at_us: 1,
        changed_at_us: 2,
    }
}

fn token(id: &str, user: &str) -> Token {
    Token {
        id: id.to_owned(),
        user: user.to_owned(),
        secret_hash: [7; 32],
        label: String::new(),
        grants: Vec::new(),
        created_at_us: 1,
        expires_at_us: None,
        limits: TokenLimits::default(),
    }
}

async fn make(fixture: &Fixture, change: AccountChange) -> crate::Result<()> {
    fixture.engine().change_accounts(move |_| Ok(change)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_reads_what_signs_and_what_lets_in() {
    let fixture = Fixture::open();
    let log = std::fs::metadata(fixture.path().join("log")).expect("there");
    assert_eq!(log.permissions().mode() & 0o077, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_key_is_kept_once_it_is_asked_to() {
    let mut fixture = Fixture::open();
    let first = fixture.engine().signing_key();
    assert_eq!(fixture.engine().signing_key(), first, "one for a process");
    fixture.restart().await;
    let second = fixture.engine().signing_key();
    assert_ne!(second, first, "nobody kept it");
    fixture.engine().keep_signing_key().await.expect("kept");
    fixture.engine().keep_signing_key().await.expect("kept already");
    fixture.restart().await;
    assert_eq!(fixture.engine().signing_key(), second);
    assert_eq!(format!("{second:?}"), "***");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_tokens_are_kept_over_a_restart() {
    let mut fixture = Fixture::open();
    assert!(!fixture.engine().has_users());
    for name in ["anna", "bert"] {
        make(&fixture, AccountChange::PutUser(user(name))).await.expect("made");
    }
    for (id, name) in [("a1", "anna"), ("a2", "anna"), ("b1", "bert")] {
        make(&fixture, AccountChange::PutToken(token(id, name))).await.expect("made");
    }
    let changed = User { disabled: true, changed_at_us: 3, ..user("bert") };
    make(&fixture, AccountChange::PutUser(changed.clone())).await.expect("changed");
    make(&fixture, AccountChange::RevokeToken("a2".to_owned())).await.expect("revoked");
    fixture.restart().await;
    let engine = fixture.engine();
    assert_eq!(engine.users().iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["anna", "bert"]);
    assert_eq!(engine.user("bert").as_deref(), Some(&changed));
    assert_eq!(engine.token("a1").as_deref(), Some(&token("a1", "anna")));
    assert!(engine.token("a2").is_none() && engine.has_users());
    make(&fixture, AccountChange::DropUser("anna".to_owned())).await.expect("dropped");
    assert!(fixture.engine().token("a1").is_none(), "her tokens go with her");
    fixture.restart().await;
    let engine = fixture.engine();
    assert_eq!(engine.tokens().iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), ["b1"]);
    assert!(engine.user("anna").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_set_is_kept_over_a_restart_until_its_session_ends() {
    let mut fixture = Fixture::open();
    let session = |number: u8, schema: &str| StoredSession {
        id: [number; 16],
        user: "anonymous".to_owned(),
        settings: [("schema".to_owned(), schema.to_owned())].into(),
        changed_at_us: 7,
    };
    for put in [session(1, "first"), session(2, "first"), session(1, "second")] {
        make(&fixture, AccountChange::PutSession(put)).await.expect("kept");
    }
    fixture.restart().await;
    assert_eq!(fixture.engine().session([1; 16]).as_deref(), Some(&session(1, "second")));
    make(&fixture, AccountChange::EndSessions(vec![[1; 16], [3; 16]])).await.expect("ended");
    make(&fixture, AccountChange::EndSessions(vec![[3; 16]])).await.expect("there was none");
    fixture.restart().await;
    assert_eq!(fixture.engine().sessions().iter().map(|session| session.id).collect::<Vec<_>>(), [[2; 16]]);
}

/// A table that is attached, or cleared away, holds the catalog while it waits for its store.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_whoever_holds_the_catalog() {
    let fixture = Fixture::open();
    make(&fixture, AccountChange::PutUser(user("anna"))).await.expect("made");
    make(&fixture, AccountChange::PutToken(token("a1", "anna"))).await.expect("made");
    let _changing = fixture.engine().changing.lock().await;
    let revoked = make(&fixture, AccountChange::RevokeToken("a1".to_owned()));
    tokio::time::timeout(Duration::from_secs(60), revoked).await.expect("it does not wait").expect("revoked");
    assert!(fixture.engine().token("a1").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_who_decide_at_once_makes_the_first_user() {
    let fixture = Fixture::open();
    let makers = (0..16).map(|i| {
        let engine = Arc::clone(fixture.engine());
        tokio::spawn(async move {
            let first = engine.change_accounts(move |accounts| match accounts.users().next() {
                Some(_) => Err(Error::new(Code::UserExists, "there is a user")),
                None => Ok(AccountChange::PutUser(user(&format!("u{i}")))),
            });
            first.await.is_ok()
        })
    });
    let mut n_made = 0;
    for maker in makers.collect::<Vec<_>>() {
        n_made += usize::from(maker.await.expect("no panic"));
    }
    assert_eq!((n_made, fixture.engine().users().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_memory_and_disk_alike() {
    let mut fixture = Fixture::open();
    abandon(fixture.engine().change_accounts(|_| Ok(AccountChange::PutUser(user("anna"))))).await;
    make(&fixture, AccountChange::PutUser(user("bert"))).await.expect("made");
    // What was abandoned goes on to its end, before the other or after it.
    let both = async {
        while fixture.engine().users().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("both are made");
    let before = fixture.engine().users();
    fixture.restart().await;
    assert_eq!(fixture.engine().users(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_refuses_the_folder() {
    let mut fixture = Fixture::open();
    fixture.close().await;
    {
        let store = Store::open(fixture.path()).expect("opens");
        let key = meta_key::of_account(meta_key::USER, "anna");
        store.write(&[crate::log::Op::Put(Family::Meta, key, b"{}".to_vec())], true).expect("written");
    }
    assert_eq!(fixture.reopen().expect_err("refused").code(), Code::LogDamaged);
}
