//! Is guessing slowed down, and nobody else? On a clock that moves when the test says so.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use tidewater_storage::User;
use tidewater_storage::env::{Env, ManualClock};

use super::guesses::{Attempt, Guesses, MAX_KEPT, MAX_KNOWN, Verdict};
use super::place;
use crate::auth::Secret;
use crate::connections::Peer;

/// Addresses of documentation (RFC 5737).
const HERE: &str = "192.0.2.1";
const THERE: &str = "198.51.100.7";

struct Fixture {
    guesses: Guesses,
    clock: Arc<ManualClock>,
    n_guessed: AtomicUsize,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(0));
        let guesses = Guesses::new(Arc::<ManualClock>::clone(&clock), &*Env::system().rng);
        Self { guesses, clock, n_guessed: AtomicUsize::new(0) }
    }

    async fn attempt(&self, address: &str, name: &str, password: &str) -> Attempt {
        place::at(address, async { self.guesses.attempt(name, &Secret::new(password), None) }).await
    }

    /// So many passwords of `name` that are wrong, each another one, until one is not looked at. How many were, and the verdict on the next.
    async fn guess(&self, address: &str, name: &str, n: usize) -> (usize, Verdict) {
        for i in 0..n {
            let password = self.n_guessed.fetch_add(1, Ordering::Relaxed).to_string();
            let attempt = self.attempt(address, name, &password).await;
            match self.guesses.judge(&attempt) {
                Verdict::Open => self.guesses.wrong(&attempt),
                closed => return (i, closed),
            }
        }
        (n, self.verdict(address, name).await)
    }

    async fn verdict(&self, address: &str, name: &str) -> Verdict {
        self.guesses.judge(&self.attempt(address, name, "one that nobody has tried").await)
    }

    async fn prove(&self, address: &str, name: &str) {
        self.guesses.right(&self.attempt(address, name, "the password").await);
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn closed(seconds: u64, limit: &'static str) -> Verdict {
    Verdict::Closed { wait: Duration::from_secs(seconds), limit }
}

#[tokio::test]
async fn ten_are_looked_at_and_then_one_in_six_seconds() {
    let fixture = Fixture::new();
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (10, closed(6, "place")));
    fixture.pass(5);
    assert_eq!(fixture.verdict(HERE, "anna").await, closed(1, "place"));
    fixture.pass(1);
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (1, closed(6, "place")));
    // What was refused counts for nothing, and no more than ten gather.
    fixture.pass(3600);
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (10, closed(6, "place")));
}

#[tokio::test]
async fn who_guesses_keeps_out_neither_others_nor_elsewhere() {
    let fixture = Fixture::new();
    fixture.guess(HERE, "anna", 100).await;
    assert_eq!(fixture.verdict(HERE, "bert").await, Verdict::Open);
    assert_eq!(fixture.verdict(THERE, "anna").await, Verdict::Open);
}

#[tokio::test]
async fn a_user_is_let_in_where_they_were_before_while_many_guess() {
    let fixture = Fixture::new();
    fixture.prove(HERE, "anna").await;
    let mut n_looked_at = 0;
    for i in 0..100 {
        n_looked_at += fixture.guess(&format!("203.0.113.{i}"), "anna", 100).await.0;
    }
    assert_eq!(n_looked_at, 60, "of all of them together");
    assert_eq!(fixture.verdict(THERE, "anna").await, closed(1, "user"));
    assert_eq!(fixture.verdict(HERE, "anna").await, Verdict::Open);
    // What goes wrong for them there counts there only.
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (10, closed(6, "place")));
    fixture.pass(1);
    assert_eq!(fixture.verdict(THERE, "anna").await, Verdict::Open);
    fixture.pass(31 * 24 * 3600);
    for i in 0..100 {
        fixture.guess(&format!("203.0.113.{i}"), "anna", 100).await;
    }
    assert_eq!(fixture.verdict(HERE, "anna").await, closed(1, "user"), "it was long ago");
}

#[tokio::test]
async fn one_address_cannot_try_one_password_with_every_name() {
    let fixture = Fixture::new();
    fixture.prove(HERE, "anna").await;
    let mut n_looked_at = 0;
    for i in 0..100 {
        n_looked_at += fixture.guess(HERE, &format!("user{i}"), 1).await.0;
    }
    assert_eq!(n_looked_at, 60);
    assert_eq!(fixture.verdict(HERE, "bert").await, closed(1, "address"));
    assert_eq!(fixture.verdict(HERE, "anna").await, Verdict::Open, "known here");
    assert_eq!(fixture.verdict(THERE, "bert").await, Verdict::Open);
}

