//! Is each kind of change whole or not at all, at whichever point the kill strikes? One change at a time, each with a known outcome; and
//! what settles rows, which changes none of them.

use std::collections::BTreeSet;

use tidewater_client::Identity;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::{InitProducerRequest, TableRef};
use tonic::transport::Channel;

use crate::Doing;
use crate::model::{Shared, TableModel};
use crate::points::{LOG, TABLE, is_durable};
use crate::process::Server;
use crate::seen::{Seen, tables_named, try_look, view};
use crate::writers::{Caller, Signals, channel, numbered, survived};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    CreateTable,
    BeginEpoch,
    Write,
    WriteAgain,
    WriteFenced,
    WriteWithKey,
    WriteWithKeyAgain,
    /// Fresh rows become files on the local disk.
    Build,
    /// All rows are in the Delta table.
    Seal,
    AlterAddColumn,
    Delete,
    Truncate,
    CreateView,
    ReplaceView,
    DropView,
    DropTable,
    Undrop,
    /// Another one, without rows, in its place.
    ReplaceTable,
}

use Step::{
    AlterAddColumn, BeginEpoch, Build, CreateTable, CreateView, Delete, DropTable, DropView, ReplaceTable, ReplaceView,
    Seal, Truncate, Undrop, Write, WriteAgain, WriteFenced, WriteWithKey, WriteWithKeyAgain,
};

/// The life of a table, which begins anew under the same name. A TRUNCATE keeps producers' positions and idempotency keys.
///
/// A server also publishes, and builds what a TRUNCATE left of a sealed table, by itself: never before the first build.
const LIFE: [Step; 23] = [
    CreateTable,
    BeginEpoch,
    Write,
    WriteWithKey,
    BeginEpoch,
    WriteFenced,
    Build,
    Seal,
    AlterAddColumn,
    Write,
    Delete,
    Seal,
    Truncate,
    WriteAgain,
    WriteWithKeyAgain,
    Write,
    CreateView,
    ReplaceView,
    DropView,
    DropTable,
    Undrop,
    ReplaceTable,
    DropTable,
];

/// What the commit of a step that changes something is called; `None`: the step is refused or repeated, or what it does changes no row and
/// is done by the server itself as well.
fn commit_kind(step: Step) -> Option<&'static str> {
    match step {
        CreateTable | ReplaceTable => Some("create_table"),
        BeginEpoch => Some("producer"),
        Write | WriteWithKey => Some("rows"),
        AlterAddColumn => Some("alter"),
        Delete => Some("delete"),
        Truncate => Some("truncate"),
        CreateView | ReplaceView => Some("create_view"),
        DropView => Some("drop_view"),
        DropTable => Some("drop_table"),
        Undrop => Some("undrop_table"),
        WriteAgain | WriteFenced | WriteWithKeyAgain | Build | Seal => None,
    }
}

/// Steps that pass the worker of the table.
fn passes_worker(step: Step) -> bool {
    !matches!(step, CreateTable | ReplaceTable | CreateView | ReplaceView | DropView | DropTable | Undrop)
}

const NAME: &str = "life";
const VIEW: &str = "life_view";
const PRODUCER: &str = "p";

/// Where the life of the table stands.
pub struct Life {
    at: usize,
    under_way: bool,
    table: Option<Shared>,
    /// The table that was dropped last.
    dropped: Option<Shared>,
    n_columns: usize,
    view: Option<i64>,
}

impl Life {
    pub fn new() -> Self {
        Self { at: 0, under_way: false, table: None, dropped: None, n_columns: 0, view: None }
    }

    fn next(&self) -> Step {
        LIFE[self.at]
    }

    /// Takes one step after the other until the server dies, or nothing new is wanted. False: it died.
    pub async fn go_on(&mut self, server: &Server, caller: &Caller) -> bool {
        let mut ingest = IngestClient::new(channel(server));
        while !caller.is_finishing() {
            if !self.step(caller, &mut ingest).await {
                return false;
            }
        }
        true
    }

