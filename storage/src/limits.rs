//! What is too much? Every limit that storage holds, with its reason.

/// Rows of one batch, decoded. A batch is answered as a whole, so it bounds what one request can hold in memory.
pub const MAX_BATCH_BYTES: usize = 16 << 20;

/// Rows of one atomic statement (INSERT, Flight bulk append), decoded: it enters the log as one entry.
pub const MAX_STATEMENT_ROWS_BYTES: usize = 256 << 20;

/// A statement with more rows than this, decoded, is written into files as its rows come, and committed as these files. Fewer rows are
/// an entry of the log.
pub const STAGED_ABOVE_BYTES: usize = MAX_BATCH_BYTES;

/// Rows of one file of such a statement, and their bytes, decoded: so much of it is in memory before it is written.
pub const STAGED_FILE_ROWS: usize = 1 << 20;
pub const STAGED_FILE_BYTES: u64 = 128 << 20;

/// Keys of statements that are not committed yet, all together: this part of the memory for keys.
pub const STREAM_KEYS_DIVISOR: u64 = 2;

/// Keys that came since those of a statement were looked up, and that the worker compares by itself, in some milliseconds. More are
/// compared beside it.
pub const COMPARED_KEYS: u64 = 1 << 16;

/// How often a statement is compared with keys that came meanwhile before it gives up. What comes meanwhile is less each time, unless
/// others write the very same keys all the time.
pub const STAGED_ROUNDS: usize = 16;

/// A group is cut here, compressed: one MiB is what one sync carries at little more than the price of 64 bytes.
pub const GROUP_BYTES: usize = 1 << 20;

/// A batch of at least this many rows or bytes keeps its own block; smaller ones are joined by the worker.
pub const LARGE_BATCH_ROWS: usize = 4096;
pub const LARGE_BATCH_BYTES: usize = 256 << 10;

/// The tail merges batches by doubling until a batch has this many rows: smaller ones poison scans.
pub const TAIL_BATCH_ROWS: usize = 8192;

/// Rows of one sorted run.
pub const RUN_ROWS: usize = 131_072;

/// Rows of one Parquet row group, which has a dictionary of its own for each column: the names of the design load take 0.2 bytes a row more
/// in groups of a quarter of it. Readers skip pages, so they read no more in larger ones. It is a quarter of it where dictionaries are
/// large, because a reader of one row reads all of them, and less where a merge has no memory for so many.
pub const ROW_GROUP_ROWS: usize = 524_288;

/// Rows of which a sidecar has one filter: what a point look-up decodes, a few pages.
pub const FILTER_ROWS: usize = 32_768;

/// Rows of one zone of a run: minimum, maximum and null count are kept for each.
pub const ZONE_ROWS: usize = 8192;

/// What waits in front of one table's worker, decoded. Past it the stream is not read.
pub const TABLE_QUEUE_BYTES: usize = 32 << 20;
/// What waits in front of all workers together: this part of the memory for realtime rows.
pub const ALL_QUEUES_DIVISOR: u64 = 4;

/// What is being decoded at once, by all interfaces together: this part of the memory for realtime rows. Taken for what a payload declares,
/// before it is decoded.
pub const DECODING_DIVISOR: u64 = 4;
/// What statements collect before they are written (Flight bulk append, bound parameters), all together: this part of the memory for
/// realtime rows. Clients decide how long that takes, so the rest stays for those who write batch by batch.
pub const COLLECTING_DIVISOR: u64 = 2;

/// Groups that are prepared and not yet published: one syncs, one is prepared.
pub const GROUPS_IN_FLIGHT: usize = 2;

/// Producers that one table remembers.
pub const MAX_PRODUCERS: usize = 100_000;

/// Batch hashes that a producer's state keeps, to tell a repeat from a reused number.
pub const BATCH_HASHES: usize = 64;

/// Batches whose counts a producer's state keeps, so that a repeat is answered with the first answer.
pub const BATCH_RESULTS: usize = 5;

pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 128;
pub const MAX_IDEMPOTENCY_KEYS: usize = 1_000_000;
pub const IDEMPOTENCY_KEY_TTL_S: u64 = 24 * 3600;

/// A producer that sent nothing for so long is forgotten: its next batch begins with sequence 1.
pub const PRODUCER_TTL_S: u64 = 7 * 24 * 3600;