#[tokio::test]
async fn the_same_wrong_password_again_is_no_guess() {
    let fixture = Fixture::new();
    let stale = fixture.attempt(HERE, "anna", "the old password").await;
    fixture.guesses.wrong(&stale);
    for _ in 0..1_000 {
        assert_eq!(fixture.guesses.judge(&stale), Verdict::Repeated);
    }
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (9, closed(6, "place")));
    // What was wrong may be right when the user has changed.
    let mut user = User { disabled: true, ..with_password_hash("a hash") };
    let verdict_of = |user: &User| {
        let attempt = fixture.guesses.attempt("bert", &Secret::new("x"), Some(user));
        let verdict = fixture.guesses.judge(&attempt);
        fixture.guesses.wrong(&attempt);
        verdict
    };
    assert_eq!((verdict_of(&user), verdict_of(&user)), (Verdict::Open, Verdict::Repeated));
    user.disabled = false;
    assert_eq!((verdict_of(&user), verdict_of(&user)), (Verdict::Open, Verdict::Repeated));
    user.password_hash = Some("another hash".to_owned());
    assert_eq!(verdict_of(&user), Verdict::Open);
}

fn with_password_hash(hash: &str) -> User {
    User {
        name: "anna".to_owned(),
        password_hash: Some(hash.to_owned()),
        grants: Vec::new(),
        disabled: false,
        created_at_us: 0,
        changed_at_us: 0,
    }
}

#[tokio::test]
async fn another_password_ends_the_wait_for_its_user_and_forgets_nothing_else() {
    let fixture = Fixture::new();
    let attempt = async |address: &str, password: &str, user: &User| {
        place::at(address, async { fixture.guesses.attempt("anna", &Secret::new(password), Some(user)) }).await
    };
    let verdict = async |address: &str, user: &User| fixture.guesses.judge(&attempt(address, "untried", user).await);
    let old = with_password_hash("a hash");
    fixture.guesses.right(&attempt(HERE, "the password", &old).await);
    // Ten at each address are more than sixty of the user in all.
    for i in 0..70 {
        let address = format!("203.0.113.{}", i % 7);
        fixture.guesses.wrong(&attempt(&address, &i.to_string(), &old).await);
    }
    assert_eq!(verdict("203.0.113.0", &old).await, closed(11, "user"));
    assert_eq!(verdict(THERE, &old).await, closed(11, "user"));
    // What is no password is no reason.
    let changed = User { disabled: true, changed_at_us: 7, ..old.clone() };
    assert_eq!(verdict(THERE, &changed).await, closed(11, "user"));

    let new = with_password_hash("another hash");
    assert_eq!(verdict("203.0.113.0", &new).await, Verdict::Open);
    assert_eq!(verdict(THERE, &new).await, Verdict::Open);
    // Who guesses begins with as many as before, and no more.
    for i in 0..10 {
        fixture.guesses.wrong(&attempt(THERE, &format!("new {i}"), &new).await);
    }
    assert_eq!(verdict(THERE, &new).await, closed(6, "place"));
    // Where the old one was proved the user is still known: guesses elsewhere do not keep them out.
    for i in 0..70 {
        let address = format!("203.0.113.{}", 10 + i % 7);
        fixture.guesses.wrong(&attempt(&address, &i.to_string(), &new).await);
    }
    assert_eq!(verdict("203.0.113.200", &new).await, closed(21, "user"));
    assert_eq!(verdict(HERE, &new).await, Verdict::Open);
}

#[tokio::test]
async fn another_password_of_one_user_forgets_nothing_of_an_address() {
    let fixture = Fixture::new();
    for i in 0..60 {
        fixture.guess(HERE, &format!("user{i}"), 1).await;
    }
    let judged = place::at(HERE, async {
        let new = with_password_hash("another hash");
        fixture.guesses.judge(&fixture.guesses.attempt("anna", &Secret::new("x"), Some(&new)))
    });
    assert_eq!(judged.await, closed(1, "address"));
}

/// A dashboard asks with its old password for all of its panels at once, and beside it stand others with older ones.
#[tokio::test]
async fn programs_with_old_passwords_keep_nobody_out() {
    let fixture = Fixture::new();
    let mut old = Vec::new();
    for i in 0..MAX_KNOWN {
        old.push(fixture.attempt(HERE, "anna", &format!("old {i}")).await);
    }
    for stale in &old {
        let at_once: Vec<_> = (0..50).map(|_| fixture.guesses.judge(stale)).collect();
        assert!(at_once.iter().all(|verdict| *verdict == Verdict::Open), "the first is not found wrong yet");
        at_once.iter().for_each(|_| fixture.guesses.wrong(stale));
    }
    for _ in 0..100 {
        assert!(old.iter().all(|stale| fixture.guesses.judge(stale) == Verdict::Repeated), "in turn");
    }
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (10 - MAX_KNOWN, closed(6, "place")));
    assert_eq!(fixture.guesses.judge(&old[0]), closed(6, "place"), "others were wrong since");
}

