//! Is a table whose columns cannot be told now told from one that has none? And how long is text, of a column and of its comment?

use arrow::array::AsArray;
use arrow_flight::IpcMessage;
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

/// A client that asks for all tables is told of all, though one of them has comments that no message holds.
#[test]
fn comments_that_are_too_long_are_left_out() {
    let column = |i: usize, comment: usize| ColumnDef {
        name: format!("c{i}"),
        data_type: DataType::Int64,
        nullable: true,
        comment: Some("x".repeat(comment)),
        max_chars: None,
    };
    let table = |name: &str, n: usize, comment: usize| {
        let columns = (0..n).map(|i| column(i, comment)).collect();
        let new = NewTable { schema_name: "public".to_owned(), name: name.to_owned(), columns, ..NewTable::default() };
        Listed::table(Arc::new(define(new, &Env::system()).expect("a table").0))
    };
    let tables = batch(&[table("long", 2_000, 3_000), table("short", 1, 3)], Some(Profile::Portable)).expect("told");
    let schemas = tables.column(4).as_binary::<i32>();
    let schema = |row: usize| {
        let bytes = schemas.value(row);
        assert!(bytes.len() <= MAX_SCHEMA_BYTES, "{}", bytes.len());
        Schema::try_from(IpcMessage(Bytes::copy_from_slice(bytes))).expect("a schema")
    };
    let (long, short) = (schema(0), schema(1));
    assert_eq!((long.fields().len(), short.fields().len()), (2_000, 1));
    let said = |schema: &Schema, key: &str| schema.field(0).metadata().get(&metadata_key(key)).cloned();
    assert_eq!((said(&long, REMARKS), said(&long, "TYPE_NAME")), (None, Some("BIGINT".to_owned())));
    assert_eq!(said(&short, REMARKS).as_deref(), Some("xxx"));
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
