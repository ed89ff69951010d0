//! Is no key of a table there twice? Its keys are compared a part at a time, as small as memory needs, wherever its files are.

use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use roaring::RoaringBitmap;
use tokio::time::{Instant, timeout_at};
use xxhash_rust::xxh3::xxh3_64;

use super::bring::while_open;
use super::checksum::local_path;
use super::verify::{Check, MORE_TIME, failed, in_time, passed, unknown, with_rows};
use crate::catalog::TableDef;
use crate::dedup::{KeyIndex, KeySpec, Keys};
use crate::env::in_background;
use crate::error::{Code, Error, Result};
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix};
use crate::memory::Share;
use crate::sealed::{FileRef, RemoteFile, read_columns};
use crate::table::{Shared, Table, TableSnapshot};

const NAME: &str = "keys";

/// A check has this part of the memory for keys, and there is one at a time: those who write need the rest.
const MEMORY_DIVISOR: u64 = 4;

/// Where the keys do not fit, they are compared in so many times as many parts. Key columns are read once for each part.
const PARTS_STEP: u64 = 4;
const MAX_PARTS: u64 = 1024;

/// Integers that are equal but for so many bits are of one part: neighbours take few bits together.
const STRETCH_BITS: u32 = 16;

/// No key is there twice, as far as is known by then. Deleted rows are not looked at: among them are rows of streams that lost to others.
pub(super) async fn check_keys(table: &Table, until: Instant) -> Result<Check> {
    let shared = &table.shared;
    let Some(spec) = &shared.spec else {
        return Ok(passed(NAME, "the table has no primary key".to_owned()));
    };
    if let Some(why) = incomparable(&table.snapshot()) {
        return Ok(unknown(NAME, why));
    }
    let place = while_open(shared, Arc::clone(&shared.gate.key_checks).acquire_owned());
    let Ok(place) = timeout_at(until, place).await else {
        let why = "another check has the one place for a check of keys: check the table again when it has ended";
        return Ok(unknown(NAME, why.to_owned()));
    };
    let _one = place?;
    let compared = in_time(until, compare(table, spec)).await;
    compared.unwrap_or_else(|| Ok(unknown(NAME, format!("the keys were not compared in time: {MORE_TIME}"))))
}

/// Why keys may be there twice, or are not known.
fn incomparable(snapshot: &TableSnapshot) -> Option<String> {
    if snapshot.def().options.dedup_window_us.is_some() {
        return Some("keys are remembered for a window only, and may come again".to_owned());
    }
    // Its bytes may mean anything.
    let is_damaged = with_rows(snapshot).any(|file| snapshot.quarantine().has(&file.file.name));
    is_damaged.then(|| "a file is damaged, and the keys of its rows are not known".to_owned())
}

/// Keys were forgotten since the table was made, or last emptied, or nobody knows that: they may have come again.
fn has_forgotten(shared: &Shared) -> Result<bool> {
    let record = state_prefix(state_key::FORGOT_KEYS, shared.def.id, SHARD_ZERO);
    Ok(shared.store.get(Family::State, &record)?.is_some())
}

/// In as few parts as memory needs.
async fn compare(table: &Table, spec: &KeySpec) -> Result<Check> {
    let had_forgotten = has_forgotten(&table.shared)?;
    let mut n_parts = 1;
    loop {
        match compare_parts(table, spec, n_parts).await {
            Err(e) if e.code() == Code::DedupBudget && n_parts < MAX_PARTS => n_parts *= PARTS_STEP,
            Ok(Ok((n_rows, 0))) => return Ok(passed(NAME, format!("the keys of {n_rows} rows are all different"))),
            Ok(Ok((n_rows, n_twice))) => {
                let how = format!("{n_twice} of {n_rows} rows have a key that is there before");
                return Ok(match had_forgotten || has_forgotten(&table.shared)? {
                    true => unknown(NAME, format!("{how}: an earlier dedup_window forgot keys, or may have")),
                    false => failed(NAME, &[how]),
                });
            }
            Ok(Err(why)) => return Ok(unknown(NAME, why)),
            // Memory for keys, or a file that the first check names.
            Err(e) => return Ok(unknown(NAME, e.to_string())),
        }
    }
}

