//! What can be written on the command line?

mod access;
mod demo;
mod remote;
mod verbs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use access::{NewPasswordArgs, TokenArgs, TokenCommand, UserArgs, UserCommand};
pub use demo::DemoArgs;
pub use remote::Remote;
#[cfg(test)]
pub(super) use verbs::Shell;
pub use verbs::{
    CompletionsArgs, DoctorArgs, EventsArgs, OfTableArgs, OfTableCommand, QueryArgs, QueryCommand, VerifyArgs,
};

/// A real-time OLAP store with a built-in query server.
#[derive(Debug, Parser)]
#[command(name = "tidewater", version = crate::version::line(), arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub server: Remote,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  tidewater demo
  tidewater serve --data ./data
  tidewater ingest git_events events.parquet --create --key event_id --time authored_at
  tidewater sql -c 'SELECT count(*) FROM git_events'";

const SQL_NOTES: &str = "\
With -o the rows go into FILE, which is replaced when they are complete and left alone when anything fails. Its form is told by \
its name (.csv, .json, .ndjson, .parquet, .arrow, .md, .txt) or by --format. One statement may answer with rows then.

In the shell \\? lists the commands, and statements are kept in $XDG_STATE_HOME/tidewater/history (~/.local/state without it), \
but none with the word PASSWORD.";

const INGEST_NOTES: &str = "\
A load that was broken off goes on behind the last stored row when the command is repeated, also with another --chunk-rows. \
The server remembers a file for 7 days after it was last loaded; a repeat after that sends every row again, and only a \
primary key keeps them from being stored twice. TRUNCATE forgets rows and keys, not what was loaded: --again loads a file \
anew, and such a load does not go on when it is repeated.

