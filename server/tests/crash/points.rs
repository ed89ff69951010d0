//! Where can the server be killed? The fail points of the write path and of jobs, the same as the code's own and its documentation's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// In the log's thread: every change passes them.
pub const LOG: [&str; 3] = ["log.before_write", "log.after_write", "log.after_witness"];

/// In a table's worker: what changes the rows or producers of a table passes them.
pub const TABLE: [&str; 4] =
    ["table.before_submit", "table.before_publish", "table.after_publish", "table.after_answer"];

/// At the start, before each entry of a table's log.
pub const REPLAY: &str = "replay.entry";

/// Where rows are brought into files on the local disk.
pub const BUILD: [&str; 4] =
    ["build.names_recorded", "build.file_written", "build.layer_written", "build.files_synced"];

/// Where files become part of the Delta table.
pub const PUBLISH: [&str; 5] =
    ["publish.file_brought", "publish.files_brought", "publish.before_send", "publish.after_send", "publish.settled"];

/// In the store of the Delta table's files.
pub const STORE: [&str; 4] = ["store.before_sync", "store.before_name", "store.after_name", "store.after_sync"];

/// In the same, where files go that belong to nothing.
pub const STORE_DELETES: [&str; 2] = ["store.before_delete", "store.after_delete"];

/// Between what a DELETE saw and its commit. No durable step stands there, so it is none of the write orders'.
pub const DELETE: [&str; 1] = ["delete.evaluated"];

/// Where a statement with too many rows for one entry is written.
pub const STAGE: [&str; 6] = [
    "stage.names_recorded",
    "stage.file_written",
    "stage.files_synced",
    "stage.layer_written",
    "stage.layers_synced",
    "stage.before_commit",
];

/// Where files of the Delta table are merged.
pub const COMPACT: [&str; 5] = [
    "compact.names_recorded",
    "compact.file_written",
    "compact.files_synced",
    "compact.file_brought",
    "compact.decided",
];

/// Where rejected rows were read that are tried again.
pub const REPLAY_REJECTED: [&str; 1] = ["replay.page_read"];

/// Where a Delta table that is there becomes a table.
pub const ATTACH: [&str; 5] =
    ["attach.file", "attach.run_written", "attach.keys_written", "attach.before_take_over", "attach.taken_over"];

/// Where files leave the Delta table that are past its retention.
pub const RETENTION: [&str; 1] = ["retention.decided"];

/// Where keys go to disk: those that memory does not hold, and those of files that are too many.
pub const KEYS: [&str; 2] = ["keys.run_written", "keys.files_written"];

/// Where the log of a Delta table gets a checkpoint.
pub const CHECKPOINT: [&str; 3] = ["checkpoint.before_write", "checkpoint.written", "checkpoint.read_back"];

/// All points of jobs. A new job adds its points here, and to a test that passes them.
const JOBS: [&[&str]; 11] = [
    &BUILD,
    &PUBLISH,
    &REPLAY_REJECTED,
    &STORE,
    &STORE_DELETES,
    &STAGE,
    &COMPACT,
    &ATTACH,
    &RETENTION,
    &KEYS,
    &CHECKPOINT,
];

/// Kinds of commits, and which tests strike each by its kind. The rest is struck by the points of all kinds.
const KINDS: [(&str, &str); 28] = [
    ("rows", "changes"),
    ("producer", "changes"),
    ("truncate", "changes, seals"),
    ("delete", "changes"),
    ("alter", "changes, seals"),
    ("create_table", "changes"),
    ("drop_table", "changes"),
    ("undrop_table", "changes"),
    ("create_view", "changes"),
    ("drop_view", "changes"),
    ("names", "changes"),
    ("build", "changes"),
    ("intent", "changes, seals, ages"),
    ("published", "changes, seals, ages"),
    ("cleaned", "seals, ages"),
    ("segment", "seals"),
    ("attach", "attaches"),
    ("account", "accounts"),
    ("first_start", "starts"),
    ("sync", "starts"),
    ("uptime", "starts"),
    ("records", "streams, random: counts of repeats"),
    ("reclaimed", "random: after each TRUNCATE and build"),
    ("layers", "keys"),
    ("damaged", "damage"),
    ("not_damaged", "damage"),
    ("forget", "ages"),
    ("purge_table", "ages"),
];

/// All that a write passes.
pub fn of_writes() -> impl Iterator<Item = &'static str> {
    LOG.into_iter().chain(TABLE)
}

/// A server may write to the log by itself soon after its start: it shall get ready before it is killed, whichever comes first.
const WRITES_AT_START: u32 = 1;

/// Arms a point for about its `visit`-th visit by a test's own writes.
pub fn kill(point: &str, visit: u32) -> String {
    let before = if LOG.contains(&point) { WRITES_AT_START } else { 0 };
    format!("{point}=kill:{}", visit + before)
}

/// What was on its way when the server was killed at this point of a write is in the log.
pub fn is_durable(point: &str) -> bool {
    !matches!(point, "log.before_write" | "table.before_submit")
}

/// All files below `folder` whose names end so. None if there is no such folder.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending)) {
                found.push(entry);
            }
        }
    }
    found
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in quotes behind each `call`.
fn named<'t>(text: &'t str, call: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(call).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The other tests show that each point in the lists is reached; this one that no point is missing from them.
#[test]
fn no_fail_point_is_forgotten() {
    let mut registered = BTreeSet::new();
    for part in ["storage/src", "query/src", "server/src"] {
        for file in files(&workspace().join(part), ".rs") {
            let text = text(&file);
            for call in [".hit(\"", ".hit_in(\"", " point(\""] {
                registered.extend(named(&text, call).map(str::to_owned));
            }
        }
    }
    let of_jobs = JOBS.into_iter().flatten().copied();
    let ours: BTreeSet<String> = of_writes().chain([REPLAY]).chain(of_jobs).map(str::to_owned).collect();
    assert_eq!(registered, ours, "the fail points in the code, and those at which these tests kill");
    let places = ["storage/src/table/commit.rs", "storage/src/env/durable_store.rs"];
    let documented = places.map(|place| text(&workspace().join(place))).concat();
    for point in ours {
        let is_documented = documented.contains(&format!("`{point}`"));
        assert!(is_documented, "{point} is not among the write orders, nor the store's points");
    }
}

/// The same for kinds of commits: a new one is to be struck, or it is said why not.
#[test]
fn no_kind_of_commit_is_forgotten() {
    let orders = text(&workspace().join("storage/src/table/commit.rs"));
    let made: BTreeSet<&str> = named(&orders, "kind: \"").collect();
    let ours: BTreeSet<&str> = KINDS.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(made, ours, "the kinds of commits in the code, and those that these tests know");
}
