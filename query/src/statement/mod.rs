//! What does a statement ask for? Our own front end over the parsed text: limits, refusals, and one closed list of statements.

mod audit;
mod change;
mod classify;
mod create_table;
mod hidden;
mod measure;
mod names;
mod parse;
mod refuse;
mod show;
mod types;

#[cfg(test)]
mod tests;

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::Query;
use tidewater_storage::catalog::NewTable;

pub(crate) use change::{ADDRESS_COLUMNS, Alter, Attach, Call, Delete, LOCATOR, Only, Procedure};
pub(crate) use classify::classify;
pub(crate) use hidden::hide_system_columns;
pub(crate) use measure::{Named, check_expansion, check_view_expansion};
pub(crate) use names::{Alone, Announced, Beside, CATALOG, Scope, TableName, fold, relations};
pub(crate) use parse::{read_text, reparse, sql_of_mut};
pub(crate) use show::plain;
pub(crate) use types::{
    AT_TIME_ZONE, CHOICES, ColumnTypes, LIKE_ESCAPE, Number, SHIFTS, SIMILAR_ESCAPE, beside_decimal,
    compared_with_decimal, is_written_number, keep_digits, regex_of, settle_values, settle_windows, similar_refusal,
    with_backslashes,
};

/// A statement that passed the limits and that we know how to run.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) kind: Kind,
    /// How many parameters it takes: the highest `$n`.
    pub(crate) n_parameters: usize,
    /// It names `_commit_seq` or `_ingested_at`.
    pub(crate) names_hidden: bool,
    /// How the columns of a query's answer are called where the plan calls them otherwise.
    pub(crate) announced: Announced,
}

/// The closed list.
#[derive(Debug)]
pub(crate) enum Kind {
    /// SELECT, VALUES, WITH, and EXPLAIN of one; SHOW of what `information_schema` knows.
    Query(Box<PlannerStatement>),
    Show(Show),
    Set {
        name: String,
        value: Option<String>,
    },
    CreateTable {
        new: Box<NewTable>,
        if_not_exists: bool,
        or_replace: bool,
    },
    /// The query gives the columns, and the first rows.
    CreateTableAs {
        new: Box<NewTable>,
        if_not_exists: bool,
        or_replace: bool,
        query: Box<Query>,
    },
    DropTables {
        names: Vec<TableName>,
        if_exists: bool,
    },
    Truncate {
        names: Vec<TableName>,
        if_exists: bool,
    },
    CreateView {
        name: TableName,
        query: Box<Query>,
        or_replace: bool,
        if_not_exists: bool,
    },
    DropViews {
        names: Vec<TableName>,
        if_exists: bool,
    },
    Insert(Insert),
    Delete(Delete),
    AlterTable(Alter),
    /// The newest of that name that was dropped.
    UndropTable {
        name: TableName,
    },
    /// Runs a procedure, which answers with a row.
    Call(Call),
    /// Makes a Delta table that is there a table, and answers with a row.
    Attach(Attach),
}

/// What SHOW and DESCRIBE answer without a plan.
#[derive(Debug)]
pub(crate) enum Show {
    Setting(String),
    AllSettings,
    Columns(TableName),
}

/// INSERT INTO table [(columns)] source.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: TableName,
    /// Folded; empty: all columns in order.
    pub(crate) columns: Vec<String>,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// `VALUES ($1, $2), …` with nothing but parameters, or one row of parameters and constants: by row, its cells.
    Parameters(Vec<Vec<Cell>>),
    Query(Box<Query>),
}

/// What stands in VALUES without being computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The index of a parameter from 0.
    Parameter(usize),
    Null,
    Boolean(bool),
    Text(String),
    Number(Number),
}

impl Cell {
    pub(crate) fn parameter(&self) -> Option<usize> {
        match self {
            Cell::Parameter(i) => Some(*i),
            Cell::Null | Cell::Boolean(_) | Cell::Text(_) | Cell::Number(_) => None,
        }
    }
}

impl Kind {
    /// DDL and DML: run when planned, answered without rows.
    pub(crate) fn is_update(&self) -> bool {
        !matches!(self, Kind::Query(_) | Kind::Show(_) | Kind::Call(_) | Kind::Attach(_))
    }

    /// It has done what it does once it is planned: DDL, DML and CALL.
    pub(crate) fn runs_when_planned(&self) -> bool {
        self.is_update() || matches!(self, Kind::Call(_) | Kind::Attach(_))
    }
}
