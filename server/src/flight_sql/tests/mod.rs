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
    Principal::with_role(name, Role::Writer)
}

fn admin() -> Principal {
    Principal::admin("root")
}