/// How long a dropped table stays on disk.
pub const DROPPED_TABLE_TTL_S: u64 = 7 * 24 * 3600;

pub const MAX_NAME_BYTES: usize = 255;
pub const MAX_COLUMNS: usize = 2_000;
pub const MAX_TABLES: usize = 10_000;

/// Users and tokens are all in memory, and looked through when one is changed.
pub const MAX_USERS: usize = 10_000;
pub const MAX_TOKENS: usize = 100_000;
/// Sessions that the server keeps, with those that ended lately; it keeps fewer by itself.
pub const MAX_SESSIONS: usize = 50_000;
pub const MAX_USER_NAME_BYTES: usize = 128;
pub const MAX_TOKEN_ID_BYTES: usize = 64;
pub const MAX_LABEL_BYTES: usize = 128;
/// Grants of one user or token: each request goes through them. A pattern names a schema and a table.
pub const MAX_GRANTS: usize = 100;
pub const MAX_PATTERN_BYTES: usize = 2 * MAX_NAME_BYTES + 2;

/// Row errors that an answer carries; more of them are in `system.rejected`.
pub const ROW_ERRORS_IN_ANSWER: usize = 100;

/// One rejected row is kept up to this size, all of a table up to the other.
pub const MAX_REJECTED_ROW_BYTES: usize = 64 << 10;
pub const MAX_REJECTED_BYTES: u64 = 1 << 30;
pub const REJECTED_TTL_S: u64 = 30 * 24 * 3600;
/// Rejected rows are forgotten by buckets of this many bytes or this many seconds, the older first, so that their bookkeeping is small.
pub const REJECTED_BUCKET_BYTES: u64 = 1 << 20;
pub const REJECTED_BUCKET_S: u64 = 3600;

/// Rows of one batch whose bad rows are to be kept: each is looked at, and found bad, by itself.
pub const MAX_BATCH_ROWS: usize = 1 << 20;

/// What one batch leaves in `system.rejected`, so that it stays one short write of the log: its first bad rows, and payloads of so many
/// bytes. Further rows are counted, and the last record says how many; past the bytes rows keep their reason only.
pub const MAX_REJECTED_BATCH_ROWS: usize = 10_000;
pub const MAX_REJECTED_BATCH_BYTES: usize = 16 << 20;
/// The reason of a rejected row is cut here.
pub const MAX_REJECTED_MESSAGE_BYTES: usize = 1 << 10;
/// Rejected rows stand together in records of about this many bytes, before compression.
pub const REJECTED_RECORD_BYTES: usize = 1 << 20;

/// RocksDB's memtable size.
pub const MEMTABLE_BYTES: usize = 128 << 20;
/// When the write-ahead log passes this, all families are flushed.
pub const MAX_WAL_BYTES: u64 = 128 << 20;

/// Free disk space that RocksDB may need at any moment: what is in memory is flushed, which is as much as the write-ahead log holds, and
/// the next log file takes its space in advance. Nothing is written below it; TRUNCATE, which frees space, goes on until here, and DROP,
/// whose few bytes are the first step to the same a week later.
pub const FREEING_MIN_FREE_BYTES: u64 = MEMTABLE_BYTES as u64 + MAX_WAL_BYTES;
/// Small writes stop here: definitions, views, producers, counts. No SQL text may bring RocksDB to a full disk.
pub const SMALL_MIN_FREE_BYTES: u64 = FREEING_MIN_FREE_BYTES + MEMTABLE_BYTES as u64;
/// Rows stop at the configured floor, which is never below this, so that they leave something to the others.
pub const LEAST_MIN_FREE_BYTES: u64 = SMALL_MIN_FREE_BYTES + MEMTABLE_BYTES as u64;
/// The configured floor, unless somebody chooses another.
pub const MIN_FREE_BYTES: u64 = 1 << 30;
/// Compaction leaves so much more than rows need, beside what it writes itself: it must never be the reason that ingest stops.
pub const COPIES_MIN_FREE_BYTES: u64 = 512 << 20;

