//! Is a Delta table on disk whole? Its log and the files that it names, read line by line as any reader would, after a server's death.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::writers::Came;

/// The Delta table of one of our tables, and what was known of it before.
#[derive(Debug)]
pub struct DeltaLog {
    /// Of all Delta tables.
    folder: PathBuf,
    table: &'static str,
    /// Commits as they were found: none of them ever changes or goes.
    commits: Vec<Vec<u8>>,
    /// What a seal was answered last: the version, and the last entry in it.
    acknowledged: Option<(i64, i64)>,
}

/// The newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    pub version: i64,
    /// The last entry of the log that is in the table.
    pub through: i64,
    /// Without deleted ones.
    pub rows: i64,
    pub files: i64,
}

impl DeltaLog {
    /// `data` is the folder of a server.
    pub fn of(data: &Path, table: &'static str) -> Self {
        Self { folder: data.join("tables"), table, commits: Vec::new(), acknowledged: None }
    }

    /// A seal was answered.
    pub fn acknowledge(&mut self, came: Came) {
        let Some(version) = came.delta_version else { return };
        let before = self.acknowledged.replace((version, came.through));
        assert!(before <= self.acknowledged, "{}: a seal came to {came:?}, one before to {before:?}", self.table);
    }

    /// Tests the whole log from its first version on. Nobody may commit meanwhile. `None`: there is no Delta table yet.
    pub fn check(&mut self) -> Option<Newest> {
        let table = self.table;
        let folder = self.table_folder();
        let commits = folder.as_deref().map_or(Vec::new(), commits);
        assert!(commits.starts_with(&self.commits), "{table}: a commit is gone, or is another one");
        let mut replayed = Replayed::default();
        for (version, bytes) in commits.iter().enumerate() {
            replayed.apply(&format!("{table} at version {version}"), bytes);
        }
        self.commits = commits;
        let newest = replayed.newest();
        let known = newest.map(|newest| (newest.version, newest.through));
        assert!(known >= self.acknowledged, "{table}: a seal was answered {:?}, there is {known:?}", self.acknowledged);
        if let Some(folder) = folder {
            replayed.check_files(table, &folder);
        }
        newest
    }

    fn table_folder(&self) -> Option<PathBuf> {
        let begins = format!("{}-", self.table);
        let mut found = names(&self.folder).into_iter().filter(|name| name.starts_with(&begins));
        let name = found.next()?;
        assert_eq!(found.next(), None, "{} has one folder", self.table);
        Some(self.folder.join(name))
    }
}

/// Names in a folder, in order; none if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8")).collect();
    names.sort_unstable();
    names
}

/// The commits of a table, version by version. Temporary names begin with a dot: no reader looks at them.
fn commits(folder: &Path) -> Vec<Vec<u8>> {
    let log = folder.join("_delta_log");
    let commits = names(&log).into_iter().filter(|name| name.ends_with(".json") && !name.starts_with('.'));
    commits
        .enumerate()
        .map(|(version, name)| {
            assert_eq!(name, format!("{version:020}.json"), "versions in {}", log.display());
            fs::read(log.join(name)).expect("readable")
        })
        .collect()
}

/// A file of the table as the log has it.
#[derive(Debug)]
struct File {
    bytes: i64,
    rows: i64,
    vector: Vector,
}

/// The deletion vector of a file: where it is, and how many rows are deleted.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Vector {
    place: String,
    n_rows: i64,
}

/// The table after some versions.
#[derive(Debug, Default)]
struct Replayed {
    n_versions: i64,
    files: BTreeMap<String, File>,
    /// All that ever came in: names, and names with their deletion vector.
    names: BTreeSet<String>,
    added: BTreeSet<(String, Vector)>,
    commit_ids: BTreeSet<String>,
    app_id: Option<String>,
    through: i64,
    timestamp_ms: i64,
}

