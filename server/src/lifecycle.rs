//! In which order does a server start and end? Named phases; what the last one opened is closed first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tidewater_query::{QueryEngine, QueryEngineOptions, SystemSources};
use tidewater_storage::env::Env;
use tidewater_storage::{Engine, EngineOptions, Error, Recovery, Result};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connections::Listener;
use crate::flight_sql::Kept;
use crate::grpc::{self, Health};
use crate::tls::{self, GRPC_PROTOCOLS, HTTP_PROTOCOLS, Tls};
use crate::{App, auth, events, http, metrics};

/// Folder for spill files in the data folder; emptied at start.
const SPILL_FOLDER: &str = "spill";

/// A server to be started.
pub struct Server;

impl Server {
    /// Starts a server in the real world. Errors have the codes of [`crate::cli::exit_code`].
    pub async fn start(config: Config) -> Result<Running> {
        Self::start_in(config, Env::system()).await
    }

    /// Starts a server with the clock, randomness and fail points of `env`. Needs a multi-threaded runtime.
    pub async fn start_in(config: Config, env: Env) -> Result<Running> {
        let metrics = metrics::handle()?;
        let clock = Arc::clone(&env.clock);
        let tls = config.tls.clone().map(|files| Tls::load_with(files, config.client_certificates.as_ref()));
        let tls = tls.transpose()?;
        let (storage, recovery) = open_storage(&config, env).await?;
        let kept = Arc::new(Kept::new(&storage));
        let query = match open_queries(&storage, &kept, &config, &metrics) {
            Ok(query) => query,
            Err(error) => {
                close_storage(&storage).await;
                return Err(error);
            }
        };
        let auth = if config.auth_is_on { auth::Auth::on(&storage) } else { auth::Auth::Off };
        let limits = auth::Limits::new(config.limits, clock);
        let app = Arc::new(App { storage, query, auth, limits, kept, tls, draining: CancellationToken::new() });
        match listen(&app, &config, metrics).await {
            Ok(running) => Ok(Running { recovery, ..running }),
            Err(error) => {
                app.query.shutdown(Duration::ZERO).await;
                close_storage(&app.storage).await;
                Err(error)
            }
        }
    }
}

/// Phase 1: take the folder's lock, replay the log. It blocks, for as long as the log is long.
async fn open_storage(config: &Config, env: Env) -> Result<(Arc<Engine>, Recovery)> {
    let options = EngineOptions {
        data_dir: config.data.clone(),
        memory_limit: config.memory_limit_bytes,
        key_memory: config.key_memory_bytes,
        max_key_disk_bytes: config.key_disk_bytes,
        min_free_bytes: config.min_free_bytes,
        tables: config.tables.clone(),
        max_unpublished_bytes: config.max_unpublished_bytes,
        scrub: config.scrub,
        seals_by_itself: true,
        accept_data_loss: config.accept_data_loss,
        env,
    };
    let (storage, mut recovery) = tokio::task::spawn_blocking(move || Engine::open(options))
        .await
        .map_err(|reason| Error::internal(format!("opening the data folder panicked: {reason}")))??;
    if config.accept_data_loss {
        recovery.lines.extend(storage.accept_losses().await);
    }
    Ok((storage, recovery))
}

/// Phase 2: the query engine with its own threads.
fn open_queries(
    storage: &Arc<Engine>,
    kept: &Arc<Kept>,
    config: &Config,
    metrics: &PrometheusHandle,
) -> Result<Arc<QueryEngine>> {
    let rows = config.rows.clone();
    // Planned queries, which are kept, hold the query engine in their turn.
    let (handle, parts) = (metrics.clone(), (Arc::downgrade(storage), Arc::downgrade(kept)));
    let sources = SystemSources {
        settings: Arc::new(move || rows.clone()),
        metrics: Arc::new(move || {
            let (Some(storage), Some(kept)) = (parts.0.upgrade(), parts.1.upgrade()) else { return String::new() };
            metrics::render(&handle, &storage, &kept)
        }),
        events: Arc::new(events::recent),
    };
    let options = QueryEngineOptions {
        spill_dir: config.data.join(SPILL_FOLDER),
        max_spill_bytes: config.query_spill_bytes,
        threads: config.query_threads,
        max_running: config.query_max_running,
        max_waiting: config.query_max_waiting,
        slow_query: config.slow_query,
        sources,
    };
    QueryEngine::new(Arc::clone(storage), options)
}

