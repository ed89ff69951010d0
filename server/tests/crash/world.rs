//! What goes on at once? Several tables, producers and statements, from the start of a server to its death, over many servers.

use tempfile::TempDir;

use crate::changes::Life;
use crate::model::{Shared, TableModel};
use crate::points;
use crate::process::Server;
use crate::seen::try_look;
use crate::writers::{Caller, Signals, idempotent_writes, single_writes, stream, truncating_stream};

/// One data folder and all that was ever asked of its servers.
pub struct World {
    folder: TempDir,
    signals: Signals,
    /// Two producers stream keys that overlap.
    keyed: Shared,
    /// Without a primary key, so that a batch that is stored twice shows; acknowledged once the operating system has it.
    keyless: Shared,
    /// Emptied again and again.
    emptied: Shared,
    life: Life,
}

/// When a server is killed.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    /// At a fail point, on about this visit of the writers.
    At(&'static str, u32),
    /// From outside, after so many answers.
    After(u64),
}

/// Who is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Writers of rows.
    Rows,
    /// Also TRUNCATE, and all that the life of a table has.
    All,
}

impl World {
    pub async fn create() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let signals = Signals::new();
        let server = Server::start(folder.path(), "");
        let caller = Caller::connect(&server.grpc, &signals).await;
        for statement in [
            "CREATE TABLE keyed (id BIGINT NOT NULL, src BIGINT, PRIMARY KEY (id))",
            "CREATE TABLE keyless (id BIGINT NOT NULL, src BIGINT) WITH (durability = 'os')",
            "CREATE TABLE emptied (id BIGINT NOT NULL, src BIGINT, PRIMARY KEY (id))",
        ] {
            caller.client.execute_update(statement).await.expect("created");
        }
        server.stop();
        Self {
            folder,
            signals,
            keyed: TableModel::new("keyed", true, u64::MAX),
            keyless: TableModel::new("keyless", false, u64::MAX),
            emptied: TableModel::new("emptied", true, 3),
            life: Life::new(),
        }
    }

    /// A start that is killed at the `visit`-th entry that it reads, or else as soon as it is ready; whether there was that entry.
    pub fn die_in_replay(&self, visit: u64) -> bool {
        match Server::try_start(self.folder.path(), &format!("{}=kill:{visit}", points::REPLAY)) {
            Some(server) => {
                server.kill();
                false
            }
            None => true,
        }
    }

    /// One life of a server: what it holds is tested, then all writers work until it is killed. What it does by itself may bring it to the
    /// point before.
    pub async fn live_and_die(&mut self, work: Work, death: Death) {
        let fail_points = match death {
            Death::At(point, visit) => points::kill(point, visit),
            Death::After(_) => String::new(),
        };
        let Some(server) = Server::try_start(self.folder.path(), &fail_points) else { return };
        if self.settle(&server).await.is_some() {
            let signals = self.signals.clone();
            let kill = async {
                if let Death::After(n_answers) = death {
                    signals.acknowledged(n_answers).await;
                    server.kill();
                }
            };
            let (survived, ()) = tokio::join!(self.work(work, &server), kill);
            assert!(!survived.contains(&true), "somebody ended before the server: {survived:?}");
        }
        assert!(server.was_killed(), "{death:?}");
    }

    /// Tests that the server holds what it must and nothing else. `None`: it died.
    pub async fn settle(&mut self, server: &Server) -> Option<()> {
        let caller = Caller::try_connect(&server.grpc, &self.signals).await?;
        for table in [&self.keyed, &self.keyless, &self.emptied] {
            let name = table.lock().name;
            let seen = try_look(&caller.client, name).await?;
            table.lock().settle(&seen);
        }
        self.life.settle(&caller).await.map(drop)
    }

    /// Works until the server dies, or nothing new is wanted; who survived.
    async fn work(&mut self, work: Work, server: &Server) -> Vec<bool> {
        let mut callers = Vec::new();
        for _ in 0..3 {
            let Some(caller) = Caller::try_connect(&server.grpc, &self.signals).await else { return vec![false] };
            callers.push(caller);
        }
        let Self { keyed, keyless, emptied, life, .. } = self;
        let rows = async {
            let (a, b, c, d, e) = tokio::join!(
                stream(&callers[0], keyed, "left"),
                stream(&callers[1], keyed, "right"),
                stream(&callers[0], keyless, "stream"),
                single_writes(&callers[1], keyless, "single"),
                idempotent_writes(&callers[2], keyless),
            );
            vec![a, b, c, d, e]
        };
        if work == Work::Rows {
            return rows.await;
        }
        let changes = async {
            tokio::join!(truncating_stream(&callers[2], emptied, "emptying"), life.go_on(server, &callers[0]))
        };
        let (mut survived, (emptying, living)) = tokio::join!(rows, changes);
        survived.extend([emptying, living]);
        survived
    }

    /// A last life in which everything that was ever sent is answered, and an orderly restart that shows the same.
    pub async fn finish(mut self) {
        self.signals.finish();
        let server = Server::start(self.folder.path(), "");
        self.settle(&server).await.expect("the server lives");
        let survived = self.work(Work::All, &server).await;
        assert!(!survived.contains(&false), "the server died by itself: {survived:?}");
        self.settle(&server).await.expect("the server lives");
        server.stop();
        let server = Server::start(self.folder.path(), "");
        self.settle(&server).await.expect("the server lives");
        server.stop();
    }
}
