//! Who is connected, and how many may be? A listener whose connections have a bound, plain or in TLS.
//!
//! A TLS handshake is part of the connection's first read or write: it runs in the task of that connection, holds its slot, and
//! must be over when the protocol must be known. Accepting waits for none.

mod shares;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Extensions;
use tidewater_storage::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use self::shares::{Share, Shares};
use crate::auth::place_of_client;
use crate::grpc::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use crate::tls::{Acceptor, common_name};

/// Connections of one port. Further ones wait in the operating system's queue.
pub const MAX_CONNECTIONS: usize = 4096;

/// Bodies that wait on one connection before anybody reads them. Each keeps a megabyte of the connection's window, so that some of it is
/// left to those that are read.
const MAX_WAITING_BODIES: usize = (CONNECTION_WINDOW_BYTES / STREAM_WINDOW_BYTES) as usize - 2;

/// A connection that has not said by then which protocol it speaks is closed: it would hold its place for nothing, and the time limits
/// of the protocols begin only behind that.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);

/// What an HTTP/2 connection begins with. Anything else is HTTP/1.1, or is refused at once.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a TLS connection begins with: the record of a handshake. No HTTP begins so.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];

/// After a failed accept (no file handle left) the next one waits so long, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that was taken.
pub struct Listener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    /// Whose share a connection is of; those of nobody have no bound but that of all.
    client_of: fn(&Peer) -> Option<IpAddr>,
    opening_timeout: Duration,
    address: SocketAddr,
    /// The setting that names the port, for the log.
    setting: &'static str,
    tls: Option<Acceptor>,
    behind_proxy: bool,
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
        Ok(Self {
            listener,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            shares: Shares::of(MAX_CONNECTIONS),
            client_of: place_of_client,
            opening_timeout: OPENING_TIMEOUT,
            address,
            setting,
            tls: None,
            behind_proxy: false,
        })
    }

    /// The same port, whose connections begin with a handshake of `tls`; plain without one.
    pub(crate) fn with_tls(self, tls: Option<Acceptor>) -> Self {
        Self { tls, ..self }
    }

    /// The same port, to which clients come over a proxy.
    pub fn behind_proxy(self, behind_proxy: bool) -> Self {
        Self { behind_proxy, ..self }
    }

    /// The same port with other limits.
    #[cfg(test)]
    fn with_limits(self, max_connections: usize, opening_timeout: Duration) -> Self {
        let (slots, shares) = (Arc::new(Semaphore::new(max_connections)), Shares::of(max_connections));
        Self { slots, shares, opening_timeout, ..self }
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, once there is a slot for it. One of a client that has its share already is closed.
    pub async fn accept(&self) -> Connection {
        loop {
            // The semaphore is never closed; if it were, connections would go uncounted.
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let peer = Peer { is_proxy: self.behind_proxy, ..Peer::at(stream.peer_addr().ok()) };
                    let share = (self.client_of)(&peer).map(|client| self.shares.take(client));
                    if let Some(None) = share {
                        tracing::debug!(port = self.setting, peer = ?peer.address, "a client has too many connections");
                        continue;
                    }
                    return self.opened(stream, peer, (slot, share.flatten()));
                }
                Err(reason) => {
                    tracing::warn!(%reason, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn opened(&self, stream: TcpStream, peer: Peer, held: Held) -> Connection {
        if let Err(reason) = stream.set_nodelay(true) {
            tracing::debug!(%reason, "TCP_NODELAY cannot be set");
        }
        let deadline = Box::pin(tokio::time::sleep(self.opening_timeout));
        let transport = match &self.tls {
            Some(tls) => Transport::Handshake(Box::new(tls.accept(stream))),
            None => Transport::Plain(stream),
        };
        let opening = Some(Opening { deadline, n_matched: 0 });
        Connection { transport, opening, peer, port: self.setting, _held: held }
    }
}

/// What a connection holds, and gives back when it ends: its slot, and its share.
type Held = (Option<OwnedSemaphorePermit>, Option<Share>);

/// Who is at the other end of a connection; every request over it has this among its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: Option<SocketAddr>,
    /// Requests of many clients come over it.
    pub(crate) is_proxy: bool,
    /// The common name of the certificate that it showed; empty until the handshake is over.
    certificate: Arc<OnceLock<Option<String>>>,
    /// Held as long as the connection, or a request over it, is there.
    presence: Arc<()>,
    waiting_bodies: Arc<Semaphore>,
}

impl Peer {
    pub(crate) fn at(address: Option<SocketAddr>) -> Self {
        let waiting_bodies = Arc::new(Semaphore::new(MAX_WAITING_BODIES));
        Self { address, is_proxy: false, certificate: Arc::default(), presence: Arc::default(), waiting_bodies }
    }

    /// Places of request bodies that may wait, none of which is read meanwhile.
    pub(crate) fn waiting_bodies(&self) -> Arc<Semaphore> {
        Arc::clone(&self.waiting_bodies)
    }

    /// Tells whether the connection is still there.
    pub fn presence(&self) -> Presence {
        Presence(Some(Arc::downgrade(&self.presence)))
    }

    /// The common name of the certificate that it showed, and that was verified.
    pub fn certificate_name(&self) -> Option<&str> {
        self.certificate.get()?.as_deref()
    }

    fn learn(&self, stream: &TlsStream<TcpStream>) {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        self.certificate.get_or_init(|| shown.and_then(common_name));
    }
}

/// Whether a connection is still there. Keeps nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Presence(Option<Weak<()>>);

impl Presence {
    /// Of the connection that a request with these extensions came over. Of a request without one nobody knows when its client is gone.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Peer>().map(Peer::presence).unwrap_or_default()
    }

    /// The connection is known to have ended.
    pub fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|presence| presence.strong_count() == 0)
    }
}

