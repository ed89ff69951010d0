//! Is a Delta table on disk whole? Its log, its checkpoints and the files that they name, read line by line as any reader would, after a
//! server's death.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::writers::Came;

/// The Delta table of one of our tables, and what was known of it before.
#[derive(Debug)]
pub struct DeltaLog {
    /// Of all Delta tables.
    folder: PathBuf,
    table: &'static str,
    /// Commits as they were found: none of them ever changes, and none goes that no checkpoint has.
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
        let checkpoints = self.read(folder.as_deref());
        let mut replayed = Replayed::default();
        for (version, bytes) in self.commits.iter().enumerate() {
            let what = format!("{table} at version {version}");
            replayed.apply(&what, bytes);
            if let Some(bytes) = checkpoints.get(&version) {
                replayed.check_checkpoint(&format!("the checkpoint of {what}"), bytes);
            }
        }
        let newest = replayed.newest();
        let known = newest.map(|newest| (newest.version, newest.through));
        assert!(known >= self.acknowledged, "{table}: a seal was answered {:?}, there is {known:?}", self.acknowledged);
        if let Some(folder) = folder {
            replayed.check_files(table, &folder);
        }
        newest
    }

    /// The oldest version whose commit is still there.
    pub fn oldest(&self) -> usize {
        self.table_folder().map_or(0, |folder| commits(&folder).0)
    }

    /// Takes in what is in the folder; the checkpoints, by version.
    fn read(&mut self, folder: Option<&Path>) -> BTreeMap<usize, Vec<u8>> {
        let table = self.table;
        let (oldest, commits) = folder.map_or((0, Vec::new()), commits);
        let checkpoints = folder.map_or(BTreeMap::new(), checkpoints);
        let n_known = self.commits.len();
        assert!(oldest <= n_known, "{table}: version {n_known} is gone, and nobody has read it");
        assert!(commits.starts_with(&self.commits[oldest..]), "{table}: a commit is gone, or is another one");
        self.commits.truncate(oldest);
        self.commits.extend(commits);
        let last = checkpoints.keys().next_back().copied();
        assert!(oldest == 0 || last >= Some(oldest), "{table} begins with {oldest}, its last checkpoint is {last:?}");
        assert!(last.is_none_or(|last| last < self.commits.len()), "{table} has a checkpoint {last:?} of no version");
        checkpoints
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

/// Names of a log that end so, with their versions. Temporary names begin with a dot: no reader looks at them.
fn versions(log: &Path, ending: &str) -> Vec<(usize, String)> {
    let versions = names(log).into_iter().filter(|name| !name.starts_with('.')).filter_map(|name| {
        let version = name.strip_suffix(ending)?;
        Some((version.parse::<usize>().unwrap_or_else(|_| panic!("{name} in {}", log.display())), name))
    });
    versions.collect()
}

/// The oldest version of a table whose commit is there, and all commits from there on.
fn commits(folder: &Path) -> (usize, Vec<Vec<u8>>) {
    let log = folder.join("_delta_log");
    let versions = versions(&log, ".json");
    let oldest = versions.first().map_or(0, |(version, _)| *version);
    let commits = versions.into_iter().enumerate().map(|(at, (version, name))| {
        assert_eq!((version, name.len()), (oldest + at, 25), "versions in {}", log.display());
        fs::read(log.join(name)).expect("readable")
    });
    (oldest, commits.collect())
}

/// The checkpoints of a table. One that readers are told of is there.
fn checkpoints(folder: &Path) -> BTreeMap<usize, Vec<u8>> {
    let log = folder.join("_delta_log");
    let read = |(version, name): (usize, String)| (version, fs::read(log.join(name)).expect("readable"));
    let checkpoints: BTreeMap<usize, Vec<u8>> = versions(&log, ".checkpoint.parquet").into_iter().map(read).collect();
    if let Ok(said) = fs::read(log.join("_last_checkpoint")) {
        let said: Value = serde_json::from_slice(&said).expect("JSON");
        let version = number(&said, "version") as usize;
        assert!(checkpoints.contains_key(&version), "{} has no checkpoint {said}", log.display());
    }
    checkpoints
}

/// A file of the table as the log has it.
#[derive(Debug, PartialEq, Eq)]
struct File {
    bytes: i64,
    rows: i64,
    vector: Vector,
    /// Place and bytes, if the table has a key.
    sidecar: Option<(String, u64)>,
}

impl File {
    fn of(add: &Value) -> Self {
        let stats: Value = serde_json::from_str(text(add, "stats")).expect("statistics are JSON");
        let (bytes, rows) = (number(add, "size"), number(&stats, "numRecords"));
        Self { bytes, rows, vector: vector(add), sidecar: sidecar(add) }
    }
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
        if info["operation"] == "ATTACH" {
            // From here on it is another folder's.
            self.app_id = None;
        }
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
            assert!(self.added.insert((name.to_owned(), vector)), "{what}: {name} comes back as it was");
            let file = File::of(add);
            assert!(file.vector.n_rows < file.rows, "{what}: {name} has no row left: {file:?}");
            assert!(self.files.insert(name.to_owned(), file).is_none(), "{what}: {name} is there already");
        }
    }

    /// A checkpoint has what the commits through its version come to.
    fn check_checkpoint(&self, what: &str, bytes: &[u8]) {
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes));
        let batches = builder.and_then(|builder| builder.build()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut lines = LineDelimitedWriter::new(Vec::new());
        for batch in batches {
            let batch = batch.unwrap_or_else(|error| panic!("{what}: {error}"));
            lines.write(&batch).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        lines.finish().unwrap_or_else(|error| panic!("{what}: {error}"));
        let lines = String::from_utf8(lines.into_inner()).expect("JSON");
        let actions: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let declares = |name: &str| all(&actions, name).count() == 1;
        assert!(declares("protocol") && declares("metaData"), "{what} makes no table");
        let adds = all(&actions, "add").map(|add| (text(add, "path").to_owned(), File::of(add)));
        assert_eq!(adds.collect::<BTreeMap<_, _>>(), self.files, "files of {what}");
        let app_id = self.app_id.as_deref().expect("somebody has committed");
        let txn = all(&actions, "txn").find(|txn| text(txn, "appId") == app_id);
        assert_eq!(txn.map(|txn| number(txn, "version")), Some(self.through), "the last entry in {what}");
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
            let Some((beside, bytes)) = &file.sidecar else { continue };
            let found = fs::metadata(folder.join(beside)).unwrap_or_else(|error| panic!("{table}: {beside}: {error}"));
            assert_eq!(found.len(), *bytes, "{table}: bytes of {beside}");
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

fn sidecar(add: &Value) -> Option<(String, u64)> {
    let said = add["tags"]["tidewater.sidecar"].as_str()?;
    let [name, bytes, _] = said.split(':').collect::<Vec<_>>()[..] else { panic!("a sidecar is said to be {said}") };
    Some((name.to_owned(), bytes.parse().expect("a number")))
}

fn vector(of: &Value) -> Vector {
    match &of["deletionVector"] {
        Value::Null => Vector::default(),
        vector => Vector { place: text(vector, "pathOrInlineDv").to_owned(), n_rows: number(vector, "cardinality") },
    }
}
