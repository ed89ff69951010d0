//! Where does a request come from? The address of its client, as far as it tells one client from another.
//!
//! It goes along with the task that answers the request: whoever looks at a password asks for it there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::connections::Peer;

/// Proxies add to it where a request came from; the last address is that of the nearest one.
const FORWARDED_FOR: &str = "x-forwarded-for";

tokio::task_local! {
    static PLACE: Option<IpAddr>;
}

/// The address of the client whose request is being answered; `None` where nobody knows it.
pub(super) fn here() -> Option<IpAddr> {
    PLACE.try_with(|place| *place).ok().flatten()
}

/// Answers a request with its place known.
pub(crate) async fn note(request: Request, next: Next) -> Response {
    let place = request.extensions().get::<Peer>().and_then(|peer| of(peer, request.headers()));
    PLACE.scope(place, next.run(request)).await
}

/// `work` of a client at this address.
#[cfg(test)]
pub(super) async fn at<T>(address: &str, work: impl Future<Output = T>) -> T {
    PLACE.scope(Some(network(address.parse().expect("an address"))), work).await
}

/// Many come over a proxy, and a proxy may run on this machine without anybody having said so: there its header counts. A program on this
/// machine can forge that, and gains another address by it, as a cloud would give it; what counts for the user stays.
pub(super) fn of(peer: &Peer, headers: &HeaderMap) -> Option<IpAddr> {
    let address = peer.address?.ip().to_canonical();
    match peer.is_proxy || address.is_loopback() {
        true => forwarded(headers).filter(|address| !address.is_loopback()).map(network),
        false => Some(network(address)),
    }
}

/// The address of a client that has connected by itself; `None` of what comes over a proxy, or from this machine, where one may run.
pub(crate) fn of_client(peer: &Peer) -> Option<IpAddr> {
    of(peer, &HeaderMap::new())
}

fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    // Some proxies add the port.
    let address = last.parse::<IpAddr>().or_else(|_| last.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Who has one address of IPv6 has all 2^64 of its network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
