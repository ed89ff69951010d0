//! Does admission hold what it promises?

mod casts;
mod flow;
mod json;
mod ledger;
mod oracle;
mod pairs;
mod rejected;
mod times;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{AdmissionRules, Admitted, IncomingRows, admit};
use crate::catalog::TableDef;
use crate::error::Result;

/// 2023-11-14 22:13:20 UTC.
pub(super) const NOW_US: i64 = 1_700_000_000_000_000;

fn rules() -> AdmissionRules {
    AdmissionRules { now_us: NOW_US, ..AdmissionRules::default() }
}

/// A table whose columns are all nullable but for names that end in `!`; no key, no time column.
fn table(columns: &[(&str, DataType)]) -> TableDef {
    crate::catalog::tests::defined(columns, &[], &[("time_column", "none")])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn admit_batch(def: &TableDef, columns: Vec<(&str, ArrayRef)>, rules: &AdmissionRules) -> Result<Admitted> {
    let admitted = admit(def, IncomingRows::from(batch(columns)), rules)?;
    assert_eq!(admitted.received, admitted.rows.num_rows() as u64 + admitted.n_rejected);
    assert_eq!(admitted.rows.schema(), def.arrow_schema);
    assert!(admitted.rejected.is_sorted_by_key(|row| row.row));
    Ok(admitted)
}

/// The values of a column as text, NULL as `NULL`.
fn texts(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

/// Rejected rows as `row CODE`.
fn rejections(admitted: &Admitted) -> Vec<String> {
    admitted.rejected.iter().map(|row| format!("{} {}", row.row, row.code.as_str())).collect()
}
