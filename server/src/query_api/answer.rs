//! What is the client told of a query? Summaries and lists in the words of the protocol.

use tidewater_proto::query::v1 as pb;
use tidewater_query::{Interface, QueryInfo, QueryState, RunSummary, UpdateOutcome};

use super::freshness::{tables_message, timestamp};

/// The end of a result of `rows` rows.
pub(super) fn of_query(summary: RunSummary, rows: u64, truncated: bool) -> pb::Summary {
    pb::Summary {
        rows,
        affected_rows: 0,
        truncated,
        rows_read_realtime: summary.rows_read_realtime,
        rows_read_sealed: summary.rows_read_sealed,
        files_pruned: summary.files_pruned,
        files_read: summary.files_read,
        planned_ms: summary.planned_ms,
        ran_ms: summary.ran_ms,
        cpu_ms: summary.cpu_ms,
        memory_peak_bytes: summary.memory_peak,
        spilled_bytes: summary.spilled,
        commit_tokens: summary.tables.iter().map(|table| table.token.encode().into()).collect(),
        notices: Vec::new(),
        settings: Default::default(),
        rows_read_built: summary.rows_read_built,
        tables: tables_message(&summary.tables),
    }
}

/// The end of a statement that returns no rows.
pub(super) fn of_update(outcome: UpdateOutcome) -> pb::Summary {
    pb::Summary {
        affected_rows: outcome.affected,
        commit_tokens: outcome.token.iter().map(|token| token.encode().into()).collect(),
        notices: outcome.notices,
        settings: outcome.settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..pb::Summary::default()
    }
}

pub(super) fn query_info(info: QueryInfo) -> pb::QueryInfo {
    let rows = info.summary.rows_out;
    let summary = of_query(info.summary, rows, false);
    let summary = pb::Summary { commit_tokens: Vec::new(), tables: Vec::new(), ..summary };
    pb::QueryInfo {
        query_id: info.query_id,
        principal: info.principal,
        interface: interface(info.interface).to_owned(),
        sql: info.sql,
        state: state(info.state).into(),
        started_at: Some(timestamp(info.started_at_us)),
        summary: Some(summary),
        error_code: info.error_code.unwrap_or_default(),
    }
}

fn interface(interface: Interface) -> &'static str {
    match interface {
        Interface::FlightSql => "flight_sql",
        Interface::Grpc => "grpc",
        Interface::Http => "http",
        Interface::Internal => "internal",
    }
}

fn state(state: QueryState) -> pb::QueryState {
    match state {
        QueryState::Planning => pb::QueryState::Planning,
        QueryState::Waiting => pb::QueryState::Waiting,
        QueryState::Running => pb::QueryState::Running,
        QueryState::Finished => pb::QueryState::Finished,
        QueryState::Failed => pb::QueryState::Failed,
        QueryState::Cancelled => pb::QueryState::Cancelled,
    }
}
