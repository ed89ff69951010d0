//! How does a demo run? A server in this process, producers and readers beside each other, and the checks when they are done.

use std::collections::VecDeque;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidewater_client::{Client, ClientOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::audit::{Check, audit_answers, audit_ledger, audit_rows, audit_sealed};
use super::feed::{Feed, N_PRODUCERS, Shared, retry};
use super::figures::{Answered, Quantiles};
use super::items::Shape;
use super::oracle::Oracle;
use super::table::{LOCATION, TABLE, create};
use super::view::{Snapshot, block, line, quantiles};
use super::watch::{halves, look, refresh, seal, seal_often, wait_for_rows};
use crate::cli::Usage;
use crate::cli::terminal::{Screen, print, size};
use crate::config::{Config, FileSource, Sources};
use crate::{Running, Server};

/// How long requests may take to end when the demo is over.
const GRACE: Duration = Duration::from_secs(20);

const DRAW_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The rate that is shown is that of the last seconds.
const RATE_SPAN: Duration = Duration::from_secs(5);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The data folder; it has no table of this name yet.
    pub data: PathBuf,
    /// Addresses; `None`: the usual ones, or free ports if those are taken.
    pub grpc: Option<String>,
    pub http: Option<String>,
    /// Settings of the server, name and value. All others have their defaults.
    pub settings: Vec<(String, String)>,
    /// `None`: until it is interrupted.
    pub seconds: Option<u64>,
    /// How often the table is sealed meanwhile; it is once more at the end.
    pub seal_interval: Duration,
    /// Rows a second.
    pub rate: u32,
    pub rows: Shape,
    pub seed: u64,
}

/// What is shown meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A block of lines that is drawn again and again.
    Live,
    /// A line now and then.
    Lines,
    Nothing,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub checks: Vec<Check>,
    elapsed: Duration,
    oracle: Oracle,
    acks: Quantiles,
    freshness: Quantiles,
    queries: Quantiles,
    delta_version: Option<i64>,
}

impl Outcome {
    /// Where the server and the oracle differ.
    pub fn differences(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| !check.agrees()).collect()
    }

    /// What was sent.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oracle, elapsed, .. } = self;
        let rate = oracle.received as f64 / elapsed.as_secs_f64().max(1e-3);
        writeln!(f, "sent      {} rows in {:.1} s, {rate:.0} rows/s", oracle.received, elapsed.as_secs_f64())?;
        writeln!(
            f,
            "stored    {} accepted ({} late), {} duplicates dropped, {} rejected (clock ahead), {} repeated",
            oracle.accepted, oracle.late, oracle.duplicates, oracle.rejected, oracle.repeated
        )?;
        writeln!(f, "ack       {}", quantiles(self.acks))?;
        writeln!(f, "visible   {}", quantiles(self.freshness))?;
        writeln!(f, "query     {}", quantiles(self.queries))?;
        let version = self.delta_version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        writeln!(f, "sealed    Delta version {version}")?;
        let differences = self.differences();
        for check in &differences {
            writeln!(f, "DIFFERS   {check}")?;
        }
        let n = self.checks.len();
        match differences.len() {
            0 => writeln!(f, "checked   {n} answers, before and after the last seal: all are what was sent"),
            n_differ => writeln!(f, "checked   {n} answers: {n_differ} are not what was sent"),
        }
    }
}

/// Runs a demo to its end, and compares what the server has with what was sent. Errors: the server does not start, the table is there
/// already, or anything that was asked of the server failed.
pub async fn play(demo: &Demo, show: Show, interrupted: &CancellationToken) -> Result<Outcome> {
    let mut running = start(demo).await?;
    let outcome = run(demo, show, interrupted, &mut running).await;
    let stopped = running.shutdown(GRACE).await;
    let outcome = outcome?;
    stopped?;
    Ok(outcome)
}

async fn start(demo: &Demo) -> Result<Running> {
    let own =
        demo.settings.iter().find(|(name, _)| ["server.data", "server.grpc", "server.http"].contains(&name.as_str()));
    if let Some((name, _)) = own {
        return Err(Usage(format!("--set {name}: a demo has --data, --grpc and --http for that")).into());
    }
    let mut flags = demo.settings.clone();
    flags.push(("server.data".to_owned(), demo.data.to_string_lossy().into_owned()));
    flags.push(("server.grpc".to_owned(), address(demo.grpc.as_deref(), 8815)));
    flags.push(("server.http".to_owned(), address(demo.http.as_deref(), 8080)));
    // Neither a file nor the environment: what the demo shows does not depend on where it runs.
    let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None })?;
    if config.auth_is_on || config.tls.is_some() {
        let message = "a demo's producers and readers come in without a password and without TLS: leave out auth, tls";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(Server::start(config).await?)
}