    /// Takes one step; false if the server died in it.
    async fn step(&mut self, caller: &Caller, ingest: &mut IngestClient<Channel>) -> bool {
        self.under_way = true;
        let step = self.next();
        let done = match self.table.clone() {
            Some(table) if passes_worker(step) => worker_step(step, &table, caller, ingest).await,
            _ => survived(caller.client.execute_update(&statement(step)).await).is_some(),
        };
        if done {
            self.happened();
        }
        done
    }

    /// The step under way was taken.
    fn happened(&mut self) {
        match self.next() {
            CreateTable | ReplaceTable => {
                self.table = Some(TableModel::new(NAME, true, 2));
                self.n_columns = 2;
            }
            AlterAddColumn => self.n_columns += 1,
            DropTable => self.dropped = self.table.take(),
            Undrop => self.table = self.dropped.take(),
            CreateView | ReplaceView | DropView => self.view = view_after(self.next()),
            _ => {}
        }
        self.at = (self.at + 1) % LIFE.len();
        self.under_way = false;
    }

    /// After a restart: whether the step under way was taken, and that everything else is as it was. `None`: the server died.
    pub async fn settle(&mut self, caller: &Caller) -> Option<bool> {
        let client = &caller.client;
        let (n_tables, view) = (tables_named(client, NAME).await?, view(client, VIEW).await?);
        assert!((0..=1).contains(&n_tables), "{n_tables} tables of one name");
        let step = self.next();
        let mut happened = match step {
            CreateTable | Undrop => n_tables == 1,
            DropTable => n_tables == 0,
            CreateView | ReplaceView | DropView => view == view_after(step),
            _ => false,
        };
        let table = if step == Undrop { self.dropped.clone() } else { self.table.clone() };
        if let Some(table) = table.filter(|_| n_tables == 1) {
            let seen = try_look(client, NAME).await?;
            // The one that takes the place of the other has fewer columns.
            if step == ReplaceTable && seen.n_columns < self.n_columns {
                assert!(seen.rows.is_empty(), "the one table or the other, and not a part of both");
                happened = true;
            } else {
                happened |= self.settle_table(step, &mut table.lock(), &seen);
            }
        }
        assert!(self.under_way || !happened, "{step:?} was taken though nobody asked for it");
        if happened {
            self.happened();
        }
        self.under_way = false;
        assert_eq!((n_tables == 1, view), (self.table.is_some(), self.view), "table and view after {step:?}");
        Some(happened)
    }

    /// Tests what the table holds; whether the step under way was taken, if that can be seen there.
    fn settle_table(&self, step: Step, table: &mut TableModel, seen: &Seen) -> bool {
        let before = table.position(PRODUCER);
        let n_before = table.n_committed();
        let settled = table.settle(seen);
        let is_wider = step == AlterAddColumn && seen.n_columns > self.n_columns;
        assert_eq!(seen.n_columns, self.n_columns + usize::from(is_wider), "columns after {step:?}");
        match step {
            BeginEpoch => table.position(PRODUCER).0 > before.0,
            Write | WriteWithKey => table.n_committed() > n_before,
            // There were rows in memory, and all of them are files at once.
            Build => seen.places.realtime == 0,
            AlterAddColumn => is_wider,
            Delete => settled.deleted,
            Truncate => settled.truncated,
            // This server may have sealed by itself since. Whoever asks again finds nothing to do.
            _ => false,
        }
    }
}

fn view_after(step: Step) -> Option<i64> {
    match step {
        CreateView => Some(1),
        ReplaceView => Some(2),
        _ => None,
    }
}