/// An accepted connection; its slot is free again when it is dropped.
pub struct Connection {
    transport: Transport,
    /// Until the protocol is known.
    opening: Option<Opening>,
    peer: Peer,
    port: &'static str,
    _held: Held,
}

enum Transport {
    Plain(TcpStream),
    /// It goes on with every read and write.
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Broken,
}

/// Where bytes go and come from, whatever is in between.
trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

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

impl Connection {
    /// Who is at its other end.
    pub fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// The bytes of the protocol, once there is no handshake in front of them any more.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut dyn ByteStream>> {
        if let Transport::Handshake(accept) = &mut self.transport {
            self.transport = match Pin::new(&mut **accept).poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    self.peer.learn(&stream);
                    Transport::Tls(Box::new(stream))
                }
                Poll::Ready(Err(reason)) => {
                    self.note_failed(&reason);
                    self.transport = Transport::Broken;
                    return Poll::Ready(Err(reason));
                }
                Poll::Pending => {
                    let Some(opening) = &mut self.opening else { return Poll::Pending };
                    ready!(opening.deadline.as_mut().poll(cx));
                    let reason = io::Error::from(io::ErrorKind::TimedOut);
                    self.note_failed(&reason);
                    self.transport = Transport::Broken;
                    return Poll::Ready(Err(reason));
                }
            };
        }
        Poll::Ready(match &mut self.transport {
            Transport::Plain(stream) => Ok(stream),
            Transport::Tls(stream) => Ok(&mut **stream),
            Transport::Handshake(_) | Transport::Broken => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    /// The other side may do as it likes, so this is nothing to worry about; whoever wonders why it cannot connect reads it.
    fn note_failed(&self, reason: &io::Error) {
        let (port, peer) = (self.port, self.peer.address);
        let is_plain = matches!(
            reason.get_ref().and_then(|reason| reason.downcast_ref::<rustls::Error>()),
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
        );
        match is_plain {
            true => tracing::debug!(port, ?peer, "plain text came to a port with TLS: the client must use https"),
            false => tracing::debug!(port, ?peer, %reason, "a TLS handshake failed"),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let n_before = buf.filled().len();
        let read = Pin::new(ready!(this.poll_stream(cx))?).poll_read(cx, buf);
        let Some(opening) = &mut this.opening else { return read };
        match read {
            Poll::Pending => opening.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(Ok(())) => {
                let bytes = &buf.filled()[n_before..];
                if opening.n_matched == 0 && bytes.starts_with(TLS_HANDSHAKE) {
                    let (port, peer) = (this.port, this.peer.address);
                    tracing::debug!(port, ?peer, "TLS came to a port without: the client must use http");
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                match still_opening(opening.n_matched, bytes) {
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
        Pin::new(ready!(self.poll_stream(cx))?).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(ready!(self.poll_stream(cx))?).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.transport {
            // Nothing was said yet that would have to be ended in order.
            Transport::Handshake(_) | Transport::Broken => Poll::Ready(Ok(())),
            _ => Pin::new(ready!(this.poll_stream(cx))?).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(ready!(self.poll_stream(cx))?).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            // What TLS streams say too; it must not change when the handshake is over.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
