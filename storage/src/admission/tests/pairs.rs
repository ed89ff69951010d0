//! Does every pair of types have an answer, also for the values at the ends of their ranges?

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as T, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationSecondType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTimeType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::{AdmissionRules, admit_batch, rules, table};
use crate::catalog::canonical_type;
use crate::catalog::tests::{instant, plain};
use crate::error::Code;

/// NULL, the smallest value, one like zero, the largest value.
fn ends<P: ArrowPrimitiveType>(data_type: T) -> ArrayRef {
    use arrow::datatypes::ArrowNativeTypeOp as Op;
    let values = [None, Some(P::Native::MIN_TOTAL_ORDER), Some(P::Native::ZERO), Some(P::Native::MAX_TOTAL_ORDER)];
    Arc::new(PrimitiveArray::<P>::from_iter(values).with_data_type(data_type))
}

fn scalars() -> Vec<ArrayRef> {
    let mut all = vec![
        ends::<Int8Type>(T::Int8),
        ends::<Int16Type>(T::Int16),
        ends::<Int32Type>(T::Int32),
        ends::<Int64Type>(T::Int64),
        ends::<UInt8Type>(T::UInt8),
        ends::<UInt16Type>(T::UInt16),
        ends::<UInt32Type>(T::UInt32),
        ends::<UInt64Type>(T::UInt64),
        ends::<Float16Type>(T::Float16),
        ends::<Float32Type>(T::Float32),
        ends::<Float64Type>(T::Float64),
        ends::<Decimal32Type>(T::Decimal32(9, 3)),
        ends::<Decimal64Type>(T::Decimal64(18, 9)),
        ends::<Decimal128Type>(T::Decimal128(38, 10)),
        ends::<Decimal128Type>(T::Decimal128(5, -3)),
        ends::<Decimal256Type>(T::Decimal256(76, 38)),
        ends::<Date32Type>(T::Date32),
        ends::<Date64Type>(T::Date64),
        ends::<Time32SecondType>(T::Time32(TimeUnit::Second)),
        ends::<Time32MillisecondType>(T::Time32(TimeUnit::Millisecond)),
        ends::<Time64MicrosecondType>(T::Time64(TimeUnit::Microsecond)),
        ends::<Time64NanosecondType>(T::Time64(TimeUnit::Nanosecond)),
        ends::<DurationSecondType>(T::Duration(TimeUnit::Second)),
        ends::<IntervalDayTimeType>(T::Interval(arrow::datatypes::IntervalUnit::DayTime)),
        Arc::new(BooleanArray::from(vec![None, Some(true), Some(false), Some(true)])),
        Arc::new(NullArray::new(4)),
        Arc::new(BinaryArray::from(vec![None, Some(&b"\xff"[..]), Some(b""), Some(b"1")])),
        Arc::new(StringArray::from(vec![None, Some("1"), Some("2024-01-01"), Some("NaN")])),
    ];
    for zone in [None, Some(Arc::from("America/New_York"))] {
        all.push(ends::<TimestampSecondType>(T::Timestamp(TimeUnit::Second, zone.clone())));
        all.push(ends::<TimestampMillisecondType>(T::Timestamp(TimeUnit::Millisecond, zone.clone())));
        all.push(ends::<TimestampMicrosecondType>(T::Timestamp(TimeUnit::Microsecond, zone.clone())));
        all.push(ends::<TimestampNanosecondType>(T::Timestamp(TimeUnit::Nanosecond, zone)));
    }
    all
}

/// Scalars, and each of them in a dictionary, a list, a struct, where Arrow makes one.
fn sources() -> Vec<ArrayRef> {
    let mut all = Vec::new();
    for scalar in scalars() {
        let data_type = scalar.data_type().clone();
        let wrapped =
            [T::Dictionary(Box::new(T::Int8), Box::new(data_type.clone())), T::Utf8View, T::LargeUtf8, T::BinaryView];
        all.extend(wrapped.iter().filter_map(|to| cast(&scalar, to).ok()));
        let item = Arc::new(Field::new("element", data_type.clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::<i64>::from_lengths([2, 0, 1, 1]);
        all.push(Arc::new(LargeListArray::new(item, offsets, scalar.clone(), None)));
        let fields = vec![Field::new("F", data_type, true)];
        let nulls = Some(vec![true, false, true, true].into());
        all.push(Arc::new(StructArray::new(fields.into(), vec![scalar.clone()], nulls)));
        all.push(scalar);
    }
    all
}

fn targets() -> Vec<T> {
    let list = |item: T| T::List(Field::new_list_field(item, true).into());
    let structure = |field: T| T::Struct(vec![Field::new("f", field, true)].into());
    let scalars = [
        T::Boolean,
        T::Int8,
        T::Int64,
        T::UInt16,
        T::UInt64,
        T::Float32,
        T::Float64,
        T::Decimal128(4, 2),
        T::Decimal128(38, 38),
        T::Decimal128(38, 0),
        T::Utf8,
        T::Binary,
        T::Date32,
        T::Time64(TimeUnit::Microsecond),
        plain(),
        instant(),
    ];
    let nested = [T::Int8, T::Utf8, T::Decimal128(4, 2), plain(), instant()];
    let lists = nested.clone().map(list);
    scalars.into_iter().chain(lists).chain(nested.map(structure)).collect()
}

#[test]
fn every_pair_of_types_has_an_answer() {
    for source in sources() {
        for target in targets() {
            for zone in [None, Some("Australia/Lord_Howe".to_owned())] {
                let def = table(&[("x", target.clone())]);
                let rules = AdmissionRules { time_zone: zone, ..rules() };
                let admitted = match admit_batch(&def, vec![("x", source.clone())], &rules) {
                    Ok(admitted) => admitted,
                    Err(error) => {
                        assert_eq!(error.code(), Code::SchemaMismatch, "{} as {target}: {error}", source.data_type());
                        continue;
                    }
                };
                admitted.rows.column(0).to_data().validate_full().unwrap();
                // What was admitted once is admitted again as it is.
                let again = admit_batch(&def, vec![("x", admitted.rows.column(0).clone())], &rules).unwrap();
                assert!(again.rejected.is_empty(), "{} as {target}: {:?}", source.data_type(), again.rejected);
                assert_eq!(again.rows, admitted.rows);
            }
        }
    }
}

#[test]
fn a_type_takes_its_own_values() {
    for source in sources() {
        let Ok(target) = canonical_type(source.data_type()) else { continue };
        let def = table(&[("x", target.clone())]);
        let admitted = admit_batch(&def, vec![("x", source.clone())], &rules()).unwrap();
        assert_ne!(admitted.rows.num_rows(), 0, "{} as {target}: {:?}", source.data_type(), admitted.rejected);
    }
}
