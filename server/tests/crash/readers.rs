//! What does a reader see while rows come, settle and go? Every row once, and none that was acknowledged is missing.

use std::collections::BTreeSet;

use crate::model::{Known, Row, Shared};
use crate::seen::try_numbers;
use crate::writers::Caller;

/// Asks again and again until the server dies, or nothing new is wanted. False: it died.
pub async fn read(caller: &Caller, table: &Shared) -> bool {
    let (name, has_key) = {
        let table = table.lock();
        (table.name, table.has_key)
    };
    let counts = format!("SELECT count(*), count(DISTINCT id), coalesce(sum(id), 0) FROM {name}");
    let rows = format!("SELECT id, src FROM {name}");
    while !caller.is_finishing() {
        let before = table.lock().known();
        let Some(found) = try_numbers(&caller.client, &counts).await else { return false };
        let bounds = Bounds::between(before, table.lock().known());
        bounds.check_counts(&format!("{name}, {found:?}"), &found[0]);

        let before = table.lock().known();
        let Some(found) = try_numbers(&caller.client, &rows).await else { return false };
        let bounds = Bounds::between(before, table.lock().known());
        let row = |row: &Vec<i64>| (row[0], if has_key { 0 } else { row[1] });
        bounds.check_rows(name, &found.iter().map(row).collect::<Vec<Row>>());
    }
    true
}

/// What a query may answer.
struct Bounds {
    /// Acknowledged before it began, and no DELETE named them, nor did a TRUNCATE come, before it ended.
    certain: BTreeSet<Row>,
    /// Sent before it ended, and not deleted or truncated before it began.
    possible: BTreeSet<Row>,
}

impl Bounds {
    /// `before` is of before the query began, `after` of after it ended.
    fn between(before: Known, after: Known) -> Self {
        if before.is_truncating || before.n_truncates < after.n_truncates {
            // Rows of before it are seen or not, and so are those that came since with keys that were deleted.
            return Self { certain: BTreeSet::new(), possible: before.sent.into_iter().chain(after.sent).collect() };
        }
        let may_go = |key: &i64| after.deleted.contains(key) || after.deleting.contains(key);
        let certain = before.stored.into_iter().filter(|(key, _)| !may_go(key)).collect();
        let possible = after.sent.into_iter().filter(|(key, _)| !before.deleted.contains(key)).collect();
        Self { certain, possible }
    }

    /// `found` are rows, distinct keys, and the sum of keys.
    fn check_counts(&self, what: &str, found: &[i64]) {
        let n_rows = self.certain.len() as i64..=self.possible.len() as i64;
        assert!(n_rows.contains(&found[0]), "{what}: rows, which are {n_rows:?}");
        let n_keys = n_keys(&self.certain)..=n_keys(&self.possible);
        assert!(n_keys.contains(&found[1]), "{what}: distinct keys, which are {n_keys:?}");
        let certain: i64 = self.certain.iter().map(|(key, _)| key).sum();
        let (mut least, mut most) = (certain, certain);
        for (key, _) in self.possible.difference(&self.certain) {
            least += key.min(&0);
            most += key.max(&0);
        }
        assert!((least..=most).contains(&found[2]), "{what}: the sum of keys, which is {least} to {most}");
    }

    fn check_rows(&self, name: &str, found: &[Row]) {
        let rows: BTreeSet<Row> = found.iter().copied().collect();
        assert_eq!(rows.len(), found.len(), "{name}: a reader sees a row twice");
        let missing = first(self.certain.difference(&rows));
        assert!(missing.is_empty(), "{name}: a reader misses {missing:?} and more");
        let strange = first(rows.difference(&self.possible));
        assert!(strange.is_empty(), "{name}: a reader sees {strange:?} and more, which cannot be there");
    }
}

fn first<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Row> {
    rows.take(5).copied().collect()
}

/// Distinct keys of rows, which are in the order of their keys.
fn n_keys(rows: &BTreeSet<Row>) -> i64 {
    let mut keys: Vec<i64> = rows.iter().map(|(key, _)| *key).collect();
    keys.dedup();
    keys.len() as i64
}
