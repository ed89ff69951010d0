//! What does a bulk append's command ask for? The table and its options, checked; what its rows must look like.

use std::collections::{BTreeMap, HashMap};

use arrow::compute::can_cast_types;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use tidewater_query::{Principal, Role};
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef};
use tidewater_storage::{Code, Engine, Error, Result};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::flight_sql::command::{CATALOG, DEFAULT_SCHEMA, invalid, refuse_transaction, shortened};

/// ADBC cannot send options with the command, but it can send headers: `x-ingest-primary-key` is `primary_key`.
const OPTION_HEADER_PREFIX: &str = "x-ingest-";

/// What the command asks for, checked.
#[derive(Debug, Clone)]
pub(in crate::flight_sql) struct Target {
    pub schema: String,
    pub table: String,
    /// Make the table when there is none.
    pub create: bool,
    /// Add to the table when there is one.
    pub append: bool,
    /// Put a new one in the place of the table when there is one.
    pub replace: bool,
    pub options: BTreeMap<String, String>,
}

impl Target {
    /// Checks a command and the headers that came with it.
    pub fn new(command: CommandStatementIngest, headers: &MetadataMap) -> Result<Self> {
        refuse_transaction(command.transaction_id.as_ref())?;
        if command.table.is_empty() {
            return Err(invalid("the bulk append names no table"));
        }
        if let Some(catalog) = command.catalog.filter(|catalog| !catalog.is_empty() && catalog != CATALOG) {
            return Err(invalid(format!("there is no catalog '{}'", shortened(&catalog)))
                .hint(format!("the only catalog is '{CATALOG}'; leave it out")));
        }
        if command.temporary {
            return Err(unsupported(
                "temporary tables are not supported yet",
                "append to an ordinary table and drop it",
            ));
        }
        let Some(definition) = command.table_definition_options else {
            return Err(invalid("the bulk append has no table_definition_options"));
        };
        let create = match definition.if_not_exist() {
            TableNotExistOption::Create => true,
            TableNotExistOption::Fail => false,
            TableNotExistOption::Unspecified => {
                return Err(invalid("if_not_exist is not set").hint("set CREATE or FAIL"));
            }
        };
        let (append, replace) = match definition.if_exists() {
            TableExistsOption::Append => (true, false),
            TableExistsOption::Replace => (false, true),
            TableExistsOption::Fail => (false, false),
            TableExistsOption::Unspecified => {
                return Err(invalid("if_exists is not set").hint("set FAIL, APPEND or REPLACE"));
            }
        };
        let schema = command.schema.filter(|schema| !schema.is_empty()).unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
        let options = options(command.options, headers)?;
        Ok(Self { schema, table: command.table, create, append, replace, options })
    }

