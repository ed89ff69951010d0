//! Who may connect, over what, and how much may each ask for? The settings about reach, TLS, hosts and limits.

use std::net::SocketAddr;

use axum::http::uri::Authority;
use tidewater_storage::{Result, TokenLimits};

use super::layers::Resolved;
use super::problems::invalid;
use super::units::{Amount, parse_amount};
use crate::tls::{ClientCertificates, TlsFiles};

/// What a setting says that names no file.
const OFF: &str = "off";

/// Rates beyond are no limits.
const MAX_REQUESTS_PER_S: u32 = 1_000_000;
const BYTES_PER_S: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 40;

/// The certificate and the key, both or none.
pub(super) fn tls(resolved: &Resolved) -> Result<Option<TlsFiles>> {
    const CERT: &str = "tls.cert";
    const KEY: &str = "tls.key";
    let (cert, key) = (resolved.text(CERT), resolved.text(KEY));
    let alone = |is: &str, value: &str, missing: &str| {
        Err(invalid(format!("{is} is '{value}'{}, but {missing} is not set", resolved.from(is)))
            .hint(format!("set {missing} too, or neither")))
    };
    match (cert, key) {
        (OFF, OFF) => Ok(None),
        (cert, OFF) => alone(CERT, cert, KEY),
        (OFF, key) => alone(KEY, key, CERT),
        ("", _) => {
            Err(invalid(format!("{CERT} is empty{}", resolved.from(CERT))).hint("name a PEM file, or write 'off'"))
        }
        (_, "") => {
            Err(invalid(format!("{KEY} is empty{}", resolved.from(KEY))).hint("name a PEM file, or write 'off'"))
        }
        (cert, key) => Ok(Some(TlsFiles { cert: cert.into(), key: key.into() })),
    }
}

/// Whose certificates clients show. They are shown over TLS only.
pub(super) fn client_certificates(resolved: &Resolved, has_tls: bool) -> Result<Option<ClientCertificates>> {
    const CA: &str = "tls.client_ca";
    const MODE: &str = "tls.client_auth";
    let mode = resolved.text(MODE);
    let required = match mode {
        "required" => true,
        "optional" => false,
        other => {
            return Err(
                invalid(format!("{MODE} is '{other}'{}", resolved.from(MODE))).hint("write optional or required")
            );
        }
    };
    match resolved.text(CA) {
        OFF if required => Err(invalid(format!("{MODE} is '{mode}'{}, but {CA} is not set", resolved.from(MODE)))
            .hint(format!("set {CA} to the authorities that issue the certificates"))),
        OFF => Ok(None),
        "" => Err(invalid(format!("{CA} is empty{}", resolved.from(CA))).hint("name a PEM file, or write 'off'")),
        ca if !has_tls => Err(invalid(format!("{CA} is '{ca}'{}, without TLS", resolved.from(CA)))
            .hint("set tls.cert and tls.key, too: certificates are shown over TLS")),
        ca => Ok(Some(ClientCertificates { ca: ca.into(), required })),
    }
}

/// Beyond this machine callers must say who they are, and nobody may read along.
pub(super) fn check_reach(
    resolved: &Resolved,
    name: &str,
    address: SocketAddr,
    auth_is_on: bool,
    is_encrypted: bool,
) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let beyond = format!("{name} is {address}{}, beyond loopback", resolved.from(name));
    if !auth_is_on {
        return Err(invalid(format!("{beyond}, while auth is off: everybody who reaches it would be admin"))
            .hint("set auth = 'on', or listen on 127.0.0.1 or [::1]"));
    }
    if !is_encrypted {
        return Err(invalid(format!("{beyond}, without TLS: passwords and rows could be read on the way"))
            .hint("set tls.cert and tls.key; or tls.behind_proxy = true if a proxy in front of it speaks TLS"));
    }
    Ok(())
}

/// Names that a request may give as its host; `auto`: none.
pub(super) fn allowed_hosts(resolved: &Resolved) -> Result<Vec<String>> {
    const NAME: &str = "server.allowed_hosts";
    let text = resolved.text(NAME);
    if text == "auto" {
        return Ok(Vec::new());
    }
    let host = |part: &str| {
        let name = part.trim().to_ascii_lowercase();
        let is_host = name.parse::<Authority>().is_ok_and(|authority| authority.host() == name);
        if is_host {
            return Ok(name);
        }
        Err(invalid(format!("{NAME} is '{text}'{}: '{}' is no host name", resolved.from(NAME), part.trim()))
            .hint("write names without scheme and port, with commas between them: db.example.com, 10.0.0.5"))
    };
    text.split(',').map(host).collect()
}

/// What everybody may ask for who has no limits of their own; 0 is no limit.
pub(super) fn limits(resolved: &Resolved) -> Result<TokenLimits> {
    let count = |name: &str, most: u32| -> Result<Option<u32>> {
        let text = resolved.text(name);
        match text.parse::<u32>() {
            Ok(0) => Ok(None),
            Ok(number) if number <= most => Ok(Some(number)),
            _ => Err(invalid(format!("{name} is '{text}'{}", resolved.from(name)))
                .hint(format!("write a number from 1 to {most}, or 0 for no limit"))),
        }
    };
    Ok(TokenLimits {
        requests_per_s: count("limits.requests_per_second", MAX_REQUESTS_PER_S)?,
        bytes_per_s: bytes_per_s(resolved)?,
        concurrent_queries: count("limits.concurrent_queries", u32::MAX)?,
    })
}

fn bytes_per_s(resolved: &Resolved) -> Result<Option<u64>> {
    const NAME: &str = "limits.bytes_per_second";
    let text = resolved.text(NAME);
    match (text.trim(), parse_amount(text)) {
        ("0", _) => Ok(None),
        (_, Ok(Amount::Bytes(bytes))) if BYTES_PER_S.contains(&bytes) => Ok(Some(bytes)),
        _ => Err(invalid(format!("{NAME} is '{text}'{}", resolved.from(NAME)))
            .hint("write bytes a second, such as '10 MiB', at least '1 KiB', or 0 for no limit")),
    }
}
