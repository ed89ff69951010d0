//! When is a test over? When nothing of its store is left: a RocksDB that is closed while the process ends brings it down, and queries have
//! threads of their own, which may hold the last of it when everybody else has gone.

use std::fs::File;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Server;
use crate::App;

/// What a test has stopped for good is not waited for.
const LONGEST: Duration = Duration::from_secs(10);

/// Ends all that serves a test, and waits for it. To be dropped after all others that have a handle of the same.
pub(crate) struct Ending {
    app: Option<Arc<App>>,
    folder: Arc<TempDir>,
}

impl Ending {
    pub fn new(app: &Arc<App>, folder: Arc<TempDir>) -> Self {
        Self { app: Some(Arc::clone(app)), folder }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(app) = self.app.take().filter(|_| !std::thread::panicking()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        // Tasks of a runtime with one thread would wait for this one.
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return;
        }
        tokio::task::block_in_place(|| {
            let end = async {
                app.draining.cancel();
                app.kept.end();
                app.query.shutdown(Duration::ZERO).await;
                app.storage.shutdown().await
            };
            drop(runtime.block_on(async { tokio::time::timeout(LONGEST, end).await }));
            drop(app);
            wait_for_last(lock_of(&self.folder));
        });
    }
}

/// A store has its folder locked until it is closed.
fn lock_of(folder: &TempDir) -> File {
    File::open(folder.path().join("data").join("LOCK")).unwrap()
}

fn wait_for_last(lock: File) {
    let (tell, closed) = mpsc::sync_channel(1);
    std::thread::spawn(move || tell.send(flock(lock, FlockOperation::LockExclusive)));
    let _ = closed.recv_timeout(LONGEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_store_is_left_behind_an_endless_query() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.ending.folder);
    assert!(flock(lock_of(&folder), FlockOperation::NonBlockingLockExclusive).is_err(), "it is open");
    let sql = "SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let request = tidewater_proto::query::v1::QueryRequest { sql: sql.to_owned(), ..Default::default() };
    let mut answers = server.query().execute(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "it has begun");
    drop(answers);
    drop(server);
    flock(lock_of(&folder), FlockOperation::NonBlockingLockExclusive).expect("it is closed");
}
