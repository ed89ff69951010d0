//! What do SHOW and DESCRIBE show? Settings and columns are ours; lists of names are queries over `information_schema`.

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    Ident, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions, Statement as Sql,
};
use tidewater_storage::{Code, Error, Result};

use super::names::{TableName, fold, parts};
use super::parse::reparse;
use super::{Kind, Show};

/// SHOW name: a setting, or all of them.
pub(super) fn variable(words: &[Ident]) -> Kind {
    let name = words.iter().map(fold).collect::<Vec<_>>().join(" ");
    match name.as_str() {
        "all" => Kind::Show(Show::AllSettings),
        _ => Kind::Show(Show::Setting(name)),
    }
}

/// SHOW TABLES and its kin; `None` for what is not ours to show.
pub(super) fn listing(statement: &Sql, schema: &str) -> Option<Result<Kind>> {
    Some(match statement {
        Sql::ShowTables { show_options, external: false, .. } => tables(show_options, ""),
        Sql::ShowViews { show_options, materialized: false, .. } => tables(show_options, "AND table_type = 'VIEW'"),
        Sql::ShowSchemas { show_options, .. } => filter(show_options, "schema_name").and_then(|filter| {
            query(&format!("SELECT schema_name FROM information_schema.schemata WHERE true {filter} ORDER BY 1"))
        }),
        Sql::ShowDatabases { show_options, .. } | Sql::ShowCatalogs { show_options, .. } => {
            filter(show_options, "catalog_name").and_then(|filter| {
                query(&format!(
                    "SELECT catalog_name FROM (VALUES ('tidewater')) AS c (catalog_name) WHERE true {filter}"
                ))
            })
        }
        Sql::ShowColumns { show_options, .. } => columns(show_options, schema),
        Sql::ShowFunctions { filter: None } => query(
            "SELECT DISTINCT routine_name AS function_name, function_type, description FROM information_schema.routines ORDER BY 1, 2",
        ),
        _ => return None,
    })
}

fn query(sql: &str) -> Result<Kind> {
    Ok(Kind::Query(Box::new(reparse(sql)?.statement)))
}

fn tables(options: &ShowStatementOptions, condition: &str) -> Result<Kind> {
    let schema = match options.show_in.as_ref().and_then(|show_in| show_in.parent_name.as_ref()) {
        Some(name) => match parts(name)?.last() {
            Some(schema) => format!("table_schema = {}", literal(schema)),
            None => "true".into(),
        },
        None => "table_schema NOT IN ('system', 'information_schema')".into(),
    };
    let filter = filter(options, "table_name")?;
    query(&format!(
        "SELECT table_schema, table_name, table_type FROM information_schema.tables \
         WHERE {schema} {condition} {filter} ORDER BY table_schema, table_name"
    ))
}

fn columns(options: &ShowStatementOptions, schema: &str) -> Result<Kind> {
    if options.filter_position.is_some() {
        return Err(unsupported("a filter in SHOW COLUMNS", "query information_schema.columns"));
    }
    match options.show_in.as_ref().and_then(|show_in| show_in.parent_name.as_ref()) {
        Some(name) => Ok(Kind::Show(Show::Columns(TableName::resolve(name, schema)?))),
        None => {
            Err(Error::new(Code::InvalidStatement, "SHOW COLUMNS names no table").hint("write SHOW COLUMNS FROM table"))
        }
    }
}

/// A condition on `column`, starting with AND.
fn filter(options: &ShowStatementOptions, column: &str) -> Result<String> {
    if options.starts_with.is_some() || options.limit.is_some() || options.limit_from.is_some() {
        return Err(unsupported("STARTS WITH and LIMIT in SHOW", "query information_schema"));
    }
    match &options.filter_position {
        None => Ok(String::new()),
        Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) => {
            match filter {
                ShowStatementFilter::Like(pattern) => Ok(format!("AND {column} LIKE {}", literal(pattern))),
                ShowStatementFilter::ILike(pattern) => Ok(format!("AND {column} ILIKE {}", literal(pattern))),
                _ => Err(unsupported("this filter in SHOW", "use LIKE, or query information_schema")),
            }
        }
    }
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A planner's statement around plain SQL.
pub(crate) fn plain(sql: Sql) -> PlannerStatement {
    PlannerStatement::Statement(Box::new(sql))
}
