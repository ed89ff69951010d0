//! How does a client keep one address while servers come and go? A listener that passes connections on to the server of the moment.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::process::Server;

/// One address for a succession of servers. A connection that is made while there is none waits for the next.
pub struct Front {
    pub address: String,
    behind: watch::Sender<Option<String>>,
}

impl Front {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (behind, now) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, now.clone()));
            }
        });
        Self { address, behind }
    }

    pub fn lead_to(&self, server: &Server) {
        self.behind.send_replace(Some(server.grpc.clone()));
    }
}

async fn pass_on(mut client: TcpStream, mut now: watch::Receiver<Option<String>>) {
    let mut refused = None;
    loop {
        // A server that is gone is not asked again: the next one has another port.
        let Ok(next) = now.wait_for(|address| address.is_some() && *address != refused).await.map(|a| a.clone()) else {
            return;
        };
        match TcpStream::connect(next.as_deref().unwrap_or_default()).await {
            Ok(mut server) => {
                // Either side's end is the end of both.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                return;
            }
            Err(_) => refused = next,
        }
    }
}
