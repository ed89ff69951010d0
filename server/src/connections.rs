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
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Connections of one port. Further ones wait in the operating system's queue.
pub const MAX_CONNECTIONS: usize = 4096;

/// A connection that has not said by then which protocol it speaks is closed: it would hold its place for nothing, and the time limits
/// of the protocols begin only behind that.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);

/// What an HTTP/2 connection begins with. Anything else is HTTP/1.1, or is refused at once.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After a failed accept (no file handle left) the next one waits so long, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that was taken.
pub struct Listener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    opening_timeout: Duration,
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
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Ok(Self { listener, slots, opening_timeout: OPENING_TIMEOUT, address })
    }

    /// The same port with other limits.
    #[cfg(test)]
    fn with_limits(self, max_connections: usize, opening_timeout: Duration) -> Self {
        Self { slots: Arc::new(Semaphore::new(max_connections)), opening_timeout, ..self }
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
                    let deadline = Box::pin(tokio::time::sleep(self.opening_timeout));
                    return Connection { stream, opening: Some(Opening { deadline, n_matched: 0 }), _slot: slot };
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
    /// Until the protocol is known.
    opening: Option<Opening>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// The first bytes of a connection.
struct Opening {
    deadline: Pin<Box<Sleep>>,
    /// Bytes of [`HTTP2_PREFACE`] that have come.
    n_matched: usize,
}

/// How much of [`HTTP2_PREFACE`] has come once `read` follows its first `n_matched` bytes; `None` when that is all of it, or something
/// else.
fn still_opening(n_matched: usize, read: &[u8]) -> Option<usize> {
    let left = HTTP2_PREFACE.get(n_matched..)?;
    (read.len() < left.len() && left.starts_with(read)).then_some(n_matched + read.len())
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let n_before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(opening) = &mut this.opening else { return read };
        match read {
            Poll::Pending => opening.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(Ok(())) => {
                match still_opening(opening.n_matched, &buf.filled()[n_before..]) {
                    Some(n_matched) => opening.n_matched = n_matched,
                    None => this.opening = None,
                }
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
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

#[cfg(test)]
mod tests;