/// Runs of all tables are sorted by one job at a time for so many cores.
pub const CORES_A_RUN_JOB: usize = 4;
/// What is sorted at once takes this part of the memory that nobody holds by name: a sort can wait or take fewer rows, so it has nothing of
/// the memory for rows, whose end refuses ingest.
pub const SORTING_DIVISOR: u64 = 2;
/// The one merge of files that runs takes this part of it, of its own: no build and no sort waits until a merge gives memory back.
pub const MERGING_DIVISOR: u64 = 4;
/// Files on their way into stores elsewhere take this part of it, all together, and one of them half of that, or a part of an upload.
pub const UPLOADS_DIVISOR: u64 = 8;
/// Files of all tables that are brought into their Delta tables at once, tested or sent: few threads, and a short queue for the disk.
pub const MAX_BRINGS: usize = 8;

/// Built files that wait to be published, of all tables, unless somebody chooses another limit: some two weeks of the design load.
pub const MAX_UNPUBLISHED_BYTES: u64 = 64 << 30;
/// Key runs of all tables on disk, unless somebody chooses another limit: some ten billion random integers.
pub const MAX_KEY_DISK_BYTES: u64 = 64 << 30;
/// Files that one commit of a Delta table adds, so that one that catches up after the store was away stays small.
pub const MAX_PUBLISHED_FILES: usize = 64;
/// A file that left the Delta table is deleted so much later: other engines may read an older version until then.
pub const REMOVED_FILE_TTL_S: u64 = 7 * 24 * 3600;
/// No reader holds one version of a table for longer, whatever it is: a statement, a merge of files, a check of them.
pub const MAX_SNAPSHOT_S: u64 = 3600;

/// A wall clock this far behind the last stamp makes ingest unavailable rather than wrong.
pub const MAX_CLOCK_STEP_BACK_US: i64 = 5 * 60 * 1_000_000;

const _: () = assert!(LARGE_BATCH_ROWS <= TAIL_BATCH_ROWS && TAIL_BATCH_ROWS <= RUN_ROWS);
const _: () = assert!(RUN_ROWS.is_multiple_of(ZONE_ROWS));
const _: () = assert!(ROW_GROUP_ROWS.is_multiple_of(ZONE_ROWS) && FILTER_ROWS.is_multiple_of(ZONE_ROWS));
const _: () =
    assert!(STAGED_FILE_ROWS.is_multiple_of(ROW_GROUP_ROWS) && STAGED_ABOVE_BYTES <= MAX_STATEMENT_ROWS_BYTES);
// Both together leave a part of the share to rows.
const _: () = assert!(DECODING_DIVISOR + COLLECTING_DIVISOR < DECODING_DIVISOR * COLLECTING_DIVISOR);
// All of these leave something to what nobody counts.
const _: () = assert!(16 / SORTING_DIVISOR + 16 / MERGING_DIVISOR + 16 / UPLOADS_DIVISOR < 16);
const _: () = assert!(BATCH_RESULTS <= BATCH_HASHES);
const _: () = assert!(FREEING_MIN_FREE_BYTES < SMALL_MIN_FREE_BYTES && SMALL_MIN_FREE_BYTES < LEAST_MIN_FREE_BYTES);
const _: () = assert!(LEAST_MIN_FREE_BYTES <= MIN_FREE_BYTES);
// The rows of one statement go into the log's next files and, from memory, into as much of a table file.
const _: () = assert!(LEAST_MIN_FREE_BYTES >= 2 * MAX_STATEMENT_ROWS_BYTES as u64);
// A file that a snapshot names is there for as long as the snapshot may be, twice over: both clocks may be read a little late.
const _: () = assert!(REMOVED_FILE_TTL_S >= 2 * MAX_SNAPSHOT_S);
const _: () = assert!(LARGE_BATCH_BYTES <= GROUP_BYTES && GROUP_BYTES <= MAX_BATCH_BYTES);
const _: () = assert!(ROW_ERRORS_IN_ANSWER < MAX_REJECTED_BATCH_ROWS && MAX_REJECTED_BATCH_ROWS <= MAX_BATCH_ROWS);
const _: () = assert!(MAX_REJECTED_ROW_BYTES <= MAX_REJECTED_BATCH_BYTES);
const _: () = assert!(MAX_REJECTED_ROW_BYTES + MAX_REJECTED_MESSAGE_BYTES + MAX_NAME_BYTES < REJECTED_RECORD_BYTES);
