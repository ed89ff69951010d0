//! Is a bulk append's command read as ADBC means it?

use std::collections::HashMap;

use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use bytes::Bytes;
use tidewater_storage::{Code, Error};
use tonic::metadata::MetadataMap;

use crate::flight_sql::ingest::{Target, adbc_status};

fn command(if_not_exist: TableNotExistOption, if_exists: TableExistsOption) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: if_not_exist.into(),
            if_exists: if_exists.into(),
        }),
        table: "t".into(),
        ..CommandStatementIngest::default()
    }
}

fn append() -> CommandStatementIngest {
    command(TableNotExistOption::Fail, TableExistsOption::Append)
}

fn refused(command: CommandStatementIngest) -> (Code, String) {
    let error = Target::new(command, &MetadataMap::new()).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn modes() {
    let check = |if_not_exist, if_exists, expected: (bool, bool, bool)| {
        let target = Target::new(command(if_not_exist, if_exists), &MetadataMap::new()).unwrap();
        assert_eq!((target.create, target.append, target.replace), expected);
    };
    check(TableNotExistOption::Create, TableExistsOption::Fail, (true, false, false));
    check(TableNotExistOption::Fail, TableExistsOption::Append, (false, true, false));
    check(TableNotExistOption::Create, TableExistsOption::Append, (true, true, false));
    check(TableNotExistOption::Fail, TableExistsOption::Fail, (false, false, false));
    check(TableNotExistOption::Create, TableExistsOption::Replace, (true, false, true));
    check(TableNotExistOption::Fail, TableExistsOption::Replace, (false, false, true));
    assert_eq!(refused(command(TableNotExistOption::Unspecified, TableExistsOption::Append)).0, Code::InvalidRequest);
    assert_eq!(refused(command(TableNotExistOption::Create, TableExistsOption::Unspecified)).0, Code::InvalidRequest);
    assert_eq!(refused(CommandStatementIngest { table_definition_options: None, ..append() }).0, Code::InvalidRequest);
}

#[test]
fn what_is_not_there_is_refused() {
    assert_eq!(refused(CommandStatementIngest { table: String::new(), ..append() }).0, Code::InvalidRequest);
    assert_eq!(refused(CommandStatementIngest { temporary: true, ..append() }).0, Code::UnsupportedRequest);
    assert_eq!(
        refused(CommandStatementIngest { transaction_id: Some(Bytes::from_static(b"x")), ..append() }).0,
        Code::InvalidRequest
    );
    let (code, text) = refused(CommandStatementIngest { catalog: Some("other".into()), ..append() });
    assert!(code == Code::InvalidRequest && text.contains("other"));
}

#[test]
fn schemas_and_catalogs_have_defaults() {
    let target = |schema: Option<&str>, catalog: Option<&str>| {
        let command =
            CommandStatementIngest { schema: schema.map(Into::into), catalog: catalog.map(Into::into), ..append() };
        Target::new(command, &MetadataMap::new()).unwrap().schema
    };
    assert_eq!(target(None, None), "public");
    assert_eq!(target(Some(""), Some("")), "public");
    assert_eq!(target(Some("s"), Some("tidewater")), "s");
}

#[test]
fn options_come_from_the_command_and_from_headers() {
    let mut headers = MetadataMap::new();
    headers.insert("x-ingest-primary-key", "id".parse().unwrap());
    headers.insert("x-ingest-time-column", "at".parse().unwrap());
    headers.insert("x-other", "1".parse().unwrap());
    let options = HashMap::from([("primary_key".to_owned(), "a, b".to_owned())]);
    let target = Target::new(CommandStatementIngest { options, ..append() }, &headers).unwrap();
    let pairs: Vec<(&str, &str)> = target.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("primary_key", "a, b"), ("time_column", "at")]);
}

#[test]
fn unknown_options_are_errors() {
    let with =
        |name: &str| CommandStatementIngest { options: HashMap::from([(name.to_owned(), "x".to_owned())]), ..append() };
    assert_eq!(refused(with("primary_keys")).0, Code::InvalidOption);
    assert_eq!(refused(with("on_conflict")).0, Code::UnsupportedRequest);
    let mut headers = MetadataMap::new();
    headers.insert("x-ingest-mode", "x".parse().unwrap());
    assert_eq!(Target::new(append(), &headers).unwrap_err().code(), Code::InvalidOption);
}

#[test]
fn other_columns_are_already_exists_for_adbc() {
    let status = |code| adbc_status(&Error::new(code, "x")).code();
    assert_eq!(status(Code::SchemaMismatch), tonic::Code::AlreadyExists);
    assert_eq!(status(Code::TableExists), tonic::Code::AlreadyExists);
    assert_eq!(status(Code::TableNotFound), tonic::Code::NotFound);
    assert_eq!(status(Code::BadRows), tonic::Code::InvalidArgument);
}
