//! What table does CREATE TABLE ask for? Columns, key and options; every other clause is refused by name.

mod types;
mod values;

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{
    ColumnDef as SqlColumn, ColumnOption, ConstraintCharacteristics, CreateTable, CreateTableOptions,
    DeferrableInitial, Expr, HiveDistributionStyle, Ident, IndexColumn, PrimaryKeyConstraint, SqlOption,
    TableConstraint, Value,
};
use tidewater_storage::catalog::{ColumnDef, NewTable};
use tidewater_storage::{Code, Error, Result};

pub(super) use self::types::column_type;
pub(super) use self::values::type_values;
use super::names::{TableName, fold};

/// What to do instead of asking for partitions.
pub(super) const NO_PARTITIONS: &str = "leave it out: files are cut by the time column";

pub(super) fn new_table(create: &CreateTable, schema: &str) -> Result<NewTable> {
    refuse_clauses(create)?;
    let name = TableName::resolve(&create.name, schema)?;
    let mut table = NewTable { schema_name: name.schema, name: name.name, ..NewTable::default() };
    for column in &create.columns {
        add_column(column, &mut table)?;
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(key) => set_key(key, &mut table)?,
            TableConstraint::Unique(_) => {
                return Err(constraint_unsupported("UNIQUE", "use PRIMARY KEY for the one key of a table"));
            }
            TableConstraint::ForeignKey(_) => {
                return Err(constraint_unsupported("FOREIGN KEY", "leave it out and join in queries"));
            }
            TableConstraint::Check(_) => {
                return Err(constraint_unsupported("CHECK", "leave it out and check before the insert"));
            }
            _ => {
                return Err(constraint_unsupported(
                    "an index",
                    "leave it out: sort_by and the key are all that is indexed",
                ));
            }
        }
    }
    for key in &table.key {
        if let Some(column) = table.columns.iter_mut().find(|column| column.name == *key) {
            column.nullable = false;
        }
    }
    table.options = options(&create.table_options)?;
    Ok(table)
}

/// Everything but name, columns, constraints and WITH must be absent. The clauses that people write are refused by name, the long tail
/// by comparison with a statement that has none of them.
fn refuse_clauses(create: &CreateTable) -> Result<()> {
    let refuse = |present: bool, what: &str, hint: &str| match present {
        true => Err(Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)),
        false => Ok(()),
    };
    let has_query = create.query.is_some();
    refuse(create.temporary, "a temporary table", "use a table and DROP it")?;
    refuse(create.or_replace && create.if_not_exists, "OR REPLACE with IF NOT EXISTS", "leave one of them out")?;
    refuse(create.external, "CREATE EXTERNAL TABLE", "create the table and ingest the files")?;
    refuse(create.partition_by.is_some(), "PARTITION BY", NO_PARTITIONS)?;
    refuse(create.hive_distribution != HiveDistributionStyle::NONE, "PARTITIONED BY", NO_PARTITIONS)?;
    refuse(create.like.is_some() || create.clone.is_some(), "CREATE TABLE LIKE", "write the columns out")?;
    refuse(create.inherits.is_some() || create.partition_of.is_some(), "table inheritance", "write the columns out")?;
    refuse(create.comment.is_some(), "a COMMENT on a table", "comment its columns")?;
    refuse(
        create.order_by.is_some() || create.cluster_by.is_some(),
        "ORDER BY or CLUSTER BY",
        "use WITH (sort_by = 'column, …')",
    )?;
    refuse(create.primary_key.is_some(), "PRIMARY KEY after the columns", "put it inside the parentheses")?;
    refuse(create.columns.is_empty() && !has_query, "a table without columns", "name at least one column")?;
    let plain = CreateTableBuilder::new(create.name.clone())
        .or_replace(create.or_replace)
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .table_options(create.table_options.clone())
        .query(create.query.clone())
        .hive_formats(create.hive_formats.clone())
        .build();
    let nothing_of_hive = create.hive_formats.as_ref().is_none_or(|formats| {
        formats.row_format.is_none()
            && formats.storage.is_none()
            && formats.location.is_none()
            && formats.serde_properties.is_none()
    });
    refuse(
        plain != *create || !nothing_of_hive,
        "a clause of this CREATE TABLE",
        "use columns, PRIMARY KEY and WITH (option = value)",
    )
}

fn constraint_unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)
}

