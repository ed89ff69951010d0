//! Which rows of a stream have keys that others brought meanwhile? Their keys are read back from its files. The first row of a key wins.

use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

use crate::catalog::TableDef;
use crate::dedup::{KeySnapshot, KeySpec};
use crate::error::{Code, Error, Result};
use crate::sealed::read_columns;
use crate::table::{KeysSeen, Shared, Staged, StagedFile};

/// Marks the rows of `staged` whose keys the table has `now`. Reads files only if there may be some. Blocks.
pub(super) fn find_lost(staged: &mut Staged, now: KeysSeen, def: &TableDef, shared: &Shared) -> Result<()> {
    let Some(spec) = &shared.spec else { return Ok(()) };
    // What was forgotten meanwhile may have been looked up before: then all keys are looked up anew.
    let since = staged.seen.as_ref().filter(|before| before.id == now.id).map(|before| before.snapshot.through());
    let n_rows: u64 = staged.files.iter().map(|file| file.file.rows).sum();
    let layers: Vec<_> = staged.layers.iter().map(|layer| &layer.layer).collect();
    let may_meet = match since {
        // Rather the stream's keys than more keys of others.
        Some(since) => now.snapshot.n_since(since) > n_rows || now.snapshot.meets_since(since, &layers),
        None => true,
    };
    if may_meet {
        for file in &mut staged.files {
            file.lost = lost_rows(file, &now.snapshot, spec, def, shared)?;
        }
    }
    staged.seen = Some(now);
    Ok(())
}

/// The rows of a file whose keys are in `snapshot`.
fn lost_rows(
    file: &StagedFile,
    snapshot: &KeySnapshot,
    spec: &KeySpec,
    def: &TableDef,
    shared: &Shared,
) -> Result<RoaringBitmap> {
    let path = file.place.local().ok_or_else(|| Error::internal("a file of a stream is not on the local disk"))?;
    let mut lost = RoaringBitmap::new();
    let mut n_rows = 0;
    for rows in read_columns(path, &def.arrow_schema, &def.key)? {
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(Error::new(Code::ShuttingDown, "the server is shutting down"));
        }
        let rows = rows?;
        if let Some(known) = snapshot.probe(&spec.keys(&rows))? {
            lost.extend(known.set_indices().map(|row| n_rows + row as u32));
        }
        n_rows += rows.num_rows() as u32;
    }
    if u64::from(n_rows) != file.file.rows {
        return Err(Error::new(
            Code::FileDamaged,
            format!("{} has {n_rows} rows, {} were written", path.display(), file.file.rows),
        ));
    }
    Ok(lost)
}
