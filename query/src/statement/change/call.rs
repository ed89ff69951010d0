//! What does CALL run? One of a few procedures, each over the table that a text names.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use tidewater_storage::{Code, Error, Result};

use crate::statement::names::{TableName, parts};

/// `CALL attach('url'[, 'table'])`.
#[derive(Debug)]
pub(crate) struct Attach {
    /// Of the Delta table: a path on the server, `file://` or `s3://`.
    pub(crate) url: String,
    /// The name it is to have; `None`: the one it has.
    pub(crate) table: Option<TableName>,
}

/// What CALL names.
#[derive(Debug)]
pub(in crate::statement) enum Called {
    Procedure(Call),
    Attach(Attach),
}

/// `CALL procedure('table')`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) procedure: Procedure,
    pub(crate) table: TableName,
    /// Of [`Procedure::ReplayRejected`]: which rows.
    pub(crate) only: Only,
}

/// What narrows a procedure down: `CALL replay_rejected('table'[, 'producer'[, 'since']])`.
#[derive(Debug, Default)]
pub(crate) struct Only {
    pub(crate) producer: Option<String>,
    /// A time as text.
    pub(crate) since: Option<String>,
}

/// The closed list of procedures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Procedure {
    /// Brings what is acknowledged into files on the local disk.
    Build,
    /// The same, and commits the files to the Delta table.
    Seal,
    /// Merges files of the Delta table that are better as one, until there are none.
    Compact,
    /// Looks whether the table is what its records say.
    Verify,
    /// Deletes the rows of damaged files, without reading them.
    GiveUp,
    /// Casts the rows of `system.rejected` anew, and stores those that fit now.
    ReplayRejected,
    /// Removes what was dropped or replaced under a name before its days are over.
    PurgeDropped,
}

impl Procedure {
    const ALL: [Procedure; 7] = [
        Procedure::Build,
        Procedure::Seal,
        Procedure::Compact,
        Procedure::Verify,
        Procedure::GiveUp,
        Procedure::ReplayRejected,
        Procedure::PurgeDropped,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Procedure::Build => "build",
            Procedure::Seal => "seal",
            Procedure::Compact => "compact",
            Procedure::Verify => "verify",
            Procedure::GiveUp => "give_up",
            Procedure::ReplayRejected => "replay_rejected",
            Procedure::PurgeDropped => "purge_dropped",
        }
    }
}

/// The procedure that is not over a table that is there.
const ATTACH: &str = "attach";

/// Names are folded and resolved in `schema`, also the one within the text.
pub(in crate::statement) fn call(call: &Function, schema: &str) -> Result<Called> {
    let words = parts(&call.name)?;
    if matches!(words.as_slice(), [word] if word == ATTACH) {
        return attach(call, schema).map(Called::Attach);
    }
    let named = |procedure: &Procedure| matches!(words.as_slice(), [word] if word == procedure.name());
    let Some(procedure) = Procedure::ALL.into_iter().find(named) else {
        let known = Procedure::ALL.iter().map(|known| format!("{}('table')", known.name()));
        let known: Vec<String> = known.chain([format!("{ATTACH}('url')")]).collect();
        return Err(Error::new(Code::UnsupportedStatement, format!("there is no procedure '{}'", words.join(".")))
            .hint(format!("there are {}", known.join(", "))));
    };
    if procedure == Procedure::ReplayRejected {
        return replay(call, schema).map(Called::Procedure);
    }
    match texts(call).as_deref() {
        Some([text]) => Ok(Called::Procedure(Call { procedure, table: table(text, schema)?, only: Only::default() })),
        _ => Err(Error::new(Code::InvalidStatement, format!("{} takes the name of one table", procedure.name()))
            .hint(format!("write CALL {}('table') or CALL {}('schema.table')", procedure.name(), procedure.name()))),
    }
}

fn replay(call: &Function, schema: &str) -> Result<Call> {
    let (name, only) = match arguments(call).as_deref() {
        Some([Some(name)]) => (*name, [None, None]),
        Some([Some(name), producer]) => (*name, [*producer, None]),
        Some([Some(name), producer, since]) => (*name, [*producer, *since]),
        _ => {
            return Err(Error::new(
                Code::InvalidStatement,
                "replay_rejected takes the name of a table, and perhaps a producer and the time since when",
            )
            .hint("write CALL replay_rejected('table'), or with 'producer' or NULL, and a time such as '2026-01-31 12:00'"));
        }
    };
    let [producer, since] = only.map(|text| text.map(str::to_owned));
    Ok(Call { procedure: Procedure::ReplayRejected, table: table(name, schema)?, only: Only { producer, since } })
}

fn attach(call: &Function, schema: &str) -> Result<Attach> {
    let (url, name) = match texts(call).as_deref() {
        Some([url]) => (*url, None),
        Some([url, name]) => (*url, Some(*name)),
        _ => {
            return Err(Error::new(Code::InvalidStatement, "attach takes the URL of a Delta table, and a name for it")
                .hint("write CALL attach('url') or CALL attach('url', 'table')"));
        }
    };
    Ok(Attach { url: url.to_owned(), table: name.map(|name| table(name, schema)).transpose()? })
}

/// The arguments of a plain call, which are texts.
fn texts(call: &Function) -> Option<Vec<&str>> {
    arguments(call)?.into_iter().collect()
}

/// The arguments of a plain call, which are texts or NULL.
fn arguments(call: &Function) -> Option<Vec<Option<&str>>> {
    let is_plain = !call.uses_odbc_syntax
        && call.parameters == FunctionArguments::None
        && call.filter.is_none()
        && call.null_treatment.is_none()
        && call.over.is_none()
        && call.within_group.is_empty();
    let FunctionArguments::List(list) = &call.args else { return None };
    if !is_plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    list.args.iter().map(text).collect()
}

fn text(argument: &FunctionArg) -> Option<Option<&str>> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(Some(text.as_str())),
            Value::Null => Some(None),
            _ => None,
        },
        _ => None,
    }
}

/// The table that a text names as SQL would: `t`, `schema.t`, `"Schema"."T"`.
fn table(text: &str, schema: &str) -> Result<TableName> {
    let dialect = GenericDialect {};
    let name = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| {
        let name = parser.parse_object_name(false)?;
        match parser.peek_token().token {
            Token::EOF => Ok(name),
            _ => Err(ParserError::ParserError("something follows the name".to_owned())),
        }
    });
    match name {
        Ok(name) => TableName::resolve(&name, schema),
        Err(_) => {
            let shown: String = text.chars().take(60).collect();
            Err(Error::new(Code::InvalidName, format!("'{shown}' is not the name of a table"))
                .hint("write 'table' or 'schema.table', a name that is not in lower case in double quotes"))
        }
    }
}
