//! What does a server do by itself until it dies, and what is seen of it meanwhile? Nobody changes anything, somebody may ask.

use std::path::Path;
use std::time::Duration;

use tidewater_client::Client;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::{How, Server};
use crate::seen::{numbers, try_numbers};
use crate::writers::{Caller, Signals};

/// A server that has not come to a point by then does not come to it at all.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const DAY_S: u64 = 86_400;

/// A server that nobody asks for anything, killed at a point that it comes to by itself.
pub async fn die_by_itself(folder: &Path, how: &How<'_>) {
    let Some(server) = Server::try_start_as(folder, how) else { return };
    assert!(timeout(LIMIT, hung_up(&server)).await.is_ok(), "{how:?} was not reached");
    assert!(server.was_killed(), "{how:?}");
}

/// Returns when the server has ended, and with it all its connections. It closes one that says nothing, too: then another is made.
async fn hung_up(server: &Server) {
    while let Ok(mut connection) = TcpStream::connect(&server.grpc).await {
        let mut said = [0; 1024];
        while connection.read(&mut said).await.is_ok_and(|n| n > 0) {}
    }
}

/// The same while a reader asks one query again and again: from its first moment to its last a server has one answer.
pub async fn die_while_asked(folder: &Path, how: &How<'_>, sql: &str, answer: &[Vec<i64>]) {
    let Some(server) = Server::try_start_as(folder, how) else { return };
    let asked = async {
        let Some(caller) = Caller::try_connect(&server.grpc, &Signals::new()).await else { return };
        while let Some(found) = try_numbers(&caller.client, sql).await {
            assert_eq!(found, answer, "{sql}, until {how:?}");
        }
    };
    assert!(timeout(LIMIT, asked).await.is_ok(), "{how:?} was not reached");
    assert!(server.was_killed(), "{how:?}");
}

/// Asks until a query has this answer.
pub async fn wait_for(client: &Client, sql: &str, answer: &[Vec<i64>]) {
    let answered = async { while numbers(client, sql).await != answer {} };
    assert!(timeout(LIMIT, answered).await.is_ok(), "{sql} is never answered {answer:?}");
}