    /// Refuses what the caller may not do: to add takes a writer of the table, to make or to replace one its admin. A table on which the caller has no
    /// role does not exist.
    pub(super) fn allow(&mut self, principal: &Principal, storage: &Engine) -> Result<()> {
        let role = principal.role_on(&self.schema, &self.table);
        if role == Some(Role::Admin) {
            return Ok(());
        }
        if self.replace {
            return principal.check_new(&self.schema, &self.table, "replace table");
        }
        let is_there = role.is_some() && storage.table(&self.schema, &self.table).is_some();
        if self.create && !is_there {
            return principal.check_new(&self.schema, &self.table, "create table");
        }
        // It may go before the rows are there.
        self.create = false;
        principal.check(Role::Writer, &self.schema, &self.table, "write to")
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// Whether the rows can go where the command says, as far as that is known before they are there.
    pub(super) fn check(&self, storage: &Engine, schema: Option<&SchemaRef>) -> Result<()> {
        match storage.table(&self.schema, &self.table) {
            None if storage.view(&self.schema, &self.table).is_some() => Err(self.is_view()),
            None if self.create => Ok(()),
            None => Err(Error::new(Code::TableNotFound, format!("table '{}' not found", self.name()))
                .hint("create it first, or ask for its creation")),
            // It will be another one.
            Some(_) if self.replace => Ok(()),
            // A key may be that of the append that made the table: its rows decide.
            Some(_) if !self.append && self.options.contains_key("idempotency_key") => Ok(()),
            Some(_) if !self.append => Err(self.exists()),
            Some(table) => schema.map_or(Ok(()), |schema| self.check_columns(&table.def(), schema)),
        }
    }

    pub(super) fn exists(&self) -> Error {
        Error::new(Code::TableExists, format!("table '{}' already exists", self.name()))
            .hint("append to it, or choose another name")
    }

    /// A view has the name. Nothing can be added to it, nor take its place.
    fn is_view(&self) -> Error {
        let code = if self.create || self.replace { Code::TableExists } else { Code::InvalidStatement };
        Error::new(code, format!("'{}' is a view", self.name()))
            .hint("append to the table behind it, or choose another name")
    }

    /// Columns match by name, in any order. What cannot match is told all at once.
    pub(super) fn check_columns(&self, def: &TableDef, schema: &SchemaRef) -> Result<()> {
        self.check_options(def)?;
        let mut problems = Vec::new();
        let given: HashMap<String, _> =
            schema.fields().iter().map(|field| (field.name().to_lowercase(), field)).collect();
        let wanted: HashMap<String, _> =
            def.columns.iter().map(|column| (column.name.to_lowercase(), column)).collect();
        for field in schema.fields() {
            match wanted.get(&field.name().to_lowercase()) {
                None => problems.push(format!("column '{}' is not in the table", field.name())),
                Some(column) if !can_cast_types(field.data_type(), &column.data_type) => {
                    problems.push(format!(
                        "column '{}' is {}, the table has {}",
                        field.name(),
                        field.data_type(),
                        column.data_type
                    ));
                }
                Some(_) => {}
            }
        }
        let missing =
            def.columns.iter().filter(|column| !column.nullable && !given.contains_key(&column.name.to_lowercase()));
        problems.extend(missing.map(|column| format!("column '{}' is missing and must not be NULL", column.name)));
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::SchemaMismatch,
            format!("table '{}' has other columns: {}", self.name(), problems.join("; ")),
        )
        .hint("rename, cast or drop the columns before they are sent"))
    }

    /// Options that shape a table must be those that the table has.
    fn check_options(&self, def: &TableDef) -> Result<()> {
        let names = |indexes: &[usize]| indexes.iter().map(|&i| def.columns[i].name.to_lowercase()).collect::<Vec<_>>();
        let time: Vec<usize> = def.options.time_column.into_iter().collect();
        for (name, has) in
            [("primary_key", names(&def.key)), ("time_column", names(&time)), ("sort_by", names(&def.options.sort_by))]
        {
            let Some(asked) = self.options.get(name) else { continue };
            if column_list(&asked.to_lowercase()) != has {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!(
                        "table '{}' has {name} '{}', the bulk append asks for '{asked}'",
                        self.name(),
                        has.join(", ")
                    ),
                )
                .hint("leave the option out when the table exists"));
            }
        }
        Ok(())
    }

    /// The table that data of `schema` makes.
    pub(super) fn new_table(&self, schema: &SchemaRef) -> Result<NewTable> {
        let columns = schema.fields().iter().map(|field| {
            let (name, data_type) = (field.name().clone(), field.data_type().clone());
            ColumnDef { name, data_type, nullable: true, comment: None, max_chars: None }
        });
        let option = |name: &str| self.options.get(name).map(|value| (name.to_owned(), value.clone()));
        Ok(NewTable {
            schema_name: self.schema.clone(),
            name: self.table.clone(),
            columns: columns.collect(),
            key: self.options.get("primary_key").map(|key| column_list(key)).unwrap_or_default(),
            options: ["time_column", "sort_by"].into_iter().filter_map(option).collect(),
            from_data: true,
        })
    }
}

/// Options of the command, then those of the headers. What is not known is an error, never ignored.
fn options(command: HashMap<String, String>, headers: &MetadataMap) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for header in headers.iter() {
        let KeyAndValueRef::Ascii(key, value) = header else { continue };
        if let Some(name) = key.as_str().strip_prefix(OPTION_HEADER_PREFIX) {
            let value = value.to_str().map_err(|_| invalid(format!("the header {key} is not text")))?;
            options.insert(name.replace('-', "_"), value.to_owned());
        }
    }
    options.extend(command);
    for name in options.keys() {
        match name.as_str() {
            "primary_key" | "time_column" | "sort_by" | "idempotency_key" => {}
            "on_conflict" => {
                return Err(unsupported(
                    "the option on_conflict is not supported yet",
                    "the first row of a key wins; leave it out",
                ));
            }
            other => {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!("'{}' is not an option of bulk append", shortened(other)),
                )
                .hint("the options are primary_key, time_column, sort_by and idempotency_key"));
            }
        }
    }
    Ok(options)
}

fn column_list(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn unsupported(message: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedRequest, message).hint(hint)
}
