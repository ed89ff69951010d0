//! Is a table whose columns cannot be told now told from one that has none? And how long is text?

use tidewater_storage::catalog::{ColumnDef, NewTable, define};
use tidewater_storage::env::Env;

use super::*;

#[test]
fn a_column_of_text_says_its_length() {
    let column = |name: &str, max_chars| ColumnDef {
        name: name.to_owned(),
        data_type: DataType::Utf8,
        nullable: true,
        comment: Some("why".to_owned()),
        max_chars,
    };
    let new = NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: vec![column("code", Some(3)), column("free", None)],
        ..NewTable::default()
    };
    let (def, _) = define(new, &Env::system()).expect("a table");
    let columns = columns_of(&def);
    let of = |key: &str| {
        let values = columns.fields().iter().map(|field| field.metadata()[&metadata_key(key)].as_str());
        values.collect::<Vec<_>>()
    };
    assert_eq!(of("PRECISION"), ["3", "65535"]);
    assert_eq!(of("TYPE_NAME"), ["VARCHAR", "VARCHAR"]);
    assert_eq!(of("REMARKS"), ["why", "why"]);
}

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
