//! How fast may passwords be guessed? Wrong ones count for a user at an address, for the user, and for the address; past a rate none is
//! looked at, not even the right one: who guesses must not see it pass.
//!
//! Nobody keeps others out with it. Where a user proved their password before, only what goes wrong for them there counts. Passwords that
//! were wrong lately are no new guesses: programs that were not told of a change use up nothing, also many that come at once. What was wrong
//! against a password that the user has no more counts for nothing against their new one. Whoever comes with a token, a bearer, a session
//! or a certificate is not asked. Names count whether there is such a user or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tidewater_storage::User;
use tidewater_storage::env::{Clock, Rng};

use super::place;
use crate::auth::Secret;

/// So many wrong passwords may come at once, then another one each time that this has passed.
#[derive(Clone, Copy)]
struct Rate {
    at_once: u32,
    every: Duration,
}

/// Of one user at one address: more than people mistype, and 14,400 a day.
const AT_PLACE: Rate = Rate { at_once: 10, every: Duration::from_secs(6) };

/// Of one user from everywhere, and of everybody at one address. It takes several addresses to use up that of a user.
const IN_ALL: Rate = Rate { at_once: 60, every: Duration::from_secs(1) };

/// Where a user proved their password is remembered for so long.
const PROVED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Wrong passwords of a user at a place that are known again: of so many programs that were not told of a change, each with another one.
pub(super) const MAX_KNOWN: usize = 8;

/// Of each kind. Past it that goes which matters for the shortest time.
pub(super) const MAX_KEPT: usize = 10_000;

/// Names, passwords and their hashes under a key that only this process knows: nothing of them is kept.
type Id = [u8; 32];

/// A password that somebody presents.
pub(in crate::auth) struct Attempt {
    /// The user's name there, whatever their password is: where they proved one, they are known.
    place: Id,
    /// The user there, and from everywhere, with the password that they have now: another password is another count. What an admin sets
    /// holds at once, and who guessed the old one has to begin anew, too.
    at_place: Id,
    user: Id,
    address: Option<Id>,
    password: Id,
}

/// What is to become of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) enum Verdict {
    /// It is looked at.
    Open,
    /// It is one that was wrong here lately.
    Repeated,
    /// It is not looked at before this time has passed, by this limit.
    Closed { wait: Duration, limit: &'static str },
}

pub(in crate::auth) struct Guesses {
    key: [u8; 32],
    kept: Mutex<Kept>,
    clock: Arc<dyn Clock>,
}

/// Times are by the clock's uptime.
#[derive(Default)]
struct Kept {
    wrong: HashMap<Id, Wrong>,
    /// Until when it is remembered that a user proved their password at a place.
    proved: HashMap<Id, Duration>,
    /// Passwords of a user at a place that are looked at now, each with how many present it.
    looking: HashMap<Id, HashMap<Id, usize>>,
}

/// A password is looked at, until this is dropped.
pub(in crate::auth) struct Looking<'g> {
    guesses: &'g Guesses,
    place: Id,
    password: Id,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut kept = self.guesses.kept.lock();
        let Some(passwords) = kept.looking.get_mut(&self.place) else { return };
        if let Some(n) = passwords.get_mut(&self.password) {
            *n -= 1;
            if *n == 0 {
                passwords.remove(&self.password);
            }
        }
        if passwords.is_empty() {
            kept.looking.remove(&self.place);
        }
    }
}

#[derive(Default)]
struct Wrong {
    /// When all that was wrong is paid off, at the rate of its limit.
    paid_off: Duration,
    /// The last ones, of a user at a place; the newest is last.
    known: VecDeque<Id>,
}

impl Rate {
    /// How long until another one may come.
    fn wait(self, paid_off: Duration, now: Duration) -> Duration {
        (paid_off + self.every).saturating_sub(now + self.every * self.at_once)
    }
}

impl Guesses {
    pub fn new(clock: Arc<dyn Clock>, rng: &dyn Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { key, kept: Mutex::default(), clock }
    }

    /// `user` is the one of this name, if there is one.
    pub fn attempt(&self, name: &str, password: &Secret, user: Option<&User>) -> Attempt {
        let address = place::here().map(|address| address.to_string());
        let here = address.as_deref().unwrap_or_default();
        // Salted, so that no two are alike, also of a user who was dropped and made again.
        let stored = user.and_then(|user| user.password_hash.as_deref()).unwrap_or_default();
        let disabled = if user.is_some_and(|user| user.disabled) { "disabled" } else { "" };
        Attempt {
            place: self.id(&["place", here, name]),
            at_place: self.id(&["at place", here, name, stored]),
            user: self.id(&["user", name, stored]),
            address: address.as_deref().map(|address| self.id(&["address", address])),
            password: self.id(&["password", password.expose(), disabled]),
        }
    }

