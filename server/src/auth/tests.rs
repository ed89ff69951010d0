//! Is everybody let in who proves who they are, and nobody else, at every moment?

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use proptest::prelude::*;
use tidewater_query::{Grant, Principal, Role, TablePattern};
use tidewater_storage::env::{Env, ManualClock};
use tidewater_storage::{
    AccountChange, Code, Engine, EngineOptions, Error, ErrorKind, Result, Token, TokenLimits, User,
};

use super::grants::{check_scope, scoped, to_stored};
use super::header::{Presented, parse};
use super::proved::{MAX_SESSIONS, Sessions};
use super::{Auth, Login, Proof, Secret, hash_of, passwords};

const START_US: i64 = 1_700_000_000_000_000;
const PASSWORD: &str = "correct horse: battery";

/// An engine without users, under a clock that a test moves.
struct Fixture {
    storage: Arc<Engine>,
    clock: Arc<ManualClock>,
    auth: Auth,
}

impl Fixture {
    async fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let clock = Arc::new(ManualClock::at(START_US));
        let mut options = EngineOptions { seals_by_itself: false, ..EngineOptions::temporary(folder, 1 << 30) };
        options.env.clock = Arc::<ManualClock>::clone(&clock);
        let opened = tokio::task::spawn_blocking(move || Engine::open(options)).await.expect("no panic");
        let (storage, _) = opened.expect("opens");
        let auth = Auth::on(&storage);
        Self { storage, clock, auth }
    }

    async fn with_anna() -> Self {
        let fixture = Self::new().await;
        fixture.put(user("anna", PASSWORD, &[writer("shop.*")]).await).await;
        fixture
    }

    async fn change(&self, change: AccountChange) {
        self.storage.change_accounts(move |_| Ok(change)).await.expect("changed");
    }

    async fn put(&self, user: User) {
        self.change(AccountChange::PutUser(user)).await;
    }

    async fn token(&self, id: &str, scope: &[Grant], expires_at_us: Option<i64>) -> String {
        let token = Token {
            id: id.to_owned(),
            user: "anna".to_owned(),
            secret_hash: hash_of("se_cret"),
            label: String::new(),
            grants: to_stored(scope),
            created_at_us: START_US,
            expires_at_us,
            limits: TokenLimits::default(),
        };
        self.change(AccountChange::PutToken(token)).await;
        format!("Bearer tw_{id}_se_cret")
    }

    async fn code(&self, header: &str) -> Option<Code> {
        self.auth.authenticate(Some(header)).await.err().map(|error| error.code())
    }
}

async fn user(name: &str, password: &str, grants: &[Grant]) -> User {
    let env = Env::system();
    User {
        name: name.to_owned(),
        password_hash: Some(passwords::hash(Secret::new(password), &*env.rng).await.expect("hashed")),
        grants: to_stored(grants),
        disabled: false,
        created_at_us: START_US,
        changed_at_us: START_US,
    }
}

fn grant(role: Role, tables: &str) -> Grant {
    Grant::new(role, tables.parse().expect("a pattern"))
}

