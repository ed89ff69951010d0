//! Where do the rows of an INSERT go, and where do they come from?

use std::mem;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Insert as SqlInsert, Query, SetExpr, Statement as Sql, TableObject, Value,
};
use tidewater_storage::{Code, Error, Result};

use crate::statement::names::{TableName, fold};
use crate::statement::{Cell, Insert, Number, Source, audit};

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

/// `WITH a AS (…) INSERT INTO t SELECT …` as `INSERT INTO t WITH a AS (…) SELECT …`; other statements as they are.
pub(in crate::statement) fn under_with(statement: Statement) -> Statement {
    match statement {
        Statement::Statement(mut sql) => {
            if let Sql::Query(query) = &mut *sql
                && let Some(insert) = taken_under_with(query)
            {
                *sql = Sql::Insert(insert);
            }
            Statement::Statement(sql)
        }
        other => other,
    }
}

fn taken_under_with(query: &mut Query) -> Option<SqlInsert> {
    if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let SetExpr::Insert(Sql::Insert(insert)) = &mut *query.body else { return None };
    let outer = query.with.as_mut()?;
    let source = insert.source.as_mut()?;
    match &mut source.with {
        Some(inner) => {
            inner.recursive |= outer.recursive;
            let own = mem::replace(&mut inner.cte_tables, mem::take(&mut outer.cte_tables));
            inner.cte_tables.extend(own);
        }
        none => *none = Some(outer.clone()),
    }
    Some(insert.clone())
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

/// Rows of nothing but parameters, or one row of them and constants, are taken as they are bound, without a plan. The planner gives constants
/// of several rows one type.
fn source(query: Box<Query>) -> Source {
    match parameter_rows(&query) {
        Some(rows) => Source::Parameters(rows),
        None => Source::Query(query),
    }
}

fn parameter_rows(query: &Query) -> Option<Vec<Vec<Cell>>> {
    let plain =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Values(values) = &*query.body else { return None };
    if !plain || values.rows.is_empty() {
        return None;
    }
    let rows: Vec<Vec<Cell>> = values.rows.iter().map(|row| row.iter().map(cell).collect()).collect::<Option<_>>()?;
    let is_parameter = |cell: &Cell| matches!(cell, Cell::Parameter(_));
    let is_taken = match rows.as_slice() {
        [row] => row.iter().any(is_parameter),
        rows => rows.iter().flatten().all(is_parameter),
    };
    is_taken.then_some(rows)
}

fn cell(expr: &Expr) -> Option<Cell> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => parameter(name).map(Cell::Parameter),
            Value::Null => Some(Cell::Null),
            Value::Boolean(truth) => Some(Cell::Boolean(*truth)),
            Value::SingleQuotedString(text) => Some(Cell::Text(text.clone())),
            _ => Number::of(expr).map(Cell::Number),
        },
        Expr::UnaryOp { .. } => Number::of(expr).map(Cell::Number),
        _ => None,
    }
}

/// The place from 0 of `$1`, `$2`, …
fn parameter(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
