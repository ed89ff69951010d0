//! What went wrong? One error for storage and queries: rich inside, a few kinds outside, a stable code.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error. The server maps each kind to a gRPC and an HTTP status, in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong; the same request fails again.
    InvalidArgument,
    NotFound,
    AlreadyExists,
    /// The request is fine, the state is not (fenced, schema changed, read-only).
    FailedPrecondition,
    /// A producer's sequence has a gap.
    OutOfRange,
    /// A predecessor on the same stream failed; send again in order.
    Aborted,
    /// A limit or a budget is used up; try again later.
    ResourceExhausted,
    Unavailable,
    DeadlineExceeded,
    Cancelled,
    /// Acknowledged data is missing or damaged.
    DataLoss,
    Unsupported,
    Unauthenticated,
    PermissionDenied,
    /// A bug of ours.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $kind:ident, $reason:literal;)*) => {
        /// The closed list of error codes. A code's number and reason never change; they are the same on every interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name),* }

        impl Code {
            /// All codes, for documentation and tests.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The number in `TW-1203`.
            pub fn number(self) -> u16 {
                match self { $(Code::$name => $number),* }
            }

            pub fn kind(self) -> ErrorKind {
                match self { $(Code::$name => ErrorKind::$kind),* }
            }

            /// The machine-readable name, as in google.rpc.ErrorInfo.
            pub fn reason(self) -> &'static str {
                match self { $(Code::$name => $reason),* }
            }
        }
    };
}

