//! Do rows that settle stay the same rows, wherever the kill strikes? Producers, readers, who builds, seals and merges, and who deletes,
//! truncates and alters, all at once; and what the next server does about it by itself.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tidewater_storage::env::{Clock, SystemClock};
use tokio::time::timeout;

use crate::Doing;
use crate::alone::{self, LIMIT};
use crate::delta::{DeltaLog, Newest};
use crate::model::{Shared, TableModel};
use crate::points::{
    self, BUILD, COMPACT, DELETE, LOG, PUBLISH, STAGE, STORE, STORE_DELETES, TABLE, files, is_durable,
};
use crate::process::{How, Server};
use crate::random::{Dice, SEED, setting};
use crate::readers::read;
use crate::seen::{look, numbers, try_look, try_look_beside_expired, try_numbers};
use crate::world::Death;
use crate::writers::{Caller, Came, Signals, stream, survived};

/// Lives that end at random.
const ROUNDS: u64 = 5;

/// Of tables whose rows expire, and how much later each server is than the one before.
const RETENTION: &str = "retention = '30 minutes'";
const AGE_S: u64 = 3600;

const ALIVE: &str = "the server lives";

/// What is done to a table beside its producers, in turn: what moves its rows, and what changes them or their table at the same time.
type Turn = (Move, Option<Change>);

#[derive(Debug, Clone, Copy)]
enum Move {
    Build,
    Seal,
    Compact,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Delete,
    AddColumn,
    Truncate,
}

/// Between two TRUNCATEs there are enough files to be merged.
const TURNS: [Turn; 8] = [
    (Move::Build, Some(Change::Delete)),
    (Move::Seal, None),
    (Move::Build, Some(Change::AddColumn)),
    (Move::Seal, Some(Change::Delete)),
    (Move::Seal, Some(Change::Delete)),
    (Move::Seal, None),
    (Move::Compact, None),
    (Move::Seal, Some(Change::Truncate)),
];

/// Of tables whose rows expire: none goes another way, so that there is always something to expire.
const AGING_TURNS: [Turn; 3] = [(Move::Build, None), (Move::Seal, None), (Move::Build, Some(Change::Delete))];

/// One table: what its rows may be, its Delta table, and whose turn it is.
struct Side {
    table: Shared,
    delta: DeltaLog,
    columns: Columns,
    turns: &'static [Turn],
    turn: usize,
}

/// How many columns a table has, and whether one more has no answer.
struct Columns {
    n: usize,
    is_adding: bool,
}

impl Columns {
    /// Adds one; false if the server died.
    async fn add(&mut self, caller: &Caller, name: &str) -> bool {
        self.is_adding = true;
        let statement = format!("ALTER TABLE {name} ADD COLUMN c{} BIGINT", self.n);
        if survived(caller.client.execute_update(&statement).await).is_none() {
            return false;
        }
        *self = Self { n: self.n + 1, is_adding: false };
        caller.note_acknowledged();
        true
    }

    /// After a restart.
    fn settle(&mut self, name: &str, n: usize) {
        let most = self.n + usize::from(self.is_adding);
        assert!((self.n..=most).contains(&n), "{name} has {n} columns, which are {} to {most}", self.n);
        *self = Self { n, is_adding: false };
    }
}

async fn seal(caller: &Caller, name: &str, delta: &mut DeltaLog) -> Option<Came> {
    let came = caller.call("seal", name).await?;
    delta.acknowledge(came);
    Some(came)
}

impl Side {
    async fn seal(&mut self, caller: &Caller) -> Option<Came> {
        let name = self.table.lock().name;
        seal(caller, name, &mut self.delta).await
    }

    /// Takes one turn after the other until the server dies, or nothing new is wanted. False: it died.
    async fn take_turns(&mut self, caller: &Caller) -> bool {
        let name = self.table.lock().name;
        let Self { table, delta, columns, turns, turn } = self;
        while !caller.is_finishing() {
            let (moves, changes) = turns[*turn % turns.len()];
            let moved = async {
                match moves {
                    Move::Build => caller.call("build", name).await.is_some(),
                    Move::Seal => seal(caller, name, delta).await.is_some(),
                    Move::Compact => caller.call("compact", name).await.is_some(),
                }
            };
            let changed = async {
                match changes {
                    None => true,
                    Some(Change::Delete) => caller.delete(table).await,
                    Some(Change::AddColumn) => columns.add(caller, name).await,
                    Some(Change::Truncate) => caller.truncate(table).await,
                }
            };
            let (moved, changed) = tokio::join!(moved, changed);
            if !(moved && changed) {
                return false;
            }
            *turn += 1;
        }
        true
    }

