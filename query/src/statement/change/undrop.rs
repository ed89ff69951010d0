//! Which table does UNDROP TABLE bring back? The parser does not know the word, so its few tokens are read here.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use tidewater_storage::Result;

use crate::error::from_parser;

const WORD: &str = "undrop";

/// Whether these are the tokens of an UNDROP: no statement of the parser's begins with that word.
pub(in crate::statement) fn begins(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    first.is_some_and(|token| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(WORD),
        _ => false,
    })
}

/// The name in `UNDROP TABLE name`; nothing but a semicolon may follow.
pub(in crate::statement) fn read(tokens: Vec<TokenWithSpan>) -> Result<ObjectName> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    name(&mut parser).map_err(|error| from_parser(&error))
}

fn name(parser: &mut Parser<'_>) -> Result<ObjectName, ParserError> {
    // The word that it was known by.
    parser.next_token();
    parser.expect_keyword_is(Keyword::TABLE)?;
    let name = parser.parse_object_name(false)?;
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(name),
        _ => parser.expected("the end of UNDROP TABLE", next),
    }
}
