//! Is a table whose columns cannot be told now told from one that has none?

use super::*;

#[test]
fn only_what_may_pass_is_asked_again() {
    for code in
        [Code::PlanningDeadline, Code::QueryQueueFull, Code::QueryMemory, Code::QueryCancelled, Code::ShuttingDown]
    {
        assert!(is_passing(&Error::new(code, "x")), "{code}");
    }
    for code in [Code::TableNotFound, Code::ColumnNotFound, Code::InvalidStatement, Code::ExpansionTooLarge] {
        assert!(!is_passing(&Error::new(code, "x")), "{code}");
    }
}

#[test]
fn system_tables_are_asked_for_by_type() {
    let wants = |types: &[&str]| {
        let table_types = types.iter().map(|&name| name.to_owned()).collect();
        Filter::new(&CommandGetTables { table_types, ..CommandGetTables::default() }).wants(SYSTEM_TABLE)
    };
    assert!(wants(&[]) && wants(&["TABLE", "system table"]));
    assert!(!wants(&["BASE TABLE", "VIEW"]));
}
