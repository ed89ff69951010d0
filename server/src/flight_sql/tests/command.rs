//! Is every descriptor and ticket read as what it is, and nothing else?

use arrow_flight::sql::{
    Any, Command, CommandGetCatalogs, CommandStatementQuery, CommandStatementUpdate, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{FlightDescriptor, Ticket};
use bytes::Bytes;
use prost::Message;
use tidewater_storage::ErrorKind;

use crate::flight_sql::command::{Request, from_descriptor, from_ticket};
use crate::flight_sql::statement::Handle;

fn of_bytes(bytes: impl Into<Bytes>) -> Result<Request, String> {
    from_descriptor(&FlightDescriptor::new_cmd(bytes)).map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    })
}

fn of_any(any: Any) -> Result<Request, String> {
    of_bytes(any.encode_to_vec())
}

#[test]
fn statements() {
    let query = |transaction_id: Option<Bytes>| CommandStatementQuery { query: "SELECT 1".into(), transaction_id };
    let sql = Ok(Request::Sql("SELECT 1".into()));
    assert_eq!(of_any(query(None).as_any()), sql);
    assert_eq!(of_any(query(Some(Bytes::new())).as_any()), sql);
    assert!(of_any(query(Some(Bytes::from_static(b"t"))).as_any()).unwrap_err().contains("transaction"));
    // The prefix of the type's name is free.
    let other_prefix =
        Any { type_url: "x/arrow.flight.protocol.sql.CommandStatementQuery".into(), ..query(None).as_any() };
    assert_eq!(of_any(other_prefix), sql);
}

#[test]
fn plain_text_is_sql() {
    for text in [
        "SELECT 1",
        "\n\tSELECT 'a/b', \"x\" FROM t",
        "INSERT INTO t VALUES (1)",
        "-- é\nSELECT 1",
        "\n SELECT 1 -- 32 bytes and more of text",
    ] {
        assert_eq!(of_bytes(text), Ok(Request::Sql(text.into())));
    }
    assert!(of_bytes("  ").is_err());
    assert!(of_bytes(&b"\xff\xfe"[..]).is_err());
}

#[test]
fn damaged_and_unknown_commands_are_named() {
    let unknown = Any { type_url: "type.googleapis.com/other.Thing".into(), value: Bytes::new() };
    assert!(of_any(unknown).unwrap_err().contains("other.Thing"));
    let damaged = Any { value: Bytes::from_static(&[0x0a, 0xff]), ..CommandGetCatalogs {}.as_any() };
    // An empty message takes any field, so damage shows only in framing.
    assert!(of_any(damaged).unwrap_err().contains("CommandGetCatalogs"));
}

#[test]
fn paths_are_tables() {
    let of_path = |parts: &[&str]| {
        from_descriptor(&FlightDescriptor::new_path(parts.iter().map(|&part| part.to_owned()).collect()))
    };
    let scan = |schema: &str, table: &str| Request::Scan { schema: Some(schema.into()), table: table.into() };
    // The session says in which schema.
    let bare = Request::Scan { schema: None, table: "T".into() };
    assert_eq!(bare.sql().as_deref(), Some("SELECT * FROM \"T\""));
    assert_eq!(of_path(&["T"]).unwrap(), bare);
    assert_eq!(of_path(&["s", "t"]).unwrap(), scan("s", "t"));
    assert_eq!(of_path(&["tidewater", "s", "t"]).unwrap(), scan("s", "t"));
    assert!(of_path(&["other", "s", "t"]).unwrap_err().to_string().contains("other"));
    assert!(of_path(&[]).is_err());
    assert_eq!(scan("a\"b", "c").sql().unwrap(), "SELECT * FROM \"a\"\"b\".\"c\"");
    assert!(from_descriptor(&FlightDescriptor::default()).is_err());
}

#[test]
fn tickets_are_commands() {
    let ticket = TicketStatementQuery { statement_handle: Bytes::from_static(b"q:1") };
    let read = from_ticket(&Ticket::new(ticket.as_any().encode_to_vec())).unwrap();
    assert_eq!(read, Command::TicketStatementQuery(ticket));
    let update = CommandStatementUpdate { query: "x".into(), transaction_id: None };
    assert!(matches!(
        from_ticket(&Ticket::new(update.as_any().encode_to_vec())),
        Ok(Command::CommandStatementUpdate(_))
    ));
    assert!(from_ticket(&Ticket::new("SELECT 1")).is_err());
    assert!(from_ticket(&Ticket::new("")).is_err());
}

#[test]
fn handles_survive_the_way() {
    for handle in [Handle::Query("0190-ab:cd".into()), Handle::Done, Handle::Changed(u64::MAX)] {
        assert_eq!(Handle::decode(&handle.encode()).unwrap(), handle);
    }
    for bytes in [&b""[..], b"x:1", b"c:", b"c:-1", b"d:1", b"\xff"] {
        assert!(Handle::decode(bytes).is_err());
    }
}
