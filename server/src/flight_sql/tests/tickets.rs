//! Is a planned query fetched once, by its owner, within its time?

use std::sync::Arc;
use std::time::Duration;

use tidewater_query::Principal;
use tidewater_storage::env::ManualClock;
use tidewater_storage::{Code, Error, Result};

use super::{admin, user};
use crate::connections::{Peer, Presence};
use crate::flight_sql::tickets::{CancelledTicket, MAX_PENDING, TICKET_TTL, Tickets, expiration};

fn code<T>(result: Result<T>) -> Code {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.code(),
    }
}

/// Takes what nothing else speaks against.
fn take<P>(tickets: &Tickets<P>, id: &str, caller: &Principal) -> Result<P> {
    tickets.take(id, caller, |_| Ok(()))
}

/// A connection that does not end.
fn here() -> Presence {
    Presence::default()
}

#[test]
fn a_ticket_is_taken_once() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1, &here()).unwrap();
    assert_eq!(take(&tickets, "a", &user("ann")).unwrap(), 1);
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::TicketConsumed);
    assert_eq!(code(take(&tickets, "b", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn what_nobody_fetches_is_dropped() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    let payload = Arc::new(());
    tickets.insert("a", "ann", payload.clone(), &here()).unwrap();
    clock.advance(TICKET_TTL - Duration::from_millis(1));
    tickets.sweep();
    assert_eq!((tickets.n_waiting(), Arc::strong_count(&payload)), (1, 2));
    clock.advance(Duration::from_millis(1));
    tickets.sweep();
    assert_eq!((tickets.n_waiting(), Arc::strong_count(&payload)), (0, 1));
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::TicketExpired);
    assert_eq!(code(tickets.cancel("a", &user("ann"))), Code::TicketExpired);
    assert_eq!(code(take(&tickets, "a", &user("bob"))), Code::PermissionDenied);
    // After a while nobody remembers it.
    clock.advance(TICKET_TTL);
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn an_expired_ticket_is_not_taken_before_the_sweep() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    tickets.insert("a", "ann", 1, &here()).unwrap();
    clock.advance(TICKET_TTL);
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::TicketExpired);
}

#[test]
fn a_ticket_has_an_owner() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1, &here()).unwrap();
    assert_eq!(code(take(&tickets, "a", &user("bob"))), Code::PermissionDenied);
    assert_eq!(code(tickets.cancel("a", &user("bob"))), Code::PermissionDenied);
    assert_eq!(take(&tickets, "a", &admin()).unwrap(), 1);
    assert_eq!(code(take(&tickets, "a", &user("bob"))), Code::PermissionDenied);
}

#[test]
fn what_is_refused_is_not_used_up() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1, &here()).expect("kept");
    let refused = tickets.take("a", &user("ann"), |payload| {
        assert_eq!(*payload, 1);
        Err(Error::new(Code::NotYetVisible, "planned too early"))
    });
    assert_eq!(code(refused), Code::NotYetVisible);
    // A stranger is not even told what speaks against it.
    let stranger = tickets.take("a", &user("bob"), |_| panic!("it is not bob's"));
    assert_eq!(code(stranger), Code::PermissionDenied);
    assert_eq!(take(&tickets, "a", &user("ann")).expect("it still waits"), 1);
}

#[test]
fn cancelling() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    let payload = Arc::new(());
    tickets.insert("a", "ann", payload.clone(), &here()).unwrap();
    assert_eq!(tickets.cancel("a", &user("ann")).unwrap(), CancelledTicket::Dropped);
    assert_eq!(Arc::strong_count(&payload), 1);
    assert_eq!(tickets.cancel("a", &user("ann")).unwrap(), CancelledTicket::Already);
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::QueryCancelled);
    tickets.insert("b", "ann", payload, &here()).unwrap();
    take(&tickets, "b", &user("ann")).unwrap();
    assert_eq!(tickets.cancel("b", &user("ann")).unwrap(), CancelledTicket::Fetched);
    assert_eq!(code(tickets.cancel("c", &user("ann"))), Code::HandleNotFound);
    clock.advance(TICKET_TTL);
    assert_eq!(code(tickets.cancel("a", &user("ann"))), Code::HandleNotFound);
}

