//! What came back, and what did it take? Answers as texts, so that those of three engines can be compared, and figures of a round.

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

/// Numbers in decimal, times as microseconds since 1970, NULL as `NULL`.
pub type Rows = Vec<Vec<String>>;

/// One round of one engine.
pub struct Ran {
    /// Of each call, from the statement to its last row.
    pub latencies_ms: Vec<f64>,
    /// Of the process that answered, all calls together.
    pub cpu_ms: f64,
    /// Of each call.
    pub answers: Vec<Rows>,
}

impl Ran {
    pub fn of(latencies_ms: Vec<f64>, cpu_ms: f64, answers: &[Vec<RecordBatch>]) -> Result<Self> {
        let answers = answers.iter().map(|batches| rows(batches)).collect::<Result<_>>()?;
        Ok(Self { latencies_ms, cpu_ms, answers })
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Rows> {
    let mut rows = Rows::new();
    for batch in batches {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(texts).collect::<Result<_>>()?;
        let text = |column: &ArrayRef, row: usize| match column.is_valid(row) {
            true => column.as_string::<i32>().value(row).to_owned(),
            false => "NULL".to_owned(),
        };
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect::<Vec<_>>()),
        );
    }
    Ok(rows)
}

fn texts(column: &ArrayRef) -> Result<ArrayRef> {
    let as_text = |column: &ArrayRef| cast(column, &DataType::Utf8);
    Ok(match column.data_type() {
        DataType::Timestamp(_, zone) => {
            let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            as_text(&cast(&micros, &DataType::Int64)?)?
        }
        _ => as_text(column)?,
    })
}
