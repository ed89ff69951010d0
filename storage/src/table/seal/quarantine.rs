//! Which files of a table are damaged? One is on record from the moment that it is found until it is whole again; who needs it is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use prost::Message;

use super::records::{read, with_version};
use crate::error::{Code, Error, Result};

/// Files that readers stumbled over and that nobody has tested yet: more are found by the test of all files.
const MAX_SUSPECTS: usize = 1_000;

/// What is wrong with a file of the Delta log that is not there.
const MISSING: &str = "it is missing: other engines cannot read the table";

/// What to do about a damaged file.
const HINT: &str = "restore the file from a copy and run CALL verify for its table; if there is none, CALL give_up deletes its rows; queries that do \
     not need it go on";

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub reason: String,
    /// When it was found, microseconds since 1970.
    pub found_at_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct DiskDamage {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(sint64, tag = "2")]
    found_at_us: i64,
}

impl Damage {
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        with_version(&DiskDamage { reason: self.reason.clone(), found_at_us: self.found_at_us })
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let DiskDamage { reason, found_at_us } = read(bytes, "a damaged file")?;
        Ok(Self { reason, found_at_us })
    }

    /// The error of who needs the file, which `named` says: by its path, or its name.
    pub fn error(&self, named: &str) -> Error {
        Error::new(Code::FileDamaged, format!("the file {named} is damaged: {}", self.reason)).hint(HINT)
    }
}

/// The damaged files of one table, by name. The names of files are unique for ever: what is known of one holds for all snapshots.
#[derive(Debug, Default)]
pub struct Quarantine {
    inner: Mutex<Inner>,
    /// Held by who changes which files are damaged, until the folder knows: its records come in the same order.
    pub(crate) recording: tokio::sync::Mutex<()>,
    /// Held while suspects are tested: who takes them from here is not done with them yet.
    pub(crate) testing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is on record was read.
    is_loaded: bool,
    damaged: BTreeMap<String, Damage>,
    /// Those of them that are not on record yet.
    unrecorded: BTreeSet<String>,
    suspects: BTreeSet<String>,
    /// Suspects that could not be tested, and why. Not again by itself: their store may be away for days.
    untested: BTreeMap<String, Code>,
    /// Files of the Delta log that other engines need and that are not there, as it was last found. Not on record: a start looks again.
    missing_log: BTreeMap<String, Damage>,
    /// How often each file, or its sidecar, became whole again, in this process.
    restored: HashMap<String, u32>,
}

impl Quarantine {
    /// `None`: nothing is known against the file.
    pub fn damage(&self, file: &str) -> Option<Damage> {
        self.inner.lock().damaged.get(file).cloned()
    }

    /// Somebody could not read the file as it should be: it is tested soon.
    pub fn suspect(&self, file: &str) {
        let mut inner = self.inner.lock();
        if inner.suspects.len() < MAX_SUSPECTS && !inner.damaged.contains_key(file) {
            inner.suspects.insert(file.to_owned());
        }
    }

    /// Changes when the file, or its sidecar, was restored: what was kept of its bytes before is not true any more.
    pub fn n_restored(&self, file: &str) -> u32 {
        self.inner.lock().restored.get(file).copied().unwrap_or(0)
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.inner.lock().damaged.contains_key(file)
    }

    /// All damaged files, by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Damage> {
        self.inner.lock().damaged.clone()
    }

    /// The Delta log was looked at, and lacks these files. Those of them that are news, and whether it had all before.
    pub(crate) fn note_log(&self, missing: Vec<String>, now_us: i64) -> (Vec<String>, bool) {
        let mut inner = self.inner.lock();
        let before = std::mem::take(&mut inner.missing_log);
        let news = missing.iter().filter(|name| !before.contains_key(*name)).cloned().collect();
        for name in missing {
            let found = || Damage { reason: MISSING.to_owned(), found_at_us: now_us };
            let damage = before.get(&name).cloned().unwrap_or_else(found);
            inner.missing_log.insert(name, damage);
        }
        (news, before.is_empty())
    }

    /// What the Delta log was last found to lack, by name.
    pub(crate) fn missing_log(&self) -> BTreeMap<String, Damage> {
        self.inner.lock().missing_log.clone()
    }

    /// What is on record when the table is opened. A worker that opens it again changes nothing: by then more is known than is on record.
    pub(crate) fn load(&self, damaged: BTreeMap<String, Damage>) {
        let mut inner = self.inner.lock();
        if !inner.is_loaded {
            (inner.is_loaded, inner.damaged) = (true, damaged);
        }
    }

    /// From here on nobody reads the file. Whether that is news.
    pub(crate) fn add(&self, file: &str, damage: Damage) -> bool {
        let mut inner = self.inner.lock();
        inner.suspects.remove(file);
        inner.untested.remove(file);
        if inner.damaged.contains_key(file) {
            return false;
        }
        inner.damaged.insert(file.to_owned(), damage);
        inner.unrecorded.insert(file.to_owned());
        true
    }

    /// What of a damaged file is to be put on record; `None`: it is.
    pub(crate) fn unrecorded(&self, file: &str) -> Option<Damage> {
        let inner = self.inner.lock();
        inner.damaged.get(file).filter(|_| inner.unrecorded.contains(file)).cloned()
    }

    pub(crate) fn note_recorded(&self, file: &str) {
        self.inner.lock().unrecorded.remove(file);
    }

    /// The file is whole again. Whether it was damaged.
    pub(crate) fn lift(&self, file: &str) -> bool {
        let mut inner = self.inner.lock();
        inner.untested.remove(file);
        inner.unrecorded.remove(file);
        let was_damaged = inner.damaged.remove(file).is_some();
        if was_damaged {
            *inner.restored.entry(file.to_owned()).or_default() += 1;
        }
        was_damaged
    }

    /// What stands beside the file was written again: what was kept of it is of no use.
    pub(crate) fn note_restored(&self, file: &str) {
        *self.inner.lock().restored.entry(file.to_owned()).or_default() += 1;
    }

    /// Nothing is known of any file.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        inner.damaged.is_empty() && inner.restored.is_empty() && inner.untested.is_empty()
    }

    /// Forgets files that are not in the table any more. Returns those that were damaged.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let mut inner = self.inner.lock();
        inner.restored.retain(|file, _| is_there(file));
        inner.untested.retain(|file, _| is_there(file));
        inner.unrecorded.retain(|file| is_there(file));
        let gone: Vec<String> = inner.damaged.keys().filter(|file| !is_there(file)).cloned().collect();
        gone.iter().for_each(|file| drop(inner.damaged.remove(file)));
        gone
    }

    /// `again`: also those that could not be tested before.
    pub(crate) fn take_suspects(&self, again: bool) -> BTreeSet<String> {
        let mut inner = self.inner.lock();
        let mut suspects = std::mem::take(&mut inner.suspects);
        if again {
            suspects.extend(std::mem::take(&mut inner.untested).into_keys());
        }
        suspects
    }

    /// A suspect could not be tested, and stays one. Whether that is news: a store that is away is so for all of them.
    pub(crate) fn note_untested(&self, file: &str, why: Code) -> bool {
        let mut inner = self.inner.lock();
        let is_known = match why {
            Code::StoreUnavailable => inner.untested.values().any(|known| *known == why),
            _ => inner.untested.get(file) == Some(&why),
        };
        if inner.untested.len() < MAX_SUSPECTS && !inner.damaged.contains_key(file) {
            inner.untested.insert(file.to_owned(), why);
        }
        !is_known
    }
}