/// Phases 3 and 4: the gRPC port, the HTTP port. Only now somebody can come in.
async fn listen(app: &Arc<App>, config: &Config, metrics: PrometheusHandle) -> Result<Running> {
    let acceptor = |protocols| app.tls.as_ref().map(|tls| tls.acceptor(protocols)).transpose();
    let grpc_listener = Listener::bind("server.grpc", config.grpc).await?.behind_proxy(config.behind_proxy);
    let http_listener = Listener::bind("server.http", config.http).await?.behind_proxy(config.behind_proxy);
    let grpc_listener = grpc_listener.with_tls(acceptor(GRPC_PROTOCOLS)?);
    let http_listener = http_listener.with_tls(acceptor(HTTP_PROTOCOLS)?);
    let (grpc_addr, http_addr) = (grpc_listener.address(), http_listener.address());
    let health = Health::new().await;
    let services = grpc::router(app, &health)?;
    let stop = CancellationToken::new();
    let upkeep = tokio::spawn(upkeep(metrics.clone(), stop.clone()));
    if let Some(tls) = &app.tls {
        let clock = Arc::clone(&app.storage.env().clock);
        tls.warn(clock.now_us());
        tokio::spawn(tls::watch(Arc::clone(tls), clock, stop.clone()));
    }
    let guard = http::Guard::new(config, http_addr);
    let http_router = http::router(Arc::clone(app), metrics, guard);
    let http = tokio::spawn(http::serve(http_listener, http_router, stop.clone()));
    let grpc = tokio::spawn(grpc::serve(grpc_listener, services, stop.clone()));
    health.serving().await;
    Ok(Running {
        app: Arc::clone(app),
        grpc_addr,
        http_addr,
        recovery: Recovery::default(),
        health,
        stop,
        grpc,
        http,
        upkeep,
    })
}

async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(metrics::UPKEEP_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

async fn close_storage(storage: &Engine) {
    if let Err(error) = storage.shutdown().await {
        tracing::error!(%error, "the log was not closed in order");
    }
}

/// A server that runs until [`Self::shutdown`].
pub struct Running {
    app: Arc<App>,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    recovery: Recovery,
    health: Health,
    stop: CancellationToken,
    grpc: JoinHandle<std::result::Result<(), tonic::transport::Error>>,
    http: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

impl Running {
    /// Where gRPC and Flight SQL listen, with the port that was taken.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// What the start found in the data folder.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Returns when a port is no longer served though nobody asked for that.
    pub async fn broken(&mut self) -> Error {
        let why = tokio::select! {
            ended = &mut self.grpc => format!("gRPC: {ended:?}"),
            ended = &mut self.http => format!("HTTP: {ended:?}"),
        };
        Error::internal(format!("a port is no longer served: {why}"))
    }

    /// Ends in order within about `grace`: streams say goodbye and new work is refused; no more connections; running
    /// queries end or are cancelled; what was taken for ingest is answered, and the log is closed.
    pub async fn shutdown(mut self, grace: Duration) -> Result<()> {
        let deadline = Instant::now() + grace;
        self.app.draining.cancel();
        self.health.stopping().await;
        self.stop.cancel();
        let drained = async {
            if !self.grpc.is_finished() {
                let _ = (&mut self.grpc).await;
            }
            if !self.http.is_finished() {
                let _ = (&mut self.http).await;
            }
        };
        if tokio::time::timeout_at(deadline, drained).await.is_err() {
            tracing::warn!(grace_s = grace.as_secs_f64(), "connections are cut: their requests did not end in time");
            self.grpc.abort();
            self.http.abort();
        }
        self.app.kept.end();
        self.app.query.shutdown(deadline.saturating_duration_since(Instant::now())).await;
        let closed = self.app.storage.shutdown().await;
        self.upkeep.abort();
        closed
    }
}