/// Puts a column behind the others of `table`, and into its key if it says so.
pub(super) fn add_column(column: &SqlColumn, table: &mut NewTable) -> Result<()> {
    let name = fold(&column.name);
    let (data_type, max_chars) = column_type(&column.data_type)?;
    let mut def = ColumnDef { name: name.clone(), data_type, nullable: true, comment: None, max_chars };
    let says = |option: &ColumnOption| column.options.iter().any(|said| said.option == *option);
    if says(&ColumnOption::Null) && says(&ColumnOption::NotNull) {
        return Err(Error::new(Code::InvalidDefinition, format!("column '{name}' is both NULL and NOT NULL"))
            .hint("leave one of them out"));
    }
    for option in &column.options {
        let (what, hint) = match &option.option {
            ColumnOption::Null => continue,
            ColumnOption::NotNull => {
                def.nullable = false;
                continue;
            }
            ColumnOption::Comment(_) if def.comment.is_some() => {
                return Err(Error::new(Code::InvalidDefinition, format!("column '{name}' has two comments"))
                    .hint("give it one"));
            }
            ColumnOption::Comment(comment) => {
                def.comment = Some(comment.clone());
                continue;
            }
            ColumnOption::PrimaryKey(key) if table.key.is_empty() => {
                plain_key(key)?;
                table.key.push(name.clone());
                continue;
            }
            ColumnOption::PrimaryKey(_) => return Err(second_key()),
            ColumnOption::Default(_) => ("DEFAULT", "send the value, or use coalesce in a view"),
            ColumnOption::Unique(_) => ("UNIQUE", "use PRIMARY KEY for the one key of a table"),
            ColumnOption::ForeignKey(_) => ("REFERENCES", "leave it out and join in queries"),
            ColumnOption::Check(_) => ("CHECK", "leave it out and check before the insert"),
            ColumnOption::Generated { .. } | ColumnOption::Materialized(_) | ColumnOption::Alias(_) => {
                ("a generated column", "compute it in a view")
            }
            ColumnOption::Collation(_) => ("COLLATE", "leave it out: text is compared by its bytes"),
            _ => ("an option of this column", "use NOT NULL, PRIMARY KEY or COMMENT"),
        };
        return Err(
            Error::new(Code::UnsupportedStatement, format!("{what} on column '{name}' is not supported")).hint(hint)
        );
    }
    table.columns.push(def);
    Ok(())
}

fn second_key() -> Error {
    Error::new(Code::InvalidDefinition, "the table has two primary keys")
        .hint("a key of several columns is PRIMARY KEY (a, b)")
}

fn set_key(key: &PrimaryKeyConstraint, table: &mut NewTable) -> Result<()> {
    if !table.key.is_empty() {
        return Err(second_key());
    }
    plain_key(key)?;
    table.key = key.columns.iter().map(key_column).collect::<Result<_>>()?;
    Ok(())
}

/// A key is what it is called, at once and always: nothing else can be asked of it.
fn plain_key(key: &PrimaryKeyConstraint) -> Result<()> {
    let is_later = |of: &ConstraintCharacteristics| {
        of.deferrable == Some(true) || of.initially == Some(DeferrableInitial::Deferred) || of.enforced == Some(false)
    };
    if key.characteristics.as_ref().is_some_and(is_later) {
        return Err(constraint_unsupported(
            "a PRIMARY KEY that is deferred or not enforced",
            "leave it out: a key holds at once",
        ));
    }
    if key.index_type.is_some() || !key.index_options.is_empty() {
        return Err(constraint_unsupported("an index for a PRIMARY KEY", "leave it out: the server has its own"));
    }
    Ok(())
}

fn key_column(column: &IndexColumn) -> Result<String> {
    let order = &column.column;
    let is_plain = column.operator_class.is_none()
        && order.with_fill.is_none()
        && order.options.asc.is_none()
        && order.options.nulls_first.is_none();
    match &order.expr {
        Expr::Identifier(name) if is_plain => Ok(fold(name)),
        other => {
            Err(Error::new(Code::InvalidDefinition, format!("a key cannot be '{other}'"))
                .hint("name the key's columns"))
        }
    }
}

/// `WITH (name = value, …)`, values as text.
fn options(options: &CreateTableOptions) -> Result<Vec<(String, String)>> {
    match options {
        CreateTableOptions::None => Ok(Vec::new()),
        CreateTableOptions::With(listed) => option_values(listed),
        _ => Err(Error::new(Code::UnsupportedStatement, "options in this form are not supported")
            .hint("write WITH (option = value, …)")),
    }
}

/// `name = value, …`, each name once.
pub(super) fn option_values(listed: &[SqlOption]) -> Result<Vec<(String, String)>> {
    let mut out: Vec<(String, String)> = Vec::with_capacity(listed.len());
    for option in listed {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(
                Error::new(Code::InvalidOption, format!("'{option}' is not an option")).hint("write option = value")
            );
        };
        let key = fold(key);
        if out.iter().any(|(known, _)| *known == key) {
            return Err(Error::new(Code::InvalidOption, format!("option {key} is given twice")).hint("give it once"));
        }
        let value = option_text(value).ok_or_else(|| {
            Error::new(Code::InvalidOption, format!("option {key} cannot be {value}"))
                .hint("give text in quotes or a number that is not negative")
        })?;
        out.push((key, value));
    }
    Ok(out)
}

fn option_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            Value::Boolean(on) => Some(on.to_string()),
            _ => None,
        },
        Expr::Identifier(Ident { value, quote_style: None, .. }) => Some(value.to_lowercase()),
        Expr::Identifier(Ident { value, .. }) => Some(value.clone()),
        _ => None,
    }
}