    /// The verdict on an attempt. One that is open is counted as if it were wrong until what comes with it is dropped: of a user at a place no
    /// more are looked at side by side than may be wrong at once. Those who present one password are one.
    pub fn look(&self, attempt: &Attempt) -> (Verdict, Option<Looking<'_>>) {
        let now = self.clock.uptime();
        let mut kept = self.kept.lock();
        let verdict = kept.judge(attempt, now);
        if verdict != Verdict::Open {
            return (verdict, None);
        }
        *kept.looking.entry(attempt.at_place).or_default().entry(attempt.password).or_default() += 1;
        (verdict, Some(Looking { guesses: self, place: attempt.at_place, password: attempt.password }))
    }

    #[cfg(test)]
    pub(super) fn judge(&self, attempt: &Attempt) -> Verdict {
        self.kept.lock().judge(attempt, self.clock.uptime())
    }

    /// It was looked at, and is not the password. Those of several places or users may together be more than a rate allows: they are paid
    /// off all the same. If all are one password, which a dashboard asks with for each of its panels, it is one guess.
    pub fn wrong(&self, attempt: &Attempt) {
        let now = self.clock.uptime();
        let mut kept = self.kept.lock();
        if kept.is_known(attempt) {
            return;
        }
        for (id, rate, _) in kept.limits(attempt, now) {
            make_way(&mut kept.wrong, &id, now, |wrong| wrong.paid_off);
            let wrong = kept.wrong.entry(id).or_default();
            wrong.paid_off = wrong.paid_off.max(now) + rate.every;
            if id == attempt.at_place {
                if wrong.known.len() >= MAX_KNOWN {
                    wrong.known.pop_front();
                }
                wrong.known.push_back(attempt.password);
            }
        }
    }

    /// It is the password. What was wrong before still counts: another one may be guessing at the same address.
    pub fn right(&self, attempt: &Attempt) {
        let now = self.clock.uptime();
        let mut kept = self.kept.lock();
        make_way(&mut kept.proved, &attempt.place, now, |until| *until);
        kept.proved.insert(attempt.place, now + PROVED_FOR);
    }

    fn id(&self, parts: &[&str]) -> Id {
        let mut hash = Sha256::new().chain_update(self.key);
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }

    #[cfg(test)]
    pub(super) fn n_kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.wrong.len(), kept.proved.len())
    }
}

impl Kept {
    fn judge(&self, attempt: &Attempt, now: Duration) -> Verdict {
        if self.is_known(attempt) {
            return Verdict::Repeated;
        }
        let waits = self.limits(attempt, now).into_iter().map(|(id, rate, limit)| {
            let paid_off = self.wrong.get(&id).map_or(Duration::ZERO, |wrong| wrong.paid_off);
            let n_looking = if id == attempt.at_place { self.n_looking(attempt) } else { 0 };
            (rate.wait(paid_off.max(now) + rate.every * n_looking, now), limit)
        });
        match waits.max_by_key(|(wait, _)| *wait) {
            Some((wait, limit)) if !wait.is_zero() => Verdict::Closed { wait, limit },
            _ => Verdict::Open,
        }
    }

    /// Other passwords of the user at the place that are looked at now. They are few: others would not be.
    fn n_looking(&self, attempt: &Attempt) -> u32 {
        let passwords = self.looking.get(&attempt.at_place).into_iter().flat_map(HashMap::keys);
        passwords.filter(|password| **password != attempt.password).fold(0, |n, _| n + 1)
    }

    /// Whether this password was wrong for the user at the place lately.
    fn is_known(&self, attempt: &Attempt) -> bool {
        self.wrong.get(&attempt.at_place).is_some_and(|wrong| wrong.known.contains(&attempt.password))
    }

    /// What an attempt counts against, with the names of the limits.
    fn limits(&self, attempt: &Attempt, now: Duration) -> Vec<(Id, Rate, &'static str)> {
        let mut limits = vec![(attempt.at_place, AT_PLACE, "place")];
        if self.proved.get(&attempt.place).is_none_or(|until| *until <= now) {
            limits.push((attempt.user, IN_ALL, "user"));
            limits.extend(attempt.address.map(|address| (address, IN_ALL, "address")));
        }
        limits
    }
}

/// Makes way for `id` if it is not among them and they are as many as may be: what has passed goes, else what passes next.
fn make_way<V>(map: &mut HashMap<Id, V>, id: &Id, now: Duration, until: impl Fn(&V) -> Duration) {
    if map.len() < MAX_KEPT || map.contains_key(id) {
        return;
    }
    map.retain(|_, value| until(value) > now);
    if map.len() >= MAX_KEPT {
        let next = map.iter().min_by_key(|(_, value)| until(value)).map(|(id, _)| *id);
        next.and_then(|id| map.remove(&id));
    }
}
