//! What goes because it is old, wherever the kill strikes? Rows past their retention, keys past their window, tables that were dropped a
//! week ago: nothing goes early, and nothing comes back. A server over the same folder starts with clocks that are days ahead.

use std::path::{Path, PathBuf};

use tidewater_storage::env::{Clock, SystemClock};

use crate::Doing;
use crate::alone::{DAY_S, die_by_itself, die_while_asked};
use crate::delta::DeltaLog;
use crate::points::{LOG, RETENTION, STORE_DELETES, TABLE, files, is_durable};
use crate::process::{How, Server};
use crate::seals::Settling;
use crate::seen::{numbers, tables_named};
use crate::world::Death;
use crate::writers::{Caller, Signals};

async fn connect(server: &Server) -> Caller {
    Caller::connect(&server.grpc, &Signals::new()).await
}

async fn change(caller: &Caller, statement: &str) -> u64 {
    caller.client.execute_update(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
}

/// Rows of `aged` with keys from `from` on and one event time; how many of them are new.
async fn insert(caller: &Caller, from: i64, n_rows: i64, at_us: i64) -> u64 {
    let ids = format!("generate_series({from}, {}) AS s(i)", from + n_rows - 1);
    change(caller, &format!("INSERT INTO aged SELECT i, to_timestamp_micros({at_us}) FROM {ids}")).await
}

const OLD_ROWS: i64 = 100;
const YOUNG_ROWS: i64 = 50;

/// A file is expired after a day of uptime at the soonest.
const EXPIRED_S: u64 = DAY_S + 3600;

/// What the commit comes to that takes expired files out of the Delta table. Each leaves the rest to the next start, the last one nothing.
fn of_retention() -> impl Iterator<Item = &'static str> {
    let deciding = ["table.before_submit/intent", "log.before_write/intent"].into_iter().chain(RETENTION);
    deciding.chain([
        "publish.before_send",
        "store.before_name",
        "store.after_name",
        "publish.after_send",
        "publish.settled",
        "log.before_write/published",
        "log.after_write/published",
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_leaves_wherever_a_start_is_struck() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let caller = connect(&server).await;
    let create = "CREATE TABLE aged (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, PRIMARY KEY (id))";
    change(&caller, &format!("{create} WITH (retention = '30 days')")).await;
    let now_us = SystemClock::new().now_us();
    let old_us = now_us - (30 * DAY_S - 12 * 3600) as i64 * 1_000_000;
    for (from, n_rows, at_us) in [(1, OLD_ROWS, old_us), (OLD_ROWS + 1, YOUNG_ROWS, now_us)] {
        assert_eq!(insert(&caller, from, n_rows, at_us).await, n_rows as u64);
        caller.call("seal", "aged").await.expect("sealed");
    }
    let sums = "SELECT count(*), sum(id) FROM aged";
    let all: i64 = (1..=OLD_ROWS + YOUNG_ROWS).sum();
    assert_eq!(numbers(&caller.client, sums).await, [[OLD_ROWS + YOUNG_ROWS, all]]);
    server.stop();

    let mut delta = DeltaLog::of(folder, "aged");
    let left = [vec![YOUNG_ROWS, all - (1..=OLD_ROWS).sum::<i64>()]];
    for point in of_retention() {
        doing.now(format!("a start is struck at {point}"));
        let how = How { fail_points: &format!("{point}=kill:1"), ahead_s: EXPIRED_S, ..How::default() };
        die_while_asked(folder, &how, sums, &left).await;
        let newest = delta.check().expect("a Delta table");
        assert!([OLD_ROWS + YOUNG_ROWS, YOUNG_ROWS].contains(&newest.rows), "{newest:?}");
    }
    let newest = delta.check().expect("a Delta table");
    assert_eq!((newest.rows, newest.files), (YOUNG_ROWS, 1));
    assert_eq!(files(&folder.join("tables"), ".parquet").len(), 2, "readers of older versions need the other file");

    // Its files are deleted a week later.
    let ahead_s = EXPIRED_S + 8 * DAY_S;
    let [before_write, after_write, _] = LOG.map(|point| format!("{point}/cleaned"));
    for point in STORE_DELETES.map(str::to_owned).into_iter().chain([before_write, after_write]) {
        doing.now(format!("a start that cleans is struck at {point}"));
        let how = How { fail_points: &format!("{point}=kill:1"), ahead_s, ..How::default() };
        die_while_asked(folder, &how, sums, &left).await;
        assert_eq!(delta.check(), Some(newest));
    }
    assert_eq!(files(&folder.join("tables"), ".parquet").len(), 1);

    doing.now("the last start");
    let server = Server::start_as(folder, &How { ahead_s, ..How::default() });
    let caller = connect(&server).await;
    let later_us = now_us + ahead_s as i64 * 1_000_000;
    assert_eq!(insert(&caller, 1, OLD_ROWS + YOUNG_ROWS + 1, later_us).await, 1, "keys outlive their rows");
    caller.call("seal", "aged").await.expect("sealed");
    caller.verify("aged").await;
    assert_eq!(delta.check().expect("a Delta table").rows, YOUNG_ROWS + 1);
    server.stop();
}

/// Producers, readers and who builds, seals and deletes, in servers whose rows are past their retention when the next one starts.
#[tokio::test(flavor = "multi_thread")]
async fn rows_expire_while_everybody_works() {
    let mut doing = Doing::new("the first start");
    let mut world = Settling::create_aging().await;
    let [decided] = RETENTION;
    // Both tables need files that expire in the server after it: each is sealed by the first point.
    for (point, visit) in [("publish.settled", 8), (decided, 1), ("publish.settled", 8), (decided, 2)] {
        doing.now(format!("{point} at visit {visit}, or the start after the death before"));
        world.live_and_die(Death::At(point, visit)).await;
    }
    doing.now("the end");
    world.finish().await;
}

/// Points of the commit that forgets: those that leave it to the next start come first.
fn of_forgetting() -> (Vec<String>, Vec<String>) {
    let named = |durable: bool| {
        let points = LOG.into_iter().chain(TABLE).filter(move |point| is_durable(point) == durable);
        points.map(|point| format!("{point}/forget=kill:1")).collect()
    };
    (named(false), named(true))
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_forgotten_wherever_a_server_is_struck() {
    const N_KEYS: i64 = 500;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let create = "CREATE TABLE windowed (id BIGINT NOT NULL, PRIMARY KEY (id)) WITH (dedup_window = '1 day')";
    change(&connect(&server).await, create).await;
    server.stop();
    let insert = format!("INSERT INTO windowed SELECT i FROM generate_series(1, {N_KEYS}) AS s(i)");
    let count = "SELECT count(*), count(DISTINCT id) FROM windowed";
    let (mut left_to_do, durable) = of_forgetting();
    let (mut ahead_s, mut n_rows) = (0, 0);
    for point in durable {
        doing.now(format!("the same keys come again, {} days later", ahead_s / DAY_S));
        let server = Server::start_as(folder, &How { ahead_s, ..How::default() });
        let caller = connect(&server).await;
        assert_eq!(change(&caller, &insert).await, N_KEYS as u64, "they were forgotten");
        assert_eq!(change(&caller, &insert).await, 0, "they are remembered");
        n_rows += N_KEYS;
        // Keys are forgotten once they are in files.
        caller.call("seal", "windowed").await.expect("sealed");
        server.kill();

        ahead_s += 2 * DAY_S;
        for point in std::mem::take(&mut left_to_do).into_iter().chain([point]) {
            doing.now(format!("a server is struck at {point}"));
            let how = How { fail_points: &point, ahead_s, ..How::default() };
            die_while_asked(folder, &how, count, &[vec![n_rows, N_KEYS]]).await;
        }
    }
    doing.now("the last start");
    let server = Server::start_as(folder, &How { ahead_s, ..How::default() });
    let caller = connect(&server).await;
    assert_eq!(change(&caller, &insert).await, N_KEYS as u64);
    assert_eq!(change(&caller, &insert).await, 0);
    caller.call("seal", "windowed").await.expect("sealed");
    caller.verify("windowed").await;
    let newest = DeltaLog::of(folder, "windowed").check().expect("a Delta table");
    assert_eq!(newest.rows, n_rows + N_KEYS);
    server.stop();
}

/// Housekeeping, which purges, begins ten seconds after a start: the two are struck at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_purged_wherever_a_server_is_struck() {
    let [before_write, after_write, after_witness] = LOG.map(|point| format!("{point}/purge_table=kill:1"));
    let (first, second) = ([before_write, after_write], [after_witness]);
    tokio::join!(purge(&first), purge(&second));
}

/// Rows of a table that is dropped: sealed ones, and one in memory.
const DROPPED_ROWS: i64 = 11;

async fn create(caller: &Caller, name: &str, n_rows: i64) {
    change(caller, &format!("CREATE TABLE {name} (id BIGINT NOT NULL, PRIMARY KEY (id))")).await;
    let insert = format!("INSERT INTO {name} SELECT i FROM generate_series(1, {n_rows}) AS s(i)");
    assert_eq!(change(caller, &insert).await, n_rows as u64);
    caller.call("seal", name).await.expect("sealed");
}

async fn count(caller: &Caller, name: &str) -> i64 {
    numbers(&caller.client, &format!("SELECT count(*) FROM {name}")).await[0][0]
}

/// Folders of files that a table has, by its id.
fn folders_of(folder: &Path, name: &str, id: &str) -> Vec<PathBuf> {
    let folders = [folder.join("tables").join(format!("{name}-{id}")), folder.join("built").join(id)];
    folders.into_iter().filter(|folder| folder.exists()).collect()
}

/// Each of the last servers is killed at one of `points`, for which it waits; the last of them leaves nothing to do.
async fn purge(points: &[String]) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let caller = connect(&server).await;
    for name in ["gone", "back"] {
        create(&caller, name, DROPPED_ROWS - 1).await;
        assert_eq!(change(&caller, &format!("INSERT INTO {name} VALUES ({DROPPED_ROWS})")).await, 1);
    }
    let gone = caller.client.table_schema("gone").await.expect("it is there").table_id;
    assert_eq!(folders_of(folder, "gone", &gone).len(), 2);
    for name in ["gone", "back"] {
        change(&caller, &format!("DROP TABLE {name}")).await;
    }
    create(&caller, "gone", 3).await;
    server.stop();

    doing.now("a day later");
    let server = Server::start_as(folder, &How { ahead_s: DAY_S, ..How::default() });
    let caller = connect(&server).await;
    change(&caller, "UNDROP TABLE back").await;
    assert_eq!((count(&caller, "back").await, count(&caller, "gone").await), (DROPPED_ROWS, 3));
    server.kill();

    let ahead_s = 9 * DAY_S;
    for point in points {
        doing.now(format!("a server is struck at {point}"));
        die_by_itself(folder, &How { fail_points: point, ahead_s, ..How::default() }).await;
        // Nothing is purged before its files are gone.
        assert_eq!(folders_of(folder, "gone", &gone), Vec::<PathBuf>::new());
    }
    doing.now("the last start");
    let server = Server::start_as(folder, &How { ahead_s, ..How::default() });
    let caller = connect(&server).await;
    for (name, n_rows) in [("gone", 3), ("back", DROPPED_ROWS)] {
        assert_eq!((tables_named(&caller.client, name).await, count(&caller, name).await), (Some(1), n_rows));
        let insert = format!("INSERT INTO {name} SELECT i FROM generate_series(1, {}) AS s(i)", DROPPED_ROWS + 1);
        assert_eq!(change(&caller, &insert).await, (DROPPED_ROWS + 1 - n_rows) as u64, "keys of {name}");
        caller.call("seal", name).await.expect("sealed");
        caller.verify(name).await;
        let newest = DeltaLog::of(folder, name).check().expect("a Delta table");
        assert_eq!(newest.rows, DROPPED_ROWS + 1);
    }
    // Only the table of that name that is there now can be brought back.
    change(&caller, "DROP TABLE gone").await;
    change(&caller, "UNDROP TABLE gone").await;
    assert_eq!(count(&caller, "gone").await, DROPPED_ROWS + 1);
    server.stop();
}
