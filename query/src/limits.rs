//! What is too much for a query? Every limit that this crate holds, with its reason.

use std::time::Duration;

use tidewater_storage::limits::MAX_SNAPSHOT_S;

/// Text of one statement: what a person or a dashboard writes is a hundred times smaller.
pub const MAX_STATEMENT_BYTES: usize = 256 << 10;

/// Words and operators of one statement, counted before it is parsed: a chain `1+1+…` becomes a tree as deep as it is long, and
/// walking or dropping that tree takes stack. Literals, commas and parentheses are free: a long list of values is flat.
pub const MAX_STATEMENT_WORDS: usize = 20_000;

/// Nesting of parentheses, brackets and CASE, counted before the statement is parsed: the parser tries several readings of each.
pub const MAX_STATEMENT_PARENTHESES: usize = 80;

/// Nodes of the parsed statement, without the literals of VALUES rows and IN lists: planning is more than linear in them.
pub const MAX_STATEMENT_NODES: usize = 5_000;

/// Nesting of expressions and subqueries. Chains of one level (`a + b + c`, `x OR y OR z`) do not nest.
pub const MAX_STATEMENT_DEPTH: usize = 40;

/// Queries with a WITH within each other. Names that stand in one WITH do not nest.
pub const MAX_NESTED_WITHS: usize = 8;

/// Nesting that the parser itself takes before it gives up; above [`MAX_STATEMENT_DEPTH`], because it counts two or three levels for one.
pub const PARSER_RECURSION: usize = 200;

/// Stack of planner and query threads. Planning a chain of 2,500 terms in a debug build needs about 20 MiB; it is virtual memory.
pub const DEEP_STACK_BYTES: usize = 64 << 20;

/// Planners at work at once.
pub const PLANNERS: usize = 4;

/// Plannings that overran their deadline and cannot be stopped; past this many, no thread replaces them until one ends.
pub const MAX_ABANDONED_PLANNERS: usize = 4;

/// Debug builds plan several times slower.
pub const PLANNING_DEADLINE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });

/// Nodes of a statement with every WITH and every view written out where it is named: twice what a statement may have by itself. The
/// planner walks all of them once for each column that it selects, before anything can stop it.
pub const MAX_EXPANDED_NODES: usize = 2 * MAX_STATEMENT_NODES;

/// Nodes of a statement's plan; one of the text becomes one or two of the plan.
pub const MAX_PLAN_NODES: usize = 2 * MAX_EXPANDED_NODES;

/// Expressions of a statement's plan, with what its rules copy: literals, columns of `*`, filters in terms of what is stored. About
/// 300 bytes each, in no memory pool.
pub const MAX_PLAN_EXPRESSIONS: usize = 100_000;

/// What the optimiser may make of them: it adds projections, and pushes filters into every part of a union.
pub const MAX_OPTIMISED_EXPRESSIONS: usize = 4 * MAX_PLAN_EXPRESSIONS;

/// What rules that go from node to node may write until the whole plan is counted again.
pub const MAX_REWRITTEN_EXPRESSIONS: usize = 10 * MAX_PLAN_EXPRESSIONS;

/// Views within views.
pub const MAX_VIEW_DEPTH: usize = 16;

pub const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A snapshot holds memory and files, so no statement holds one for longer, from its arrival on: storage relies on that.
pub const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_secs(MAX_SNAPSHOT_S);

/// Waiting for a place to run.
pub const MAX_QUEUE_WAIT: Duration = Duration::from_secs(30);
/// What a caller is told to wait when the queue is full.
pub const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Statements that read nothing but system tables run beside the others, so that a full queue can be looked at.
pub const METADATA_SLOTS: usize = 4;
/// System tables that such a statement may join; more are a product of rows like any other.
pub const MAX_METADATA_LEAVES: usize = 4;

/// A stream that nobody reads for this long ends, and so does a planned query that nobody starts: its snapshot holds memory and files.
pub const MAX_STALL: Duration = Duration::from_secs(60);

/// Waiting for `min_commit`.
pub const MAX_VISIBLE_WAIT: Duration = Duration::from_secs(10);

/// Rows of a batch on its way to a client, and of a batch inside a query.
pub const BATCH_ROWS: usize = 8192;

/// Width of a type that says how wide it is, such as a list of a fixed number of items: each row of a batch has it, also one that is
/// NULL. An embedding of 4,096 numbers fits.
pub const MAX_FIXED_BYTES: u64 = 32 << 10;

/// Batches between query and reader.
pub const RESULT_QUEUE_BATCHES: usize = 4;

/// Ended queries that `system.queries` remembers, without [`RECENT_POLLS`].
pub const RECENT_QUERIES: usize = 1_000;

/// Ended statements that nobody typed: the console's, and the server's own.
pub const RECENT_POLLS: usize = 100;

/// Text of a statement that is kept with a query.
pub const KEPT_SQL_BYTES: usize = 16 << 10;
/// A repeated cancel within this time is answered like the first.
pub const CANCEL_MEMORY: Duration = Duration::from_secs(60);

/// How often the rights of the caller of a running statement are looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the reader of a stopped query waits for its memory to be free again, before it is told.
pub const LET_GO_WAIT: Duration = Duration::from_secs(1);

/// Rows of parameters of one INSERT that computes with them.
pub const MAX_COMPUTED_PARAMETER_ROWS: usize = 1_000;

/// Rows of parameters that are planned one by one, because each may read something else: all of them within [`PLANNING_DEADLINE`].
pub const MAX_PLANNED_PARAMETER_ROWS: usize = 100;

/// How often a DELETE is evaluated whose files go before it is committed: each time another TRUNCATE or compaction came between.
pub const MAX_DELETE_ATTEMPTS: usize = 5;

/// Spill files stay away from the free space at which rows are refused by this: several threads may look at it, and then write.
pub const SPILL_MARGIN_BYTES: u64 = 64 << 20;

/// Fresh rows that nobody but readers of older versions has may take this part of the memory for queries; then who keeps most is stopped.
pub const MAX_KEPT_DIVISOR: usize = 2;

/// How often the process's memory is looked at.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_millis(100);
/// After it stopped a query, the watchdog waits this long for memory to come back before it stops another.
pub const WATCHDOG_PAUSE: Duration = Duration::from_secs(1);

/// Priority of query threads below those that acknowledge ingest (0).
pub const QUERY_NICE: i32 = 5;

const _: () = assert!(MAX_STALL.as_secs() < MAX_STATEMENT_TIMEOUT.as_secs());
const _: () = assert!(MAX_STATEMENT_DEPTH < PARSER_RECURSION);
const _: () = assert!(MAX_STATEMENT_NODES < MAX_STATEMENT_WORDS);
const _: () = assert!(MAX_STATEMENT_NODES < MAX_EXPANDED_NODES && MAX_EXPANDED_NODES < MAX_PLAN_NODES);
const _: () = assert!(MAX_PLAN_EXPRESSIONS < MAX_OPTIMISED_EXPRESSIONS);
const _: () = assert!(MAX_OPTIMISED_EXPRESSIONS < MAX_REWRITTEN_EXPRESSIONS);
