//! Which statements do we not run, and what does one do instead?

use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use tidewater_storage::{Code, Error};

/// The refusal of what begins like a statement about users and rights; `None` for all else. Dialects go on in many ways, of which the
/// parser knows some: it is told by its first words.
pub(super) fn refuse_accounts(tokens: &[TokenWithSpan]) -> Option<Error> {
    let words: Vec<Keyword> = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .skip_while(|token| token.token == Token::SemiColon)
        .map_while(|token| match &token.token {
            Token::Word(word) => Some(word.keyword),
            _ => None,
        })
        .take(4)
        .collect();
    let hint = match words.as_slice() {
        [Keyword::CREATE, Keyword::USER, ..] | [Keyword::CREATE, Keyword::OR, Keyword::REPLACE, Keyword::USER, ..] => {
            "use tidewater user create NAME"
        }
        [Keyword::ALTER, Keyword::USER, ..] => "use tidewater user alter NAME, with --password or --grant ROLE:TABLES",
        [Keyword::DROP, Keyword::USER, ..] => "use tidewater user drop NAME",
        [Keyword::GRANT | Keyword::REVOKE, ..]
        | [Keyword::CREATE | Keyword::ALTER | Keyword::DROP, Keyword::ROLE, ..]
        | [Keyword::CREATE, Keyword::OR, Keyword::REPLACE, Keyword::ROLE, ..] => {
            "the roles are reader, writer and admin; give them with tidewater user alter NAME --grant ROLE:TABLES"
        }
        _ => return None,
    };
    Some(Error::new(Code::UnsupportedStatement, "users and rights are not managed by SQL").hint(hint))
}

/// The refusal of a statement that is not on our list.
pub(super) fn refuse(statement: &Sql) -> Error {
    let (what, hint) = match statement {
        Sql::Update(_) => {
            ("UPDATE is not supported: rows are events and do not change", "insert a row that supersedes the old one")
        }
        Sql::Merge(_) => ("MERGE is not supported", "INSERT: the first row of a key wins, later ones are dropped"),
        Sql::AlterView { .. } => ("ALTER VIEW is not supported", "use CREATE OR REPLACE VIEW"),
        Sql::StartTransaction { .. }
        | Sql::Commit { .. }
        | Sql::Rollback { .. }
        | Sql::Savepoint { .. }
        | Sql::ReleaseSavepoint { .. } => (
            "transactions are not supported: each statement commits by itself",
            "leave BEGIN and COMMIT out, or switch your client to autocommit",
        ),
        Sql::Copy { .. }
        | Sql::CopyIntoSnowflake { .. }
        | Sql::LoadData { .. }
        | Sql::Unload { .. }
        | Sql::ExportData(_) => (
            "COPY is not supported",
            "use tidewater ingest, bulk ingest over HTTP or Flight, or fetch a query's result",
        ),
        Sql::Prepare { .. } | Sql::Execute { .. } | Sql::Deallocate { .. } => {
            ("PREPARE and EXECUTE are not supported", "use your client's prepared statements with ? or $1")
        }
        Sql::Lock(_) | Sql::LockTables { .. } | Sql::UnlockTables => {
            ("LOCK is not supported", "leave it out: a query sees one snapshot")
        }
        Sql::CreateIndex(_) => ("CREATE INDEX is not supported", "use WITH (sort_by = …) when the table is created"),
        Sql::CreateSchema { .. } | Sql::CreateDatabase { .. } => {
            ("creating a schema by itself is not supported", "CREATE TABLE schema.table makes its schema")
        }
        Sql::CreateFunction(_) | Sql::CreateMacro { .. } | Sql::CreateProcedure { .. } => {
            ("functions of one's own are not supported", "use a view")
        }
        Sql::Use(_) => ("USE is not supported", "SET schema = 'name'"),
        Sql::Analyze(_) | Sql::Vacuum(_) | Sql::OptimizeTable { .. } => {
            ("maintenance by hand is not needed", "statistics and files are kept by the server")
        }
        Sql::Kill { .. } => ("KILL is not supported", "use tidewater query cancel, or your client's cancel"),
        Sql::ShowCreate { .. } => ("SHOW CREATE is not supported yet", "use DESCRIBE"),
        _ => return other(statement),
    };
    Error::new(Code::UnsupportedStatement, what).hint(hint)
}

/// A statement that nobody expects, named by its first words.
fn other(statement: &Sql) -> Error {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let words: String = words.join(" ").chars().take(60).collect();
    Error::new(Code::UnsupportedStatement, format!("the statement '{words} …' is not supported")).hint(
        "SELECT, INSERT, DELETE, CREATE and DROP of tables and views, ALTER and UNDROP TABLE, TRUNCATE, CALL, SHOW, \
             DESCRIBE, EXPLAIN and SET are",
    )
}