impl Replayed {
    fn apply(&mut self, what: &str, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let actions: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str::<Value>).collect();
        let actions = actions.unwrap_or_else(|error| panic!("{what} is not whole: {error}"));
        assert!(!actions.is_empty(), "{what} is empty");
        let is_first = self.n_versions == 0;
        let declares = |name: &str| all(&actions, name).count() == 1;
        assert!(!is_first || (declares("protocol") && declares("metaData")), "{what} makes no table");
        self.apply_info(what, &actions);
        self.apply_files(what, &actions);
        self.n_versions += 1;
    }

    /// Who commits, which entries of the log, and when.
    fn apply_info(&mut self, what: &str, actions: &[Value]) {
        let info = all(actions, "commitInfo").next().unwrap_or_else(|| panic!("{what} has no commitInfo"));
        let own = &info["tidewater"];
        assert!(self.commit_ids.insert(text(own, "commitId").to_owned()), "{what} is there twice");
        let timestamp_ms = number(info, "timestamp");
        assert!(timestamp_ms >= self.timestamp_ms, "{what} is of before the one before it");
        self.timestamp_ms = timestamp_ms;
        let mut txns = all(actions, "txn");
        let Some(txn) = txns.next() else { return };
        assert!(txns.next().is_none(), "{what} has two transactions");
        let app_id = self.app_id.get_or_insert_with(|| text(txn, "appId").to_owned());
        assert!(app_id.starts_with("tidewater/") && app_id.as_str() == text(txn, "appId"), "{what} is another's");
        let (from, through) = (number(own, "from"), number(own, "through"));
        assert_eq!(number(txn, "version"), through, "{what}: its transaction, and the last entry that it brings");
        assert_eq!(from, self.through, "{what} does not begin where the one before ended");
        assert!(through >= from, "{what} goes back from {from} to {through}");
        self.through = through;
    }

    /// A file leaves as it is, comes in once, and comes back only with another deletion vector, in the commit that takes it out.
    fn apply_files(&mut self, what: &str, actions: &[Value]) {
        let mut left = BTreeSet::new();
        for remove in all(actions, "remove") {
            let name = text(remove, "path");
            let file = self.files.remove(name).unwrap_or_else(|| panic!("{what}: {name} leaves, and is not there"));
            assert_eq!(file.vector, vector(remove), "{what}: {name} leaves with another deletion vector");
            left.insert(name);
        }
        for add in all(actions, "add") {
            let (name, vector) = (text(add, "path"), vector(add));
            let is_new = self.names.insert(name.to_owned());
            assert!(is_new || left.contains(name), "{what}: {name} comes in twice");
            assert!(self.added.insert((name.to_owned(), vector.clone())), "{what}: {name} comes back as it was");
            let stats: Value = serde_json::from_str(text(add, "stats")).expect("statistics are JSON");
            let file = File { bytes: number(add, "size"), rows: number(&stats, "numRecords"), vector };
            assert!(file.vector.n_rows < file.rows, "{what}: {name} has no row left: {file:?}");
            assert!(self.files.insert(name.to_owned(), file).is_none(), "{what}: {name} is there already");
        }
    }

    fn newest(&self) -> Option<Newest> {
        let rows: i64 = self.files.values().map(|file| file.rows - file.vector.n_rows).sum();
        let (version, files) = (self.n_versions - 1, self.files.len() as i64);
        (self.n_versions > 0).then_some(Newest { version, through: self.through, rows, files })
    }

    /// What the log names is there, whole.
    fn check_files(&self, table: &str, folder: &Path) {
        for (name, file) in &self.files {
            let found = fs::metadata(folder.join(name)).unwrap_or_else(|error| panic!("{table}: {name}: {error}"));
            assert_eq!(found.len() as i64, file.bytes, "{table}: bytes of {name}");
        }
        let vectors: BTreeSet<&str> = self.files.values().map(|file| file.vector.place.as_str()).collect();
        let n_named = vectors.iter().filter(|place| !place.is_empty()).count();
        let n_found = names(&folder.join("_dv")).iter().filter(|name| name.starts_with("deletion_vector_")).count();
        assert!(n_named <= n_found, "{table}: {n_named} deletion vectors are in the log, {n_found} on disk");
    }
}

fn all<'a>(actions: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    actions.iter().filter_map(move |action| action.get(name))
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("no text '{name}' in {of}"))
}

fn number(of: &Value, name: &str) -> i64 {
    of[name].as_i64().unwrap_or_else(|| panic!("no number '{name}' in {of}"))
}

fn vector(of: &Value) -> Vector {
    match &of["deletionVector"] {
        Value::Null => Vector::default(),
        vector => Vector { place: text(vector, "pathOrInlineDv").to_owned(), n_rows: number(vector, "cardinality") },
    }
}
