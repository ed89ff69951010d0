//! Where can the server be killed? The fail points of the write path, the same as the code's own and its documentation's.

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

/// What was on its way when the server was killed at this point is in the log.
pub fn is_durable(point: &str) -> bool {
    !matches!(point, "log.before_write" | "table.before_submit")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
}

/// The other tests show that each point in the lists is reached; this one that no point is missing from them.
#[test]
fn no_fail_point_is_forgotten() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    for part in ["storage/src", "query/src", "server/src"] {
        sources(&workspace.join(part), &mut files);
    }
    let mut registered = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        let calls = [".hit(\"", ".hit_in(\"", " point(\""].into_iter().flat_map(|call| text.split(call).skip(1));
        let calls = calls.filter_map(|rest| rest.split('"').next());
        registered.extend(calls.map(str::to_owned));
    }
    let ours: BTreeSet<String> = of_writes().chain([REPLAY]).map(str::to_owned).collect();
    assert_eq!(registered, ours, "the fail points in the code, and those at which these tests kill");
    let documented = fs::read_to_string(workspace.join("storage/src/table/commit.rs")).expect("text");
    for point in ours {
        assert!(documented.contains(&format!("`{point}`")), "{point} is not among the write orders");
    }
}
