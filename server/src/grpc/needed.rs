//! Which right does a method take of everybody, whatever the message says? Who lacks it is refused by the headers.

use tidewater_query::Principal;
use tidewater_storage::Result;

use crate::call::check_writer;

/// The least that a method takes. On which tables is for its handler.
enum Needed {
    /// A writer of something.
    Writer,
    /// An admin of the server. What they ask for, with a verb.
    Admin(&'static str),
}

/// By path. What is not here depends on the message.
const NEEDED: [(&str, Needed); 6] = [
    ("/tidewater.ingest.v1.Ingest/Write", Needed::Writer),
    ("/tidewater.ingest.v1.Ingest/WriteStream", Needed::Writer),
    ("/tidewater.ingest.v1.Ingest/InitProducer", Needed::Writer),
    ("/tidewater.admin.v1.Admin/CreateUser", Needed::Admin("create users")),
    ("/tidewater.admin.v1.Admin/DropUser", Needed::Admin("drop users")),
    ("/tidewater.admin.v1.Admin/ListUsers", Needed::Admin("list users")),
];

/// `PERMISSION_DENIED` if this caller may not use the method at all.
pub(super) fn check(path: &str, principal: &Principal) -> Result<()> {
    match NEEDED.iter().find(|(name, _)| *name == path) {
        None => Ok(()),
        Some((_, Needed::Writer)) => check_writer(principal),
        Some((_, Needed::Admin(what))) => principal.check_admin(what),
    }
}