fn statement(step: Step) -> String {
    match step {
        CreateTable => format!("CREATE TABLE {NAME} (id BIGINT NOT NULL, src BIGINT, PRIMARY KEY (id))"),
        ReplaceTable => format!("CREATE OR REPLACE TABLE {NAME} (id BIGINT NOT NULL, src BIGINT, PRIMARY KEY (id))"),
        Truncate => format!("TRUNCATE TABLE {NAME}"),
        CreateView => format!("CREATE VIEW {VIEW} AS SELECT 1 AS n"),
        ReplaceView => format!("CREATE OR REPLACE VIEW {VIEW} AS SELECT 2 AS n"),
        DropView => format!("DROP VIEW {VIEW}"),
        AlterAddColumn => format!("ALTER TABLE {NAME} ADD COLUMN c BIGINT"),
        DropTable => format!("DROP TABLE {NAME}"),
        Undrop => format!("UNDROP TABLE {NAME}"),
        _ => panic!("{step:?} is no statement"),
    }
}

async fn worker_step(step: Step, table: &Shared, caller: &Caller, ingest: &mut IngestClient<Channel>) -> bool {
    let (epoch, last) = table.lock().position(PRODUCER);
    match step {
        BeginEpoch => {
            table.lock().begin_epoch(PRODUCER);
            let name = Some(TableRef { table: NAME.to_owned(), ..TableRef::default() });
            let request = InitProducerRequest { table: name, producer_id: PRODUCER.to_owned(), reset: false };
            let answer = ingest.init_producer(request).await.map_err(tidewater_client::Error::from);
            let Some(info) = survived(answer).map(|answer| answer.into_inner()) else { return false };
            table.lock().epoch_begun(PRODUCER, (info.epoch, info.last_sequence, info.known), true);
            true
        }
        Write | WriteAgain => {
            let sequence = if step == Write { last + 1 } else { last };
            let batch = table.lock().numbered(PRODUCER, sequence);
            let answer = caller.write(NAME, &batch, numbered(PRODUCER, epoch, sequence)).await;
            caller.answered(table, batch.source, batch.is_repeat, answer)
        }
        WriteFenced => caller.is_fenced(table, PRODUCER).await,
        WriteWithKey | WriteWithKeyAgain => {
            let (key, batch) = table.lock().idempotent(0);
            let answer = caller.write(NAME, &batch, Identity::IdempotencyKey(key)).await;
            caller.answered(table, batch.source, batch.is_repeat, answer)
        }
        Build => caller.call("build", NAME).await.is_some(),
        Seal => caller.call("seal", NAME).await.is_some(),
        Delete => caller.delete(table).await,
        AlterAddColumn => survived(caller.client.execute_update(&statement(step)).await).is_some(),
        _ => {
            table.lock().begin_truncate();
            let done = survived(caller.client.execute_update(&statement(Truncate)).await).is_some();
            if done {
                table.lock().truncated();
            }
            done
        }
    }
}

