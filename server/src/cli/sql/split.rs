//! Where does one statement end and the next begin? Semicolons count outside of texts, names and comments only.

/// The statements of a text, without their semicolons; what has only blanks and comments is none.
pub fn split_statements(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at, mut has_content) = (0, 0, false);
    while at < text.len() {
        let rest = &text[at..];
        let skipped = skip_quoted(rest);
        if let Some((length, is_comment)) = skipped {
            has_content |= !is_comment;
            at += length;
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        if character == ';' {
            if has_content {
                statements.push(text[start..at].trim());
            }
            (start, has_content) = (at + 1, false);
        } else {
            has_content |= !character.is_whitespace();
        }
        at += character.len_utf8();
    }
    if has_content {
        statements.push(text[start..].trim());
    }
    statements
}

/// Whether a text ends behind a semicolon: blanks and whole comments may follow, nothing may be open.
pub fn is_terminated(text: &str) -> bool {
    let (mut at, mut is_ended) = (0, false);
    while at < text.len() {
        let rest = &text[at..];
        if let Some((length, is_comment)) = skip_quoted(rest) {
            if rest.starts_with("/*") && block_comment(rest).is_none() {
                return false;
            }
            is_ended &= is_comment;
            at += length;
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        if !character.is_whitespace() {
            is_ended = character == ';';
        }
        at += character.len_utf8();
    }
    is_ended
}

/// The length of a text, quoted name or comment at the start of `rest`, and whether it is a comment. What is not closed
/// goes to the end; the server will say so.
pub(super) fn skip_quoted(rest: &str) -> Option<(usize, bool)> {
    let to_end = |found: Option<usize>| found.unwrap_or(rest.len());
    match rest.as_bytes() {
        [b'-', b'-', ..] => Some((to_end(rest.find('\n')), true)),
        [b'/', b'*', ..] => Some((to_end(block_comment(rest)), true)),
        // A doubled quote ends one text and begins the next at once, which skips the same bytes.
        [quote @ (b'\'' | b'"'), ..] => Some((to_end(rest[1..].find(char::from(*quote)).map(|end| end + 2)), false)),
        [b'$', ..] => {
            let tag_length = rest[1..].find('$')? + 2;
            let tag = &rest[..tag_length];
            // `$1` is a parameter, `$tag$ … $tag$` a text.
            let name = &tag[1..tag_length - 1];
            let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            is_tag.then(|| (to_end(rest[tag_length..].find(tag).map(|end| end + 2 * tag_length)), false))
        }
        _ => None,
    }
}

/// The length of a block comment, if it ends; they nest.
fn block_comment(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => {
                (depth, at) = (depth.saturating_sub(1), at + 2);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}
