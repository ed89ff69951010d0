//! Are the metadata answers those of the reference implementations, to the letter?

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UInt32Type};
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandStatementUpdate,
};
use tidewater_query::wire_types::Profile;

use crate::flight_sql::metadata::{
    Columns, Filter, Listed, Metadata, Pattern, batch_of_tables, parts_of_tables, sql_info_rows, type_info_rows,
};

/// `name type?` for each field, `?` when nullable.
fn shape(schema: &Schema) -> Vec<String> {
    let field = |field: &Arc<Field>| {
        format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "?" } else { "" })
    };
    schema.fields().iter().map(field).collect()
}

/// <https://github.com/voltrondata/sqlflite/issues/26>
/// <https://github.com/apache/arrow-rs/issues/7637>
#[test]
fn schemas_of_all_commands() {
    let metadata = Metadata::default();
    let check = |command: Command, expected: &[&str]| {
        assert_eq!(shape(&metadata.schema(&command).unwrap()), expected, "{}", command.type_url());
    };
    check(Command::CommandGetCatalogs(CommandGetCatalogs {}), &["catalog_name Utf8"]);
    check(Command::CommandGetDbSchemas(CommandGetDbSchemas::default()), &["catalog_name Utf8?", "db_schema_name Utf8"]);
    let tables =
        ["catalog_name Utf8?", "db_schema_name Utf8?", "table_name Utf8", "table_type Utf8", "table_schema Binary"];
    check(Command::CommandGetTables(CommandGetTables::default()), &tables[..4]);
    check(Command::CommandGetTables(CommandGetTables { include_schema: true, ..Default::default() }), &tables);
    check(Command::CommandGetTableTypes(CommandGetTableTypes {}), &["table_type Utf8"]);
    check(
        Command::CommandGetPrimaryKeys(CommandGetPrimaryKeys::default()),
        &[
            "catalog_name Utf8?",
            "db_schema_name Utf8?",
            "table_name Utf8",
            "column_name Utf8",
            "key_sequence Int32",
            "key_name Utf8?",
        ],
    );
    let foreign = [
        "pk_catalog_name Utf8?",
        "pk_db_schema_name Utf8?",
        "pk_table_name Utf8",
        "pk_column_name Utf8",
        "fk_catalog_name Utf8?",
        "fk_db_schema_name Utf8?",
        "fk_table_name Utf8",
        "fk_column_name Utf8",
        "key_sequence Int32",
        "fk_key_name Utf8?",
        "pk_key_name Utf8?",
        "update_rule UInt8",
        "delete_rule UInt8",
    ];
    check(Command::CommandGetExportedKeys(CommandGetExportedKeys::default()), &foreign);
    check(Command::CommandGetImportedKeys(CommandGetImportedKeys::default()), &foreign);
    check(Command::CommandGetCrossReference(CommandGetCrossReference::default()), &foreign);
    check(
        Command::CommandGetXdbcTypeInfo(CommandGetXdbcTypeInfo::default()),
        &[
            "type_name Utf8",
            "data_type Int32",
            "column_size Int32?",
            "literal_prefix Utf8?",
            "literal_suffix Utf8?",
            "create_params List(non-null Utf8)?",
            "nullable Int32",
            "case_sensitive Boolean",
            "searchable Int32",
            "unsigned_attribute Boolean?",
            "fixed_prec_scale Boolean",
            "auto_increment Boolean?",
            "local_type_name Utf8?",
            "minimum_scale Int32?",
            "maximum_scale Int32?",
            "sql_data_type Int32",
            "datetime_subcode Int32?",
            "num_prec_radix Int32?",
            "interval_precision Int32?",
        ],
    );
    let info = metadata.schema(&Command::CommandGetSqlInfo(CommandGetSqlInfo::default())).unwrap();
    assert_eq!(info.field(0), &Field::new("info_name", DataType::UInt32, false));
    assert!(matches!(info.field(1).data_type(), DataType::Union(fields, _) if fields.len() == 6));
    let update = CommandStatementUpdate { query: String::new(), transaction_id: None };
    assert!(metadata.schema(&Command::CommandStatementUpdate(update)).is_err());
}

/// Id and union child of each row.
fn info(ids: &[u32]) -> Vec<(u32, i8)> {
    let rows = sql_info_rows(ids).unwrap();
    rows.column(0)
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .copied()
        .zip(rows.column(1).as_union().type_ids().iter().copied())
        .collect()
}