/// A step, and the point at which it is to be struck.
type Pair = (&'static str, Step);

/// All steps that change something, each with all points that it passes.
fn all_pairs() -> BTreeSet<Pair> {
    let changes = LIFE.into_iter().filter(|step| commit_kind(*step).is_some());
    let points = |step| LOG.into_iter().chain(TABLE.into_iter().filter(move |_| passes_worker(step)));
    changes.flat_map(|step| points(step).map(move |point| (point, step))).collect()
}

/// The nearest step from `at` that is still to be struck, where it stands in the life, and what kills the server in it and nowhere before.
fn aim(at: usize, left: &BTreeSet<Pair>) -> Option<(Pair, usize, String)> {
    let ahead = || (at..at + LIFE.len()).map(|at| at % LIFE.len());
    let nearest = |pair: &Pair| ahead().position(|at| LIFE[at] == pair.1);
    let (point, step) = *left.iter().min_by_key(|pair| nearest(pair))?;
    let n_before = nearest(&(point, step))?;
    let kind = commit_kind(step)?;
    let visit = 1 + ahead().take(n_before).filter(|at| commit_kind(LIFE[*at]) == Some(kind)).count();
    Some(((point, step), (at + n_before) % LIFE.len(), format!("{point}/{kind}=kill:{visit}")))
}

/// One table, one view, one producer. In each life of the server one step is struck; the next one shows what came of it, and goes on
/// from there.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_struck_at_every_point() {
    let mut left = all_pairs();
    assert_eq!(left.len(), 13 * LOG.len() + 6 * TABLE.len(), "thirteen steps change something, six in the worker");
    let folder = tempfile::tempdir().expect("a folder");
    let signals = Signals::new();
    let mut life = Life::new();
    let mut doing = Doing::new("the first start");
    // Whether the step that was struck last is to be found taken.
    let mut taken = false;
    while let Some(((point, step), target, fail_point)) = aim((life.at + usize::from(taken)) % LIFE.len(), &left) {
        let server = Server::start(folder.path(), &fail_point);
        let (caller, mut ingest) = connect(&server, &signals).await;
        assert_eq!(life.settle(&caller).await, Some(taken));
        doing.now(format!("{step:?} is struck at {point}"));
        while life.step(&caller, &mut ingest).await {}
        assert!(server.was_killed());
        // At the last point the answer may have come before the end.
        let answered = point == "table.after_answer" && life.at == (target + 1) % LIFE.len();
        assert!(answered || life.at == target, "it struck {:?}", life.next());
        taken = !answered && is_durable(point);
        left.remove(&(point, step));
    }
    doing.now("a whole life at the end");
    let server = Server::start(folder.path(), "");
    let (caller, mut ingest) = connect(&server, &signals).await;
    assert_eq!(life.settle(&caller).await, Some(taken));
    for _ in LIFE {
        assert!(life.step(&caller, &mut ingest).await);
    }
    server.stop();
}

/// Commits that bring rows into files and these into the Delta table, with the step that asks for them first, and their points.
fn settling() -> impl Iterator<Item = (Step, &'static str, &'static str)> {
    // The names of files change nothing of the table: its worker does not know of them.
    let commits = [(Build, "names", false), (Build, "build", true), (Seal, "intent", true), (Seal, "published", true)];
    commits.into_iter().flat_map(|(step, kind, in_worker)| {
        let points = LOG.into_iter().chain(TABLE.into_iter().filter(move |_| in_worker));
        points.map(move |point| (step, kind, point))
    })
}

/// The first build and the first seal in the life of a table are struck. Afterwards it goes on to its end, and another one begins.
#[tokio::test(flavor = "multi_thread")]
async fn what_settles_rows_is_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let signals = Signals::new();
    let mut life = Life::new();
    let mut doing = Doing::new("the first start");
    for (step, kind, point) in settling() {
        doing.now(format!("{step:?} is struck at {point}/{kind}"));
        let server = Server::start(folder.path(), &format!("{point}/{kind}=kill:1"));
        let (caller, mut ingest) = connect(&server, &signals).await;
        assert_eq!((life.next(), life.settle(&caller).await), (CreateTable, Some(false)));
        while life.step(&caller, &mut ingest).await {}
        assert!(server.was_killed());
        let struck = life.next();
        // What is built may be published by the server before anybody asks, and a build be answered before the end.
        let answered = struck == Seal && point == "table.after_answer";
        assert!(struck == step || struck == Build || answered, "it struck {struck:?}");

        doing.now(format!("the life goes on after {point}/{kind} in {struck:?}"));
        let server = Server::start(folder.path(), "");
        let (caller, mut ingest) = connect(&server, &signals).await;
        let taken = life.settle(&caller).await;
        if struck == Build {
            let is_built = match kind {
                "names" => false,
                "build" => is_durable(point),
                _ => true,
            };
            assert_eq!(taken, Some(is_built), "whether files took the place of the rows");
        }
        while life.next() != CreateTable {
            assert!(life.step(&caller, &mut ingest).await);
        }
        server.kill();
    }
}

async fn connect(server: &Server, signals: &Signals) -> (Caller, IngestClient<Channel>) {
    (Caller::connect(&server.grpc, signals).await, IngestClient::new(channel(server)))
}