codes! {
    // 10xx: statements and names
    SyntaxError = 1001, InvalidArgument, "SYNTAX_ERROR";
    InvalidStatement = 1002, InvalidArgument, "INVALID_STATEMENT";
    UnsupportedStatement = 1003, Unsupported, "UNSUPPORTED_STATEMENT";
    StatementTooLarge = 1004, InvalidArgument, "STATEMENT_TOO_LARGE";
    StatementTooComplex = 1005, InvalidArgument, "STATEMENT_TOO_COMPLEX";
    InvalidParameter = 1006, InvalidArgument, "INVALID_PARAMETER";
    InvalidSetting = 1007, InvalidArgument, "INVALID_SETTING";
    TableNotFound = 1010, NotFound, "TABLE_NOT_FOUND";
    SchemaNotFound = 1011, NotFound, "SCHEMA_NOT_FOUND";
    ColumnNotFound = 1012, InvalidArgument, "COLUMN_NOT_FOUND";
    ViewNotFound = 1013, NotFound, "VIEW_NOT_FOUND";
    TableExists = 1014, AlreadyExists, "TABLE_EXISTS";
    InvalidName = 1015, InvalidArgument, "INVALID_NAME";
    InvalidDefinition = 1016, InvalidArgument, "INVALID_DEFINITION";
    InvalidOption = 1017, InvalidArgument, "INVALID_OPTION";
    UnsupportedOption = 1018, Unsupported, "UNSUPPORTED_OPTION";
    TooManyTables = 1019, ResourceExhausted, "TOO_MANY_TABLES";
    FunctionNotFound = 1020, NotFound, "FUNCTION_NOT_FOUND";
    // 11xx: running queries
    QueryFailed = 1101, InvalidArgument, "QUERY_FAILED";
    QueryMemory = 1102, ResourceExhausted, "QUERY_MEMORY";
    QuerySpill = 1103, ResourceExhausted, "QUERY_SPILL";
    QueryDeadline = 1104, DeadlineExceeded, "QUERY_DEADLINE";
    QueryCancelled = 1105, Cancelled, "QUERY_CANCELLED";
    QueryNotFound = 1106, NotFound, "QUERY_NOT_FOUND";
    QueryExists = 1107, AlreadyExists, "QUERY_EXISTS";
    QueryQueueFull = 1108, ResourceExhausted, "QUERY_QUEUE_FULL";
    PlanningDeadline = 1109, DeadlineExceeded, "PLANNING_DEADLINE";
    ResultTooLarge = 1110, ResourceExhausted, "RESULT_TOO_LARGE";
    NotYetVisible = 1111, FailedPrecondition, "NOT_YET_VISIBLE";
    TicketConsumed = 1112, FailedPrecondition, "TICKET_CONSUMED";
    HandleNotFound = 1113, NotFound, "HANDLE_NOT_FOUND";
    ExpansionTooLarge = 1114, ResourceExhausted, "EXPANSION_TOO_LARGE";
    NoSession = 1115, FailedPrecondition, "NO_SESSION";
    ResultStalled = 1116, DeadlineExceeded, "RESULT_STALLED";
    TicketExpired = 1117, NotFound, "TICKET_EXPIRED";
    // 12xx: ingest
    MalformedPayload = 1201, InvalidArgument, "MALFORMED_PAYLOAD";
    BatchTooLarge = 1202, InvalidArgument, "BATCH_TOO_LARGE";
    SchemaMismatch = 1203, FailedPrecondition, "SCHEMA_MISMATCH";
    BadRows = 1204, InvalidArgument, "BAD_ROWS";
    InvalidProducer = 1205, InvalidArgument, "INVALID_PRODUCER";
    SequenceGap = 1206, OutOfRange, "SEQUENCE_GAP";
    ProducerFenced = 1207, FailedPrecondition, "PRODUCER_FENCED";
    UnknownProducer = 1208, FailedPrecondition, "UNKNOWN_PRODUCER";
    SequenceReused = 1209, AlreadyExists, "SEQUENCE_REUSED";
    ProducerStateLost = 1210, DataLoss, "PRODUCER_STATE_LOST";
    TooManyProducers = 1211, ResourceExhausted, "TOO_MANY_PRODUCERS";
    PredecessorFailed = 1212, Aborted, "PREDECESSOR_FAILED";
    InvalidIdempotencyKey = 1213, InvalidArgument, "INVALID_IDEMPOTENCY_KEY";
    TooManyIdempotencyKeys = 1214, ResourceExhausted, "TOO_MANY_IDEMPOTENCY_KEYS";
    DedupBudget = 1215, ResourceExhausted, "DEDUP_BUDGET";
    MemoryPressure = 1216, ResourceExhausted, "MEMORY_PRESSURE";
    DiskFull = 1217, ResourceExhausted, "DISK_FULL";
    SchemaVersionMismatch = 1218, FailedPrecondition, "SCHEMA_VERSION_MISMATCH";
    ClockBehind = 1219, Unavailable, "CLOCK_BEHIND";
    InvalidCommitToken = 1220, InvalidArgument, "INVALID_COMMIT_TOKEN";
    ProducerOwned = 1221, PermissionDenied, "PRODUCER_OWNED";
    StatementRowsTooLarge = 1222, ResourceExhausted, "STATEMENT_ROWS_TOO_LARGE";
    UnpublishedLimit = 1223, ResourceExhausted, "UNPUBLISHED_LIMIT";
    // 13xx: the data folder
    LogDamaged = 1301, DataLoss, "LOG_DAMAGED";
    LogUnknownVersion = 1302, Unsupported, "LOG_UNKNOWN_VERSION";
    FolderLocked = 1303, Unavailable, "FOLDER_LOCKED";
    FolderUnusable = 1304, Unavailable, "FOLDER_UNUSABLE";
    LogUnavailable = 1305, Unavailable, "LOG_UNAVAILABLE";
    TableClosed = 1306, Unavailable, "TABLE_CLOSED";
    /// The folder does not know of what it committed to a Delta table: acknowledged rows are missing.
    LogBehind = 1307, DataLoss, "LOG_BEHIND";
    /// The folder's tables are in another store than the one that the settings name.
    StoreChanged = 1308, FailedPrecondition, "STORE_CHANGED";
    // 14xx: access and the server
    Unauthenticated = 1401, Unauthenticated, "UNAUTHENTICATED";
    PermissionDenied = 1402, PermissionDenied, "PERMISSION_DENIED";
    ShuttingDown = 1403, Unavailable, "SHUTTING_DOWN";
    InvalidRequest = 1404, InvalidArgument, "INVALID_REQUEST";
    UnsupportedRequest = 1405, Unsupported, "UNSUPPORTED_REQUEST";
    PortInUse = 1406, Unavailable, "PORT_IN_USE";
    InvalidConfig = 1407, InvalidArgument, "INVALID_CONFIG";
    RateLimited = 1408, ResourceExhausted, "RATE_LIMITED";
    UserNotFound = 1420, NotFound, "USER_NOT_FOUND";
    UserExists = 1421, AlreadyExists, "USER_EXISTS";
    TokenNotFound = 1422, NotFound, "TOKEN_NOT_FOUND";
    TooManyAccounts = 1423, ResourceExhausted, "TOO_MANY_ACCOUNTS";
    InvalidPassword = 1424, InvalidArgument, "INVALID_PASSWORD";
    LastAdmin = 1425, FailedPrecondition, "LAST_ADMIN";
    TooManyLogins = 1426, ResourceExhausted, "TOO_MANY_LOGINS";
    TooManyWrongPasswords = 1427, ResourceExhausted, "TOO_MANY_WRONG_PASSWORDS";
    // 15xx: settled rows
    DeleteConflict = 1501, Aborted, "DELETE_CONFLICT";
    BuildOvertaken = 1502, Aborted, "BUILD_OVERTAKEN";
    BuildLost = 1506, Unavailable, "BUILD_LOST";
    FileLeaving = 1504, Unavailable, "FILE_LEAVING";
    FileDamaged = 1503, DataLoss, "FILE_DAMAGED";
    StreamOvertaken = 1505, Aborted, "STREAM_OVERTAKEN";
    SnapshotExpired = 1507, DeadlineExceeded, "SNAPSHOT_EXPIRED";
    DeltaDamaged = 1510, DataLoss, "DELTA_DAMAGED";
    DeltaConflict = 1511, FailedPrecondition, "DELTA_CONFLICT";
    StoreUnsuitable = 1520, FailedPrecondition, "STORE_UNSUITABLE";
    StoreUnavailable = 1521, Unavailable, "STORE_UNAVAILABLE";
    Internal = 1901, Internal, "INTERNAL";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TW-{}", self.number())
    }
}

