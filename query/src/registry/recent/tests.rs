//! Does a console that is open all day push out what people ran?

use super::*;
use crate::engine::{QueryState, RunSummary};

fn query(interface: Interface, sql: &str) -> QueryInfo {
    QueryInfo {
        query_id: "q".to_owned(),
        principal: "anna".to_owned(),
        interface,
        sql: sql.to_owned(),
        state: QueryState::Finished,
        started_at_us: 0,
        summary: RunSummary::default(),
        pinned_bytes: None,
        error_code: None,
    }
}

#[test]
fn what_nobody_typed_pushes_out_only_its_like() {
    let mut recent = Recent::default();
    let mut push = |interface, sql: &str| recent.push(Principal::admin("anna"), query(interface, sql));
    push(Interface::Http, "SELECT 1");
    for _ in 0..RECENT_QUERIES {
        push(Interface::Http, "/* console */ SELECT count(*) FROM system.tables");
        push(Interface::Internal, "SELECT * FROM v LIMIT 0");
    }
    push(Interface::FlightSql, "SELECT 2");
    let count = |sql: &str| recent.iter().filter(|(_, query)| query.sql.contains(sql)).count();
    assert_eq!((count("SELECT 1"), count("SELECT 2")), (1, 1));
    assert_eq!((count("console"), count("LIMIT 0")), (RECENT_POLLS / 2, RECENT_POLLS / 2));
}

#[test]
fn the_last_ones_are_kept() {
    let mut recent = Recent::default();
    for number in 0..RECENT_QUERIES + 5 {
        recent.push(Principal::admin("anna"), query(Interface::Http, &number.to_string()));
    }
    let kept: Vec<&str> = recent.iter().map(|(_, query)| query.sql.as_str()).collect();
    assert_eq!((kept.len(), kept.first(), kept.last()), (RECENT_QUERIES, Some(&"5"), Some(&"1004")));
}
