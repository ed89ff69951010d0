//! Do handles live as long as they are used, and are parameters checked?

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, NullArray, RecordBatch, StringArray, UnionArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UnionFields};
use tidewater_query::{Parameters, Prepared};
use tidewater_storage::Code;
use tidewater_storage::env::{ManualClock, SystemRng};
use tidewater_storage::memory::{MemoryLedger, Share};

use super::user;
use crate::connections::{Peer, Presence};
use crate::flight_sql::prepared::{
    ABANDONED_TTL, HANDLE_TTL, MAX_BOUND_BYTES, MAX_HANDLES, PreparedStatements, joined,
};

fn registry() -> (PreparedStatements, Arc<MemoryLedger>, Arc<ManualClock>) {
    let (memory, clock) = (MemoryLedger::new(1 << 30), Arc::new(ManualClock::at(0)));
    (PreparedStatements::new(clock.clone(), Arc::new(SystemRng), memory.clone()), memory, clock)
}

/// A connection that does not end.
fn here() -> Presence {
    Presence::default()
}

/// A statement with `n` parameters.
fn prepared(n: usize) -> Prepared {
    let fields: Vec<Field> = (1..=n).map(|i| Field::new(i.to_string(), DataType::Null, true)).collect();
    Prepared {
        dataset_schema: Arc::new(Schema::empty()),
        parameter_schema: Arc::new(Schema::new(fields)),
        is_update: false,
        runs_when_planned: false,
    }
}

fn values(rows: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
    RecordBatch::try_from_iter([("0", column)]).unwrap()
}

fn code<T>(result: tidewater_storage::Result<T>) -> Code {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.code(),
    }
}

#[test]
fn use_keeps_a_handle() {
    let (registry, _, clock) = registry();
    let ann = user("ann");
    let handle = registry.create("ann", "SELECT 1", prepared(0), &here()).unwrap();
    assert_eq!(handle.len(), 16);
    for _ in 0..3 {
        clock.advance(HANDLE_TTL - Duration::from_secs(1));
        assert_eq!(&*registry.get(&handle, &ann, &here()).unwrap().sql, "SELECT 1");
    }
    clock.advance(HANDLE_TTL);
    assert_eq!(code(registry.get(&handle, &ann, &here())), Code::HandleNotFound);
    registry.sweep();
    assert_eq!(registry.n_open(), 0);
}

#[test]
fn a_handle_outlives_its_connection_for_a_minute_only() {
    let (registry, memory, clock) = registry();
    let ann = user("ann");
    let (first, second) = (Peer::at(None), Peer::at(None));
    let handle = registry.create("ann", "SELECT 1", prepared(0), &first.presence()).expect("created");
    // A request over it has the connection's peer, too.
    let request = first.clone();
    drop(first);
    clock.advance(2 * ABANDONED_TTL);
    registry.sweep();
    registry.get(&handle, &ann, &request.presence()).expect("its connection is there");
    drop(request);
    registry.sweep();
    clock.advance(ABANDONED_TTL - Duration::from_millis(1));
    registry.sweep();
    // Its client has connected again.
    registry.get(&handle, &ann, &second.presence()).expect("it is kept for a while");
    clock.advance(HANDLE_TTL - Duration::from_millis(1));
    registry.bind(&handle, &ann, None, &second.presence()).expect("it is an hour again");
    drop(second);
    registry.sweep();
    assert_eq!(registry.n_open(), 1);
    clock.advance(ABANDONED_TTL);
    assert_eq!(code(registry.get(&handle, &ann, &here())), Code::HandleNotFound);
    registry.sweep();
    assert_eq!((registry.n_open(), memory.used(Share::Unassigned)), (0, 0));
}

#[test]
fn a_connection_that_ends_makes_no_handle_live_on() {
    let (registry, _, clock) = registry();
    let peer = Peer::at(None);
    registry.create("ann", "SELECT 1", prepared(0), &peer.presence()).expect("created");
    clock.advance(HANDLE_TTL - Duration::from_secs(1));
    drop(peer);
    registry.sweep();
    clock.advance(Duration::from_secs(1));
    registry.sweep();
    assert_eq!(registry.n_open(), 0);
}