    /// Everything is in the Delta table, by what the server says and by what is on disk. Nobody works; the server may merge files.
    async fn check_sealed(&mut self, caller: &Caller) {
        let (name, expires) = {
            let table = self.table.lock();
            (table.name, table.expires())
        };
        if expires {
            return self.check_expired(caller, name).await;
        }
        let seen = look(&caller.client, name).await;
        let n_rows = seen.rows.len() as i64;
        assert_eq!((seen.places.realtime, seen.places.built, seen.places.sealed), (0, 0, n_rows), "{name}");
        let tables = "SELECT delta_version, sealed_rows, sealed_files FROM system.tables";
        let tables = format!("{tables} WHERE name = '{name}'");
        let agree = async {
            loop {
                let said = numbers(&caller.client, &tables).await;
                let Newest { version, rows, files, .. } = self.delta.check().expect("a Delta table");
                assert_eq!(rows, n_rows, "{name}: rows of its Delta table");
                if said == [[version, rows, files]] {
                    return;
                }
            }
        };
        assert!(timeout(LIMIT, agree).await.is_ok(), "{name}: the server does not say what its Delta table has");
    }

    /// Every row of the table has expired, and was published before: its files leave by themselves.
    async fn check_expired(&mut self, caller: &Caller, name: &str) {
        let count = format!("SELECT count(*) FROM {name}");
        let left = async {
            while self.delta.check().expect("a Delta table").files > 0 {
                assert_eq!(numbers(&caller.client, &count).await, [[0]], "{name}");
            }
        };
        assert!(timeout(LIMIT, left).await.is_ok(), "{name}: files stay that are past its retention");
    }
}

/// One data folder with two tables, and all that was ever asked of its servers.
pub struct Settling {
    folder: TempDir,
    signals: Signals,
    /// With a primary key: two producers stream keys that overlap. Without one: rows that are stored twice show.
    sides: [Side; 2],
    /// If rows expire: by when the first server began, microseconds, and how far the clock of the present one is ahead.
    age: Option<(i64, u64)>,
}

impl Settling {
    async fn create() -> Self {
        // What a build makes durable may rest on rows that were never synced.
        let tables = ["src BIGINT, PRIMARY KEY (id))", "src BIGINT) WITH (durability = 'os')"];
        Self::create_with(tables, 2, &TURNS).await
    }

    /// Tables whose rows are past their retention when the next server starts.
    pub async fn create_aging() -> Self {
        let columns = "src BIGINT, at TIMESTAMP NOT NULL";
        let keyed = format!("{columns}, PRIMARY KEY (id)) WITH ({RETENTION})");
        let keyless = format!("{columns}) WITH ({RETENTION}, durability = 'os')");
        let world = Self::create_with([&keyed, &keyless], 3, &AGING_TURNS).await;
        Self { age: Some((SystemClock::new().now_us(), 0)), ..world }
    }

    /// `tables` are their definitions behind the column `id`, `n` columns in all.
    async fn create_with(tables: [&str; 2], n: usize, turns: &'static [Turn]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let signals = Signals::new();
        let server = Server::start(folder.path(), "");
        let caller = Caller::connect(&server.grpc, &signals).await;
        for (name, rest) in ["keyed", "keyless"].into_iter().zip(tables) {
            let statement = format!("CREATE TABLE {name} (id BIGINT NOT NULL, {rest}");
            caller.client.execute_update(&statement).await.expect("created");
        }
        server.stop();
        let side = |name, has_key, turn| {
            let table = TableModel::new(name, has_key, u64::MAX);
            let columns = Columns { n, is_adding: false };
            Side { table, delta: DeltaLog::of(folder.path(), name), columns, turns, turn }
        };
        let sides = [side("keyed", true, 0), side("keyless", false, 1)];
        Self { folder, signals, sides, age: None }
    }

