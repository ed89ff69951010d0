//! Do handles live as long as they are used, and are parameters checked?

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use tidewater_query::{Parameters, Prepared};
use tidewater_storage::Code;
use tidewater_storage::env::{ManualClock, SystemRng};
use tidewater_storage::memory::{MemoryLedger, Share};

use super::user;
use crate::flight_sql::prepared::{HANDLE_TTL, MAX_BOUND_BYTES, MAX_HANDLES, PreparedStatements, joined};

fn registry() -> (PreparedStatements, Arc<MemoryLedger>, Arc<ManualClock>) {
    let (memory, clock) = (MemoryLedger::new(1 << 30), Arc::new(ManualClock::at(0)));
    (PreparedStatements::new(clock.clone(), Arc::new(SystemRng), memory.clone()), memory, clock)
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
    let handle = registry.create("ann", "SELECT 1", prepared(0)).unwrap();
    assert_eq!(handle.len(), 16);
    for _ in 0..3 {
        clock.advance(HANDLE_TTL - Duration::from_secs(1));
        assert_eq!(&*registry.get(&handle, &ann).unwrap().sql, "SELECT 1");
    }
    clock.advance(HANDLE_TTL);
    assert_eq!(code(registry.get(&handle, &ann)), Code::HandleNotFound);
    registry.sweep();
    assert_eq!(registry.len(), 0);
}

#[test]
fn closing_twice_is_fine() {
    let (registry, memory, _) = registry();
    let handle = registry.create("ann", "SELECT 1", prepared(0)).unwrap();
    assert_eq!(memory.used(Share::Unassigned), 8);
    assert_eq!(code(registry.close(&handle, &user("bob"))), Code::PermissionDenied);
    registry.close(&handle, &user("ann")).unwrap();
    registry.close(&handle, &user("ann")).unwrap();
    assert_eq!(code(registry.get(&handle, &user("ann"))), Code::HandleNotFound);
    assert_eq!(memory.used(Share::Unassigned), 0);
}

#[test]
fn a_handle_has_an_owner() {
    let (registry, _, _) = registry();
    let handle = registry.create("ann", "SELECT 1", prepared(0)).unwrap();
    assert_eq!(code(registry.get(&handle, &user("bob"))), Code::PermissionDenied);
    assert_eq!(code(registry.bind(&handle, &user("bob"), None)), Code::PermissionDenied);
}

#[test]
fn handles_are_bounded_and_come_back() {
    let (registry, _, clock) = registry();
    for _ in 0..MAX_HANDLES {
        registry.create("ann", "SELECT 1", prepared(0)).unwrap();
    }
    assert_eq!(code(registry.create("ann", "SELECT 1", prepared(0))), Code::MemoryPressure);
    registry.create("bob", "SELECT 1", prepared(0)).unwrap();
    clock.advance(HANDLE_TTL);
    registry.create("ann", "SELECT 1", prepared(0)).unwrap();
    assert_eq!(registry.len(), 1);
}

#[test]
fn the_last_bind_wins_and_is_accounted() {
    let (registry, memory, _) = registry();
    let ann = user("ann");
    let handle = registry.create("ann", "SELECT $1", prepared(1)).unwrap();
    assert_eq!(code(registry.get(&handle, &ann).unwrap().query_parameters()), Code::InvalidParameter);
    registry.bind(&handle, &ann, Some(values(100_000))).unwrap();
    assert!(memory.used(Share::Unassigned) >= 800_000);
    assert_eq!(code(registry.get(&handle, &ann).unwrap().query_parameters()), Code::InvalidRequest);
    registry.bind(&handle, &ann, Some(values(1))).unwrap();
    assert!(memory.used(Share::Unassigned) < 10_000);
    let Some(Parameters(bound)) = registry.get(&handle, &ann).unwrap().query_parameters().unwrap() else { panic!() };
    assert_eq!(bound, values(1));
    registry.bind(&handle, &ann, None).unwrap();
    assert_eq!(code(registry.get(&handle, &ann).unwrap().query_parameters()), Code::InvalidParameter);
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
        let handle = registry.create("ann", "x", prepared(n)).unwrap();
        registry.get(&handle, &ann).unwrap()
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
