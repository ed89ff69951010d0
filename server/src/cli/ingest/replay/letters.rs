//! What stands in a dead-letter file of the Python client, and how do its lines leave it? `dead_letters.py` there writes it, under the same
//! lock and with the same rules, so that producers and replays of both kinds may share a file.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tidewater_proto::ingest::v1 as pb;

/// A batch has 16 MiB, and is sent in no more than 64: as text of any kind it is shorter than this.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// A batch that found no place.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli::ingest) struct Letter {
    pub(in crate::cli::ingest) id: String,
    pub(in crate::cli::ingest) producer: String,
    /// Its number, if it may be stored under it; `None`: it is surely not stored.
    pub(in crate::cli::ingest) sequence: Option<u64>,
    /// Of the producer when it was sent; `None` beside a number: the server that could tell is not there any more.
    pub(in crate::cli::ingest) epoch: Option<u64>,
    pub(in crate::cli::ingest) last_acked: Option<u64>,
    /// The batch without who sends it.
    pub(in crate::cli::ingest) request: pb::WriteRequest,
}

/// A line as it is written. Fields that a later client adds are not for us.
#[derive(Deserialize)]
struct Line {
    id: String,
    schema: String,
    table: String,
    producer: String,
    #[serde(default)]
    options: Options,
    sequence: Option<u64>,
    epoch: Option<u64>,
    last_acked: Option<u64>,
    json_rows: Option<String>,
    arrow_ipc_stream: Option<String>,
}

/// `BatchOptions` as protobuf has it in JSON. An option that is not known here is refused: without it the rows might be stored otherwise.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Options {
    durability: Option<String>,
    on_row_error: Option<String>,
    schema_policy: Option<String>,
    expected_schema_version: u32,
    time_zone: String,
}

/// What tells a line from the others.
#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Letter {
    pub(in crate::cli::ingest) fn parse(line: &[u8]) -> anyhow::Result<Self> {
        let Line { id, schema, table, producer, options, sequence, epoch, last_acked, json_rows, arrow_ipc_stream } =
            serde_json::from_slice(line)?;
        let format = match (json_rows, arrow_ipc_stream) {
            (Some(rows), None) => pb::payload::Format::JsonRows(rows.into_bytes().into()),
            (None, Some(stream)) => pb::payload::Format::ArrowIpcStream(BASE64_STANDARD.decode(stream)?.into()),
            _ => return Err(anyhow!("it has not one of json_rows and arrow_ipc_stream")),
        };
        let request = pb::WriteRequest {
            table: Some(pb::TableRef { schema, table, ..Default::default() }),
            payload: Some(pb::Payload { format: Some(format) }),
            options: Some(options.try_into()?),
            ..Default::default()
        };
        Ok(Self { id, producer, sequence, epoch, last_acked, request })
    }
}

/// As it is found in the file.
impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.request.table.as_ref();
        let (schema, table) = table.map_or(("", ""), |table| (&*table.schema, &*table.table));
        write!(f, "id {} for {schema}.{table}", self.id)
    }
}

impl TryFrom<Options> for pb::BatchOptions {
    type Error = anyhow::Error;

    fn try_from(options: Options) -> anyhow::Result<Self> {
        Ok(Self {
            durability: named(options.durability, pb::Durability::from_str_name)?.into(),
            on_row_error: named(options.on_row_error, pb::OnRowError::from_str_name)?.into(),
            schema_policy: named(options.schema_policy, pb::SchemaPolicy::from_str_name)?.into(),
            expected_schema_version: options.expected_schema_version,
            time_zone: options.time_zone,
        })
    }
}

/// The value of this name; what stands for nothing without one.
fn named<T: Default>(name: Option<String>, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
    match name {
        None => Ok(T::default()),
        Some(name) => find(&name).ok_or_else(|| anyhow!("this release knows no {name}")),
    }
}

/// The file. It need not be there: it goes with its last line.
#[derive(Debug, Clone)]
pub(in crate::cli::ingest) struct DeadLetterFile {
    path: PathBuf,
}