    /// If rows expire, those that were sent until now have.
    fn grow_older(&mut self) {
        let Some((began_us, ahead_s)) = &mut self.age else { return };
        *ahead_s += AGE_S;
        let now_us = *began_us + *ahead_s as i64 * 1_000_000;
        for side in &self.sides {
            side.table.lock().begin_age(now_us);
        }
    }

    /// `None`: it was killed before it was ready.
    fn start(&self, fail_points: &str) -> Option<Server> {
        let ahead_s = self.age.map_or(0, |(_, ahead_s)| ahead_s);
        Server::try_start_as(self.folder.path(), &How { fail_points, ahead_s, ..How::default() })
    }

    /// One life of a server, from the test of what it holds to its death, and a look at what it leaves on disk. What a server does by
    /// itself may bring it to the point before anybody comes.
    pub async fn live_and_die(&mut self, death: Death) {
        let fail_points = match death {
            Death::At(point, visit) => format!("{point}=kill:{visit}"),
            Death::After(_) => String::new(),
        };
        self.grow_older();
        if let Some(server) = self.start(&fail_points) {
            let lived = timeout(LIMIT, self.live(&server, death)).await;
            assert!(lived.is_ok(), "{death:?} was not reached");
            assert!(server.was_killed(), "{death:?}");
        }
        self.check_disk();
    }

    async fn live(&mut self, server: &Server, death: Death) {
        if self.settle(server).await.is_none() {
            return;
        }
        let signals = self.signals.clone();
        let kill = async {
            if let Death::After(n_answers) = death {
                signals.acknowledged(n_answers).await;
                server.kill();
            }
        };
        let (survived, ()) = tokio::join!(self.work(server), kill);
        assert!(!survived.contains(&true), "somebody ended before the server: {survived:?}");
    }

    /// A server that nobody asks for anything, killed at a point that it comes to by itself.
    async fn die_by_itself(&self, fail_point: &str) {
        die_by_itself(self.folder.path(), fail_point).await;
    }

    /// Tests that the server holds what it must and nothing else. `None`: it died.
    async fn settle(&mut self, server: &Server) -> Option<()> {
        let caller = Caller::try_connect(&server.grpc, &self.signals).await?;
        for side in &mut self.sides {
            let name = side.table.lock().name;
            let seen = match self.age {
                Some(_) => try_look_beside_expired(&caller.client, name).await?,
                None => try_look(&caller.client, name).await?,
            };
            side.columns.settle(name, seen.n_columns);
            side.table.lock().settle(&seen);
        }
        Some(())
    }

    /// The Delta tables on disk. No server runs.
    fn check_disk(&mut self) {
        for side in &mut self.sides {
            side.delta.check();
        }
    }

    /// Everybody works until the server dies, or nothing new is wanted; who survived.
    async fn work(&mut self, server: &Server) -> Vec<bool> {
        let mut callers = Vec::new();
        for _ in 0..4 {
            let Some(caller) = Caller::try_connect(&server.grpc, &self.signals).await else { return vec![false] };
            callers.push(caller);
        }
        let [keyed, keyless] = &mut self.sides;
        let (left, right) = (Arc::clone(&keyed.table), Arc::clone(&keyless.table));
        let (a, b, c, d, e, f, g) = tokio::join!(
            stream(&callers[0], &left, "left"),
            stream(&callers[1], &left, "right"),
            stream(&callers[0], &right, "stream"),
            keyed.take_turns(&callers[1]),
            keyless.take_turns(&callers[2]),
            read(&callers[2], &left),
            read(&callers[3], &right),
        );
        vec![a, b, c, d, e, f, g]
    }

    /// A last life in which everything that was ever sent is answered and sealed, and an orderly restart that shows the same; if rows
    /// expire it shows none.
    pub async fn finish(mut self) {
        self.signals.finish();
        self.grow_older();
        let server = self.start("").expect(ALIVE);
        self.settle(&server).await.expect(ALIVE);
        let survived = self.work(&server).await;
        assert!(!survived.contains(&false), "the server died by itself: {survived:?}");
        self.settle(&server).await.expect(ALIVE);
        let caller = Caller::connect(&server.grpc, &self.signals).await;
        for side in &mut self.sides {
            assert!(side.table.lock().is_answered(), "something has no answer");
            side.seal(&caller).await.expect(ALIVE);
            if self.age.is_none() {
                side.check_sealed(&caller).await;
            }
        }
        server.stop();
        self.grow_older();
        let server = self.start("").expect(ALIVE);
        self.settle(&server).await.expect(ALIVE);
        let caller = Caller::connect(&server.grpc, &self.signals).await;
        for side in &mut self.sides {
            side.check_sealed(&caller).await;
        }
        server.stop();
    }
}

