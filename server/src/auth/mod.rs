//! Who is it? Today `auth = "off"`: only on loopback, every caller is admin.

use tidewater_query::{Principal, Role};
use tidewater_storage::Result;

/// How callers prove who they are.
pub enum Auth {
    /// Every caller is admin; the server listens on loopback only.
    Off,
}

impl Auth {
    /// The caller behind a request. `authorization` is the header's value, if one was sent.
    pub fn principal(&self, _authorization: Option<&str>) -> Result<Principal> {
        match self {
            Auth::Off => Ok(Principal { name: "anonymous".to_owned(), role: Role::Admin }),
        }
    }
}
