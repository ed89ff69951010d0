//! What does ALTER TABLE change? One thing a statement, of a short list; everything else is refused by name.

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation as Operation, ColumnDef as SqlColumn, ColumnOption,
    RenameTableNameKind,
};
use tidewater_storage::catalog::{ColumnDef, NewTable, TableChange};
use tidewater_storage::{Code, Error, Result};

use crate::statement::create_table::{NO_PARTITIONS, add_column, column_type, option_values};
use crate::statement::names::{TableName, fold};

/// ALTER TABLE [IF EXISTS] table …
#[derive(Debug)]
pub(crate) struct Alter {
    pub(crate) table: TableName,
    pub(crate) if_exists: bool,
    pub(crate) change: TableChange,
    /// ADD COLUMN IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
}

pub(in crate::statement) fn alter(statement: AlterTable, schema: &str) -> Result<Alter> {
    let is_plain = !statement.only
        && statement.location.is_none()
        && statement.on_cluster.is_none()
        && statement.table_type.is_none();
    if !is_plain {
        return Err(unsupported("an option of this ALTER TABLE", "write ALTER TABLE [IF EXISTS] name …"));
    }
    let table = TableName::resolve(&statement.name, schema)?;
    let mut operations = statement.operations;
    let (Some(operation), true) = (operations.pop(), operations.is_empty()) else {
        return Err(unsupported("more than one change in ALTER TABLE", "make each by a statement of its own"));
    };
    let mut if_not_exists = false;
    let change = match operation {
        Operation::AddColumn { column_def, if_not_exists: unless_there, column_position: None, .. } => {
            if_not_exists = unless_there;
            TableChange::AddColumn(new_column(&column_def)?)
        }
        Operation::AlterColumn { column_name, op } => column_change(fold(&column_name), op)?,
        Operation::RenameTable { table_name } => TableChange::Rename { name: new_name(&table_name, &table)? },
        Operation::SetTblProperties { table_properties: options } | Operation::SetOptionsParens { options } => {
            TableChange::SetOptions(option_values(&options)?)
        }
        other => return Err(refuse(&other)),
    };
    Ok(Alter { table, if_exists: statement.if_exists, change, if_not_exists })
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)
}

/// What one does when a table should have another shape than it can get.
const ANOTHER_TABLE: &str = "create another table and INSERT INTO … SELECT";

/// Rows that are there have no value for a new column, so NULL is the only one that it can have for them.
fn new_column(column: &SqlColumn) -> Result<ColumnDef> {
    let name = fold(&column.name);
    let refuse = |what: &str, why: &str, hint: &str| {
        let message = format!("{what} on the new column '{name}' is not supported: {why}");
        Err(Error::new(Code::UnsupportedStatement, message).hint(hint))
    };
    if column.options.iter().any(|option| matches!(option.option, ColumnOption::Default(_))) {
        let why = "rows that are there would have to be written again";
        return refuse("DEFAULT", why, "leave it out: they read as NULL, and coalesce in a view gives them a value");
    }
    let mut shape = NewTable::default();
    add_column(column, &mut shape)?;
    if !shape.key.is_empty() {
        return refuse("PRIMARY KEY", "the key of a table stays as it was created", ANOTHER_TABLE);
    }
    let def = shape.columns.pop().ok_or_else(|| Error::internal("a new column has no definition"))?;
    if !def.nullable {
        return refuse("NOT NULL", "rows that are there have no value for it", "leave NOT NULL out");
    }
    Ok(def)
}

fn column_change(column: String, operation: AlterColumnOperation) -> Result<TableChange> {
    match operation {
        AlterColumnOperation::DropNotNull => Ok(TableChange::DropNotNull { column }),
        AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
            let (data_type, max_chars) = column_type(&data_type)?;
            Ok(TableChange::SetType { column, data_type, max_chars })
        }
        AlterColumnOperation::SetDataType { .. } => Err(unsupported("USING in ALTER COLUMN … TYPE", ANOTHER_TABLE)),
        AlterColumnOperation::SetNotNull => {
            Err(unsupported("SET NOT NULL", "rows that are there may have NULL: filter them in a view"))
        }
        AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault => {
            Err(unsupported("a DEFAULT of a column", "send the value, or use coalesce in a view"))
        }
        AlterColumnOperation::AddGenerated { .. } => Err(unsupported("a generated column", "compute it in a view")),
    }
}

/// The name that a table is to have. It stays in its schema.
fn new_name(renamed: &RenameTableNameKind, table: &TableName) -> Result<String> {
    let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = renamed;
    let new = TableName::resolve(name, &table.schema)?;
    if new.schema != table.schema {
        return Err(unsupported("moving a table to another schema", ANOTHER_TABLE));
    }
    Ok(new.name)
}

/// The refusal of a change that is not on our list.
fn refuse(operation: &Operation) -> Error {
    let (what, hint) = match operation {
        Operation::AddColumn { .. } => ("a place for the new column", "leave it out: a new column is the last"),
        Operation::DropColumn { .. } => ("DROP COLUMN", "leave the column out in a view"),
        Operation::RenameColumn { .. } => ("RENAME COLUMN", "give it another name in a view with AS"),
        Operation::ChangeColumn { .. } | Operation::ModifyColumn { .. } => {
            ("CHANGE or MODIFY COLUMN", "use ALTER COLUMN … TYPE or ALTER COLUMN … DROP NOT NULL")
        }
        Operation::AddConstraint { .. }
        | Operation::DropConstraint { .. }
        | Operation::RenameConstraint { .. }
        | Operation::ValidateConstraint { .. }
        | Operation::DropPrimaryKey { .. }
        | Operation::DropForeignKey { .. } => {
            ("a change of constraints", "the key of a table stays as it was created; there are no others")
        }
        Operation::DropIndex { .. } => ("an index", "leave it out: sort_by and the key are all that is indexed"),
        Operation::AddPartitions { .. } | Operation::DropPartitions { .. } | Operation::RenamePartitions { .. } => {
            ("a change of partitions", NO_PARTITIONS)
        }
        Operation::SwapWith { .. } => ("SWAP WITH", "use RENAME TO three times"),
        Operation::OwnerTo { .. } => ("OWNER TO", "use tidewater user and tidewater token"),
        Operation::ClusterBy { .. } | Operation::DropClusteringKey | Operation::AlterSortKey { .. } => {
            ("another order of a table", ANOTHER_TABLE)
        }
        other => return by_its_words(other),
    };
    unsupported(&format!("{what} in ALTER TABLE"), hint)
}

/// A change that nobody expects, named by its first words.
fn by_its_words(operation: &Operation) -> Error {
    let text = operation.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let words: String = words.join(" ").chars().take(60).collect();
    unsupported(
        &format!("'{words} …' in ALTER TABLE"),
        "ADD COLUMN, ALTER COLUMN … DROP NOT NULL, ALTER COLUMN … TYPE, RENAME TO and SET (option = value) are",
    )
}
