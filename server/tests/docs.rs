//! Does the documentation say what the code does? Error codes and table options, row by row; what can be run, test_docs.py runs.

use arrow::datatypes::{DataType, TimeUnit};
use tidewater_server::status::{grpc_code, to_http};
use tidewater_storage::catalog::{ColumnDef, NewTable, define};
use tidewater_storage::env::Env;
use tidewater_storage::{Code, Error};

const TROUBLESHOOT: &str = include_str!("../docs/troubleshoot.md");
const TABLES: &str = include_str!("../docs/tables.md");

/// The cells of each row below a header that begins so, without quotes of code; of all tables with this header.
fn rows<'t>(text: &'t str, header: &str) -> Vec<Vec<&'t str>> {
    let mut out = Vec::new();
    for table in text.split(header).skip(1) {
        // What is left of the header, and the line below it.
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
            out.push(cells.collect());
        }
    }
    out
}

/// `ALREADY_EXISTS`, as gRPC's documentation writes it.
fn grpc_name(code: tonic::Code) -> String {
    let name = format!("{code:?}");
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[test]
fn every_error_code_is_explained_once() {
    let mut documented: Vec<[String; 4]> = Vec::new();
    for cells in rows(TROUBLESHOOT, "| code | name | HTTP, gRPC |") {
        let [code, name, status, meaning, cause, cure] = cells.as_slice() else { panic!("six cells: {cells:?}") };
        let (http, grpc) = status.split_once(", ").unwrap_or_else(|| panic!("HTTP and gRPC: {cells:?}"));
        for text in [meaning, cause, cure] {
            assert!(text.len() > 3, "{code} has an empty cell: {cells:?}");
        }
        documented.push([*code, *name, http, grpc].map(str::to_owned));
    }
    let mut known: Vec<[String; 4]> = Code::ALL
        .iter()
        .map(|&code| {
            let http = to_http(&Error::new(code, "")).to_string();
            [code.to_string(), code.reason().to_owned(), http, grpc_name(grpc_code(code.kind()))]
        })
        .collect();
    known.sort();
    documented.sort();
    for code in &known {
        assert!(documented.contains(code), "docs/troubleshoot.md has no such row: {code:?}");
    }
    assert_eq!(documented, known);
}

#[test]
fn every_table_option_is_explained_with_its_default() {
    let new = |options: &[(&str, &str)]| NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: [("id", DataType::Int64), ("at", DataType::Timestamp(TimeUnit::Microsecond, None))]
            .map(|(name, data_type)| ColumnDef {
                name: name.to_owned(),
                data_type,
                nullable: false,
                comment: None,
                max_chars: None,
            })
            .to_vec(),
        key: vec!["id".to_owned()],
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        from_data: false,
    };
    let (def, _) = define(new(&[]), &Env::system()).expect("a table");
    let documented = rows(TABLES, "| option | default | ");
    let defaults = def.options_text();
    assert_eq!(documented.len(), defaults.len(), "docs/tables.md has the options {documented:?}, a table {defaults:?}");
    for (name, default) in &defaults {
        let row = documented.iter().find(|cells| cells[0] == name).unwrap_or_else(|| panic!("no row for {name}"));
        // What these default to depends on the columns, and is told in words.
        if !matches!(name.as_str(), "time_column" | "sort_by") {
            assert_eq!(row[1].trim_matches('\''), default, "the default of {name}");
        }
        define(new(&[(name.as_str(), default.as_str())]), &Env::system()).expect("the default, written out");
    }
    // There are no others: an unknown one is answered with the list.
    let error = define(new(&[("qqqqqqqqqqqqqqqq", "1")]), &Env::system()).expect_err("no such option");
    let listed = error.hint_text().and_then(|hint| hint.strip_prefix("the options are ")).expect("a list");
    let mut listed: Vec<&str> = listed.split(", ").collect();
    let mut names: Vec<&str> = documented.iter().map(|cells| cells[0]).collect();
    listed.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, listed);
}