/// <https://github.com/voltrondata/sqlflite/issues/9>
#[test]
fn sql_info_is_complete_and_in_order() {
    let ids: Vec<u32> = info(&[]).iter().map(|(id, _)| *id).collect();
    let expected: Vec<u32> = (0..=8).chain(500..=576).chain([9, 10, 11, 100, 101]).collect();
    assert_eq!(ids, expected);
    // Grafana reads these by position.
    assert_eq!(ids[17..=21], [508, 509, 510, 511, 512]);
}

/// <https://github.com/voltrondata/sqlflite/issues/9>
#[test]
fn sql_info_values_stand_in_the_right_child() {
    const STRING: i8 = 0;
    const BOOL: i8 = 1;
    const LONG: i8 = 2;
    const INT: i8 = 3;
    const LIST: i8 = 4;
    const MAP: i8 = 5;
    for (id, child) in info(&[]) {
        let expected = match id {
            0 | 1 | 2 | 6 | 7 | 504 | 513 | 514 | 529 | 530 | 531 => STRING,
            503 | 505 | 507 | 541..=555 | 557..=562 => LONG,
            8 | 100 | 101 | 522 | 525 | 526 | 528 | 533 | 534 | 535 | 538 | 540 | 564 | 567..=571 => INT,
            508..=512 => LIST,
            517 => MAP,
            _ => BOOL,
        };
        assert_eq!(child, expected, "SqlInfo {id}");
    }
}

#[test]
fn sql_info_of_some_ids() {
    assert_eq!(info(&[8]), [(8, 3)]);
    assert_eq!(info(&[424_242]), []);
    assert_eq!(info(&[0, 424_242]), [(0, 0)]);
    assert_eq!(info(&[101, 0, 503]), [(0, 0), (503, 2), (101, 3)]);
    let rows = sql_info_rows(&[0, 504, 528]).unwrap();
    let values = rows.column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "Tidewater");
    assert_eq!(values.value(1).as_string::<i32>().value(0), "\"");
    assert_eq!(values.value(2).as_primitive::<Int32Type>().value(0), 6);
}

#[test]
fn types() {
    let all = type_info_rows(None).unwrap();
    assert_eq!(all.num_rows(), 18);
    let names =
        |rows: &RecordBatch| rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    let codes: Vec<i32> = all.column(1).as_primitive::<Int32Type>().values().to_vec();
    assert!(codes.is_sorted());
    assert_eq!(names(&type_info_rows(Some(12)).unwrap()), ["VARCHAR"]);
    assert_eq!(names(&type_info_rows(Some(93)).unwrap()), ["TIMESTAMP", "TIMESTAMPTZ"]);
    assert_eq!(names(&type_info_rows(Some(-5)).unwrap()), ["BIGINT", "UBIGINT"]);
    assert!(names(&type_info_rows(Some(1_000)).unwrap()).is_empty());
}

#[test]
fn patterns() {
    let check = |pattern: &str, name: &str, expected: bool| {
        assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern:?} {name:?}");
    };
    check("", "", true);
    check("", "a", false);
    check("%", "", true);
    check("%", "anything", true);
    check("a_b", "a_b", true);
    check("a_b", "axb", true);
    check(r"a\_b", "axb", false);
    check(r"a\_b", "a_b", true);
    check(r"a\%", "a%", true);
    check(r"a\%", "ab", false);
    check(r"a\\b", r"a\b", true);
    check(r"a\", r"a\", true);
    check(r"a\b", r"a\b", true);
    check(r"a\b", "ab", true);
    check(r"a\_b", r"a\_b", true);
    check("A", "a", false);
    check("%b%", "abc", true);
    check("%ab%ab", "abxabab", true);
    check("%ab%ab", "abxaba", false);
    check("_%_", "a", false);
    check("_%_", "ab", true);
    check("größe_", "größe1", true);
    check("a%%%b", "ab", true);
    check("\"quoted'", "\"quoted'", true);
}

#[test]
fn a_statement_as_a_pattern_matches_nothing() {
    let sql = Pattern::new(&"SELECT % FROM _ WHERE ".repeat(5_000));
    assert!(!sql.matches("t"));
    assert!(!sql.matches(&"x".repeat(255)));
}

