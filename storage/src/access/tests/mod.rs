//! Are users, tokens and sessions read again as they were written, and are changes refused that may not be made?

use super::*;
use crate::error::Code;
use crate::limits::{MAX_GRANTS, MAX_LABEL_BYTES, MAX_SESSIONS, MAX_TOKENS, MAX_USER_NAME_BYTES, MAX_USERS};

const USER_V1: &str = include_str!("fixtures/user-v1.json");
const TOKEN_V1: &str = include_str!("fixtures/token-v1.json");
const SESSION_V1: &str = include_str!("fixtures/session-v1.json");

fn grant(role: u8, tables: &str) -> StoredGrant {
    StoredGrant { role, tables: tables.to_owned() }
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$bm90IGEgaGFzaA".to_owned()),
        grants: vec![grant(1, "*"), grant(2, "shop.orders")],
        disabled: true,
        created_at_us: 1_700_000_000_000_000,
        changed_at_us: 1_700_000_001_000_000,
    }
}

fn token(id: &str, user: &str) -> Token {
    Token {
        id: id.to_owned(),
        user: user.to_owned(),
        secret_hash: std::array::from_fn(|i| i as u8),
        label: "loader of \"orders\"".to_owned(),
        grants: vec![grant(2, "shop.*")],
        created_at_us: 1_700_000_000_000_000,
        expires_at_us: Some(1_800_000_000_000_000),
        limits: TokenLimits { requests_per_s: Some(100), bytes_per_s: None, concurrent_queries: Some(4) },
    }
}