CSV: the first line names the columns; each must be one of the table's. Values are texts, which the server casts to the \
table's types. An empty field is NULL, with quotes (\"\") or without: the two cannot be told apart.

Bad rows: a line that cannot be read (a wrong number of fields, bytes that are not UTF-8, no JSON object) and a value that \
does not fit its column reject their row, not the file. Rejected rows are kept in system.rejected with row, column, code \
and reason; --on-error abort stops at the first chunk that has one, and nothing of that chunk is stored.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server and a live stream for it, and check that all of the stream is there
    Demo(DemoArgs),
    /// Run a server
    Serve(ServeArgs),
    /// Run statements and print their answers; on a terminal without -c and -f: a shell
    #[command(after_help = SQL_NOTES)]
    Sql(SqlArgs),
    /// Load files into a table; a repeat within 7 days stores no row twice
    #[command(after_help = INGEST_NOTES)]
    Ingest(IngestArgs),
    /// List, show, seal and attach tables
    Table(TableArgs),
    /// Where the rows of tables are: in memory, in files on the server's disk, in the Delta table
    Segment(OfTableArgs),
    /// Who writes into tables, and how far each has come
    Producer(OfTableArgs),
    /// List and cancel queries
    Query(QueryArgs),
    /// What happened in the server lately
    Events(EventsArgs),
    /// List, make, change and drop users
    User(UserArgs),
    /// List, make and revoke tokens, with which programs come in
    Token(TokenArgs),
    /// Check tables, all without a name; fails with status 75 if something is not as it should be
    Verify(VerifyArgs),
    /// Check this machine and a running server, and say what to do
    Doctor(DoctorArgs),
    /// Succeed if the server takes requests
    Health,
    /// Show, check or begin a configuration
    Config(ConfigArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
}

/// Where settings come from.
#[derive(Debug, Args)]
pub struct SettingArgs {
    /// Configuration file [default: tidewater.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting, such as query.threads=2; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder of all data [default: ./tidewater-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of Flight SQL and gRPC [default: 127.0.0.1:8815]
    #[arg(long, value_name = "IP:PORT")]
    pub grpc: Option<String>,
    /// Address of HTTP [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<String>,
    /// Open a data folder that is an older copy, behind its own Delta tables, with what those have: what is in the folder alone is lost
    #[arg(long)]
    pub accept_data_loss: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value
    Show {
        /// Also print where each value comes from
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Succeed if a server could start with this configuration; `doctor` also asks the store of `storage.url`
    Check {
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Print a configuration file with all settings, commented out
    Example,
}

/// The form of printed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A box, for people
    Table,
    /// One line a column, for rows that are too wide for a box
    Expanded,
    Csv,
    /// An array of objects
    Json,
    /// One object a line
    Ndjson,
    Markdown,
    /// An Arrow IPC stream
    Arrow,
    Parquet,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Statements, separated by semicolons
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    pub command: Option<String>,
    /// File with statements; without -c and -f they are read from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write the rows into a file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Form of the rows [default: by the name of the file, else table on a terminal, else csv]
    #[arg(long, value_enum)]
    pub format: Option<OutputFormat>,
}

#[derive(Debug, Args)]
pub struct TableArgs {
    #[command(subcommand)]
    pub command: TableCommand,
}

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// All tables
    List {
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// One table: its figures and its columns
    Show {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Bring all acknowledged rows into the Delta table; succeeds when they are durable there
    Seal {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Bring all acknowledged rows into Parquet files on the server's disk; a later seal commits them
    Build {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Merge files of the Delta table that are better as one, as the server does by itself in time
    Compact {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Make a Delta table that another data folder made a table of this server, which alone commits to it from then on
    Attach {
        /// Its folder as the server sees it: a path, file:///folder/table or s3://bucket/prefix/table
        url: String,
        /// TABLE or SCHEMA.TABLE [default: the name that it has]
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Hide a table; for seven days undrop brings it back
    Drop {
        /// TABLE or SCHEMA.TABLE
        name: String,
    },
    /// Bring back a table that was dropped less than seven days ago
    Undrop {
        /// TABLE or SCHEMA.TABLE
        name: String,
    },
    /// Delete the rows of damaged files of which there is no copy, so that the table goes on without them
    GiveUp {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Check files, file index, keys and counters against each other; fails with status 75 if something is not as it should be
    Verify {
        /// TABLE or SCHEMA.TABLE
        name: String,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    Parquet,
    /// With a header line
    Csv,
    /// JSON objects, one a line or in an array
    Ndjson,
    /// Arrow IPC, file or stream
    Arrow,
}

/// What happens to rows that a table cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Store the good rows, keep the bad ones in system.rejected
    Keep,
    /// Stop at the first chunk with a bad row
    Abort,
}

/// What becomes of batches of which nobody can tell whether they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unsettled {
    /// Leave them in the file
    Keep,
    /// Send them; safe for tables with a primary key
    Send,
    /// Take them out of the file
    Drop,
}

/// How CSV is written.
#[derive(Debug, Clone, Default, Args)]
pub struct CsvArgs {
    /// CSV: what stands between fields, one character such as ';', or the word tab [default: tab for .tsv, else a comma]
    #[arg(long, value_name = "CHAR", allow_hyphen_values = true, value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// CSV: the text of NULL, such as \N; empty fields are empty texts then [default: an empty field is NULL]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub null: Option<String>,
}

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// TABLE or SCHEMA.TABLE
    #[arg(required_unless_present = "replay")]
    pub table: Option<String>,
    /// Files; - is standard input (CSV and NDJSON, not resumable)
    #[arg(required_unless_present = "replay", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Form of the files [default: by their names]
    #[arg(long, value_enum)]
    pub format: Option<InputFormat>,
    #[command(flatten)]
    pub csv: CsvArgs,
    /// Create the table in the shape of the first file if it does not exist; one with another key, time or order than asked for
    /// is refused
    #[arg(long)]
    pub create: bool,
    /// Columns of the primary key
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "create")]
    pub key: Vec<String>,
    /// Column of the event time
    #[arg(long, value_name = "COLUMN", requires = "create")]
    pub time: Option<String>,
    /// Columns that rows are sorted by
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "create")]
    pub sort: Vec<String>,
    /// Rows of a chunk, which is stored as a whole; fewer if they are large
    #[arg(long, value_name = "N", default_value_t = super::ingest::DEFAULT_CHUNK_ROWS,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub chunk_rows: u32,
    /// Load the files as if they had never been loaded; rows whose key is in the table are duplicates, without a key all are
    /// stored again
    #[arg(long)]
    pub again: bool,
    /// What becomes of rows that cannot be read or that the table cannot take
    #[arg(long, value_enum, default_value = "keep")]
    pub on_error: OnError,
    /// Send the batches of a Python client's dead-letter file again, each once; those that the server takes leave the file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "files", "format", "delimiter", "null", "create",
          "chunk_rows", "again", "on_error"])]
    pub replay: Option<PathBuf>,
    /// With --replay: what becomes of batches of which nobody can tell whether they are stored
    #[arg(long, value_enum, default_value = "keep", requires = "replay", conflicts_with = "table")]
    pub unsettled: Unsettled,
}

fn delimiter(text: &str) -> Result<u8, String> {
    crate::formats::csv::delimiter(text)
        .ok_or_else(|| "it is not one character; use a character such as ';', or the word tab".to_owned())
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