fn writer(tables: &str) -> Grant {
    grant(Role::Writer, tables)
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

/// <https://github.com/gizmodata/gizmosql/commit/4546cb81f4fcc91c5357d75336b1521bd9007fdf>
#[test]
fn a_password_is_read_in_every_base64_that_clients_send() {
    // Zero, one and two signs of padding, and signs that differ between the alphabets.
    for password in ["abc", "abcd", "abcde", "a:b:c", "ÿÿÿ>>>???", ""] {
        let text = format!("anna:{password}");
        let forms =
            [BASE64_STANDARD.encode(&text), BASE64_STANDARD_NO_PAD.encode(&text), BASE64_URL_SAFE.encode(&text)];
        for form in forms {
            for header in [format!("Basic {form}"), format!("basic  {form} ")] {
                let Some(Presented::Password { user, password: read }) = parse(&header) else { panic!("{header}") };
                assert_eq!((user.as_str(), read.expose()), ("anna", password), "{header}");
            }
        }
    }
}

#[test]
fn what_is_no_header_of_ours_proves_nothing() {
    let long = format!("Basic {}", "a".repeat(10_000));
    for header in
        ["", "Basic", "Basic ", "Basic !!", "Basic YW5uYQ==", "Digest x", "Bearer", "Bearer x", "Bearer tw_x", &long]
    {
        assert!(parse(header).is_none(), "{header}");
    }
    let Some(Presented::Token { id, secret }) = parse("bearer tw_ab12_x_y-z") else { panic!() };
    assert_eq!((id.as_str(), secret.expose()), ("ab12", "x_y-z"));
    assert!(matches!(parse("Bearer tws_abc"), Some(Presented::Session(_))));
    assert!(matches!(parse("Bearer twb_abc.def"), Some(Presented::Bearer(_))));
}

#[test]
fn nothing_of_a_secret_is_printed() {
    let presented = parse(&basic("anna", PASSWORD)).expect("read");
    let printed = format!("{presented:?} {:?}", Secret::new(PASSWORD));
    assert!(printed.contains("***") && !printed.contains("horse"), "{printed}");
}

#[test]
fn the_hash_of_nobody_costs_what_every_hash_costs() {
    let nobody = argon2::PasswordHash::new(passwords::NOBODY).expect("a hash");
    let params = argon2::Params::try_from(&nobody).expect("parameters");
    let usual = argon2::Params::default();
    let costs = |params: &argon2::Params| (params.m_cost(), params.t_cost(), params.p_cost());
    assert_eq!(costs(&params), costs(&usual));
}

#[test]
fn passwords_that_nobody_should_have_are_refused() {
    let code = |text: &str| passwords::check(&Secret::new(text)).err().map(|error| error.code());
    for text in ["", "1234567", "line\nbreak", &"x".repeat(1025)] {
        assert_eq!(code(text), Some(Code::InvalidPassword), "{text:?}");
    }
    for text in ["12345678", "ünïcödé!", PASSWORD] {
        assert_eq!(code(text), None, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_its_user_in_and_nobody_else() {
    let fixture = Fixture::with_anna().await;
    let caller = fixture.auth.caller(Some(&basic("anna", PASSWORD))).await.expect("let in");
    assert_eq!(caller.principal, Principal::new("anna", vec![writer("shop.*")]));
    assert!(matches!(caller.proof, Proof::Password(_)));
    let wrong = fixture.auth.authenticate(Some(&basic("anna", "wrong password"))).await.expect_err("refused");
    let nobody = fixture.auth.authenticate(Some(&basic("nobody", PASSWORD))).await.expect_err("refused");
    // The two cannot be told apart.
    assert_eq!((wrong.code(), wrong.to_string()), (Code::Unauthenticated, nobody.to_string()));
    for header in [basic("Anna", PASSWORD), basic("anna", ""), basic("", ""), "Bearer anonymous".to_owned()] {
        assert_eq!(fixture.code(&header).await, Some(Code::Unauthenticated), "{header}");
    }
    assert_eq!(fixture.auth.authenticate(None).await.expect_err("refused").code(), Code::Unauthenticated);
}

/// Wrong passwords of a user, each another one, until the answer is another, with that answer.
async fn guess(fixture: &Fixture, name: &str) -> (usize, Error) {
    for n in 0..1_000 {
        let header = basic(name, &format!("guess {n}"));
        let error = fixture.auth.authenticate(Some(&header)).await.expect_err("refused");
        if error.code() != Code::Unauthenticated {
            return (n, error);
        }
    }
    panic!("nobody stops it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_passwords_is_slowed_down_whether_there_is_such_a_user_or_not() {
    let fixture = Fixture::with_anna().await;
    fixture.put(user("bert", PASSWORD, &[]).await).await;
    let right = basic("anna", PASSWORD);
    let token = fixture.token("t1", &[], None).await;
    let bearer = handshake(&fixture).await;
    let session = fixture.auth.session(Some(&right)).await.expect("begun");
    let (n_of_anna, of_anna) = guess(&fixture, "anna").await;
    let (n_of_nobody, of_nobody) = guess(&fixture, "nobody").await;
    assert_eq!((n_of_anna, n_of_nobody), (10, 10));
    assert_eq!(of_anna.to_string(), of_nobody.to_string());
    assert_eq!((of_anna.code(), of_anna.kind()), (Code::TooManyWrongPasswords, ErrorKind::ResourceExhausted));
    assert_eq!(of_anna.retry_delay(), Some(Duration::from_secs(6)));
    assert!(of_anna.hint_text().is_some_and(|hint| hint.starts_with("wait 6 s ")), "{of_anna}");
    // The right one does not pass either, though it was found true a moment ago: a guess would be told by that.
    assert_eq!(fixture.code(&right).await, Some(Code::TooManyWrongPasswords));
    // Nobody else is held up, nor who needs no password.
    assert_eq!(fixture.code(&basic("bert", PASSWORD)).await, None);
    for header in [token, bearer, format!("Bearer {}", session.expose())] {
        assert_eq!(fixture.code(&header).await, None);
    }
    // The one that was wrong last says nothing new.
    assert_eq!(fixture.code(&basic("anna", "guess 9")).await, Some(Code::Unauthenticated));
    fixture.clock.advance(Duration::from_secs(6));
    assert_eq!(fixture.code(&right).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_given_another_password_need_not_wait_for_what_was_guessed_before() {
    let fixture = Fixture::with_anna().await;
    assert_eq!(guess(&fixture, "anna").await.0, 10);
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&basic("anna", PASSWORD)).await, Some(Code::Unauthenticated));
    assert_eq!(fixture.code(&basic("anna", "another password")).await, None);
    // The old one was a wrong one.
    assert_eq!(guess(&fixture, "anna").await.0, 9);
    // Other changes give nobody more guesses.
    let known = fixture.storage.user("anna").expect("there");
    fixture.put(User { grants: to_stored(&[writer("*")]), ..User::clone(&known) }).await;
    assert_eq!(fixture.code(&basic("anna", "another password")).await, Some(Code::TooManyWrongPasswords));
    // Dropped and made again with the same password.
    fixture.change(AccountChange::DropUser("anna".to_owned())).await;
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&basic("anna", "another password")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_asked_for_once_more_is_no_way_round() {
    let fixture = Fixture::with_anna().await;
    let is_it = async |password: &str| fixture.auth.is_password_of("anna", Secret::new(password)).await;
    assert!(is_it(PASSWORD).await.expect("looked at"));
    for n in 0..10 {
        assert!(!is_it(&format!("guess {n}")).await.expect("looked at"));
    }
    assert_eq!(is_it(PASSWORD).await.expect_err("refused").code(), Code::TooManyWrongPasswords);
    assert_eq!(fixture.code(&basic("anna", PASSWORD)).await, Some(Code::TooManyWrongPasswords));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_come_at_once_are_no_more() {
    let fixture = Fixture::with_anna().await;
    let headers: Vec<_> = (0..100).map(|n| basic("anna", &format!("guess {n}"))).collect();
    let codes = futures::future::join_all(headers.iter().map(|header| fixture.code(header))).await;
    let n_of = |code| codes.iter().filter(|found| **found == Some(code)).count();
    assert_eq!((n_of(Code::Unauthenticated), n_of(Code::TooManyWrongPasswords)), (10, 90));
    fixture.clock.advance(Duration::from_secs(6));
    assert_eq!(fixture.code(&basic("anna", PASSWORD)).await, None, "it is over soon");
}

/// Several that arrive together are looked at side by side.
#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_are_never_too_many() {
    let fixture = Fixture::with_anna().await;
    let right = basic("anna", PASSWORD);
    let codes = futures::future::join_all((0..50).map(|_| fixture.code(&right))).await;
    assert_eq!(codes, vec![None; 50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_true_is_looked_at_again_when_the_user_changes() {
    let fixture = Fixture::with_anna().await;
    let old = basic("anna", PASSWORD);
    assert_eq!((fixture.code(&old).await, fixture.code(&old).await), (None, None));
    let disabled = User { disabled: true, ..User::clone(&fixture.storage.user("anna").expect("there")) };
    fixture.put(disabled.clone()).await;
    assert_eq!(fixture.code(&old).await, Some(Code::Unauthenticated));
    fixture.put(User { disabled: false, grants: to_stored(&[]), ..disabled }).await;
    assert_eq!(fixture.auth.authenticate(Some(&old)).await.expect("let in"), Principal::new("anna", vec![]));
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&old).await, Some(Code::Unauthenticated));
    let new = basic("anna", "another password");
    assert_eq!(fixture.code(&new).await, None);
    fixture.change(AccountChange::DropUser("anna".to_owned())).await;
    assert_eq!(fixture.code(&new).await, Some(Code::Unauthenticated));
    // The same name and the same password, and yet another user.
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&new).await, None);
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(fixture.code(&new).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_until_it_is_revoked_or_expires() {
    let fixture = Fixture::with_anna().await;
    let endless = fixture.token("e1", &[], None).await;
    let short = fixture.token("s1", &[grant(Role::Reader, "shop.orders")], Some(START_US + 1_000_000)).await;
    let principal = |header: String| {
        let auth = &fixture.auth;
        async move { auth.authenticate(Some(&header)).await }
    };
    assert_eq!(principal(endless.clone()).await.expect("let in"), Principal::new("anna", vec![writer("shop.*")]));
    let reader = Principal::new("anna", vec![grant(Role::Reader, "shop.orders")]);
    assert_eq!(principal(short.clone()).await.expect("let in"), reader);
    let caller = fixture.auth.caller(Some(&short)).await.expect("let in");
    assert_eq!(caller.token().map(|token| token.id.as_str()), Some("s1"));
    for wrong in ["Bearer tw_e1_secret", "Bearer tw_e2_se_cret", "Bearer tw__se_cret", "Bearer tw_e1_"] {
        assert_eq!(fixture.code(wrong).await, Some(Code::Unauthenticated), "{wrong}");
    }
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.code(&short).await, Some(Code::Unauthenticated));
    assert_eq!(fixture.auth.again(&caller.proof).expect_err("over").code(), Code::Unauthenticated);
    let proof = fixture.auth.caller(Some(&endless)).await.expect("let in").proof;
    assert_eq!(fixture.auth.again(&proof).expect("let in").name, "anna");
    fixture.change(AccountChange::RevokeToken("e1".to_owned())).await;
    assert_eq!(fixture.code(&endless).await, Some(Code::Unauthenticated));
    assert_eq!(fixture.auth.again(&proof).expect_err("revoked").code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_never_has_more_than_its_user_has_now() {
    let fixture = Fixture::with_anna().await;
    let token = fixture.token("t1", &[writer("shop.orders")], None).await;
    let anna = User::clone(&fixture.storage.user("anna").expect("there"));
    let with = |grants: &[Grant]| User { grants: to_stored(grants), ..anna.clone() };
    let cases: [(&[Grant], &[Grant]); 4] = [
        (&[grant(Role::Reader, "*")], &[grant(Role::Reader, "shop.orders")]),
        (&[grant(Role::Admin, "shop.ord*")], &[writer("shop.orders")]),
        (&[grant(Role::Admin, "other.*")], &[]),
        (&[], &[]),
    ];
    for (own, left) in cases {
        fixture.put(with(own)).await;
        let principal = fixture.auth.authenticate(Some(&token)).await.expect("let in");
        assert_eq!(&*principal.grants, left, "{own:?}");
    }
    fixture.put(User { disabled: true, ..anna }).await;
    assert_eq!(fixture.code(&token).await, Some(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_gets_a_session_that_ends_when_nobody_uses_it() {
    let fixture = Fixture::with_anna().await;
    let session = fixture.auth.session(Some(&basic("anna", PASSWORD))).await.expect("begun");
    let header = format!("Bearer {}", session.expose());
    assert_eq!(fixture.code(&header).await, None);
    // Shown again it stays what it is, as does a token.
    assert_eq!(fixture.auth.session(Some(&header)).await.expect("shown").expose(), session.expose());
    let token = fixture.token("t1", &[], None).await;
    assert_eq!(format!("Bearer {}", fixture.auth.session(Some(&token)).await.expect("shown").expose()), token);
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_secs(23 * 3600));
        assert_eq!(fixture.code(&header).await, None);
    }
    fixture.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(fixture.code(&header).await, Some(Code::Unauthenticated));
    let session = fixture.auth.session(Some(&basic("anna", PASSWORD))).await.expect("begun");
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&format!("Bearer {}", session.expose())).await, Some(Code::Unauthenticated));
    assert!(fixture.auth.session(Some(&basic("anna", PASSWORD))).await.is_err());
}

/// A bearer of a handshake with name and password.
async fn handshake(fixture: &Fixture) -> String {
    let bearer = fixture.auth.handshake(&fixture.storage, Some(&basic("anna", PASSWORD))).await.expect("given");
    format!("Bearer {}", bearer.expose())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_gives_a_bearer_that_outlives_who_gave_it() {
    let fixture = Fixture::with_anna().await;
    let (bearer, other) = (handshake(&fixture).await, handshake(&fixture).await);
    assert_ne!(bearer, other, "each has a session of its own");
    // Somebody else with the same key: nothing of a bearer is kept.
    let restarted = Auth::on(&fixture.storage);
    let caller = restarted.caller(Some(&bearer)).await.expect("let in");
    assert_eq!(caller.principal, Principal::new("anna", vec![writer("shop.*")]));
    let again = restarted.handshake(&fixture.storage, Some(&bearer)).await.expect("shown");
    assert_eq!(format!("Bearer {}", again.expose()), bearer, "shown again it stays what it is");
    fixture.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(fixture.code(&bearer).await, None);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.code(&bearer).await, Some(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_ends_with_its_password_and_its_user() {
    let fixture = Fixture::with_anna().await;
    let bearer = handshake(&fixture).await;
    let anna = User::clone(&fixture.storage.user("anna").expect("there"));
    fixture.put(User { disabled: true, ..anna.clone() }).await;
    assert_eq!(fixture.code(&bearer).await, Some(Code::Unauthenticated));
    fixture.put(User { grants: to_stored(&[]), ..anna.clone() }).await;
    assert_eq!(fixture.auth.authenticate(Some(&bearer)).await.expect("let in"), Principal::new("anna", vec![]));
    let proof = fixture.auth.caller(Some(&bearer)).await.expect("let in").proof;
    fixture.put(user("anna", "another password", &[]).await).await;
    assert_eq!(fixture.code(&bearer).await, Some(Code::Unauthenticated));
    assert_eq!(fixture.auth.again(&proof).expect_err("over").code(), Code::Unauthenticated);
    fixture.change(AccountChange::DropUser("anna".to_owned())).await;
    // The same name and the same password, and yet another user.
    fixture.put(user("anna", PASSWORD, &[]).await).await;
    assert_eq!(fixture.code(&bearer).await, Some(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_make_a_bearer() {
    let (fixture, elsewhere) = (Fixture::with_anna().await, Fixture::with_anna().await);
    let bearer = handshake(&fixture).await;
    assert_eq!(elsewhere.code(&bearer).await, Some(Code::Unauthenticated), "another key signed it");
    let (signed, tag) = bearer.rsplit_once('.').expect("two parts");
    let other_sign = if signed.ends_with('A') { 'B' } else { 'A' };
    let altered = format!("{}{other_sign}.{tag}", &signed[..signed.len() - 1]);
    for wrong in
        [altered, format!("{signed}."), format!("{signed}.{tag}A"), signed.to_owned(), "Bearer twb_.".to_owned()]
    {
        assert_eq!(fixture.code(&wrong).await, Some(Code::Unauthenticated), "{wrong}");
    }
    // Without access control the server gave some, too: they prove nothing here.
    let open = Auth::Off.handshake(&fixture.storage, None).await.expect("given");
    assert_eq!(fixture.code(&format!("Bearer {}", open.expose())).await, Some(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_is_renewed_when_it_soon_ends() {
    let fixture = Fixture::with_anna().await;
    let bearer = handshake(&fixture).await;
    let login = || Login::of(&fixture.storage, Some(&bearer)).expect("a bearer");
    let session = login().session();
    assert!(login().renewed(&fixture.storage).is_none() && !login().has_settings());
    fixture.clock.advance(Duration::from_secs(19 * 3600));
    assert!(login().renewed(&fixture.storage).is_none());
    fixture.clock.advance(Duration::from_secs(3600));
    let next = format!("Bearer {}", login().renewed(&fixture.storage).expect("soon over").expose());
    fixture.clock.advance(Duration::from_secs(5 * 3600));
    assert_eq!((fixture.code(&bearer).await, fixture.code(&next).await), (Some(Code::Unauthenticated), None));
    let next = Login::of(&fixture.storage, Some(&next)).expect("a bearer");
    assert_eq!((next.user(), next.session()), ("anna", session), "with the same session");
    let saying = format!("Bearer {}", next.saying(&fixture.storage, true).expose());
    assert!(Login::of(&fixture.storage, Some(&saying)).is_some_and(|login| login.has_settings()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lets_in_the_user_that_it_names() {
    let fixture = Fixture::with_anna().await;
    let of = |name: &str| fixture.auth.of_certificate(&fixture.storage, name).expect("a header").expose().to_owned();
    let header = of("anna");
    let caller = fixture.auth.caller(Some(&header)).await.expect("let in");
    assert!(matches!(&caller.proof, Proof::Certificate(user) if user.name == "anna"));
    assert_eq!(fixture.code(&of("bert")).await, Some(Code::Unauthenticated));
    assert!(Login::of(&fixture.storage, Some(&header)).is_none(), "it has no session");
    // A handshake gives one that holds longer, and is not renewed.
    let given = fixture.auth.handshake(&fixture.storage, Some(&header)).await.expect("given");
    let given = format!("Bearer {}", given.expose());
    // A long request is looked at again when it has been read.
    fixture.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(fixture.code(&header).await, None);
    fixture.clock.advance(Duration::from_secs(22 * 3600));
    assert_eq!((fixture.code(&header).await, fixture.code(&given).await), (Some(Code::Unauthenticated), None));
    assert!(Login::of(&fixture.storage, Some(&given)).is_some_and(|login| login.renewed(&fixture.storage).is_none()));
    let anna = User::clone(&fixture.storage.user("anna").expect("there"));
    fixture.put(User { disabled: true, ..anna }).await;
    assert_eq!(fixture.code(&given).await, Some(Code::Unauthenticated));
    assert_eq!(fixture.auth.again(&caller.proof).expect_err("over").code(), Code::Unauthenticated);
    assert!(Auth::Off.of_certificate(&fixture.storage, "anna").is_none());
}

#[test]
fn who_begins_too_many_sessions_ends_their_own() {
    let (clock, env) = (Arc::new(ManualClock::at(START_US)), Env::system());
    let sessions = Sessions::new(Arc::<ManualClock>::clone(&clock));
    let named = |name: &str| {
        let (name, grants) = (name.to_owned(), Vec::new());
        let (created_at_us, changed_at_us) = (START_US, START_US);
        Arc::new(User { name, password_hash: None, grants, disabled: false, created_at_us, changed_at_us })
    };
    let (anna, bert) = (named("anna"), named("bert"));
    let annas = sessions.begin(Arc::clone(&anna), &*env.rng);
    clock.advance(Duration::from_secs(1));
    let first = sessions.begin(Arc::clone(&bert), &*env.rng);
    clock.advance(Duration::from_secs(1));
    for _ in 2..=MAX_SESSIONS {
        sessions.begin(Arc::clone(&bert), &*env.rng);
    }
    clock.advance(Duration::from_secs(1));
    assert!(sessions.get(&annas).is_some() && sessions.get(&first).is_none());
    // Somebody must go for who has none.
    let carls = sessions.begin(named("carl"), &*env.rng);
    assert!(sessions.get(&carls).is_some() && sessions.get(&annas).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_is_made_once_with_the_code_of_this_start() {
    let fixture = Fixture::new().await;
    let Auth::On(keeper) = &fixture.auth else { panic!() };
    let code = fixture.auth.setup_code().expect("there is no user");
    let set_up = async |code: &Secret, name: &str, password: &str| -> Result<()> {
        keeper.set_up(code, name.to_owned(), Secret::new(password)).await
    };
    let refused = async |code: &Secret, name: &str, password: &str| {
        set_up(code, name, password).await.expect_err("refused").code()
    };
    assert_eq!(refused(&Secret::new("guessed"), "root", PASSWORD).await, Code::Unauthenticated);
    assert_eq!(refused(&code, "root", "short").await, Code::InvalidPassword);
    assert_eq!(refused(&code, "ro ot", PASSWORD).await, Code::InvalidName);
    assert_eq!(refused(&code, "anonymous", PASSWORD).await, Code::InvalidName);
    assert!(fixture.auth.setup_code().is_some());
    set_up(&code, "root", PASSWORD).await.expect("made");
    assert!(fixture.auth.authenticate(Some(&basic("root", PASSWORD))).await.expect("let in").is_admin());
    assert!(fixture.auth.setup_code().is_none());
    assert_eq!(refused(&code, "second", PASSWORD).await, Code::UserExists);
    assert!(Auth::on(&fixture.storage).setup_code().is_none(), "nor after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_access_control_everybody_is_admin() {
    for header in [None, Some("Bearer tw_x_y"), Some("nonsense")] {
        assert!(Auth::Off.authenticate(header).await.expect("let in").is_admin());
    }
    assert_eq!(Auth::Off.session(None).await.expect("given").expose(), "anonymous");
    assert!(Auth::Off.setup_code().is_none());
    // Each client of Flight gets a bearer of its own, and keeps it.
    let fixture = Fixture::new().await;
    let given = async |header: Option<String>| {
        let bearer = Auth::Off.handshake(&fixture.storage, header.as_deref()).await.expect("given");
        format!("Bearer {}", bearer.expose())
    };
    let (first, second) = (given(None).await, given(Some("Basic nonsense".to_owned())).await);
    assert_ne!(first, second);
    assert_eq!(given(Some(first.clone())).await, first);
    assert_eq!(Login::of(&fixture.storage, Some(&first)).expect("a bearer").user(), "anonymous");
    // Nobody refuses it when it has expired, so it must still name the session in which something was set.
    let session = Login::of(&fixture.storage, Some(&first)).expect("a bearer").session();
    fixture.clock.advance(Duration::from_secs(25 * 3600));
    let expired = Login::of(&fixture.storage, Some(&first)).expect("a bearer");
    assert!(expired.session() == session && expired.renewed(&fixture.storage).is_some());
    // One of a user, from when users were asked for, is none here.
    let fixture = Fixture::with_anna().await;
    let annas = handshake(&fixture).await;
    let own = Auth::Off.handshake(&fixture.storage, Some(&annas)).await.expect("given");
    let own = format!("Bearer {}", own.expose());
    assert_eq!(Login::of(&fixture.storage, Some(&own)).expect("a bearer").user(), "anonymous");
}

fn patterns() -> impl Strategy<Value = TablePattern> {
    let names = || "[ab]{1,2}";
    prop_oneof![
        Just(TablePattern::All),
        (names(), "[ab]{0,2}").prop_map(|(schema, prefix)| TablePattern::Prefix { schema, prefix }),
        (names(), names()).prop_map(|(schema, table)| TablePattern::Table { schema, table }),
    ]
}

fn some_grants() -> impl Strategy<Value = Vec<Grant>> {
    let role = prop_oneof![Just(Role::Reader), Just(Role::Writer), Just(Role::Admin)];
    proptest::collection::vec((role, patterns()).prop_map(|(role, tables)| Grant::new(role, tables)), 0..4)
}

proptest! {
    /// On every table a token has the lesser of what its scope and its user have.
    #[test]
    fn a_scope_is_what_both_allow(own in some_grants(), scope in some_grants(), schema in "[ab]{1,2}", table in "[ab]{1,3}") {
        let principal = |grants: Vec<Grant>| Principal::new("anna", grants);
        let on = |grants: &[Grant]| principal(grants.to_vec()).role_on(&schema, &table);
        let both = scoped(own.clone(), &to_stored(&scope));
        let expected = if scope.is_empty() { on(&own) } else { on(&own).min(on(&scope)) };
        prop_assert_eq!(on(&both), expected);
        if check_scope("anna", &own, &scope).is_ok() {
            prop_assert!(on(&scope) <= on(&own));
        }
    }
}