impl fmt::Display for DeadLetterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl DeadLetterFile {
    pub(in crate::cli::ingest) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Its batches, each of which was found to be one; `None` if there is no file.
    pub(in crate::cli::ingest) fn read(&self) -> anyhow::Result<Option<Letters>> {
        let reading = || format!("reading {self}");
        let Some(locked) = self.locked().with_context(reading)? else { return Ok(None) };
        let mut lines = Lines::of(locked).with_context(reading)?;
        let mut n = 0;
        while let Some(line) = lines.next_line().with_context(reading)? {
            if !line.ends_with(b"\n") {
                // Cut by a crash it would be half a line. A person may have left it so, and it would go with the first line that is taken out.
                if Letter::parse(line).is_ok() {
                    bail!(
                        "the last line of {self} has no end: put a line break behind it, or remove it if its batch is stored"
                    );
                }
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let letter = Letter::parse(line);
            letter.with_context(|| {
                format!("line {} of {self} is no dead letter; mend it, or move it into another file", lines.number)
            })?;
            n += 1;
        }
        let file = lines.into_file();
        file.unlock().with_context(reading)?;
        Ok(Some(Letters { lines: Lines::of(file).with_context(reading)?, n, left: n }))
    }

    /// Takes away the lines of these batches. All others stay as they are, byte by byte. The file is another one then, durable under the name
    /// of the old: who reads sees the one or the other.
    pub(in crate::cli::ingest) fn take_out(&self, ids: &HashSet<String>) -> anyhow::Result<()> {
        self.try_take_out(ids).with_context(|| format!("taking stored batches out of {self}"))
    }

    fn try_take_out(&self, ids: &HashSet<String>) -> io::Result<()> {
        // Held until the end: a producer that adds a line meanwhile would add it to a file that goes.
        let Some(locked) = self.locked()? else { return Ok(()) };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = self.path.with_file_name(name);
        let mut file = BufWriter::new(File::create(&temporary)?);
        // Rows may be for nobody else to read.
        file.get_ref().set_permissions(locked.metadata()?.permissions())?;
        let is_out = |line: &[u8]| serde_json::from_slice::<Id>(line).is_ok_and(|line| ids.contains(&line.id));
        let mut lines = Lines::of(locked)?;
        let (mut n_out, mut n_left) = (0_u64, 0_u64);
        // What stands behind the last end was cut by a crash: its batch was never said to be here.
        while let Some(line) = lines.next_line()?.filter(|line| line.ends_with(b"\n")) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if is_out(line) {
                n_out += 1;
            } else {
                file.write_all(line)?;
                n_left += 1;
            }
        }
        if n_out == 0 {
            return fs::remove_file(&temporary);
        }
        if n_left == 0 {
            fs::remove_file(&self.path)?;
            fs::remove_file(&temporary)?;
        } else {
            file.into_inner()?.sync_all()?;
            fs::rename(&temporary, &self.path)?;
        }
        self.sync_folder();
        Ok(())
    }

    /// The file that has the name now, locked as long as it is held; `None` if there is none any more. Lines that a producer adds are all there,
    /// or none. Who may not write it does not read it either: what cannot leave the file is not sent.
    fn locked(&self) -> io::Result<Option<File>> {
        loop {
            let file = match File::options().read(true).write(true).open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            file.lock()?;
            let held = file.metadata()?;
            match fs::metadata(&self.path) {
                Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(Some(file)),
                // Another one was put in its place while we waited.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the change of names durable where the system lets us. Where it does not, lines come back whose batches the server knows.
    fn sync_folder(&self) {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            tracing::debug!(%error, "the folder cannot be synced");
        }
    }
}

/// The batches that were in a file when it was read, one of them in memory at a time. Lines that leave the file meanwhile, or come to it,
/// change nothing here: others put another file under its name, or write behind its end.
#[derive(Debug)]
pub(in crate::cli::ingest) struct Letters {
    lines: Lines,
    n: u64,
    left: u64,
}

impl Letters {
    /// How many there were at the beginning.
    pub(in crate::cli::ingest) fn n(&self) -> u64 {
        self.n
    }

    /// `None` behind the last.
    pub(in crate::cli::ingest) fn next_letter(&mut self) -> anyhow::Result<Option<Letter>> {
        while self.left > 0 {
            let Some(line) = self.lines.next_line()? else {
                bail!("the file of dead letters was cut while it was read")
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.left -= 1;
            return Letter::parse(line).map(Some);
        }
        Ok(None)
    }
}

/// The lines of a file, each with its end; the last may have none.
#[derive(Debug)]
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    /// Of `line`, from 1.
    number: u64,
}

impl Lines {
    /// From the beginning.
    fn of(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self { file: BufReader::new(file), line: Vec::new(), number: 0 })
    }

    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        self.number += 1;
        let n = self.file.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut self.line)?;
        if n as u64 > MAX_LINE_BYTES {
            let what = format!("line {} has more than {MAX_LINE_BYTES} bytes", self.number);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok((n > 0).then_some(&*self.line))
    }

    fn into_file(self) -> File {
        self.file.into_inner()
    }
}
