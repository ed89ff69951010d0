//! Who may call what? Every gRPC method, Flight command, Flight action and HTTP route, by callers of every kind; and no secret anywhere.
//!
//! A method, an action or a route without a row in these tables fails the test.

mod flight;
mod http;
mod methods;
mod revoked;
mod secrets;
mod world;

use futures::future::BoxFuture;
use tonic::Status;

use self::world::{Caller, World};

/// The least that a caller must be, from nobody at all to the admin of everything. Tables are in the schema `shop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Least {
    /// Without credentials.
    Open,
    /// A user without any grant.
    Anyone,
    /// `reader:shop.*`
    Reader,
    /// `writer:shop.orders`
    Writer,
    /// `admin:shop.*`
    Keeper,
    /// `admin:*`
    Root,
}

impl Least {
    const ALL: [Least; 6] = [Least::Open, Least::Anyone, Least::Reader, Least::Writer, Least::Keeper, Least::Root];

    /// The name of the user who is that.
    fn name(self) -> &'static str {
        match self {
            Least::Open => "",
            Least::Anyone => "nobody",
            Least::Reader => "reader",
            Least::Writer => "writer",
            Least::Keeper => "keeper",
            Least::Root => "root",
        }
    }
}

/// One way to use a method. It must succeed for who may, as often as it is called.
struct Row {
    /// What is enumerated: `package.Service/Method`, `METHOD /path`, a command or an action.
    of: &'static str,
    least: Least,
    call: Call,
}

type Call = for<'a> fn(&'a World, &'a Caller) -> BoxFuture<'a, Result<(), Status>>;

/// Codes of who is refused: not recognised, not allowed, and not told that it is there.
const REFUSED: [&str; 5] = ["(TW-1401)", "(TW-1402)", "(TW-1010)", "(TW-1011)", "(TW-1422)"];

/// Calls each row as each caller. Returns what was wrong.
async fn check(world: &World, rows: &[Row]) -> Vec<String> {
    let mut problems = Vec::new();
    for row in rows {
        for caller in &world.callers {
            let outcome = (row.call)(world, caller).await;
            if let Err(status) = &outcome {
                world.note(status);
            }
            let who = caller.least;
            let is_right = match (&outcome, who >= row.least) {
                (Ok(()), allowed) => allowed,
                (Err(status), false) if who == Least::Open => status.message().ends_with("(TW-1401)"),
                (Err(status), false) => REFUSED.iter().any(|code| status.message().ends_with(code)),
                (Err(_), true) => false,
            };
            if !is_right {
                problems.push(format!("{} ({:?} or more) by {who:?}: {outcome:?}", row.of, row.least));
            }
        }
    }
    problems
}

/// What is there and has no row, and rows of what is not there.
fn without_row(there: &[String], rows: &[Row]) -> Vec<String> {
    let missing = there.iter().filter(|name| !rows.iter().any(|row| row.of == **name));
    let gone = rows.iter().filter(|row| !there.iter().any(|name| name == row.of));
    missing.map(|name| format!("{name} has no row")).chain(gone.map(|row| format!("{} is not there", row.of))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_allowed_to_whom_it_should_be_and_nothing_tells_a_secret() {
    let world = World::start().await;
    let mut problems = Vec::new();
    let (methods, flights, routes) = (methods::rows(), flight::rows(), http::rows());
    problems.extend(without_row(&methods::there(), &methods));
    problems.extend(without_row(&flight::there(&world).await, &flights));
    problems.extend(without_row(&http::there(), &routes));
    for rows in [&methods, &flights, &routes] {
        problems.extend(check(&world, rows).await);
    }
    problems.extend(secrets::told(&world).await);
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    world.end().await;
}
