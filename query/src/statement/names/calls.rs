//! Which names are calls without parentheses? Those that the SQL standard has for the session: `current_schema` and its like.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::statement::parse::visit_mut;
use crate::statement::types::call;

/// Names that the parser takes for whole calls, and functions that may be called with parentheses all the same.
const KEYWORDS: [Keyword; 3] = [Keyword::CURRENT_CATALOG, Keyword::CURRENT_USER, Keyword::SESSION_USER];

/// A name that the parser takes for a column.
const SCHEMA: &str = "current_schema";

/// Lets the parser read parentheses behind such a name, and a name that it takes for a keyword.
pub(in crate::statement) fn settle_words(tokens: &mut [TokenWithSpan]) {
    settle_value(tokens);
    let mut is_called = false;
    for token in tokens.iter_mut().rev() {
        match &mut token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if is_called && word.quote_style.is_none() && KEYWORDS.contains(&word.keyword) => {
                word.keyword = Keyword::NoKeyword;
            }
            _ => {}
        }
        is_called = token.token == Token::LParen;
    }
}

/// In the arguments of a function the parser takes VALUE for what stands between a name and its value. Behind CASE and NOT, which it takes
/// for that name, it is a column.
fn settle_value(tokens: &mut [TokenWithSpan]) {
    let mut is_operand = false;
    for token in tokens {
        match &mut token.token {
            Token::Whitespace(_) => {}
            Token::Word(word) => {
                if is_operand && word.keyword == Keyword::VALUE {
                    word.keyword = Keyword::NoKeyword;
                }
                is_operand = matches!(word.keyword, Keyword::CASE | Keyword::NOT);
            }
            _ => is_operand = false,
        }
    }
}

/// Makes calls of such names without parentheses.
pub(in crate::statement) fn settle_calls(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) if is_call(name) => {
                *expr = call(SCHEMA, Vec::new());
            }
            Expr::Function(function) if function.args == FunctionArguments::None && is_keyword(&function.name) => {
                function.args = no_arguments();
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The parser takes it for a column, and it is a call.
pub(super) fn is_call(name: &Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case(SCHEMA)
}

fn is_keyword(name: &ObjectName) -> bool {
    let names = ["current_catalog", "current_user", "session_user"];
    let name = name.to_string();
    names.iter().any(|keyword| name.eq_ignore_ascii_case(keyword))
}

fn no_arguments() -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() })
}
