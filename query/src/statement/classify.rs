//! Which of our statements is it? From the parsed text to the closed list, or a refusal that says what to do instead.

use datafusion::sql::parser::{ExplainStatement, ResetStatement, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{
    CreateTableOptions, CreateView, Expr, ObjectName, ObjectType, Set, Statement as Sql, Truncate, Value,
};
use tidewater_storage::{Code, Error, Result};

use super::change::{alter, call, delete, insert};
use super::names::{Announced, TableName, parts};
use super::parse::{Read, Text};
use super::refuse::refuse;
use super::{Kind, Show, Statement, audit, create_table, show};

/// What a text asks for, with names resolved in `schema`.
pub(crate) fn classify(read: Read, schema: &str) -> Result<Statement> {
    let Text { statement, n_parameters, names_hidden, announced } = match read {
        Read::Sql(text) => *text,
        Read::Undrop(name) => {
            let kind = Kind::UndropTable { name: TableName::resolve(&name, schema)? };
            return Ok(Statement { kind, n_parameters: 0, names_hidden: false, announced: Announced::default() });
        }
    };
    let kind = match statement {
        Parsed::Statement(sql) => statement_kind(*sql, schema)?,
        Parsed::Explain(explain) => Kind::Query(Box::new(explained(explain)?)),
        Parsed::Reset(ResetStatement::Variable(name)) => reset(&name)?,
        Parsed::CreateExternalTable(_) => {
            return Err(unsupported("CREATE EXTERNAL TABLE is not supported", "create the table and ingest the files"));
        }
        Parsed::CopyTo(_) => {
            return Err(unsupported("COPY is not supported", "fetch a query's result, or use tidewater ingest"));
        }
    };
    let takes_parameters = matches!(kind, Kind::Query(_) | Kind::Insert(_) | Kind::Delete(_));
    if n_parameters > 0 && !takes_parameters {
        return Err(
            Error::new(Code::InvalidParameter, "this statement takes no parameters").hint("write the values out")
        );
    }
    Ok(Statement { kind, n_parameters, names_hidden, announced })
}

fn unsupported(what: impl Into<String>, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, what).hint(hint)
}

fn statement_kind(sql: Sql, schema: &str) -> Result<Kind> {
    if let Some(listing) = show::listing(&sql, schema) {
        return listing;
    }
    match sql {
        Sql::Query(query) => {
            audit::check(&query)?;
            Ok(Kind::Query(Box::new(show::plain(Sql::Query(query)))))
        }
        Sql::Insert(statement) => Ok(Kind::Insert(insert::insert(statement, schema)?)),
        Sql::Delete(statement) => Ok(Kind::Delete(delete::delete(statement, schema)?)),
        Sql::CreateTable(create) => {
            let new = Box::new(create_table::new_table(&create, schema)?);
            let (if_not_exists, or_replace) = (create.if_not_exists, create.or_replace);
            match create.query {
                Some(mut query) => {
                    audit::check(&query)?;
                    create_table::type_values(&create.columns, &new, &mut query);
                    Ok(Kind::CreateTableAs { new, if_not_exists, or_replace, query })
                }
                None => Ok(Kind::CreateTable { new, if_not_exists, or_replace }),
            }
        }
        Sql::AlterTable(statement) => Ok(Kind::AlterTable(alter::alter(statement, schema)?)),
        Sql::CreateView(view) => create_view(view, schema),
        Sql::Drop { object_type, if_exists, names, cascade, purge, temporary, table, .. } => {
            if purge {
                let hint = "write DROP, then CALL purge_dropped('table')";
                return Err(unsupported("DROP with PURGE is not supported", hint));
            }
            if cascade || temporary || table.is_some() {
                return Err(unsupported("DROP with CASCADE, TEMPORARY or ON is not supported", "leave it out"));
            }
            let names = names.iter().map(|name| TableName::resolve(name, schema)).collect::<Result<_>>()?;
            match object_type {
                ObjectType::Table => Ok(Kind::DropTables { names, if_exists }),
                ObjectType::View => Ok(Kind::DropViews { names, if_exists }),
                other => Err(unsupported(format!("DROP {other} is not supported"), "DROP TABLE and DROP VIEW are")),
            }
        }
        Sql::Truncate(statement) => truncate(&statement, schema),
        Sql::Call(function) => Ok(match call::call(&function, schema)? {
            call::Called::Procedure(call) => Kind::Call(call),
            call::Called::Attach(attach) => Kind::Attach(attach),
        }),
        Sql::ExplainTable { table_name, .. } => Ok(Kind::Show(Show::Columns(TableName::resolve(&table_name, schema)?))),
        Sql::ShowVariable { variable } => Ok(show::variable(&variable)),
        Sql::Set(set) => setting(set),
        other => Err(refuse(&other)),
    }
}

