//! Which users and tokens may be written down? Their names, and how long everything about them may be.

use super::{StoredGrant, Token, User};
use crate::error::{Code, Error, Result};
use crate::limits::{MAX_GRANTS, MAX_LABEL_BYTES, MAX_PATTERN_BYTES, MAX_TOKEN_ID_BYTES, MAX_USER_NAME_BYTES};

/// Besides ASCII letters and digits. A colon would end the name in an `Authorization` header, other signs would need quotes somewhere.
const SIGNS: &str = "._@+-";

/// `INVALID_NAME` for a name that no user may have, `INVALID_DEFINITION` for the rest.
pub(super) fn check_user(user: &User) -> Result<()> {
    let invalid = |why: &str| {
        let shown: String = user.name.chars().filter(|c| !c.is_control()).take(40).collect();
        Err(Error::new(Code::InvalidName, format!("'{shown}' is not a name for a user: {why}")).hint(format!(
            "use 1 to {MAX_USER_NAME_BYTES} ASCII letters, digits and {SIGNS}, and begin with a letter or digit"
        )))
    };
    if user.name.len() > MAX_USER_NAME_BYTES {
        return invalid("it is too long");
    }
    if !user.name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return invalid("it does not begin with an ASCII letter or digit");
    }
    if !user.name.chars().all(|c| c.is_ascii_alphanumeric() || SIGNS.contains(c)) {
        return invalid("it has other signs");
    }
    check_grants(&user.grants)
}

/// `INVALID_DEFINITION`.
pub(super) fn check_token(token: &Token) -> Result<()> {
    let is_id =
        (1..=MAX_TOKEN_ID_BYTES).contains(&token.id.len()) && token.id.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_id {
        return Err(Error::internal("a token's id is not made of ASCII letters and digits"));
    }
    if token.label.len() > MAX_LABEL_BYTES || token.label.chars().any(char::is_control) {
        return Err(Error::new(
            Code::InvalidDefinition,
            "the label of the token is too long, or has control characters",
        )
        .hint(format!("use at most {MAX_LABEL_BYTES} bytes on one line")));
    }
    check_grants(&token.grants)
}

fn check_grants(grants: &[StoredGrant]) -> Result<()> {
    if grants.len() > MAX_GRANTS {
        return Err(Error::new(Code::InvalidDefinition, format!("{} grants, the limit is {MAX_GRANTS}", grants.len()))
            .hint("use patterns such as schema.* or schema.prefix*"));
    }
    match grants.iter().any(|grant| grant.tables.len() > MAX_PATTERN_BYTES) {
        true => Err(Error::new(Code::InvalidDefinition, "a pattern of tables is too long")
            .hint(format!("use at most {MAX_PATTERN_BYTES} bytes"))),
        false => Ok(()),
    }
}