/// A burst from one address gets no more looked at, and keeps the user out neither for long nor elsewhere.
#[tokio::test]
async fn of_many_that_come_at_once_no_more_are_looked_at() {
    let fixture = Fixture::new();
    let mut looking = Vec::new();
    for i in 0..100 {
        let attempt = fixture.attempt(HERE, "anna", &format!("at once {i}")).await;
        let (verdict, held) = fixture.guesses.look(&attempt);
        assert_eq!(verdict, if i < 10 { Verdict::Open } else { closed(6, "place") }, "{i}");
        looking.extend(held.map(|held| (attempt, held)));
    }
    // All panels of a dashboard have one password.
    let first = fixture.attempt(HERE, "anna", "at once 0").await;
    let panels: Vec<_> = (0..50).map(|_| fixture.guesses.look(&first)).collect();
    assert!(panels.iter().all(|(verdict, _)| *verdict == Verdict::Open));
    drop(panels);
    assert_eq!(fixture.verdict(HERE, "anna").await, closed(6, "place"));
    assert_eq!(fixture.verdict(THERE, "anna").await, Verdict::Open);
    for (attempt, held) in looking {
        fixture.guesses.wrong(&attempt);
        drop(held);
    }
    assert_eq!(fixture.verdict(HERE, "anna").await, closed(6, "place"));
    assert_eq!(fixture.verdict(THERE, "anna").await, Verdict::Open);
    // Who went away, or was right, leaves nothing.
    fixture.pass(3600);
    for i in 0..100 {
        let attempt = fixture.attempt(HERE, "anna", &format!("later {i}")).await;
        assert_eq!(fixture.guesses.look(&attempt).0, Verdict::Open);
    }
    assert_eq!(fixture.guess(HERE, "anna", 100).await, (10, closed(6, "place")));
}

/// Those of several users, or places, were let through side by side, before the first was found wrong.
#[tokio::test]
async fn what_is_beyond_a_rate_is_paid_off() {
    let fixture = Fixture::new();
    for i in 0..50 {
        fixture.guesses.wrong(&fixture.attempt(HERE, "anna", &i.to_string()).await);
    }
    assert_eq!(fixture.verdict(HERE, "anna").await, closed(41 * 6, "place"));
}

#[tokio::test]
async fn what_is_kept_has_a_bound() {
    let fixture = Fixture::new();
    // Of one user, whom many addresses guess.
    for i in 0..100 {
        fixture.guess(&format!("203.0.113.{i}"), "anna", 100).await;
    }
    let address = |i: usize| format!("2001:db8:0:{i:x}::1");
    // Each is three: a user, an address, and a user there.
    for i in 0..MAX_KEPT / 3 + 100 {
        fixture.guesses.wrong(&fixture.attempt(&address(i), &i.to_string(), "x").await);
    }
    for i in 0..MAX_KEPT + 100 {
        fixture.prove(&address(i), &i.to_string()).await;
    }
    assert_eq!(fixture.guesses.n_kept(), (MAX_KEPT, MAX_KEPT));
    assert_eq!(fixture.verdict(THERE, "anna").await, closed(1, "user"), "what matters for long stays");
    // What has passed makes way at once.
    fixture.pass(365 * 24 * 3600);
    let attempt = fixture.attempt(HERE, "anna", "x").await;
    fixture.guesses.wrong(&attempt);
    fixture.guesses.right(&attempt);
    assert_eq!(fixture.guesses.n_kept(), (3, 1));
}

fn headers(forwarded: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append("x-forwarded-for", HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn the_address_of_a_client_is_believed_to_who_may_say_it() {
    let peer = |address: &str| Peer::at(Some(format!("{address}:1").parse().expect("an address")));
    let mut proxy = peer(HERE);
    proxy.is_proxy = true;
    let known = |address: &str| Some(address.parse::<IpAddr>().expect("an address"));
    let (none, one) = (headers(&[]), headers(&["203.0.113.9, 203.0.113.10", "203.0.113.11,198.51.100.7"]));
    // Who comes by themselves is who they are, whatever they say.
    assert_eq!(place::of(&peer(HERE), &one), known(HERE));
    assert_eq!(place::of(&peer("[::ffff:192.0.2.1]"), &none), known(HERE));
    assert_eq!(place::of(&peer("[2001:db8:1:2:3:4:5:6]"), &none), known("2001:db8:1:2::"));
    // Behind a proxy, and on this machine, where one may run, nobody knows without its word.
    for peer in [proxy, peer("127.0.0.1"), peer("[::1]")] {
        assert_eq!(place::of(&peer, &none), None, "{peer:?}");
        assert_eq!(place::of(&peer, &one), known(THERE), "{peer:?}: the last one");
        assert_eq!(place::of(&peer, &headers(&["198.51.100.7:4711"])), known(THERE), "{peer:?}");
        for nobody in ["", "unknown", "127.0.0.1", "::1"] {
            assert_eq!(place::of(&peer, &headers(&[nobody])), None, "{peer:?} {nobody}");
        }
    }
    assert_eq!(place::of(&Peer::at(None), &none), None);
}