/// EXPLAIN [ANALYZE] of a query.
fn explained(explain: ExplainStatement) -> Result<Parsed> {
    match &*explain.statement {
        Parsed::Statement(sql) => match &**sql {
            Sql::Query(query) => audit::check(query)?,
            Sql::Insert(_) => {
                return Err(unsupported("EXPLAIN of INSERT is not supported", "explain the SELECT in it"));
            }
            Sql::Delete(_) => {
                return Err(unsupported("EXPLAIN of DELETE is not supported", "explain a SELECT with its WHERE"));
            }
            Sql::AlterTable(_) | Sql::Call(_) => {
                return Err(unsupported("EXPLAIN of this statement is not supported", "explain a SELECT"));
            }
            other => return Err(refuse(other)),
        },
        _ => return Err(unsupported("EXPLAIN of this statement is not supported", "explain a SELECT")),
    }
    Ok(Parsed::Explain(explain))
}

fn create_view(view: CreateView, schema: &str) -> Result<Kind> {
    let refuse = |present: bool, what: &str, hint: &str| {
        if present { Err(unsupported(format!("{what} is not supported"), hint)) } else { Ok(()) }
    };
    refuse(view.materialized, "a materialized view", "not yet: use a view")?;
    refuse(view.temporary, "a temporary view", "use a view and DROP it, or WITH")?;
    refuse(!view.columns.is_empty(), "a column list of a view", "name the columns in its SELECT with AS")?;
    let other = view.or_alter
        || view.secure
        || view.options != CreateTableOptions::None
        || !view.cluster_by.is_empty()
        || view.comment.is_some()
        || view.with_no_schema_binding
        || view.copy_grants
        || view.to.is_some()
        || view.params.is_some();
    refuse(other, "an option of this CREATE VIEW", "write CREATE [OR REPLACE] VIEW name AS SELECT …")?;
    audit::check(&view.query)?;
    Ok(Kind::CreateView {
        name: TableName::resolve(&view.name, schema)?,
        query: view.query,
        or_replace: view.or_replace,
        if_not_exists: view.if_not_exists,
    })
}

fn truncate(statement: &Truncate, schema: &str) -> Result<Kind> {
    let plain = statement.partitions.is_none()
        && statement.identity.is_none()
        && statement.cascade.is_none()
        && statement.on_cluster.is_none()
        && !statement.table_names.iter().any(|target| target.has_asterisk || target.only);
    if !plain {
        return Err(unsupported("an option of this TRUNCATE is not supported", "write TRUNCATE TABLE name"));
    }
    let names =
        statement.table_names.iter().map(|target| TableName::resolve(&target.name, schema)).collect::<Result<_>>()?;
    Ok(Kind::Truncate { names, if_exists: statement.if_exists })
}

fn setting(set: Set) -> Result<Kind> {
    match set {
        Set::SingleAssignment { scope: None, hivevar: false, variable, values } => {
            let name = setting_name(&variable)?;
            match values.as_slice() {
                [value] => assignment(name, value),
                _ => Err(Error::new(Code::InvalidSetting, format!("SET {name} takes one value"))
                    .hint("write SET name = 'value'")),
            }
        }
        Set::SingleAssignment { .. } => {
            Err(unsupported("SET GLOBAL and SET LOCAL are not supported", "settings belong to the session"))
        }
        Set::SetTimeZone { local: false, value } => assignment("timezone".into(), &value),
        Set::SetTransaction { .. } => Err(unsupported(
            "SET TRANSACTION is not supported: each statement commits by itself",
            "leave it out, or switch your client to autocommit",
        )),
        other => Err(unsupported(format!("'{other}' is not supported"), "write SET name = 'value'")),
    }
}

fn setting_name(name: &ObjectName) -> Result<String> {
    Ok(parts(name)?.join("."))
}

/// SET name = value; DEFAULT resets.
fn assignment(name: String, value: &Expr) -> Result<Kind> {
    let value = match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => return Err(not_a_value(&name, &value.to_string())),
        },
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") => None,
        // An unquoted word stands for itself, as in PostgreSQL: SET schema = sales.
        Expr::Identifier(ident) => Some(ident.value.clone()),
        other => return Err(not_a_value(&name, &other.to_string())),
    };
    Ok(Kind::Set { name, value })
}

fn not_a_value(name: &str, value: &str) -> Error {
    Error::new(Code::InvalidSetting, format!("{name} cannot be {value}")).hint("give text in quotes or a number")
}

/// RESET name, RESET ALL.
fn reset(name: &ObjectName) -> Result<Kind> {
    let words = parts(name)?;
    Ok(Kind::Set { name: words.join(" "), value: None })
}
