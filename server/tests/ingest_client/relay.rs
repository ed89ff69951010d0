//! What does a client see when its connection breaks, or its server comes back elsewhere? A relay on a fixed address that obeys a test.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on between clients and one server.
pub struct Relay {
    pub address: String,
    wish: Arc<watch::Sender<Wish>>,
}

#[derive(Clone)]
struct Wish {
    server: String,
    /// What the server says does not arrive.
    deaf: bool,
    /// Counts up: connections that are there end.
    hang_ups: u64,
}

impl Relay {
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let wish = Arc::new(watch::Sender::new(Wish { server: server.to_owned(), deaf: false, hang_ups: 0 }));
        let given = Arc::clone(&wish);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, given.subscribe()));
            }
        });
        Self { address, wish }
    }

    /// From now on the server hears and is not heard.
    pub fn lose_answers(&self) {
        self.wish.send_modify(|wish| wish.deaf = true);
    }

    /// Breaks all connections; new ones work.
    pub fn hang_up(&self) {
        self.wish.send_modify(|wish| {
            wish.deaf = false;
            wish.hang_ups += 1;
        });
    }

    /// New connections go to another server.
    pub fn point_to(&self, server: &str) {
        self.wish.send_modify(|wish| server.clone_into(&mut wish.server));
    }
}

async fn serve(client: TcpStream, mut wish: watch::Receiver<Wish>) {
    let Wish { server, hang_ups, .. } = wish.borrow_and_update().clone();
    // A server that is not there is a connection that ends.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let heard = wish.clone();
    tokio::select! {
        () = pass(from_client, to_server, || true) => {}
        () = pass(from_server, to_client, || !heard.borrow().deaf) => {}
        _ = wish.wait_for(|wish| wish.hang_ups > hang_ups) => {}
    }
}

/// Passes on until one side ends. Behind the first bytes that are lost nothing is passed on any more.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_heard: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    let mut lost = false;
    while let Ok(n) = from.read(&mut buffer).await {
        lost |= !is_heard();
        if n == 0 || (!lost && to.write_all(&buffer[..n]).await.is_err()) {
            return;
        }
    }
}
