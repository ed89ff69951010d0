//! How long is the server's certificate good for, and does its key fit it?

use super::report::Finding;
use crate::tls::{Tls, TlsFiles, Validity};

const CHECK: &str = "certificate";

const DAY_US: i64 = 86_400_000_000;

/// Sooner than this somebody should see to it.
const SOON_DAYS: i64 = 30;

pub(super) fn check(files: TlsFiles, now_us: i64) -> Finding {
    let name = files.cert.display().to_string();
    match Tls::load(files) {
        Ok(tls) => judge(&name, tls.validity(), now_us),
        Err(error) => Finding::fail(CHECK, error.message(), error.hint_text().unwrap_or("change tls.cert and tls.key")),
    }
}

/// `now_us` is in microseconds since 1970.
pub(super) fn judge(name: &str, validity: Option<Validity>, now_us: i64) -> Finding {
    const RENEW: &str = "put a new one in its place: the server reads it without a restart";
    let Some(validity) = validity else {
        return Finding::warn(CHECK, format!("{name}: its dates cannot be read"), "have it issued anew");
    };
    let us = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    if now_us < us(validity.not_before_s) {
        return Finding::fail(CHECK, format!("{name} is not good yet"), "set the clock, or wait");
    }
    let days = us(validity.not_after_s).saturating_sub(now_us).div_euclid(DAY_US);
    let end = validity.end();
    match days {
        ..0 => Finding::fail(CHECK, format!("{name} expired at {end}"), RENEW),
        0..SOON_DAYS => Finding::warn(CHECK, format!("{name} expires in {days} days, at {end}"), RENEW),
        _ => Finding::ok(CHECK, format!("{name} is good until {end}")),
    }
}
