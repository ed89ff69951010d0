//! When did the rows of a file come? `_ingested_at` is in no file: it is looked up by `_commit_seq` in what each file says of its entries.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use parking_lot::RwLock;
use tidewater_storage::Error;

use crate::error::to_datafusion;
use crate::provider::realtime::INGESTED_AT;

/// A place in the map, with what the map needs beside it.
const BYTES_A_STAMP: usize = 2 * size_of::<(i64, i64)>();

/// The stamps of the entries of all files that a scan has opened. A file's are added before its first row is read.
#[derive(Debug, Default)]
pub(super) struct Stamps(RwLock<HashMap<i64, i64>>);

impl Stamps {
    /// Adds pairs of an entry and its stamp, in microseconds.
    pub fn add(&self, stamps: Vec<(i64, i64)>) {
        self.0.write().extend(stamps);
    }

    pub fn bytes(&self) -> usize {
        self.0.read().capacity() * BYTES_A_STAMP
    }

    fn of(&self, seqs: &Int64Array) -> Result<TimestampMicrosecondArray> {
        let known = self.0.read();
        // Neighbours mostly come from one entry, so that most rows need no search.
        let mut last = None;
        let mut stamps = Vec::with_capacity(seqs.len());
        for &seq in seqs.values() {
            let stamp = match last {
                Some((of, stamp)) if of == seq => stamp,
                _ => match known.get(&seq) {
                    Some(&stamp) => stamp,
                    None => return Err(to_datafusion(Error::internal(format!("no file says when entry {seq} came")))),
                },
            };
            last = Some((seq, stamp));
            stamps.push(stamp);
        }
        Ok(TimestampMicrosecondArray::from(stamps).with_timezone("UTC"))
    }
}

/// `_ingested_at` as it is made from `commit_seq`.
pub(super) fn ingested_at(
    stamps: &Arc<Stamps>,
    commit_seq: Arc<dyn PhysicalExpr>,
    config: &Arc<ConfigOptions>,
) -> Arc<dyn PhysicalExpr> {
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Stable);
    let function = ScalarUDF::new_from_impl(IngestedAt { stamps: Arc::clone(stamps), signature });
    let field = Arc::new(Field::new(INGESTED_AT, instant(), false));
    Arc::new(ScalarFunctionExpr::new(NAME, Arc::new(function), vec![commit_seq], field, Arc::clone(config)))
}

const NAME: &str = "ingested_at";

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[derive(Debug)]
struct IngestedAt {
    stamps: Arc<Stamps>,
    signature: Signature,
}

impl PartialEq for IngestedAt {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stamps, &other.stamps)
    }
}

impl Eq for IngestedAt {}

impl Hash for IngestedAt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.stamps).hash(state);
    }
}

impl ScalarUDFImpl for IngestedAt {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(instant())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let args = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(seqs) = args.first().and_then(|seqs| seqs.as_primitive_opt::<Int64Type>()) else {
            return internal_err!("{NAME} is asked for something else than _commit_seq");
        };
        Ok(ColumnarValue::Array(Arc::new(self.stamps.of(seqs)?) as ArrayRef))
    }
}
