//! Where do the rows of an INSERT go, and where do they come from?

use datafusion::sql::sqlparser::ast::{Expr, Insert as SqlInsert, Query, SetExpr, TableObject, Value};
use tidewater_storage::{Code, Error, Result};

use crate::statement::names::{TableName, fold};
use crate::statement::{Insert, Source, audit};

pub(in crate::statement) fn insert(insert: SqlInsert, schema: &str) -> Result<Insert> {
    refuse_clauses(&insert)?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(unsupported("INSERT into anything but a table", "name the table"));
    };
    let table = TableName::resolve(name, schema)?;
    let columns = insert.columns.iter().map(|column| match column.0.as_slice() {
        [part] => part.as_ident().map(fold).ok_or_else(|| not_a_column(column)),
        _ => Err(not_a_column(column)),
    });
    let columns = columns.collect::<Result<Vec<String>>>()?;
    if let Some((i, twice)) = columns.iter().enumerate().find(|(i, column)| columns[..*i].contains(column)) {
        return Err(Error::new(
            Code::InvalidStatement,
            format!("column '{twice}' is named twice (again at place {})", i + 1),
        )
        .hint("name each column once"));
    }
    let Some(query) = insert.source else {
        return Err(unsupported("INSERT without rows (DEFAULT VALUES, SET)", "write VALUES (…) or a SELECT"));
    };
    audit::check(&query)?;
    Ok(Insert { table, columns, source: source(query) })
}

fn not_a_column(name: &impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidStatement, format!("'{name}' is not a column name")).hint("write the column's name alone")
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)
}

fn refuse_clauses(insert: &SqlInsert) -> Result<()> {
    let refuse = |present: bool, what: &str, hint: &str| if present { Err(unsupported(what, hint)) } else { Ok(()) };
    let first_wins = "leave it out: the first row of a key wins, later ones are counted as duplicates";
    refuse(insert.on.is_some() || insert.or.is_some() || insert.ignore, "ON CONFLICT", first_wins)?;
    refuse(insert.replace_into, "REPLACE INTO", first_wins)?;
    refuse(insert.returning.is_some() || insert.output.is_some(), "RETURNING", "SELECT the rows afterwards")?;
    refuse(insert.overwrite, "INSERT OVERWRITE", "TRUNCATE the table first")?;
    refuse(insert.partitioned.is_some() || !insert.after_columns.is_empty(), "PARTITION in INSERT", "leave it out")?;
    refuse(insert.table_alias.is_some() || insert.insert_alias.is_some(), "an alias of the table", "leave it out")?;
    refuse(!insert.assignments.is_empty(), "INSERT … SET", "write (columns) VALUES (…)")?;
    refuse(
        insert.settings.is_some() || insert.format_clause.is_some(),
        "SETTINGS or FORMAT in INSERT",
        "leave it out",
    )?;
    refuse(insert.priority.is_some(), "a priority in INSERT", "leave it out")?;
    refuse(insert.multi_table_insert_type.is_some(), "INSERT into several tables", "insert into one at a time")
}

/// Rows of nothing but parameters are taken as they are bound, without a plan.
fn source(query: Box<Query>) -> Source {
    match parameter_rows(&query) {
        Some(rows) => Source::Parameters(rows),
        None => Source::Query(query),
    }
}

fn parameter_rows(query: &Query) -> Option<Vec<Vec<usize>>> {
    let plain =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Values(values) = &*query.body else { return None };
    if !plain || values.rows.is_empty() {
        return None;
    }
    values.rows.iter().map(|row| row.iter().map(parameter).collect()).collect()
}

fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        _ => None,
    }
}
