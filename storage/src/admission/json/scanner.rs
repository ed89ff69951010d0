//! What stands next in a JSON text? A strict scanner (RFC 8259) over borrowed text, without recursion.

use std::borrow::Cow;

use crate::error::Error;

/// Objects and arrays nest at most this deep in what is skipped.
const MAX_DEPTH: usize = 128;

/// Where and why a text is not JSON.
#[derive(Debug)]
pub(super) struct Syntax {
    what: &'static str,
    at: usize,
    /// The scan was ended by an error of another kind.
    aborted: Option<Box<Error>>,
}

impl Syntax {
    pub fn aborted(error: Error) -> Self {
        Self { what: "", at: 0, aborted: Some(Box::new(error)) }
    }

    /// The error that ended the scan, or else what is wrong and at which byte.
    pub fn into_error(self) -> Result<Error, (&'static str, usize)> {
        match self.aborted {
            Some(error) => Ok(*error),
            None => Err((self.what, self.at)),
        }
    }

    pub fn message(&self) -> String {
        format!("{} at byte {}", self.what, self.at)
    }
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The kind of the value that stands next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, Syntax> {
        Err(Syntax { what, at: self.at, aborted: None })
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Takes the punctuation `byte`.
    pub fn open(&mut self, byte: u8) -> Result<(), Syntax> {
        if self.close_if(byte) {
            return Ok(());
        }
        self.fail(match byte {
            b'[' => "an array was expected",
            b'{' => "an object was expected",
            b':' => "a colon was expected",
            _ => "a comma or the end was expected",
        })
    }

    /// Takes `byte` if it stands next.
    pub fn close_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Syntax> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("the end was expected"),
        }
    }

    pub fn kind(&mut self) -> Result<Kind, Syntax> {
        Ok(match self.peek() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b'"') => Kind::Text,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => return self.fail("a value was expected"),
        })
    }

    /// Takes null, true, false or a number, as it is written.
    pub fn plain(&mut self) -> Result<&'a str, Syntax> {
        let start = match self.kind()? {
            Kind::Number => return self.number(),
            _ => self.at,
        };
        for word in ["null", "true", "false"] {
            if self.text[start..].starts_with(word) {
                self.at += word.len();
                return Ok(word);
            }
        }
        self.fail("a value was expected")
    }

    fn number(&mut self) -> Result<&'a str, Syntax> {
        let bytes = self.bytes();
        let start = self.at;
        let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let whole = start + usize::from(bytes[start] == b'-');
        let mut end = digits(whole);
        let leading_zero = end > whole + 1 && bytes[whole] == b'0';
        let mut ok = end > whole && !leading_zero;
        if bytes.get(end) == Some(&b'.') {
            let from = end + 1;
            end = digits(from);
            ok &= end > from;
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            let from = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = digits(from.min(bytes.len()));
            ok &= end > from;
        }
        if !ok {
            return self.fail("a number is malformed");
        }
        self.at = end;
        Ok(&self.text[start..end])
    }

    /// Takes a string; borrowed when it has no escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        let token = self.string_token()?;
        let inner = &token[1..token.len() - 1];
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        match unescaped(inner) {
            Some(text) => Ok(Cow::Owned(text)),
            None => self.fail("a string has a malformed escape"),
        }
    }

    /// A string with its quotes; escapes are not looked into.
    fn string_token(&mut self) -> Result<&'a str, Syntax> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.fail("a string was expected");
        }
        let start = start.max(self.at);
        let bytes = self.bytes();
        let mut at = start + 1;
        while let Some(&b) = bytes.get(at) {
            match b {
                b'"' => {
                    self.at = at + 1;
                    return Ok(&self.text[start..=at]);
                }
                b'\\' => at += 2,
                0..0x20 => {
                    self.at = at;
                    return self.fail("a string has a control character");
                }
                _ => at += 1,
            }
        }
        self.fail("a string has no end")
    }

    /// Takes a whole value of any kind and returns its text.
    pub fn skip_value(&mut self) -> Result<&'a str, Syntax> {
        self.peek();
        let start = self.at;
        // The closing brackets that are still to come.
        let mut open: Vec<u8> = Vec::new();
        loop {
            let close = match self.kind()? {
                Kind::Array => Some(b']'),
                Kind::Object => Some(b'}'),
                Kind::Text => {
                    self.string()?;
                    None
                }
                _ => {
                    self.plain()?;
                    None
                }
            };
            if let Some(close) = close {
                self.at += 1;
                if open.len() == MAX_DEPTH {
                    return self.fail("values are nested too deep");
                }
                open.push(close);
                if self.close_if(close) {
                    open.pop();
                } else {
                    self.name_if(close)?;
                    continue;
                }
            }
            // A value has ended: close what ends with it, then go to the next one.
            loop {
                let Some(&close) = open.last() else { return Ok(&self.text[start..self.at]) };
                if self.close_if(close) {
                    open.pop();
                    continue;
                }
                self.open(b',')?;
                self.name_if(close)?;
                break;
            }
        }
    }

    /// In an object, a name and a colon come before each value.
    fn name_if(&mut self, close: u8) -> Result<(), Syntax> {
        if close == b'}' {
            self.string()?;
            self.open(b':')?;
        }
        Ok(())
    }
}

/// The text that escapes stand for; `None` for a malformed one or half of a surrogate pair.
fn unescaped(inner: &str) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let mut used = at + 2;
        out.push(match escape {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = hex4(rest.get(used..used + 4)?)?;
                used += 4;
                if (0xD800..0xDC00).contains(&unit) {
                    let low = hex4(rest.get(used..used + 6)?.strip_prefix("\\u")?)?;
                    used += 6;
                    if !(0xDC00..0xE000).contains(&low) {
                        return None;
                    }
                    char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))?
                } else {
                    char::from_u32(unit)?
                }
            }
            _ => return None,
        });
        rest = &rest[used..];
    }
    out.push_str(rest);
    Some(out)
}

fn hex4(digits: &str) -> Option<u32> {
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}