/// One sentence what and where, one what to do, a stable code, and facts for programs.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.render())]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    rows: Vec<RowFault>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Why one row refused the batch that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Its place in the batch as the client sent it, from 0.
    pub row: u64,
    /// `None` when the whole row is meant.
    pub column: Option<String>,
    /// As in `system.rejected.code`.
    pub code: &'static str,
    pub message: String,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            hint: None,
            metadata: Vec::new(),
            retry_after: None,
            rows: Vec::new(),
            source: None,
        }))
    }

    /// A bug of ours: something that the code around it rules out.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message).hint("this is a bug: please report it with the server's log")
    }

    /// A task that came to no end of its own. What a panic said may quote a value of a row: the process's panic hook writes it, at debug.
    pub(crate) fn ended_early(what: impl fmt::Display, ended: &JoinError) -> Self {
        let how = if ended.is_panic() { "it panicked" } else { "it was cancelled" };
        Self::internal(format!("{what} ended early: {how}"))
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A fact for programs, such as `last_sequence`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.push((key, value.to_string()));
        self
    }

    /// How long a caller should wait before it tries again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The rows that refused a batch (`BAD_ROWS`), ascending; at most [`crate::limits::ROW_ERRORS_IN_ANSWER`].
    #[must_use]
    pub fn with_rows(mut self, rows: Vec<RowFault>) -> Self {
        self.0.rows = rows;
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind()
    }

    /// The sentence without code and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.0.metadata
    }

    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// See [`Self::with_rows`].
    pub fn rows(&self) -> &[RowFault] {
        &self.0.rows
    }

    /// The underlying error, when there is one, for the server's log.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync)> {
        self.0.source.as_deref()
    }

    /// What a person reads: the sentence, the hint, the code.
    fn render(&self) -> String {
        let Inner { code, message, hint, .. } = &*self.0;
        match hint {
            Some(hint) => format!("{message}; {hint} ({code})"),
            None => format!("{message} ({code})"),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(source: arrow::error::ArrowError) -> Self {
        Self::internal(format!("an Arrow operation failed: {source}")).source(source)
    }
}
