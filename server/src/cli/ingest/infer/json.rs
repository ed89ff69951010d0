//! What does a line of JSON say, before any type is chosen? Its values, with numbers as they are written.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Values nest at most this deep, the line itself not counted. The types of a table nest no deeper, so that the server
/// rejects such a row in any case.
const MAX_DEPTH: usize = 16;

pub(super) enum Value<'a> {
    Null,
    Boolean,
    /// Its text: as a float it would lose digits that tell what it is.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

/// A field of an object: its name and its value.
pub(super) type Member<'a> = (Cow<'a, str>, Value<'a>);

/// The fields of an object, as they stand there; `None` if the line is something else.
pub(super) fn object(line: &[u8]) -> Option<Vec<Member<'_>>> {
    let text = std::str::from_utf8(line).ok()?;
    // What is JSON is decided here; the reader below only has to find its way.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    match (Reader { rest: text }).value(0)? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Reads a text that is JSON.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next value; `None` if it nests too deep or has a text that is none. Recursive as deep as that.
    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        match self.peek()? {
            b'[' | b'{' if depth > MAX_DEPTH => None,
            b'[' => self.list(depth).map(Value::List),
            b'{' => self.members(depth).map(Value::Object),
            b'"' => self.text().map(Value::Text),
            first => {
                let is_end = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
                let token = self.take(self.rest.find(is_end).unwrap_or(self.rest.len()))?;
                Some(match first {
                    b'n' => Value::Null,
                    b't' | b'f' => Value::Boolean,
                    _ => Value::Number(token),
                })
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Value<'a>>> {
        let mut items = Vec::new();
        self.take(1)?;
        while self.peek()? != b']' {
            items.push(self.value(depth + 1)?);
            self.take_if(b',')?;
        }
        self.take(1)?;
        Some(items)
    }

    fn members(&mut self, depth: usize) -> Option<Vec<Member<'a>>> {
        let mut members = Vec::new();
        self.take(1)?;
        while self.peek()? != b'}' {
            let name = self.text()?;
            self.take_if(b':')?;
            members.push((name, self.value(depth + 1)?));
            self.take_if(b',')?;
        }
        self.take(1)?;
        Some(members)
    }

    /// A string, without quotes and escapes.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let token = self.take(end + 1)?;
        match token.contains('\\') {
            // An escape may be half of a surrogate pair, which is no text; the server says so of the row.
            true => serde_json::from_str::<String>(token).ok().map(Cow::Owned),
            false => Some(Cow::Borrowed(&token[1..end])),
        }
    }

    /// The byte that stands next, behind white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.as_bytes().first().copied()
    }

    fn take(&mut self, n_bytes: usize) -> Option<&'a str> {
        let (token, rest) = self.rest.split_at_checked(n_bytes)?;
        self.rest = rest;
        Some(token)
    }

    /// Takes a separator, if it stands there.
    fn take_if(&mut self, separator: u8) -> Option<()> {
        if self.peek()? == separator {
            self.take(1)?;
        }
        Some(())
    }
}