#[test]
fn what_is_renewed_waits_on() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    tickets.insert("a", "ann", 7, &here()).unwrap();
    let renew = |caller: &str| tickets.renew("a", &user(caller), |payload| Duration::from_secs(*payload));
    for _ in 0..20 {
        clock.advance(Duration::from_secs(6));
        assert_eq!(renew("ann").unwrap(), Duration::from_secs(7));
    }
    assert_eq!(code(renew("bob")), Code::PermissionDenied);
    // Its payload never has it wait for longer than any other.
    assert_eq!(tickets.renew("a", &admin(), |_| Duration::MAX).unwrap(), TICKET_TTL);
    clock.advance(TICKET_TTL);
    assert_eq!(code(renew("ann")), Code::TicketExpired);
    tickets.insert("b", "ann", 7, &here()).unwrap();
    take(&tickets, "b", &user("ann")).unwrap();
    assert_eq!(code(tickets.renew("b", &user("ann"), |_| TICKET_TTL)), Code::TicketConsumed);
    assert_eq!(code(tickets.renew("c", &user("ann"), |_| TICKET_TTL)), Code::HandleNotFound);
}

#[test]
fn a_query_that_was_cancelled_while_it_ran_is_told_so() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    tickets.insert("a", "ann", 1, &here()).unwrap();
    take(&tickets, "a", &user("ann")).unwrap();
    tickets.note_cancelled("a");
    tickets.note_cancelled("nothing");
    assert_eq!(code(take(&tickets, "a", &user("ann"))), Code::QueryCancelled);
    assert_eq!(tickets.cancel("a", &user("ann")).unwrap(), CancelledTicket::Already);
}

#[test]
fn expiration_times_are_of_the_wall_clock() {
    let clock = ManualClock::at(1_800_000_000_250_000);
    let at = expiration(&clock, Duration::from_secs(60));
    assert_eq!((at.seconds, at.nanos), (1_800_000_060, 250_000_000));
    assert_eq!(expiration(&ManualClock::at(-1), Duration::ZERO).nanos, 999_999_000);
}

#[test]
fn too_many_are_refused_until_some_expire() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    for i in 0..MAX_PENDING {
        tickets.insert(&i.to_string(), "ann", i, &here()).unwrap();
    }
    assert_eq!(code(tickets.insert("more", "ann", 0, &here())), Code::QueryQueueFull);
    take(&tickets, "0", &user("ann")).unwrap();
    tickets.insert("more", "ann", 0, &here()).unwrap();
    clock.advance(TICKET_TTL);
    tickets.insert("later", "ann", 0, &here()).unwrap();
    assert_eq!(tickets.n_waiting(), 1);
}

/// Whoever plans a query may have another process fetch it: the end of a connection says nothing, until places are short.
#[test]
fn those_whose_clients_are_gone_give_their_places() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    let (stays, goes) = (Peer::at(None), Peer::at(None));
    tickets.insert("handed on", "ann", 0, &goes.presence()).expect("kept");
    tickets.insert("left", "ann", 0, &goes.presence()).expect("kept");
    for i in 2..MAX_PENDING {
        tickets.insert(&i.to_string(), "ann", 0, &stays.presence()).expect("kept");
    }
    assert_eq!(code(tickets.insert("more", "ann", 0, &stays.presence())), Code::QueryQueueFull);
    drop(goes);
    tickets.sweep();
    take(&tickets, "handed on", &user("ann")).expect("it waits");
    tickets.insert("first", "ann", 0, &stays.presence()).expect("there is a place");
    tickets.insert("second", "ann", 0, &stays.presence()).expect("another one gives its place");
    assert_eq!(code(take(&tickets, "left", &user("ann"))), Code::TicketExpired);
    assert_eq!(code(tickets.insert("third", "ann", 0, &stays.presence())), Code::QueryQueueFull);
}

/// Who plans a thousand queries and fetches none does not keep the others from theirs.
#[test]
fn who_has_most_of_them_gives_a_place_to_others() {
    let clock = Arc::new(ManualClock::at(0));
    let tickets = Tickets::new(clock.clone());
    for i in 0..MAX_PENDING {
        tickets.insert(&i.to_string(), "ann", i, &here()).expect("kept");
        clock.advance(Duration::from_millis(1));
    }
    tickets.insert("other", "bob", 0, &here()).expect("there is a place");
    assert_eq!(tickets.n_waiting(), MAX_PENDING);
    assert_eq!(code(take(&tickets, "0", &user("ann"))), Code::TicketExpired, "the oldest of hers");
    assert_eq!(code(tickets.insert("more", "ann", 0, &here())), Code::QueryQueueFull);
    take(&tickets, "1", &user("ann")).expect("the next one waits");
    take(&tickets, "other", &user("bob")).expect("it waits");
}

#[test]
fn a_server_that_ends_keeps_none() {
    let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
    let payload = Arc::new(());
    tickets.insert("a", "ann", Arc::clone(&payload), &here()).expect("kept");
    tickets.clear();
    assert_eq!((tickets.n_waiting(), Arc::strong_count(&payload)), (0, 1));
}
