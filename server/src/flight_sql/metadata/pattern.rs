//! Does a name match a filter? `%` is any text, `_` any character, `\` takes the next one as it is.
//!
//! Filters are arbitrary text: pandas sends whole SQL statements. A pattern is read once, never fails, and gives up on
//! a name as soon as the lengths rule a match out.

use tidewater_storage::limits::MAX_NAME_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyText,
}

/// A filter that was read.
#[derive(Debug)]
pub(in crate::flight_sql) struct Pattern {
    tokens: Vec<Token>,
    /// Characters that a match has at least.
    min_chars: usize,
    /// The pattern's own text: a name that equals it comes first.
    text: String,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        let (mut tokens, mut min_chars) = (Vec::new(), 0);
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let token = match char {
                '%' => Token::AnyText,
                '_' => Token::AnyChar,
                // An escape at the end stands for itself.
                '\\' => Token::Literal(chars.next().unwrap_or('\\')),
                other => Token::Literal(other),
            };
            match token {
                Token::AnyText if tokens.last() == Some(&Token::AnyText) => continue,
                Token::AnyText => {}
                Token::Literal(_) | Token::AnyChar => min_chars += 1,
            }
            tokens.push(token);
            // No name is that long, so nothing can match; what follows does not matter.
            if min_chars > MAX_NAME_BYTES {
                break;
            }
        }
        Self { tokens, min_chars, text: text.to_owned() }
    }

    /// Some text in it is open, so more than a few names may match.
    pub fn is_open(&self) -> bool {
        self.tokens.contains(&Token::AnyText)
    }

    pub fn equals(&self, name: &str) -> bool {
        self.text == name
    }

    /// A name that is the filter's own text matches too: clients that know a name send it as it is, also one with a `\`.
    pub fn matches(&self, name: &str) -> bool {
        self.equals(name) || self.matches_tokens(name)
    }

    /// Greedy matching with one point to return to: the last `%`.
    fn matches_tokens(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        if self.min_chars > name.len() {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::AnyText) => {
                    retry = Some((token + 1, at));
                    token += 1;
                }
                Some(Token::AnyChar) => (token, at) = (token + 1, at + 1),
                Some(Token::Literal(char)) if *char == name[at] => (token, at) = (token + 1, at + 1),
                _ => match &mut retry {
                    Some((after, start)) => {
                        *start += 1;
                        (token, at) = (*after, *start);
                    }
                    None => return false,
                },
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::AnyText)
    }
}
