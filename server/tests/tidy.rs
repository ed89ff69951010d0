//! Does the code keep to the rules that no lint knows? Headers, sizes, words, and which part may know which.

use std::fs;
use std::path::{Path, PathBuf};

/// Production files stay under this many lines; tests and generated code may be longer.
const MAX_FILE_LINES: usize = 500;
const MAX_FOLDER_FILES: usize = 12;
const MAX_MAIN_LINES: usize = 80;

/// Words that the code and its documentation do not use (each stands here in two parts).
const WORDS: [(&str, &str); 5] = [("ti", "de"), ("la", "nd"), ("do", "or"), ("ro", "om"), ("off", "line")];

/// Files that may be longer, with the reason. The list may only shrink.
const LONG_FILES: [&str; 0] = [];

/// Layers of `storage`: a module may use its own layer's modules only if listed, and those of lower layers.
const LAYERS: [(&str, u8); 25] = [
    ("ids", 0),
    ("error", 0),
    ("limits", 0),
    ("memory", 0),
    ("env", 0),
    ("fuse", 0),
    ("untrusted", 0),
    ("catalog", 1),
    ("access", 2),
    ("log", 2),
    ("producers", 2),
    ("admission", 2),
    ("dedup", 2),
    ("realtime", 2),
    ("sealed", 2),
    ("table", 3),
    ("publishing", 4),
    ("sealing", 5),
    ("attaching", 5),
    ("compaction", 5),
    ("retention", 5),
    ("scrub", 5),
    ("jobs", 6),
    ("trial", 6),
    ("engine", 6),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// All files below `folder` with this ending, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").path()) {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with('.') || name == "target" || name == "__pycache__" {
                continue;
            }
            if entry.is_dir() {
                open.push(entry);
            } else if name.ends_with(ending) {
                found.push(entry);
            }
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "tests.rs" | "testkit" | "examples")))
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the workspace").display().to_string()
}

fn check(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_file_says_which_question_it_answers() {
    let mut problems = Vec::new();
    for path in files(&root(), ".rs") {
        let text = fs::read_to_string(&path).expect("text");
        if !text.starts_with("//! ") {
            problems.push(format!("{}: the first line is not //!", name(&path)));
        }
    }
    check(problems);
}

#[test]
fn files_and_folders_can_be_read_in_one_sitting() {
    let mut problems = Vec::new();
    for path in files(&root(), ".rs").into_iter().filter(|p| !is_test(p)) {
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        let limit = if path.ends_with("src/main.rs") { MAX_MAIN_LINES } else { MAX_FILE_LINES };
        if lines >= limit && !LONG_FILES.contains(&name(&path).as_str()) {
            problems.push(format!("{}: {lines} lines, at most {limit}", name(&path)));
        }
        let folder = path.parent().expect("a folder");
        let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
        let n_files = entries.filter(|entry| !is_test(entry)).count();
        if n_files > MAX_FOLDER_FILES && folder.file_name().is_some_and(|f| f != "src") {
            problems.push(format!("{}: {n_files} entries, at most {MAX_FOLDER_FILES}", name(folder)));
        }
    }
    problems.dedup();
    check(problems);
}

/// Prints functions of 70 lines and more; the figure is for people, not a gate.
#[test]
fn long_functions_are_listed() {
    for path in files(&root(), ".rs").into_iter().filter(|p| !is_test(p)) {
        let text = fs::read_to_string(&path).expect("text");
        let mut begun: Option<(usize, usize, String)> = None;
        for (i, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if begun.is_none() && line.contains("fn ") && line.trim_end().ends_with('{') {
                begun = Some((i, indent, line.trim().to_owned()));
            } else if let Some((from, own, what)) = &begun
                && line.trim_end() == "}"
                && indent == *own
            {
                if i - from >= 70 {
                    println!("{}:{}: {} lines: {what}", name(&path), from + 1, i - from);
                }
                begun = None;
            } else if line.trim_end() == "}" {
                begun = begun.filter(|(_, own, _)| indent > *own);
            }
        }
    }
}

#[test]
fn the_words_are_the_fields_own() {
    let mut problems = Vec::new();
    let own = Path::new("server/tests/tidy.rs");
    for ending in [".rs", ".md", ".proto", ".py", ".sh", ".toml"] {
        for path in files(&root(), ending) {
            if path.ends_with(own) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("text").to_lowercase();
            for (i, line) in text.lines().enumerate() {
                let mut words = line.split(|c: char| !c.is_ascii_alphabetic());
                if let Some((a, b)) = WORDS.iter().find(|(a, b)| words.clone().any(|w| w == format!("{a}{b}"))) {
                    problems.push(format!("{}:{}: the word '{a}{b}'", name(&path), i + 1));
                }
                let _ = words.next();
            }
        }
    }
    check(problems);
}

/// The crates' arrows: who may depend on whom. Read from each manifest's `[dependencies]`.
#[test]
fn crates_know_only_what_they_may() {
    let forbidden: [(&str, &[&str]); 5] = [
        ("proto", &["tidewater-", "datafusion", "rocksdb"]),
        ("storage", &["tidewater-", "datafusion", "tonic", "axum", "hyper", "arrow-flight"]),
        (
            "query",
            &[
                "tidewater-proto",
                "tidewater-server",
                "tidewater-client",
                "tonic",
                "axum",
                "rocksdb",
                "deltalake",
                "arrow-flight",
            ],
        ),
        ("clients/rust", &["tidewater-storage", "tidewater-query", "tidewater-server", "datafusion", "rocksdb"]),
        ("server", &["tidewater-benches", "datafusion", "rocksdb"]),
    ];
    let mut problems = Vec::new();
    for (folder, names) in forbidden {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        for line in section.lines() {
            let dependency = line.split('.').next().unwrap_or_default().trim();
            if names.iter().any(|n| dependency.starts_with(n)) {
                problems.push(format!("{folder} depends on {dependency}"));
            }
        }
    }
    check(problems);
}

#[test]
fn storage_keeps_its_layers() {
    let layer = |module: &str| LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer);
    let mut problems = Vec::new();
    let source = root().join("storage/src");
    for path in files(&source, ".rs").into_iter().filter(|p| !is_test(p)) {
        let inner = path.strip_prefix(&source).expect("below src");
        let own = inner.components().next().and_then(|c| c.as_os_str().to_str()).unwrap_or_default();
        let own = own.trim_end_matches(".rs");
        let Some(own_layer) = layer(own) else { continue };
        for line in fs::read_to_string(&path).expect("text").lines() {
            let Some(rest) = line.trim_start().trim_start_matches("pub ").strip_prefix("use crate::") else { continue };
            let used = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let Some(used_layer) = layer(used) else { continue };
            let allowed = used == own || used_layer < own_layer || (own_layer == 0 && used_layer == 0);
            if !allowed {
                problems.push(format!("storage/src/{}: uses {used}", inner.display()));
            }
        }
    }
    check(problems);
}
