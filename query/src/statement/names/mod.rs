//! Which table is meant? Names of one to three parts, folded, with the session's schema; and names of WITH, which mean none. And which names
//! are calls, which of those in FROM have parameters, how the columns of an answer are called, which of them a number means, and which window or merged column a name.

mod answers;
mod around;
mod beside;
mod calls;
mod merged;
mod positions;
mod references;
mod scope;
mod series;
mod windows;

use std::fmt;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor};
use tidewater_storage::{Code, Error, Result};

pub(crate) use self::answers::Announced;
pub(super) use self::answers::name_columns;
pub(crate) use self::around::Alone;
pub(crate) use self::beside::Beside;
pub(super) use self::beside::is_by_name;
pub(super) use self::calls::{settle_calls, settle_words};
pub(super) use self::merged::settle_merged;
pub(super) use self::positions::settle_positions;
pub(super) use self::references::settle_references;
pub(super) use self::scope::check_nesting;
pub(crate) use self::scope::{Scope, relations};
pub(super) use self::series::settle_series;
pub(super) use self::windows::settle_named_windows;

/// The only catalog.
pub(crate) const CATALOG: &str = "tidewater";

/// A table or view of our catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl TableName {
    /// Resolves a name in the session's schema. `SCHEMA_NOT_FOUND` for another catalog.
    pub(super) fn resolve(name: &ObjectName, schema: &str) -> Result<Self> {
        let parts = parts(name)?;
        match &parts[..] {
            [name] => Ok(Self { schema: schema.to_string(), name: name.clone() }),
            [schema, name] => Ok(Self { schema: schema.clone(), name: name.clone() }),
            [catalog, schema, name] if catalog == CATALOG => Ok(Self { schema: schema.clone(), name: name.clone() }),
            [catalog, _, _] => Err(Error::new(Code::SchemaNotFound, format!("there is no catalog '{catalog}'"))
                .hint(format!("the only catalog is {CATALOG}"))),
            _ => Err(Error::new(Code::InvalidName, format!("'{name}' is not a table name"))
                .hint("a name has one to three parts: catalog.schema.table")),
        }
    }
}

/// A name's parts, folded.
pub(super) fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
        ObjectNamePart::Function(_) => {
            Err(Error::new(Code::InvalidName, format!("'{name}' is not a name")).hint("write a plain name"))
        }
    };
    name.0.iter().map(part).collect()
}

/// The alias of what may stand in FROM.
fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// An unquoted identifier in lower case, a quoted one as it is.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
