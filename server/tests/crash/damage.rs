//! Is it on record that a file is damaged, or whole again, wherever the kill strikes? And do queries go on that need other files?

use std::fs;
use std::path::Path;

use crate::Doing;
use crate::alone::{die_while_asked, wait_for};
use crate::points::{LOG, files};
use crate::process::{How, Server};
use crate::seen::{numbers, refused};
use crate::writers::{Caller, Signals};

/// Rows of each of two files.
const FILE_ROWS: i64 = 1000;

/// What a table is asked while one of its files is damaged: about the rows of the other one, and of that one.
const OF_WHOLE: &str = "SELECT count(*), sum(id) FROM seen WHERE id > 1000";
const OF_DAMAGED: &str = "SELECT count(*), sum(id) FROM seen WHERE id <= 1000";

async fn connect(server: &Server) -> Caller {
    Caller::connect(&server.grpc, &Signals::new()).await
}

fn sums(from: i64, through: i64) -> Vec<Vec<i64>> {
    vec![vec![through - from + 1, (from..=through).sum()]]
}

/// Another file takes the place of one, as no writer of ours ever does.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).expect("written");
    fs::rename(&beside, path).expect("renamed");
}

/// A server finds it by itself, and says so as an error.
async fn die_finding(folder: &Path, point: &str, kind: &str) {
    let how = How { fail_points: &format!("{point}/{kind}=kill:1"), is_told_errors: true, ..How::default() };
    die_while_asked(folder, &how, OF_WHOLE, &sums(FILE_ROWS + 1, 2 * FILE_ROWS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_struck_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut doing = Doing::new("the first start");
    let server = Server::start(folder, "");
    let caller = connect(&server).await;
    let create = "CREATE TABLE seen (id BIGINT NOT NULL, PRIMARY KEY (id))";
    caller.client.execute_update(create).await.expect("created");
    let mut paths = Vec::new();
    for (from, through) in [(1, FILE_ROWS), (FILE_ROWS + 1, 2 * FILE_ROWS)] {
        let insert = format!("INSERT INTO seen SELECT i FROM generate_series({from}, {through}) AS s(i)");
        caller.client.execute_update(&insert).await.expect("stored");
        caller.call("seal", "seen").await.expect("sealed");
        let mut found = files(&folder.join("tables"), ".parquet");
        found.retain(|path| !paths.contains(path));
        assert_eq!(found.len(), 1);
        paths.append(&mut found);
    }
    server.stop();
    let whole = fs::read(&paths[0]).expect("readable");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;

    let [before_write, after_write, after_witness] = LOG;
    for points in [&[before_write, after_write][..], &[after_witness]] {
        replace(&paths[0], &flipped);
        for point in points {
            doing.now(format!("a server finds the damage and is struck at {point}"));
            die_finding(folder, point, "damaged").await;
        }
        doing.now("the damage is on record");
        let server = Server::start_as(folder, &How { is_told_errors: true, ..How::default() });
        let caller = connect(&server).await;
        assert_eq!(refused(&caller.client, OF_DAMAGED).await, "FILE_DAMAGED");
        assert_eq!(numbers(&caller.client, OF_WHOLE).await, sums(FILE_ROWS + 1, 2 * FILE_ROWS));
        let again = caller.client.execute_update("INSERT INTO seen VALUES (1), (2000)").await.expect("answered");
        assert_eq!(again, 0, "keys of damaged rows are remembered");
        server.kill();

        replace(&paths[0], &whole);
        for point in points {
            doing.now(format!("a server finds the file whole and is struck at {point}"));
            die_finding(folder, point, "not_damaged").await;
        }
        doing.now("it is on record that the file is whole");
        let server = Server::start(folder, "");
        let caller = connect(&server).await;
        assert_eq!(numbers(&caller.client, OF_DAMAGED).await, sums(1, FILE_ROWS));
        caller.verify("seen").await;
        server.stop();
    }

    doing.now("whoever asks finds it, and gets it back");
    replace(&paths[0], &flipped);
    let server = Server::start_as(folder, &How { is_told_errors: true, ..How::default() });
    let caller = connect(&server).await;
    let damaged = "SELECT count(*) FROM system.segments WHERE damage IS NOT NULL";
    wait_for(&caller.client, damaged, &[vec![1]]).await;
    replace(&paths[0], &whole);
    caller.verify("seen").await;
    wait_for(&caller.client, damaged, &[vec![0]]).await;
    assert_eq!(numbers(&caller.client, OF_DAMAGED).await, sums(1, FILE_ROWS));
    server.stop();
}
