//! What does a pattern of SIMILAR TO say? What standard SQL has it say: `%` and `_` are wildcards, `|`, `*`, `+`, `?`, `{}`, `()` and `[]` mean what
//! they mean in regular expressions, all else stands for itself, and the whole text fits. The planner takes it for a regular expression that may
//! fit anywhere.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};
use tidewater_storage::{Code, Error, Result};

use super::operators::{call, take};

/// The function that makes a regular expression of a pattern.
pub(crate) const SIMILAR_ESCAPE: &str = "similar_to_escape";

/// Writes `x SIMILAR TO pattern` as a match of a regular expression: at once, or by a function where the pattern is known later.
pub(super) fn settle(expr: &mut Expr) -> Result<()> {
    let Expr::SimilarTo { negated, expr: value, pattern, escape_char } = expr else { return Ok(()) };
    let backslash = || Value::SingleQuotedString("\\".to_owned());
    let escape = escape_char.take().map_or_else(backslash, |escape| escape.value);
    if !matches!(&escape, Value::SingleQuotedString(text) if text.chars().nth(1).is_none())
        && !matches!(escape, Value::Placeholder(_))
    {
        return Err(Error::new(Code::InvalidStatement, format!("ESCAPE takes one character, and not {escape}"))
            .hint("write ESCAPE '!', or leave it out: a backslash escapes all that has a meaning"));
    }
    let regex = match (&**pattern, &escape) {
        (
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }),
            Value::SingleQuotedString(character),
        ) => {
            let regex = regex_of(text, character.chars().next())
                .map_err(|problem| refusal(Code::InvalidStatement, text, problem))?;
            Expr::Value(Value::SingleQuotedString(regex).into())
        }
        _ => call(SIMILAR_ESCAPE, vec![take(pattern), Expr::Value(escape.into())]),
    };
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let left = Box::new(Expr::Nested(Box::new(take(value))));
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right: Box::new(regex) }));
    Ok(())
}

/// What is wrong with a pattern, which it does.
pub(crate) fn refusal(code: Code, pattern: &str, problem: &str) -> Error {
    Error::new(code, format!("the pattern '{pattern}' of SIMILAR TO {problem}"))
        .hint("write a backslash, or the character of ESCAPE, in front of what stands for itself")
}

type Problem = &'static str;

const ENDS_ESCAPED: Problem = "ends with its character of escape";
const OPEN_CLASS: Problem = "opens a [ that it does not close";
const NO_BOUNDS: Problem = "has a { without the form {2}, {2,} or {2,5}";

/// The pattern as a regular expression that fits a whole text. Nothing is escaped where there is no character for it.
pub(crate) fn regex_of(pattern: &str, escape: Option<char>) -> Result<String, Problem> {
    let mut written = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    let mut n_open = 0_usize;
    let mut may_repeat = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            push_escaped(&mut written, chars.next().ok_or(ENDS_ESCAPED)?)?;
            may_repeat = true;
            continue;
        }
        if matches!(c, '*' | '+' | '?' | '{') {
            if !may_repeat {
                return Err("repeats nothing, or twice");
            }
            match c {
                '{' => push_bounds(&mut written, &mut chars)?,
                sign => written.push(sign),
            }
            may_repeat = false;
            continue;
        }
        may_repeat = !matches!(c, '(' | '|');
        match c {
            '%' => written.push_str(".*"),
            '_' => written.push('.'),
            '|' => written.push('|'),
            '(' => {
                n_open += 1;
                written.push_str("(?:");
            }
            ')' => {
                n_open = n_open.checked_sub(1).ok_or("closes a ) that it did not open")?;
                written.push(')');
            }
            '[' => push_class(&mut written, &mut chars, escape)?,
            literal => push_literal(&mut written, literal),
        }
    }
    if n_open > 0 {
        return Err("opens a ( that it does not close");
    }
    written.push_str(")$");
    Ok(written)
}

/// A character that stands for itself.
fn push_literal(written: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        written.push('\\');
    }
    written.push(c);
}

/// A character behind that of escape: itself, or as in PostgreSQL a class of characters.
fn push_escaped(written: &mut String, c: char) -> Result<(), Problem> {
    match c {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
            written.push('\\');
            written.push(c);
        }
        c if c.is_ascii_alphanumeric() => return Err("escapes a letter or a digit, which has no meaning"),
        c => push_literal(written, c),
    }
    Ok(())
}

/// What follows a `{`, up to its `}`.
fn push_bounds(written: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), Problem> {
    let mut bounds = String::new();
    loop {
        match chars.next() {
            Some('}') => break,
            Some(c) => bounds.push(c),
            None => return Err(NO_BOUNDS),
        }
    }
    let number = |text: &str| {
        let number = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        number.and_then(|number| number.parse::<u32>().ok()).ok_or(NO_BOUNDS)
    };
    let (low, high) = bounds.split_once(',').unwrap_or((bounds.as_str(), bounds.as_str()));
    let low = number(low)?;
    if !high.is_empty() && number(high)? < low {
        return Err(NO_BOUNDS);
    }
    written.push('{');
    written.push_str(&bounds);
    written.push('}');
    Ok(())
}

/// What follows a `[`, up to its `]`.
fn push_class(written: &mut String, chars: &mut Peekable<Chars<'_>>, escape: Option<char>) -> Result<(), Problem> {
    written.push('[');
    if chars.next_if_eq(&'^').is_some() {
        written.push('^');
    }
    let mut is_first = true;
    // What a range may begin with.
    let mut last: Option<char> = None;
    loop {
        let c = chars.next().ok_or(OPEN_CLASS)?;
        match (c, last) {
            (']', _) if !is_first => break,
            ('[', _) if chars.next_if_eq(&':').is_some() => {
                push_named(written, chars)?;
                last = None;
            }
            ('[', _) if matches!(chars.peek(), Some('.' | '=')) => return Err("names a collating element"),
            ('-', Some(low)) if chars.peek() != Some(&']') => {
                let high = chars.next().ok_or(OPEN_CLASS)?;
                let high = if Some(high) == escape { chars.next().ok_or(ENDS_ESCAPED)? } else { high };
                if high < low {
                    return Err("has a range that ends before it begins");
                }
                written.push('-');
                push_literal(written, high);
                last = None;
            }
            (c, _) if Some(c) == escape => {
                let c = chars.next().ok_or(ENDS_ESCAPED)?;
                push_escaped(written, c)?;
                last = Some(c).filter(|c| !c.is_ascii_alphanumeric());
            }
            (c, _) => {
                push_literal(written, c);
                last = Some(c);
            }
        }
        is_first = false;
    }
    written.push(']');
    Ok(())
}

/// What follows `[:` within brackets, up to `:]`. Letters are those of all scripts.
fn push_named(written: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), Problem> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(char::is_ascii_alphabetic) {
        name.push(c);
    }
    if chars.next() != Some(':') || chars.next() != Some(']') {
        return Err("opens a [: that it does not close");
    }
    written.push_str(match name.as_str() {
        "alnum" => r"\p{Alphabetic}\d",
        "alpha" => r"\p{Alphabetic}",
        "blank" => r" \t",
        "cntrl" => "[:cntrl:]",
        "digit" => r"\d",
        "graph" => "[:graph:]",
        "lower" => r"\p{Lowercase}",
        "print" => "[:print:]",
        "punct" => "[:punct:]",
        "space" => r"\s",
        "upper" => r"\p{Uppercase}",
        "xdigit" => "[:xdigit:]",
        _ => return Err("names a class of characters that there is not"),
    });
    Ok(())
}
