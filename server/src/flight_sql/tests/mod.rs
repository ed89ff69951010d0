//! Do the parts of Flight SQL do what they say?

mod command;
mod encode;
mod incoming;
mod ingest;
mod metadata;
mod prepared;
mod tickets;
mod wire;

use tidewater_query::{Principal, Role};

fn user(name: &str) -> Principal {
    Principal { name: name.to_owned(), role: Role::Writer }
}

fn admin() -> Principal {
    Principal { name: "root".to_owned(), role: Role::Admin }
}
