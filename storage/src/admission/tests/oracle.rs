//! Does admission agree with a row by row oracle, on any batch?

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType as T, Decimal128Type, Int16Type, Int32Type, TimestampMicrosecondType};
use proptest::option::of;
use proptest::prelude::*;

use super::{AdmissionRules, NOW_US, admit_batch, rules};
use crate::admission::OnError;
use crate::catalog::tests::{defined, plain};

/// What a row is sent as: BIGINT, TIMESTAMP in ns, text, DOUBLE.
type Given = (Option<i64>, Option<i64>, Option<String>, Option<f64>);
/// What it is stored as: key SMALLINT, time in µs, DECIMAL(6,2) in hundredths, INTEGER.
type Stored = (i16, i64, Option<i128>, Option<i32>);

const MAX_FUTURE_US: i64 = 3_600_000_000;
const MAX_LATENESS_US: i64 = 86_400_000_000;

/// The rules in their plainest form.
fn oracle((key, time, text, float): &Given) -> Option<Stored> {
    let key = i16::try_from((*key)?).ok()?;
    let time = (*time)?.div_euclid(1000);
    if !(NOW_US - MAX_LATENESS_US..=NOW_US + MAX_FUTURE_US).contains(&time) {
        return None;
    }
    let hundredths = match text {
        None => None,
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let negative = whole.starts_with('-');
            let whole: i128 = whole.trim_start_matches('-').parse().ok()?;
            let fraction = fraction.trim_end_matches('0');
            if fraction.len() > 2 || whole > 9999 {
                return None;
            }
            let value = whole * 100 + format!("{fraction:0<2}").parse::<i128>().ok()?;
            Some(if negative { -value } else { value })
        }
    };
    let int = match float {
        None => None,
        Some(float) => {
            let fits = float.fract() == 0.0 && (-2_147_483_648.0..=2_147_483_647.0).contains(float);
            Some(fits.then_some(*float as i32)?)
        }
    };
    Some((key, time, hundredths, int))
}

fn row() -> impl Strategy<Value = Given> {
    let key = of(prop_oneof![4 => -100i64..100, 1 => any::<i64>()]);
    let near = (-2 * MAX_LATENESS_US..2 * MAX_FUTURE_US).prop_map(|us| (NOW_US + us) * 1000 + us % 1000);
    let time = of(prop_oneof![8 => near, 1 => any::<i64>()]);
    let text = of(prop_oneof![4 => "-?[0-9]{1,5}(\\.[0-9]{1,3}0{0,2})?", 1 => "[a-z]{0,3}"]);
    let float = of(prop_oneof![3 => (-100i32..100).prop_map(f64::from), 1 => any::<f64>(), 1 => -9.0..9.0]);
    (key, time, text, float)
}

proptest! {
    #[test]
    fn admission_agrees_with_the_oracle(given in proptest::collection::vec(row(), 0..80), from in 0..10usize) {
        let def = defined(
            &[("k", T::Int16), ("t", plain()), ("d", T::Decimal128(6, 2)), ("i", T::Int32)],
            &["k"],
            &[("time_column", "t"), ("max_lateness", "1 day")],
        );
        // The rows are a slice of larger arrays.
        let from = from.min(given.len());
        let slice = |array: ArrayRef| array.slice(from, given.len() - from);
        let columns = || vec![
            ("k", slice(Arc::new(given.iter().map(|row| row.0).collect::<Int64Array>()))),
            ("t", slice(Arc::new(given.iter().map(|row| row.1).collect::<TimestampNanosecondArray>()))),
            ("d", slice(Arc::new(given.iter().map(|row| row.2.clone()).collect::<StringArray>()))),
            ("i", slice(Arc::new(given.iter().map(|row| row.3).collect::<Float64Array>()))),
        ];
        let given = &given[from..];
        let expected: Vec<Stored> = given.iter().filter_map(oracle).collect();
        let refused: Vec<u64> = (0..given.len()).filter(|&i| oracle(&given[i]).is_none()).map(|i| i as u64).collect();

        let admitted = admit_batch(&def, columns(), &rules()).unwrap();
        prop_assert_eq!(admitted.received, given.len() as u64);
        prop_assert_eq!(admitted.rejected.iter().map(|row| row.row).collect::<Vec<_>>(), refused.clone());
        let rows = &admitted.rows;
        let (k, t) = (rows.column(0).as_primitive::<Int16Type>(), rows.column(1).as_primitive::<TimestampMicrosecondType>());
        let (d, i) = (rows.column(2).as_primitive::<Decimal128Type>(), rows.column(3).as_primitive::<Int32Type>());
        let stored: Vec<Stored> = (0..rows.num_rows())
            .map(|row| (k.value(row), t.value(row), d.is_valid(row).then(|| d.value(row)), i.is_valid(row).then(|| i.value(row))))
            .collect();
        prop_assert_eq!(admitted.max_event_time_us, stored.iter().map(|row| row.1).max());
        prop_assert_eq!(stored, expected);

        let abort = AdmissionRules { on_error: OnError::Abort, ..rules() };
        prop_assert_eq!(admit_batch(&def, columns(), &abort).is_err(), !refused.is_empty());
    }
}
