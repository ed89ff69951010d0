//! Is each kind of change whole or not at all, at whichever point the kill strikes? One change at a time, each with a known outcome.

use std::collections::BTreeSet;

use tidewater_client::Identity;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::{InitProducerRequest, TableRef};
use tonic::transport::Channel;

use crate::Doing;
use crate::model::{Shared, TableModel};
use crate::points::{LOG, TABLE, is_durable, kill};
use crate::process::Server;
use crate::seen::{look, tables_named, view};
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
    Truncate,
    CreateView,
    ReplaceView,
    DropView,
    DropTable,
}

use Step::{
    BeginEpoch, CreateTable, CreateView, DropTable, DropView, ReplaceView, Truncate, Write, WriteAgain, WriteFenced,
    WriteWithKey, WriteWithKeyAgain,
};

/// The life of a table, which begins anew under the same name. A TRUNCATE keeps producers' positions and idempotency keys.
const LIFE: [Step; 14] = [
    CreateTable,
    BeginEpoch,
    Write,
    WriteWithKey,
    BeginEpoch,
    WriteFenced,
    Truncate,
    WriteAgain,
    WriteWithKeyAgain,
    Write,
    CreateView,
    ReplaceView,
    DropView,
    DropTable,
];

/// Steps that change something.
const CHANGES: [Step; 9] =
    [CreateTable, BeginEpoch, Write, WriteWithKey, Truncate, CreateView, ReplaceView, DropView, DropTable];

/// Steps that write to the log: a refusal of what is on disk already does not.
fn writes(step: Step) -> bool {
    step != WriteFenced
}

/// Steps that pass the worker of the table.
fn passes_worker(step: Step) -> bool {
    !matches!(step, CreateTable | CreateView | ReplaceView | DropView | DropTable)
}

const NAME: &str = "life";
const VIEW: &str = "life_view";
const PRODUCER: &str = "p";

/// Where the life of the table stands.
pub struct Life {
    at: usize,
    under_way: bool,
    table: Option<Shared>,
    view: Option<i64>,
}

