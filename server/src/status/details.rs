//! Which facts go with a gRPC status, and what is cut when they are too many? Encoding of google.rpc details.

use std::collections::HashMap;

use prost::Message;
use tidewater_storage::{Error, RowFault};
use tonic_types::pb;

use super::{DOMAIN, MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES};

/// One fact.
const MAX_FACT_BYTES: usize = 256;

/// `text` on one line, at most `max` bytes after percent-encoding, cut at a character with an ellipsis.
pub(super) fn one_line(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "...";
    let mut out = String::with_capacity(text.len().min(max));
    let (mut sent, mut keep) = (0, 0);
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        sent += sent_bytes(c);
        if sent > max {
            out.truncate(keep);
            out.push_str(ELLIPSIS);
            return out;
        }
        out.push(c);
        if sent + ELLIPSIS.len() <= max {
            keep = out.len();
        }
    }
    out
}

/// Bytes of a character in a `grpc-message` header: what is not plain ASCII becomes `%XX` for each byte.
fn sent_bytes(c: char) -> usize {
    match c {
        ' '..='~' if !matches!(c, ' ' | '"' | '#' | '%' | '<' | '>' | '`' | '?' | '{' | '}') => 1,
        _ => 3 * c.len_utf8(),
    }
}

/// google.rpc.Status in bytes, for `grpc-status-details-bin`.
pub(super) fn encode(error: &Error, code: tonic::Code, message: &str) -> Vec<u8> {
    // Python's grpc_status refuses a status whose two copies of the text differ.
    build(error, code, message.to_owned()).encode_to_vec()
}

/// google.rpc.Status with as many details as fit: facts first, then rows, from the first on.
pub(super) fn build(error: &Error, code: tonic::Code, message: String) -> pb::Status {
    // Four bytes of base64 carry three; some bytes are for type names, reason and delay.
    let mut left = MAX_DETAILS_BYTES / 4 * 3 - MAX_MESSAGE_BYTES - 384;
    let mut details = vec![any("google.rpc.ErrorInfo", &info(error, &mut left))];
    if let Some(delay) = error.retry_delay() {
        let retry_delay = prost_types::Duration::try_from(delay).ok();
        details.push(any("google.rpc.RetryInfo", &pb::RetryInfo { retry_delay }));
    }
    let field_violations = violations(error.rows(), &mut left);
    if !field_violations.is_empty() {
        details.push(any("google.rpc.BadRequest", &pb::BadRequest { field_violations }));
    }
    pb::Status { code: code.into(), message, details }
}

fn info(error: &Error, left: &mut usize) -> pb::ErrorInfo {
    let mut metadata = HashMap::from([("code".to_owned(), error.code().to_string())]);
    for (key, value) in error.metadata() {
        let value = one_line(value, MAX_FACT_BYTES);
        let cost = key.len() + value.len() + 8;
        if cost > *left {
            break;
        }
        *left -= cost;
        metadata.insert((*key).to_owned(), value);
    }
    pb::ErrorInfo { reason: error.code().reason().to_owned(), domain: DOMAIN.to_owned(), metadata }
}

fn violations(rows: &[RowFault], left: &mut usize) -> Vec<pb::bad_request::FieldViolation> {
    let mut out = Vec::new();
    for row in rows {
        let violation = pb::bad_request::FieldViolation {
            field: match &row.column {
                Some(column) => format!("rows[{}].{}", row.row, one_line(column, MAX_FACT_BYTES)),
                None => format!("rows[{}]", row.row),
            },
            description: one_line(&row.message, MAX_FACT_BYTES),
            reason: row.code.to_owned(),
            localized_message: None,
        };
        let cost = violation.encoded_len() + 4;
        if cost > *left {
            break;
        }
        *left -= cost;
        out.push(violation);
    }
    out
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}
