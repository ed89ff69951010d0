//! Who is connected, and how many may be? A listener whose connections have a bound.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidewater_storage::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Connections of one port. Further ones wait in the operating system's queue.
pub const MAX_CONNECTIONS: usize = 4096;

/// After a failed accept (no file handle left) the next one waits so long, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that was taken.
pub struct Listener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    address: SocketAddr,
}

impl Listener {
    /// Takes a port. `PORT_IN_USE` if that is not possible; `setting` is what to change then.
    pub async fn bind(setting: &'static str, address: SocketAddr) -> Result<Self> {
        let taken = |reason: io::Error| {
            let why = match reason.kind() {
                io::ErrorKind::AddrInUse => "another process listens there".to_owned(),
                _ => reason.to_string(),
            };
            Error::new(Code::PortInUse, format!("{setting} {address} cannot be taken: {why}"))
                .hint(format!("stop that process or set {setting} to a free port"))
                .source(reason)
        };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self { listener, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)), address })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, once there is a slot for it.
    pub async fn accept(&self) -> Connection {
        loop {
            // The semaphore is never closed; if it were, connections would go uncounted.
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(reason) = stream.set_nodelay(true) {
                        tracing::debug!(%reason, "TCP_NODELAY cannot be set");
                    }
                    return Connection { stream, _slot: slot };
                }
                Err(reason) => {
                    tracing::warn!(%reason, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// An accepted connection; its slot is free again when it is dropped.
pub struct Connection {
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