/// All work goes on and is struck at each point, the first time that a server comes there and the second.
async fn everybody_is_struck_at(points: &[&'static str]) {
    everybody_is_struck(points, &[1, 2]).await;
}

/// The same at these visits.
async fn everybody_is_struck(points: &[&'static str], visits: &[u32]) {
    let mut world = Settling::create().await;
    let mut doing = Doing::new("the first start");
    for &point in points {
        for &visit in visits {
            doing.now(format!("{point} at visit {visit}, or the start after the point before"));
            world.live_and_die(Death::At(point, visit)).await;
        }
    }
    doing.now("the end");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_and_deletes_are_struck_at_every_point() {
    everybody_is_struck_at(&[&BUILD[..], &DELETE[..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_are_struck_at_every_point() {
    everybody_is_struck_at(&PUBLISH).await;
}

/// Those of a merge that a server makes by itself, with nobody there, are below.
#[tokio::test(flavor = "multi_thread")]
async fn compactions_are_struck_while_everybody_works() {
    everybody_is_struck(&COMPACT, &[1]).await;
}

/// One at a time, and with nobody beside, they are in `changes`.
#[tokio::test(flavor = "multi_thread")]
async fn truncates_and_alters_are_struck_while_everybody_works() {
    let points = [
        "table.before_submit/truncate",
        "log.after_write/truncate",
        "table.after_publish/truncate",
        "log.before_write/alter",
        "table.before_publish/alter",
    ];
    everybody_is_struck(&points, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_struck_at_every_point() {
    everybody_is_struck_at(&STORE).await;
}

/// `TIDEWATER_CRASH_SEED` and `TIDEWATER_CRASH_SEALS` repeat a run or make it longer; a failure says both.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_while_rows_settle() {
    let seed = setting("TIDEWATER_CRASH_SEED", SEED);
    let rounds = setting("TIDEWATER_CRASH_SEALS", ROUNDS);
    let repeat = format!("TIDEWATER_CRASH_SEED={seed} TIDEWATER_CRASH_SEALS={rounds}");
    let jobs = BUILD.into_iter().chain(PUBLISH).chain(STORE).chain(DELETE);
    let points: Vec<&str> = points::of_writes().chain(jobs).collect();
    let mut dice = Dice(seed);
    let mut doing = Doing::new(format!("{repeat}, the first start"));
    let mut world = Settling::create().await;
    for round in 1..=rounds {
        // One life in three ends from outside.
        let death = match dice.roll(3) {
            1 => Death::After(dice.roll(60)),
            _ => Death::At(dice.choose(&points), dice.roll(8) as u32),
        };
        doing.now(format!("{repeat}, round {round}: {death:?}"));
        world.live_and_die(death).await;
    }
    doing.now(format!("{repeat}, the end"));
    world.finish().await;
}

/// What a start comes to by itself when a commit of the Delta table was on its way. Only the last one leaves nothing to the next.
const SETTLED_ANEW: [&str; 10] = [
    "publish.before_send",
    "store.before_sync",
    "store.before_name",
    "store.after_name",
    "store.after_sync",
    "publish.after_send",
    "publish.settled",
    "table.before_submit/published",
    "log.before_write/published",
    "log.after_write/published",
];

/// A server dies with a commit on its way, the next ones die while they settle it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_settles_a_commit_is_struck_again_and_again() {
    let mut world = Settling::create().await;
    let mut doing = Doing::new("the first start");
    // On record and not sent; sent, and nobody heard the answer.
    for death in [Death::At("log.after_witness/intent", 1), Death::At("publish.after_send", 1)] {
        doing.now(format!("{death:?}"));
        world.live_and_die(death).await;
        for point in SETTLED_ANEW {
            doing.now(format!("after {death:?} a start is struck at {point}"));
            world.die_by_itself(&format!("{point}=kill:1")).await;
            world.check_disk();
        }
    }
    doing.now("the end");
    world.finish().await;
}

/// A server that nobody asks for anything, killed at a point that it comes to by itself.
async fn die_by_itself(folder: &Path, fail_points: &str) {
    alone::die_by_itself(folder, &How { fail_points, ..How::default() }).await;
}

/// Rows of one file of the Delta table, and how many such files there are: more than four small ones are merged.
const FILE_ROWS: i64 = 10;
const N_FILES: i64 = 6;

/// What a merge comes to, up to where its commit is settled. What stands before `compact.decided` leaves everything to the next one.
fn of_compaction() -> impl Iterator<Item = String> {
    let [names_recorded, file_written, files_synced, file_brought, decided] = COMPACT;
    let merging = [names_recorded, file_written, files_synced, file_brought];
    let merging = merging.into_iter().chain(["table.before_submit/intent", "log.before_write/intent"]);
    let settling = [decided, "publish.before_send", "publish.after_send", "publish.settled"];
    merging.chain(settling).map(|point| format!("{point}=kill:1"))
}

/// A server merges by itself, a second after its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_is_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doing = Doing::new("the first start");
    // A merge that has failed begins anew a minute later: this server makes none.
    let server = Server::start(folder.path(), "compact.names_recorded=error:1");
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    let create = "CREATE TABLE merged (id BIGINT NOT NULL, PRIMARY KEY (id))";
    caller.client.execute_update(create).await.expect("created");
    let ids = |from: i64| (from..from + FILE_ROWS).map(|id| format!("({id})")).collect::<Vec<_>>().join(", ");
    for file in 0..N_FILES {
        let insert = format!("INSERT INTO merged VALUES {}", ids(file * FILE_ROWS));
        caller.client.execute_update(&insert).await.expect("stored");
        caller.call("seal", "merged").await.expect(ALIVE);
    }
    assert_eq!(caller.client.execute_update("DELETE FROM merged WHERE id = 3").await.expect("deleted"), 1);
    caller.call("seal", "merged").await.expect(ALIVE);
    server.kill();
    let n_rows = N_FILES * FILE_ROWS - 1;
    let mut delta = DeltaLog::of(folder.path(), "merged");
    for point in of_compaction() {
        let newest = delta.check().expect("a Delta table");
        assert_eq!(newest.rows, n_rows, "before {point}");
        doing.now(format!("a start is struck at {point}"));
        die_by_itself(folder.path(), &point).await;
    }
    doing.now("the last start");
    let server = Server::start(folder.path(), "");
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    let files = "SELECT sealed_files FROM system.tables WHERE name = 'merged'";
    let merged = async { while numbers(&caller.client, files).await != [[1]] {} };
    assert!(timeout(LIMIT, merged).await.is_ok(), "nothing was merged");
    let sums = "SELECT count(*), count(DISTINCT id), sum(id) FROM merged";
    let sum = (0..N_FILES * FILE_ROWS).sum::<i64>() - 3;
    assert_eq!(numbers(&caller.client, sums).await, [[n_rows, n_rows, sum]]);
    let newest = delta.check().expect("a Delta table");
    assert_eq!((newest.rows, newest.files), (n_rows, 1));
    let again = format!("INSERT INTO merged VALUES {}", ids(0));
    assert_eq!(caller.client.execute_update(&again).await.expect("answered"), 0, "all of these keys were there before");
    server.stop();
}

/// Waits until no file of rows is on the local disk but those that the table has.
async fn wait_until_clean(caller: &Caller, folder: &Path) {
    let is_left = || !files(&folder.join("built"), ".parquet").is_empty();
    let clean = async { while is_left() && try_numbers(&caller.client, "SELECT 1").await.is_some() {} };
    assert!(timeout(LIMIT, clean).await.is_ok(), "left behind: {:?}", files(&folder.join("built"), ".parquet"));
}

/// A built file whose rows a TRUNCATE took, perhaps in the Delta folder as well, in no version. What became of it stands in records alone.
async fn leave_behind(folder: &Path) {
    let server = Server::start(folder, "log.after_witness/build=kill:1");
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    for statement in ["CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))", "INSERT INTO t VALUES (1), (2), (3)"] {
        caller.client.execute_update(statement).await.expect("done");
    }
    assert_eq!(caller.call("build", "t").await, None);
    assert!(server.was_killed());
    // The server begins to publish by itself, and gets no further than this before the TRUNCATE.
    let held = "publish.file_brought=error:1,publish.files_brought=error:1";
    let server = Server::start(folder, &format!("{held},log.after_witness/truncate=kill:1"));
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    assert_eq!(survived(caller.client.execute_update("TRUNCATE TABLE t").await), None);
    assert!(server.was_killed());
    assert_eq!(files(&folder.join("built"), ".parquet").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nothing_is_deleted_wherever_a_start_is_struck() {
    let mut doing = Doing::new("the first start");
    // The last one finds nothing to do after the one before.
    let [before_write, after_write, after_witness] = LOG.map(|point| format!("{point}/cleaned"));
    let deletes = STORE_DELETES.map(str::to_owned);
    for points in [[&deletes[..], &[before_write, after_write][..]].concat(), vec![after_witness]] {
        let folder = tempfile::tempdir().expect("a folder");
        leave_behind(folder.path()).await;
        for point in points {
            doing.now(format!("a start is struck at {point}"));
            die_by_itself(folder.path(), &format!("{point}=kill:1")).await;
        }
        doing.now("the last start");
        let server = Server::start(folder.path(), "");
        let caller = Caller::connect(&server.grpc, &Signals::new()).await;
        wait_until_clean(&caller, folder.path()).await;
        assert_eq!(numbers(&caller.client, "SELECT count(*) FROM t").await, [[0]]);
        caller.client.execute_update("INSERT INTO t VALUES (1), (4)").await.expect("keys are free again");
        assert_eq!(caller.call("seal", "t").await.expect(ALIVE).rows, 2);
        let newest = DeltaLog::of(folder.path(), "t").check().expect("a Delta table");
        assert_eq!((newest.rows, newest.files), (2, 1));
        server.stop();
    }
}

/// Rows of one statement: more than one entry of the log takes.
const LARGE_ROWS: i64 = 20_000;

/// The points of a statement whose rows are written into files first. It happened if it was killed at one of the last.
fn of_large_statements() -> impl Iterator<Item = (String, bool)> {
    let staged = STAGE.into_iter().map(|point| (point.to_owned(), false));
    let committed = LOG.into_iter().chain(TABLE).map(|point| (format!("{point}/segment"), is_durable(point)));
    staged.chain(committed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_statement_is_all_there_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder.path(), "");
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    let create = "CREATE TABLE large (id BIGINT NOT NULL, t VARCHAR, PRIMARY KEY (id))";
    caller.client.execute_update(create).await.expect("created");
    server.stop();
    let mut n_rows = 0;
    let count = "SELECT count(*), count(DISTINCT id), coalesce(sum(length(t)), 0) FROM large";
    for (point, happened) in of_large_statements() {
        doing.now(format!("a large INSERT is struck at {point}"));
        let server = Server::start(folder.path(), &format!("{point}=kill:1"));
        let caller = Caller::connect(&server.grpc, &Signals::new()).await;
        assert_eq!(numbers(&caller.client, count).await, [[n_rows, n_rows, 1_000 * n_rows]]);
        // Rows of those that did not happen come again.
        let (from, through) = (n_rows + 1, n_rows + LARGE_ROWS);
        let rows = format!("SELECT i, repeat('x', 1000) FROM generate_series({from}, {through}) AS s(i)");
        let answer = caller.client.execute_update(&format!("INSERT INTO large {rows}")).await;
        // At the last point the answer may come before the end.
        assert!(survived(answer).is_none_or(|n| happened && n == LARGE_ROWS as u64), "{point} was not reached");
        assert!(server.was_killed());
        n_rows += if happened { LARGE_ROWS } else { 0 };
    }
    doing.now("the end");
    let server = Server::start(folder.path(), "");
    let caller = Caller::connect(&server.grpc, &Signals::new()).await;
    assert_eq!(numbers(&caller.client, count).await, [[n_rows, n_rows, 1_000 * n_rows]]);
    assert_eq!(caller.call("seal", "large").await.expect(ALIVE).rows, n_rows);
    wait_until_clean(&caller, folder.path()).await;
    let newest = DeltaLog::of(folder.path(), "large").check().expect("a Delta table");
    assert_eq!(newest.rows, n_rows);
    server.stop();
}