/// The usual port if nobody listens there.
fn address(wanted: Option<&str>, usual: u16) -> String {
    match wanted {
        Some(wanted) => wanted.to_owned(),
        None if TcpListener::bind(("127.0.0.1", usual)).is_ok() => format!("127.0.0.1:{usual}"),
        None => "127.0.0.1:0".to_owned(),
    }
}

async fn run(demo: &Demo, show: Show, interrupted: &CancellationToken, running: &mut Running) -> Result<Outcome> {
    let options = ClientOptions { retry: retry(), ..ClientOptions::default() };
    let client = Client::connect_with(&running.grpc_addr().to_string(), options).await?;
    client.execute_update(&create()).await.context("the table cannot be created; name an empty folder with --data")?;
    let show = match show {
        Show::Nothing => show,
        // That nobody reads is no reason not to check.
        _ if print(&announcement(demo, running)).is_err() => Show::Nothing,
        _ => show,
    };
    let shared = Arc::new(Shared::new(demo.seed, demo.rows)?);
    let (feeding, watching) = (CancellationToken::new(), CancellationToken::new());
    let begun = Instant::now();
    let mut tasks = Tasks { feeds: JoinSet::new(), watches: JoinSet::new() };
    tasks.spawn(demo, &client, &shared, &feeding, &watching);
    let mut display = Display::new(show, begun, running.http_addr())?;
    let deadline = demo.seconds.map(|seconds| begun + Duration::from_secs(seconds));
    follow(&mut tasks, &mut display, &shared, running, deadline, interrupted).await?;
    // Readers go on until the last row is answered.
    feeding.cancel();
    finish(&mut tasks.feeds).await.context("a producer failed")?;
    let elapsed = begun.elapsed();
    watching.cancel();
    finish(&mut tasks.watches).await.context("a reader failed")?;
    display.end(&shared);
    let oracle = shared.source.lock().oracle.clone();
    let answered = shared.figures.lock().answered;
    let checks = audit(&client, &oracle, &answered, &shared).await?;
    let delta_version = halves(&client).await?.delta_version;
    let figures = shared.figures.lock();
    let (acks, freshness, queries) = (figures.acks.all(), figures.freshness.all(), figures.queries.all());
    drop(figures);
    Ok(Outcome { checks, elapsed, oracle, acks, freshness, queries, delta_version })
}

/// All checks: of the answers, of the ledger, of the rows where they lie, and of the same rows when they are sealed.
async fn audit(client: &Client, oracle: &Oracle, answered: &Answered, shared: &Shared) -> Result<Vec<Check>> {
    let named = |checks: Vec<Check>, when: &str| {
        checks.into_iter().map(|check| Check { what: format!("{when}: {}", check.what), ..check }).collect::<Vec<_>>()
    };
    let mut checks = audit_answers(answered, oracle);
    checks.extend(audit_ledger(client, oracle, answered.resent).await?);
    checks.extend(named(audit_rows(client, oracle, &shared.items).await?, "before the last seal"));
    seal(client).await?;
    checks.extend(audit_sealed(client, oracle).await?);
    checks.extend(named(audit_rows(client, oracle, &shared.items).await?, "after the last seal"));
    Ok(checks)
}

/// What runs beside the display.
struct Tasks {
    feeds: JoinSet<Result<()>>,
    watches: JoinSet<Result<()>>,
}

impl Tasks {
    fn spawn(
        &mut self,
        demo: &Demo,
        client: &Client,
        shared: &Arc<Shared>,
        feeding: &CancellationToken,
        watching: &CancellationToken,
    ) {
        // One row is waited for at a time: more would be load, not measurement.
        let (watch, watched) = mpsc::channel(1);
        for producer in 0..N_PRODUCERS {
            let (rate, n) = (u64::from(demo.rate), N_PRODUCERS as u64);
            let rate = rate / n + u64::from((producer as u64) < rate % n);
            let (client, shared, watch) = (client.clone(), Arc::clone(shared), watch.clone());
            self.feeds.spawn(Feed { producer, client, shared, rate, watch }.run(feeding.clone()));
        }
        let of = || (client.clone(), Arc::clone(shared), watching.clone());
        let (client, shared, stop) = of();
        self.watches.spawn(refresh(client, shared, stop));
        let (client, shared, stop) = of();
        self.watches.spawn(wait_for_rows(client, shared, watched, stop));
        let (client, shared, stop) = of();
        self.watches.spawn(look(client, shared, stop));
        let (client, _, stop) = of();
        self.watches.spawn(seal_often(client, demo.seal_interval, stop));
    }
}

