//! Is a table whole that goes on in another data folder, wherever the kill strikes while it is attached? All of it or nothing is there, a
//! second attempt works, and the folder that had it commits no more.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use crate::Doing;
use crate::delta::DeltaLog;
use crate::keys::{BATCH_ROWS, LITTLE_MEMORY, check_keys, random_keys, store};
use crate::points::{ATTACH, LOG, files};
use crate::process::{How, Server};
use crate::seen::{batches, numbers, refused, tables_named};
use crate::writers::{Caller, Signals};

/// Keys of so many batches do not fit into little memory.
const N_BATCHES: i64 = 150;

const SEAL: &str = "CALL seal('moved')";

async fn connect(server: &Server) -> Caller {
    Caller::connect(&server.grpc, &Signals::new()).await
}

/// The same server, with memory for a part of the keys.
async fn start(folder: &Path, fail_points: &str) -> (Server, Caller) {
    let server = Server::start_as(folder, &How { fail_points, settings: LITTLE_MEMORY, ..How::default() });
    let caller = connect(&server).await;
    (server, caller)
}

/// Makes the table, and seals it with one row deleted. Returns its place.
async fn seal_first(folder: &Path) -> String {
    let server = Server::start(folder, "");
    let caller = connect(&server).await;
    let create = "CREATE TABLE moved (id BIGINT NOT NULL, PRIMARY KEY (id))";
    caller.client.execute_update(create).await.expect("created");
    for n in 0..N_BATCHES {
        assert_eq!(store(&caller, "moved", &random_keys(n)).await, Some(BATCH_ROWS as u64));
    }
    caller.call("seal", "moved").await.expect("sealed");
    let deleted = random_keys(0).column(0).as_primitive::<Int64Type>().value(0);
    let delete = format!("DELETE FROM moved WHERE id = {deleted}");
    assert_eq!(caller.client.execute_update(&delete).await.expect("deleted"), 1);
    caller.call("seal", "moved").await.expect("sealed");
    // Never sealed: no other folder knows of it.
    assert_eq!(store(&caller, "moved", &random_keys(N_BATCHES)).await, Some(BATCH_ROWS as u64));
    let id = caller.client.table_schema("moved").await.expect("it is there").table_id;
    server.stop();
    folder.join("tables").join(format!("moved-{id}")).display().to_string()
}

/// A server dies while it attaches the table. Before, it knows nothing of it, and has nothing of what those before it wrote.
async fn die_attaching(folder: &Path, place: &str, point: &str) {
    let (server, caller) = start(folder, &format!("{point}=kill:1")).await;
    assert_eq!(tables_named(&caller.client, "moved").await, Some(0));
    let left: Vec<_> = [".run", ".keys"].into_iter().flat_map(|end| files(&folder.join("built"), end)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(batches(&caller.client, &format!("CALL attach('{place}')")).await.is_none(), "{point} was not reached");
    assert!(server.was_killed(), "{point}");
}

/// Who had the table keeps its rows, takes no more, and seals nothing.
async fn check_fenced(folder: &Path, n_rows: i64) {
    let server = Server::start_as(folder, &How { is_told_errors: true, ..How::default() });
    let caller = connect(&server).await;
    assert_eq!(numbers(&caller.client, "SELECT count(*) FROM moved").await, [[n_rows]]);
    let inserted = caller.client.execute_update("INSERT INTO moved VALUES (0)").await;
    assert_eq!(inserted.expect_err("refused").reason(), "DELTA_CONFLICT");
    assert_eq!(refused(&caller.client, SEAL).await, "DELTA_CONFLICT");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_is_struck_at_every_point() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let [old, new, last] = folders.each_ref().map(|folder| folder.path());
    let mut doing = Doing::new("the first folder");
    let place = seal_first(old).await;
    let mut delta = DeltaLog::of(old, "moved");
    let sealed = delta.check().expect("a Delta table");
    assert_eq!(sealed.rows, N_BATCHES * BATCH_ROWS - 1);

    // All but the last leave it to the next.
    let [before_write, after_write, after_witness] = LOG.map(|point| format!("{point}/attach"));
    for point in ATTACH.map(str::to_owned).into_iter().chain([before_write, after_write]) {
        doing.now(format!("the second folder is struck at {point}"));
        die_attaching(new, &place, &point).await;
        assert_eq!(delta.check().expect("a Delta table").rows, sealed.rows);
    }
    doing.now("the table goes on in the second folder");
    let (server, caller) = start(new, "").await;
    check_keys(&caller, "moved", N_BATCHES, 1).await;
    assert_eq!(store(&caller, "moved", &random_keys(N_BATCHES)).await, Some(BATCH_ROWS as u64));
    caller.call("seal", "moved").await.expect("sealed");
    server.stop();

    doing.now("the third folder is struck");
    die_attaching(last, &place, &after_witness).await;
    doing.now("the table goes on in the third folder");
    let (server, caller) = start(last, "").await;
    check_keys(&caller, "moved", N_BATCHES + 1, 1).await;
    assert_eq!(refused(&caller.client, &format!("CALL attach('{place}')")).await, "TABLE_EXISTS");
    assert_eq!(store(&caller, "moved", &random_keys(N_BATCHES + 1)).await, Some(BATCH_ROWS as u64));
    caller.call("seal", "moved").await.expect("sealed");
    caller.verify("moved").await;
    server.stop();
    let newest = delta.check().expect("a Delta table");
    assert_eq!(newest.rows, (N_BATCHES + 2) * BATCH_ROWS - 1);

    doing.now("those that had it");
    check_fenced(new, (N_BATCHES + 1) * BATCH_ROWS - 1).await;
    check_fenced(old, (N_BATCHES + 1) * BATCH_ROWS - 1).await;
    assert_eq!(delta.check(), Some(newest));
}