impl Life {
    pub fn new() -> Self {
        Self { at: 0, under_way: false, table: None, view: None }
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
            CreateTable => self.table = Some(TableModel::new(NAME, true, 2)),
            DropTable => self.table = None,
            CreateView | ReplaceView | DropView => self.view = view_after(self.next()),
            _ => {}
        }
        self.at = (self.at + 1) % LIFE.len();
        self.under_way = false;
    }

    /// After a restart: whether the step under way was taken, and that everything else is as it was.
    pub async fn settle(&mut self, caller: &Caller) -> bool {
        let client = &caller.client;
        let (n_tables, view) = (tables_named(client, NAME).await, view(client, VIEW).await);
        assert!((0..=1).contains(&n_tables), "{n_tables} tables of one name");
        let step = self.next();
        let mut happened = match step {
            CreateTable => n_tables == 1,
            DropTable => n_tables == 0,
            CreateView | ReplaceView | DropView => view == view_after(step),
            _ => false,
        };
        if let Some(table) = self.table.clone().filter(|_| n_tables == 1) {
            let seen = look(client, NAME).await;
            let mut table = table.lock();
            let before = table.position(PRODUCER);
            let n_before = table.n_committed();
            let truncated = table.settle(&seen);
            happened |= match step {
                BeginEpoch => table.position(PRODUCER).0 > before.0,
                Write | WriteWithKey => table.n_committed() > n_before,
                Truncate => truncated,
                _ => false,
            };
        }
        assert!(self.under_way || !happened, "{step:?} was taken though nobody asked for it");
        if happened {
            self.happened();
        }
        self.under_way = false;
        assert_eq!((n_tables == 1, view), (self.table.is_some(), self.view), "table and view after {step:?}");
        happened
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
        Truncate => format!("TRUNCATE TABLE {NAME}"),
        CreateView => format!("CREATE VIEW {VIEW} AS SELECT 1 AS n"),
        ReplaceView => format!("CREATE OR REPLACE VIEW {VIEW} AS SELECT 2 AS n"),
        DropView => format!("DROP VIEW {VIEW}"),
        DropTable => format!("DROP TABLE {NAME}"),
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

/// The nearest step from `at` that is still to be struck: at which point, at which visit of it, and where it stands.
fn aim(at: usize, left: &BTreeSet<(&'static str, Step)>) -> Option<(&'static str, u32, usize)> {
    let nearest = left.iter().filter_map(|(point, step)| {
        let ahead = (at..at + LIFE.len()).map(|at| at % LIFE.len());
        let mut visits =
            (1..).zip(ahead.filter(|at| writes(LIFE[*at]) && (LOG.contains(point) || passes_worker(LIFE[*at]))));
        let (visit, target) = visits.find(|(_, at)| LIFE[*at] == *step)?;
        Some((visit, *point, target))
    });
    nearest.min().map(|(visit, point, target)| (point, visit, target))
}

/// A step that was struck, and what must come of it.
struct Struck {
    point: &'static str,
    step: Step,
    taken: bool,
}

/// One table, one view, one producer. In each life of the server one step is struck; the next one shows what came of it, and goes on
/// from there. A server also writes to the log by itself, so that a kill there may strike another write than the one it is meant for:
/// it counts when the step came out as the point says.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_struck_at_every_point() {
    let in_log = CHANGES.into_iter().flat_map(|step| LOG.map(|point| (point, step)));
    let in_worker = CHANGES.into_iter().filter(|step| passes_worker(*step));
    let mut left: BTreeSet<_> = in_log.chain(in_worker.flat_map(|step| TABLE.map(|point| (point, step)))).collect();
    let n_pairs = left.len();
    let mut struck_at = BTreeSet::new();
    let enough = 3 * n_pairs / 2;
    let folder = tempfile::tempdir().expect("a folder");
    let signals = Signals::new();
    let mut life = Life::new();
    let mut struck: Option<Struck> = None;
    let mut doing = Doing::new("the first start");
    for _ in 0..enough {
        let at = life.at + usize::from(struck.as_ref().is_some_and(|struck| struck.taken));
        let aimed = aim(at % LIFE.len(), &left);
        let fail_points = aimed.map(|(point, visit, _)| kill(point, visit)).unwrap_or_default();
        let server = Server::start(folder.path(), &fail_points);
        let (caller, mut ingest) = connect(&server, &signals).await;
        let taken = life.settle(&caller).await;
        if let Some(last) = struck.take().filter(|last| last.taken != taken) {
            assert!(LOG.contains(&last.point), "taken: {taken}");
            left.insert((last.point, last.step));
        }
        let Some((point, _, target)) = aimed else {
            server.kill();
            if left.is_empty() {
                break;
            }
            continue;
        };
        while life.step(&caller, &mut ingest).await {}
        assert!(server.was_killed());
        // At the last point the answer may have come before the end.
        let answered = point == "table.after_answer" && life.at == (target + 1) % LIFE.len();
        let step = if answered { LIFE[target] } else { life.next() };
        doing.now(format!("{step:?} was struck at {point}, answered: {answered}"));
        struck_at.insert(point);
        left.remove(&(point, step));
        struck = Some(Struck { point, step, taken: !answered && is_durable(point) && CHANGES.contains(&step) });
    }
    // What the server writes by itself moves the aim, so that not every pair is struck; every point is.
    for point in LOG.into_iter().chain(TABLE) {
        assert!(struck_at.contains(point), "{point} was never struck");
    }
    doing.now("a whole life at the end");
    let server = Server::start(folder.path(), "");
    let (caller, mut ingest) = connect(&server, &signals).await;
    life.settle(&caller).await;
    for _ in LIFE {
        assert!(life.step(&caller, &mut ingest).await);
    }
    server.stop();
}

async fn connect(server: &Server, signals: &Signals) -> (Caller, IngestClient<Channel>) {
    (Caller::connect(&server.grpc, signals).await, IngestClient::new(channel(server)))
}