/// How many rows were looked at, and how many of them have a key that is there before; or why nobody can say. `DEDUP_BUDGET`: a part of the
/// keys does not fit.
async fn compare_parts(table: &Table, spec: &KeySpec, n_parts: u64) -> Result<Result<(u64, u64), String>> {
    let shared = &table.shared;
    let most = shared.memory.share(Share::Keys) / MEMORY_DIVISOR;
    // Gone when nobody waits for the answer any more: what is read must not be held longer.
    let asked = Arc::new(());
    let (mut n_rows, mut n_twice) = (0, 0);
    for part in 0..n_parts {
        // As the table is now: each part is compared by itself, and fresh rows are held for a moment only, not while files are read.
        let snapshot = table.snapshot();
        if let Some(why) = incomparable(&snapshot) {
            return Ok(Err(why));
        }
        let (fresh, files) = (snapshot.parts().to_vec(), snapshot.without_fresh_rows());
        drop(snapshot);
        let seen = KeyIndex::new(spec, &shared.memory).with_max_bytes(most);
        let mut pass = Pass::new(spec, seen, (part, n_parts), &asked);
        pass = pass.with(move |pass| fresh.iter().try_for_each(|part| pass.add(&part.rows, None))).await?;
        for file in with_rows(&files) {
            pass = pass.with_file(shared, file, files.def()).await?;
        }
        n_rows += pass.n_rows;
        n_twice += pass.n_twice;
    }
    Ok(Ok((n_rows, n_twice)))
}

/// One walk over all rows, which looks at a part of the keys.
pub(super) struct Pass {
    spec: KeySpec,
    seen: KeyIndex,
    part: u64,
    n_parts: u64,
    pub(super) n_rows: u64,
    pub(super) n_twice: u64,
    is_asked: Weak<()>,
}

impl Pass {
    /// It goes on as long as `asked` is there.
    pub(super) fn new(spec: &KeySpec, seen: KeyIndex, (part, n_parts): (u64, u64), asked: &Arc<()>) -> Self {
        Self { spec: spec.clone(), seen, part, n_parts, n_rows: 0, n_twice: 0, is_asked: Arc::downgrade(asked) }
    }

    /// On a thread of its own.
    async fn with(mut self, work: impl FnOnce(&mut Self) -> Result<()> + Send + 'static) -> Result<Self> {
        in_background("verify", move || work(&mut self).map(|()| self)).await?
    }

    /// The rows of a file; one that is elsewhere is fetched, as far as keys need it.
    async fn with_file(mut self, shared: &Arc<Shared>, file: &FileRef, def: &Arc<TableDef>) -> Result<Self> {
        if let Some(path) = local_path(shared, file) {
            let (def, place, deleted) = (Arc::clone(def), Arc::clone(&file.place), file.deleted.clone());
            let read = move |pass: &mut Self| {
                // Its name does not go meanwhile.
                let _held = place;
                pass.add_all(read_columns(&path, &def.arrow_schema, &def.key)?, deleted.as_deref(), 0)
            };
            return self.with(read).await;
        }
        let store = file.place.store(shared.folders.stores());
        let remote = RemoteFile::open(store, &file.place.path, file.file.bytes).await?;
        let mut first = 0;
        for group in 0..remote.n_groups() {
            let fetched = remote.fetch(group, &def.key).await?;
            let (def, deleted, n_rows) = (Arc::clone(def), file.deleted.clone(), fetched.n_rows());
            let read = move |pass: &mut Self| pass.add_all(fetched.rows(&def.arrow_schema)?, deleted.as_deref(), first);
            self = self.with(read).await?;
            first += n_rows;
        }
        Ok(self)
    }

    /// Rows of a file from the row `first` on.
    pub(super) fn add_all(
        &mut self,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        deleted: Option<&RoaringBitmap>,
        mut first: u64,
    ) -> Result<()> {
        for rows in batches {
            if self.is_asked.strong_count() == 0 {
                return Err(Error::new(Code::QueryCancelled, "nobody waits for the check any more"));
            }
            let rows = rows?;
            let gone = deleted.map(|deleted| {
                let is_gone = |row: usize| u32::try_from(first + row as u64).is_ok_and(|row| deleted.contains(row));
                BooleanBuffer::collect_bool(rows.num_rows(), is_gone)
            });
            self.add(&rows, gone.as_ref())?;
            first += rows.num_rows() as u64;
        }
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch, gone: Option<&BooleanBuffer>) -> Result<()> {
        let keys = self.spec.keys(rows);
        let others = self.others(&keys, gone);
        let skip = others.as_ref().or(gone);
        let n_rows = rows.num_rows() - skip.map_or(0, BooleanBuffer::count_set_bits);
        self.seen.has_capacity(n_rows)?;
        self.n_rows += n_rows as u64;
        self.n_twice += self.seen.claim(&keys, skip).n_losers as u64;
        Ok(())
    }

    /// Rows that are gone, and those whose keys are of another part. `None`: there is one part.
    fn others(&self, keys: &Keys, gone: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
        if self.n_parts == 1 {
            return None;
        }
        let is_other =
            |row: usize, hash: u64| hash % self.n_parts != self.part || gone.is_some_and(|gone| gone.value(row));
        Some(match keys {
            Keys::Integers(keys) => BooleanBuffer::collect_bool(keys.len(), |row| {
                is_other(row, xxh3_64(&(keys[row] >> STRETCH_BITS).to_le_bytes()))
            }),
            Keys::Hashes(keys) => {
                BooleanBuffer::collect_bool(keys.len(), |row| is_other(row, xxh3_64(&keys[row].to_le_bytes())))
            }
        })
    }
}