/// Draws until the end: an interrupt, the deadline, or a failure.
async fn follow(
    tasks: &mut Tasks,
    display: &mut Display,
    shared: &Shared,
    running: &mut Running,
    deadline: Option<Instant>,
    interrupted: &CancellationToken,
) -> Result<()> {
    let mut ticks = interval(display.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let end = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = interrupted.cancelled() => return Ok(()),
            () = &mut end => return Ok(()),
            _ = ticks.tick() => display.show(shared),
            Some(ended) = tasks.feeds.join_next() => {
                ended?.context("a producer failed")?;
                bail!("a producer ended before its time");
            }
            Some(ended) = tasks.watches.join_next() => {
                ended?.context("a reader failed")?;
                bail!("a reader ended before its time");
            }
            error = running.broken() => return Err(error.into()),
        }
    }
}

async fn finish(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Where the figures go.
struct Display {
    show: Show,
    screen: Option<Screen>,
    begun: Instant,
    http: SocketAddr,
    /// When how many rows had been answered.
    received: VecDeque<(Instant, u64)>,
}

impl Display {
    fn new(show: Show, begun: Instant, http: SocketAddr) -> Result<Self> {
        let screen = if show == Show::Live { Some(Screen::new()?) } else { None };
        Ok(Self { show, screen, begun, http, received: VecDeque::from([(begun, 0)]) })
    }

    fn interval(&self) -> Duration {
        if self.show == Show::Live { DRAW_INTERVAL } else { LINE_INTERVAL }
    }

    fn show(&mut self, shared: &Shared) {
        if self.show == Show::Nothing {
            return;
        }
        let now = self.snapshot(shared);
        let shown = match &mut self.screen {
            Some(screen) => screen.draw(&block(&now, size().0)),
            None => print(&format!("{}\n", line(&now))),
        };
        if shown.is_err() {
            self.show = Show::Nothing;
        }
    }

    /// Shows the last figures, and that they are being checked.
    fn end(&mut self, shared: &Shared) {
        self.show(shared);
        self.screen = None;
        if self.show != Show::Nothing {
            let _ = print("\nAll is answered; the server is asked for all of it, before and after a last seal ...\n");
        }
    }

    fn snapshot(&mut self, shared: &Shared) -> Snapshot {
        let late = shared.source.lock().oracle.late;
        let mut figures = shared.figures.lock();
        let now = Instant::now();
        self.received.push_back((now, figures.answered.received));
        while self.received.get(1).is_some_and(|(at, _)| now - *at >= RATE_SPAN) {
            self.received.pop_front();
        }
        let (since, before) = self.received.front().copied().unwrap_or((self.begun, 0));
        let rows = figures.answered.received.saturating_sub(before) as f64;
        Snapshot {
            console: format!("http://{}/", self.http),
            elapsed: now - self.begun,
            rate: (rows / (now - since).as_secs_f64().max(1e-3)) as u64,
            answered: figures.answered,
            late,
            acks: figures.acks.recent(),
            freshness: figures.freshness.recent(),
            queries: figures.queries.recent(),
            halves: figures.halves,
            busiest: figures.busiest.clone(),
            memory_bytes: figures.memory_bytes,
        }
    }
}

/// Where to look, and what to try meanwhile.
fn announcement(demo: &Demo, running: &Running) -> String {
    let (grpc, http) = (running.grpc_addr(), running.http_addr());
    let sql = format!("SELECT {LOCATION}, count(*) AS n FROM {TABLE} GROUP BY 1 ORDER BY n DESC LIMIT 5");
    let end = demo.seconds.map_or_else(|| "Ctrl-C ends it".to_owned(), |seconds| format!("it ends after {seconds} s"));
    format!(
        "tidewater demo: {} detections a second from {N_PRODUCERS} producers; {end}.\n\
         Console   http://{http}/\n\
         Data      {}\n\
         Access    auth is off: every program on this machine is admin\n\n\
         To try in another terminal:\n  \
         {} sql --server {grpc} -c \"{sql}\"\n  \
         pip install adbc-driver-flightsql pyarrow   # once, for the next\n  \
         python3 -c \"import adbc_driver_flightsql.dbapi as adbc; c = adbc.connect('grpc://{grpc}', autocommit=True).cursor(); \
         c.execute('{sql}'); print(c.fetchall())\"\n  \
         curl -H 'content-type: application/sql' -d '{sql}' http://{http}/api/v1/sql\n\n",
        demo.rate,
        demo.data.display(),
        program()
    )
}

/// This program as another terminal calls it, in whatever folder that is. As it was called: it need not be where programs are looked for.
fn program() -> String {
    let called: PathBuf = std::env::args_os().next().unwrap_or_else(|| "tidewater".into()).into();
    let is_path = called.components().count() > 1;
    let whole = if is_path { std::path::absolute(&called).unwrap_or(called) } else { called };
    let whole = whole.to_string_lossy();
    let is_plain = whole.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if is_plain { whole.into_owned() } else { format!("'{}'", whole.replace('\'', "'\\''")) }
}
