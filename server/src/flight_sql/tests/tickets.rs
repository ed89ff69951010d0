//! Is a planned query fetched once, by its owner, within its time?

use std::sync::Arc;
use std::time::Duration;

use tidewater_storage::Code;
use tidewater_storage::env::ManualClock;

use super::{admin, user};
use crate::flight_sql::tickets::{CancelledTicket, MAX_PENDING, TICKET_TTL, Tickets};

fn code<T>(result: tidewater_storage::Result<T>) -> Code {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.code(),
    }
}

#[test]
fn a_ticket_is_taken_once() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1).unwrap();
    assert_eq!(tickets.take("a", &user("ann")).unwrap(), 1);
    assert_eq!(code(tickets.take("a", &user("ann"))), Code::TicketConsumed);
    assert_eq!(code(tickets.take("b", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn what_nobody_fetches_is_dropped() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    let payload = Arc::new(());
    tickets.insert("a", "ann", payload.clone()).unwrap();
    clock.advance(TICKET_TTL - Duration::from_millis(1));
    tickets.sweep();
    assert_eq!((tickets.n_waiting(), Arc::strong_count(&payload)), (1, 2));
    clock.advance(Duration::from_millis(1));
    tickets.sweep();
    assert_eq!((tickets.n_waiting(), Arc::strong_count(&payload)), (0, 1));
    assert_eq!(code(tickets.take("a", &user("ann"))), Code::TicketExpired);
    assert_eq!(code(tickets.cancel("a", &user("ann"))), Code::TicketExpired);
    assert_eq!(code(tickets.take("a", &user("bob"))), Code::PermissionDenied);
    // After a while nobody remembers it.
    clock.advance(TICKET_TTL);
    assert_eq!(code(tickets.take("a", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn an_expired_ticket_is_not_taken_before_the_sweep() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    tickets.insert("a", "ann", 1).unwrap();
    clock.advance(TICKET_TTL);
    assert_eq!(code(tickets.take("a", &user("ann"))), Code::TicketExpired);
}

#[test]
fn a_ticket_has_an_owner() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1).unwrap();
    assert_eq!(code(tickets.take("a", &user("bob"))), Code::PermissionDenied);
    assert_eq!(code(tickets.cancel("a", &user("bob"))), Code::PermissionDenied);
    assert_eq!(tickets.take("a", &admin()).unwrap(), 1);
    assert_eq!(code(tickets.take("a", &user("bob"))), Code::PermissionDenied);
}

#[test]
fn cancelling() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    let payload = Arc::new(());
    tickets.insert("a", "ann", payload.clone()).unwrap();
    assert_eq!(tickets.cancel("a", &user("ann")).unwrap(), CancelledTicket::Dropped);
    assert_eq!(Arc::strong_count(&payload), 1);
    assert_eq!(tickets.cancel("a", &user("ann")).unwrap(), CancelledTicket::Already);
    assert_eq!(code(tickets.take("a", &user("ann"))), Code::QueryCancelled);
    tickets.insert("b", "ann", payload).unwrap();
    tickets.take("b", &user("ann")).unwrap();
    assert_eq!(tickets.cancel("b", &user("ann")).unwrap(), CancelledTicket::Fetched);
    assert_eq!(code(tickets.cancel("c", &user("ann"))), Code::HandleNotFound);
    clock.advance(TICKET_TTL);
    assert_eq!(code(tickets.cancel("a", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn too_many_are_refused_until_some_expire() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    for i in 0..MAX_PENDING {
        tickets.insert(&i.to_string(), "ann", i).unwrap();
    }
    assert_eq!(code(tickets.insert("more", "ann", 0)), Code::QueryQueueFull);
    tickets.take("0", &user("ann")).unwrap();
    tickets.insert("more", "ann", 0).unwrap();
    clock.advance(TICKET_TTL);
    tickets.insert("later", "ann", 0).unwrap();
    assert_eq!(tickets.n_waiting(), 1);
}
