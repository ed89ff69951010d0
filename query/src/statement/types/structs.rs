//! Which `STRUCT(…)` is a type? One that begins with a field's name and its type; the parser takes every other for a call.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Writes `STRUCT(a BIGINT, b VARCHAR)` as `STRUCT<a BIGINT, b VARCHAR>`, which the parser knows. Arguments of a call never begin with
/// two words side by side, but for the words of an operator.
pub(crate) fn settle(tokens: &mut [TokenWithSpan]) {
    // For each parenthesis that is open, whether it became an angle bracket.
    let mut open = Vec::new();
    let mut is_struct = false;
    for i in 0..tokens.len() {
        match &tokens[i].token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                let is_type = is_struct && begins_with_field(&tokens[i + 1..]);
                if is_type {
                    tokens[i].token = Token::Lt;
                }
                open.push(is_type);
            }
            Token::RParen if open.pop() == Some(true) => tokens[i].token = Token::Gt,
            _ => {}
        }
        is_struct = matches!(&tokens[i].token, Token::Word(word) if word.keyword == Keyword::STRUCT);
    }
}

fn begins_with_field(tokens: &[TokenWithSpan]) -> bool {
    let mut words = tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_)));
    match (words.next(), words.next()) {
        (Some(Token::Word(name)), Some(Token::Word(of))) => !begins_expression(name) && !continues_expression(of),
        _ => false,
    }
}

/// A word without quotes that stands in front of an expression.
fn begins_expression(word: &Word) -> bool {
    matches!(
        word.keyword,
        Keyword::ALL
            | Keyword::CASE
            | Keyword::DISTINCT
            | Keyword::INTERVAL
            | Keyword::NOT
            | Keyword::PRIOR
            | Keyword::SELECT
            | Keyword::VALUES
            | Keyword::WITH
    )
}

/// A word that stands behind an expression, or is the second of a type's name.
fn continues_expression(word: &Word) -> bool {
    matches!(
        word.keyword,
        Keyword::AND
            | Keyword::AS
            | Keyword::AT
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::DIV
            | Keyword::ILIKE
            | Keyword::IN
            | Keyword::IS
            | Keyword::LIKE
            | Keyword::MATCH
            | Keyword::MEMBER
            | Keyword::NOT
            | Keyword::NOTNULL
            | Keyword::NULL
            | Keyword::OPERATOR
            | Keyword::OR
            | Keyword::ORDER
            | Keyword::OVERLAPS
            | Keyword::PRECISION
            | Keyword::REGEXP
            | Keyword::RLIKE
            | Keyword::SIMILAR
            | Keyword::VARYING
            | Keyword::WITH
            | Keyword::WITHOUT
            | Keyword::XOR
    )
}