fn session(first: u8, last: u8, user: &str) -> StoredSession {
    let mut id: [u8; 16] = std::array::from_fn(|i| i as u8);
    (id[0], id[15]) = (first, last);
    StoredSession {
        id,
        user: user.to_owned(),
        settings: [("timezone", "Europe/Berlin"), ("schema", "sales")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        changed_at_us: 1_700_000_001_000_000,
    }
}

/// Makes a change as the engine does, without a disk.
fn change(accounts: &mut Accounts, change: AccountChange) -> crate::Result<usize> {
    let n_records = accounts.records(&change)?.len();
    accounts.apply(change);
    Ok(n_records)
}

#[test]
fn all_versions_are_read_and_the_newest_is_written() {
    let (user, token) = (user("anna@example.org"), token("k3x9", "anna@example.org"));
    assert_eq!(String::from_utf8(user.to_disk()).expect("text"), USER_V1.trim());
    assert_eq!(String::from_utf8(token.to_disk()).expect("text"), TOKEN_V1.trim());
    assert_eq!(User::from_disk(USER_V1.trim().as_bytes()).expect("read"), user);
    assert_eq!(Token::from_disk(TOKEN_V1.trim().as_bytes()).expect("read"), token);
    let session = session(0, 255, "anna@example.org");
    assert_eq!(String::from_utf8(session.to_disk()).expect("text"), SESSION_V1.trim());
    assert_eq!(StoredSession::from_disk(SESSION_V1.trim().as_bytes()).expect("read"), session);
}

#[test]
fn other_versions_and_damage_are_refused() {
    let (user, token) = (USER_V1.trim(), TOKEN_V1.trim());
    let code_of_user = |text: &str| User::from_disk(text.as_bytes()).expect_err("refused").code();
    let code_of_token = |text: &str| Token::from_disk(text.as_bytes()).expect_err("refused").code();
    for version in ["0", "2"] {
        let newer = |text: &str| text.replace("\"version\":1", &format!("\"version\":{version}"));
        assert_eq!(code_of_user(&newer(user)), Code::LogUnknownVersion);
        assert_eq!(code_of_token(&newer(token)), Code::LogUnknownVersion);
    }
    let code_of_session = |text: &str| StoredSession::from_disk(text.as_bytes()).expect_err("refused").code();
    let newer = SESSION_V1.replace("\"version\":1", "\"version\":2");
    assert_eq!((code_of_session(&newer), code_of_session(user)), (Code::LogUnknownVersion, Code::LogDamaged));
    assert_eq!(code_of_user(token), Code::LogDamaged);
    assert_eq!(code_of_token(user), Code::LogDamaged);
    assert_eq!(code_of_user(&user.replace("\"disabled\"", "\"enabled\"")), Code::LogDamaged);
    assert_eq!(code_of_token(&token.replace("[0,1,", "[1,")), Code::LogDamaged);
    assert_eq!(code_of_user(&user[..user.len() - 3]), Code::LogDamaged);
}

#[test]
fn what_is_printed_of_them_holds_no_hash() {
    let printed = format!("{:?} {:?}", user("anna"), token("k3x9", "anna"));
    assert!(printed.contains("anna") && printed.contains("k3x9"));
    assert!(!printed.contains("argon2id") && !printed.contains("30, 31"), "{printed}");
}

#[test]
fn a_user_goes_with_all_tokens() {
    let mut accounts = Accounts::default();
    for name in ["anna", "bert"] {
        change(&mut accounts, AccountChange::PutUser(user(name))).expect("made");
    }
    for (id, name) in [("a1", "anna"), ("a2", "anna"), ("b1", "bert")] {
        change(&mut accounts, AccountChange::PutToken(token(id, name))).expect("made");
    }
    assert_eq!(change(&mut accounts, AccountChange::DropUser("anna".to_owned())).expect("gone"), 3);
    assert_eq!(accounts.tokens().map(|token| token.id.as_str()).collect::<Vec<_>>(), ["b1"]);
    assert_eq!(accounts.users().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["bert"]);
    let refused = |accounts: &mut Accounts, wanted| change(accounts, wanted).expect_err("refused").code();
    assert_eq!(refused(&mut accounts, AccountChange::DropUser("anna".to_owned())), Code::UserNotFound);
    assert_eq!(refused(&mut accounts, AccountChange::PutToken(token("a3", "anna"))), Code::UserNotFound);
    assert_eq!(refused(&mut accounts, AccountChange::RevokeToken("a1".to_owned())), Code::TokenNotFound);
    assert_eq!(change(&mut accounts, AccountChange::RevokeToken("b1".to_owned())).expect("gone"), 1);
}

#[test]
fn a_session_goes_when_it_ends_and_with_its_user() {
    let mut accounts = Accounts::default();
    change(&mut accounts, AccountChange::PutUser(user("anna"))).expect("made");
    let sessions = [session(1, 0, "anna"), session(2, 0, "anna"), session(3, 0, "bert")];
    let [first, _, berts] = sessions.clone().map(|session| session.id);
    for session in sessions {
        // Whether there is such a user is the server's matter: it may ask nobody.
        change(&mut accounts, AccountChange::PutSession(session)).expect("made");
    }
    assert_eq!(change(&mut accounts, AccountChange::EndSessions(vec![first, [9; 16], first])).expect("gone"), 2);
    assert_eq!(change(&mut accounts, AccountChange::EndSessions(vec![first])).expect("is not there"), 0);
    assert_eq!(change(&mut accounts, AccountChange::DropUser("anna".to_owned())).expect("gone"), 2);
    assert_eq!(accounts.sessions().map(|session| session.id).collect::<Vec<_>>(), [berts]);
    assert!(accounts.session(berts).is_some() && accounts.session(first).is_none());
}

#[test]
fn names_and_sizes_are_checked() {
    let accounts = Accounts::default();
    let code = |user: User| accounts.records(&AccountChange::PutUser(user)).err().map(|error| error.code());
    for name in ["a", "Anna", "a.b@c-d+e_f", "7", &"a".repeat(MAX_USER_NAME_BYTES)] {
        assert_eq!(code(user(name)), None, "{name}");
    }
    let long = "a".repeat(MAX_USER_NAME_BYTES + 1);
    for name in ["", "_a", ".a", "a b", "a:b", "ä", "a\n", "a\"b", "a*", &long] {
        assert_eq!(code(user(name)), Some(Code::InvalidName), "{name}");
    }
    let many = User { grants: vec![grant(1, "*"); MAX_GRANTS + 1], ..user("a") };
    assert_eq!(code(many), Some(Code::InvalidDefinition));
    let endless = User { grants: vec![grant(1, &"a".repeat(1 << 10))], ..user("a") };
    assert_eq!(code(endless), Some(Code::InvalidDefinition));
    let mut accounts = Accounts::default();
    change(&mut accounts, AccountChange::PutUser(user("a"))).expect("made");
    let code = |token: Token| accounts.records(&AccountChange::PutToken(token)).err().map(|error| error.code());
    assert_eq!(
        code(Token { label: "x".repeat(MAX_LABEL_BYTES + 1), ..token("t", "a") }),
        Some(Code::InvalidDefinition)
    );
    assert_eq!(code(Token { label: "x\ny".to_owned(), ..token("t", "a") }), Some(Code::InvalidDefinition));
    assert_eq!(code(token("t_1", "a")), Some(Code::Internal));
}

#[test]
fn there_are_so_many_and_not_more() {
    let mut accounts = Accounts::default();
    for i in 0..MAX_USERS {
        accounts.apply(AccountChange::PutUser(user(&format!("u{i}"))));
    }
    for i in 0..MAX_TOKENS {
        accounts.apply(AccountChange::PutToken(token(&format!("t{i}"), "u0")));
    }
    let numbered = |number: usize| StoredSession { id: (number as u128).to_be_bytes(), ..session(0, 0, "u0") };
    for i in 0..MAX_SESSIONS {
        accounts.apply(AccountChange::PutSession(numbered(i)));
    }
    let code = |change: AccountChange| accounts.records(&change).err().map(|error| error.code());
    assert_eq!(code(AccountChange::PutSession(numbered(MAX_SESSIONS))), Some(Code::TooManyAccounts));
    assert_eq!(code(AccountChange::PutSession(numbered(7))), None);
    assert_eq!(code(AccountChange::PutUser(user("more"))), Some(Code::TooManyAccounts));
    assert_eq!(code(AccountChange::PutToken(token("more", "u0"))), Some(Code::TooManyAccounts));
    // One that is there can be changed all the same.
    assert_eq!(code(AccountChange::PutUser(user("u7"))), None);
}