#[test]
fn what_a_statement_answers_is_accounted() {
    let (registry, memory, _) = registry();
    let ann = user("ann");
    let fields: Vec<Field> = (0..1_000).map(|i| Field::new(format!("column_{i}"), DataType::Int64, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let wide = || Prepared { dataset_schema: Arc::clone(&schema), ..prepared(1) };
    let handle = registry.create("ann", "SELECT * FROM t", wide(), &here()).expect("created");
    let own = memory.used(Share::Unassigned);
    assert!(own > 50_000, "{own} bytes");
    registry.bind(&handle, &ann, Some(values(1)), &here()).expect("bound");
    assert!(memory.used(Share::Unassigned) > own);
    registry.bind(&handle, &ann, None, &here()).expect("bound");
    assert_eq!(memory.used(Share::Unassigned), own);
    let opened = (1..MAX_HANDLES).find(|_| registry.create("ann", "SELECT * FROM t", wide(), &here()).is_err());
    assert!(opened.is_some_and(|n| n < 10_000), "their schemas have a bound together");
}

#[test]
fn closing_twice_is_fine() {
    let (registry, memory, _) = registry();
    let handle = registry.create("ann", "SELECT 1", prepared(0), &here()).unwrap();
    assert_eq!(memory.used(Share::Unassigned), 8);
    assert_eq!(code(registry.close(&handle, &user("bob"))), Code::PermissionDenied);
    registry.close(&handle, &user("ann")).unwrap();
    registry.close(&handle, &user("ann")).unwrap();
    assert_eq!(code(registry.get(&handle, &user("ann"), &here())), Code::HandleNotFound);
    assert_eq!(memory.used(Share::Unassigned), 0);
}

#[test]
fn a_handle_has_an_owner() {
    let (registry, _, _) = registry();
    let handle = registry.create("ann", "SELECT 1", prepared(0), &here()).unwrap();
    assert_eq!(code(registry.get(&handle, &user("bob"), &here())), Code::PermissionDenied);
    assert_eq!(code(registry.bind(&handle, &user("bob"), None, &here())), Code::PermissionDenied);
}

/// <https://github.com/gizmodata/gizmosql/pull/185>
#[test]
fn handles_are_bounded_and_come_back() {
    let (registry, _, clock) = registry();
    for _ in 0..MAX_HANDLES {
        registry.create("ann", "SELECT 1", prepared(0), &here()).unwrap();
    }
    assert_eq!(code(registry.create("ann", "SELECT 1", prepared(0), &here())), Code::MemoryPressure);
    registry.create("bob", "SELECT 1", prepared(0), &here()).unwrap();
    clock.advance(HANDLE_TTL);
    registry.create("ann", "SELECT 1", prepared(0), &here()).unwrap();
    assert_eq!(registry.n_open(), 1);
}

#[test]
fn the_last_bind_wins_and_is_accounted() {
    let (registry, memory, _) = registry();
    let ann = user("ann");
    let handle = registry.create("ann", "SELECT $1", prepared(1), &here()).unwrap();
    assert_eq!(code(registry.get(&handle, &ann, &here()).unwrap().query_parameters()), Code::InvalidParameter);
    registry.bind(&handle, &ann, Some(values(100_000)), &here()).unwrap();
    assert!(memory.used(Share::Unassigned) >= 800_000);
    let Some(Parameters(bound)) = registry.get(&handle, &ann, &here()).unwrap().query_parameters().unwrap() else {
        panic!()
    };
    assert_eq!(bound.num_rows(), 100_000);
    registry.bind(&handle, &ann, Some(values(1)), &here()).unwrap();
    assert!(memory.used(Share::Unassigned) < 10_000);
    let Some(Parameters(bound)) = registry.get(&handle, &ann, &here()).unwrap().query_parameters().unwrap() else {
        panic!()
    };
    assert_eq!(bound, values(1));
    registry.bind(&handle, &ann, None, &here()).unwrap();
    assert_eq!(code(registry.get(&handle, &ann, &here()).unwrap().query_parameters()), Code::InvalidParameter);
}

/// Most clients prepare whatever they ask: without memory for that they can ask nothing.
#[test]
fn one_user_leaves_memory_to_the_others() {
    let (registry, _, _) = registry();
    let large = values(7 << 20);
    let bind = |owner: &str| {
        let handle = registry.create(owner, "SELECT $1", prepared(1), &here()).unwrap();
        registry.bind(&handle, &user(owner), Some(large.clone()), &here())
    };
    for _ in 0..3 {
        bind("ann").unwrap();
    }
    assert_eq!(code(bind("ann")), Code::MemoryPressure);
    bind("bob").unwrap();
}

#[test]
fn parameters_on_their_way_have_a_bound_together() {
    let (registry, memory, _) = registry();
    let (mut one, mut other) = (registry.arriving(), registry.arriving());
    one.grow(MAX_BOUND_BYTES as u64).unwrap();
    assert_eq!(code(one.grow(1)), Code::StatementRowsTooLarge);
    assert_eq!(code(other.grow(1 << 20)), Code::MemoryPressure);
    // Few values are always taken.
    other.grow(1024).unwrap();
    assert_eq!(memory.used(Share::Unassigned), MAX_BOUND_BYTES as u64 + 1024);
    one.shrink(2 << 20);
    other.grow(1 << 20).unwrap();
    drop((one, other));
    assert_eq!(memory.used(Share::Unassigned), 0);
}

#[test]
fn parameters_are_counted() {
    let (registry, _, _) = registry();
    let ann = user("ann");
    let statement = |n: usize| {
        let handle = registry.create("ann", "x", prepared(n), &here()).unwrap();
        registry.get(&handle, &ann, &here()).unwrap()
    };
    let error = |n: usize, given: Option<&RecordBatch>| match statement(n).parameters(given) {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    };
    assert!(error(2, Some(&values(1))).contains("expected 2 parameters, got 1"));
    assert!(error(1, None).contains("expected 1 parameters, got 0"));
    assert!(error(1, Some(&values(0))).contains("expected 1 parameters, got 0"));
    assert!(error(0, Some(&values(1))).contains("expected 0 parameters, got 1"));
    assert!(statement(0).parameters(Some(&values(0))).unwrap().is_none());
    assert!(statement(0).parameters(None).unwrap().is_none());
    assert_eq!(statement(1).parameters(Some(&values(5))).unwrap().unwrap().0.num_rows(), 5);
}

#[test]
fn rows_of_parameters_are_joined_and_spelled_out() {
    assert!(joined(vec![]).unwrap().is_none());
    assert!(joined(vec![RecordBatch::new_empty(Arc::new(Schema::empty()))]).unwrap().is_none());
    assert_eq!(joined(vec![values(2), values(3)]).unwrap().unwrap().num_rows(), 5);
    let words: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("0", Arc::new(words) as ArrayRef)]).unwrap();
    let plain = joined(vec![batch]).unwrap().unwrap();
    assert_eq!(plain.column(0).data_type(), &DataType::Utf8);
}