fn listed(schema: &str, name: &str, kind: &'static str) -> Listed {
    Listed { schema_name: schema.into(), name: name.into(), kind, columns: with_columns(0) }
}

fn with_columns(n: usize) -> Columns {
    let fields: Vec<_> = (0..n).map(|i| Field::new(format!("c{i}"), DataType::Int64, true)).collect();
    Columns::Described(Arc::new(Schema::new(fields)))
}

fn table_batches(listed: Vec<Listed>, filter: &Filter, types: Option<Profile>) -> Vec<RecordBatch> {
    let parts = parts_of_tables(listed, filter, types.is_some());
    parts.iter().map(|part| batch_of_tables(part, types).unwrap()).collect()
}

fn names_of(batches: &[RecordBatch]) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| batch.column(2).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn tables_are_sorted_and_the_named_one_is_first() {
    let tables =
        || vec![listed("public", "axb", "TABLE"), listed("public", "a_b", "TABLE"), listed("other", "z", "TABLE")];
    let names = |query: CommandGetTables| {
        let filter = Filter::new(&query);
        let matching =
            tables().into_iter().filter(|table| filter.matches(&table.schema_name, &table.name, table.kind)).collect();
        names_of(&table_batches(matching, &filter, None))
    };
    assert_eq!(names(CommandGetTables::default()), ["z", "a_b", "axb"]);
    let named = |text: &str| CommandGetTables { table_name_filter_pattern: Some(text.into()), ..Default::default() };
    assert_eq!(names(named("a_b")), ["a_b", "axb"]);
    assert_eq!(names(named("axb")), ["axb"]);
    assert_eq!(names(named("")), Vec::<String>::new());
}

#[test]
fn filters_of_tables() {
    let check = |query: CommandGetTables, expected: bool| {
        assert_eq!(Filter::new(&query).matches("public", "t", "TABLE"), expected, "{query:?}");
    };
    let of_types = |types: &[&str]| CommandGetTables {
        table_types: types.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    };
    check(of_types(&[]), true);
    check(of_types(&["BASE TABLE", "table"]), true);
    check(of_types(&["Base Table"]), true);
    check(of_types(&["VIEW"]), false);
    check(of_types(&["VIEW", "table"]), true);
    let of_catalog = |name: &str| CommandGetTables { catalog: Some(name.into()), ..Default::default() };
    check(of_catalog("tidewater"), true);
    check(of_catalog(""), false);
    check(of_catalog("other"), false);
    check(CommandGetTables { db_schema_filter_pattern: Some("pub%".into()), ..Default::default() }, true);
    check(CommandGetTables { db_schema_filter_pattern: Some("x".into()), ..Default::default() }, false);
}

#[test]
fn batches_of_tables_are_bounded_unless_a_name_is_asked_for() {
    let tables: Vec<Listed> = (0..2_500).map(|i| listed("public", &format!("t{i:05}"), "TABLE")).collect();
    let sizes = |pattern: Option<&str>| {
        let query = CommandGetTables { table_name_filter_pattern: pattern.map(Into::into), ..Default::default() };
        let batches = table_batches(tables.clone(), &Filter::new(&query), Some(Profile::Portable));
        batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>()
    };
    assert_eq!(sizes(None), [1_000, 1_000, 500]);
    assert_eq!(sizes(Some("%")), [1_000, 1_000, 500]);
    assert_eq!(sizes(Some("t_____")), [2_500]);
}

/// A catalog has up to ten thousand tables of two thousand columns: they are never described all at once.
#[test]
fn a_batch_describes_a_few_thousand_columns() {
    let tables: Vec<Listed> = (0..20)
        .map(|i| Listed { columns: with_columns(2_000), ..listed("public", &format!("t{i:02}"), "TABLE") })
        .collect();
    let filter = Filter::new(&CommandGetTables::default());
    let sizes = |types| {
        let batches = table_batches(tables.clone(), &filter, types);
        batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>()
    };
    assert_eq!(sizes(Some(Profile::Portable)), [2; 10]);
    assert_eq!(sizes(None), [20]);
    // One that is wider than a batch is there all the same.
    let wide = vec![Listed { columns: with_columns(20_000), ..listed("public", "wide", "TABLE") }];
    assert_eq!(table_batches(wide, &filter, Some(Profile::Portable))[0].num_rows(), 1);
}