/// Rows of a union of BIGINT, VARCHAR and NULL: the number of each row's type, and its place there.
fn union(types: Vec<i8>, offsets: Option<Vec<i32>>) -> RecordBatch {
    let fields = [DataType::Int64, DataType::Utf8, DataType::Null].into_iter().enumerate();
    let fields = fields.map(|(i, data_type)| Field::new(i.to_string(), data_type, true));
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec!["a", "b", "c"])),
        Arc::new(NullArray::new(3)),
    ];
    let fields = UnionFields::try_new([0, 1, 2], fields).unwrap();
    let union = UnionArray::try_new(fields, types.into(), offsets.map(Into::into), children).unwrap();
    RecordBatch::try_from_iter([("0", Arc::new(union) as ArrayRef)]).unwrap()
}

#[test]
fn unions_of_one_type_are_its_values() {
    let plain = |types, offsets| joined(vec![union(types, offsets)]).map(|rows| rows.unwrap().column(0).clone());
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(1)]));
    assert_eq!(&plain(vec![0, 2, 0], Some(vec![2, 0, 0])).unwrap(), &numbers);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    assert_eq!(&plain(vec![1, 1, 1], None).unwrap(), &texts);
    assert_eq!(plain(vec![2], Some(vec![0])).unwrap().data_type(), &DataType::Null);
    let error = plain(vec![0, 1], Some(vec![0, 0])).unwrap_err();
    assert!(error.message().starts_with("parameter 1: its values have different types"), "{error}");
}
