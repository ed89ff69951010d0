//! Do batches show the memory that they have, and only that? Scans, slices of columns of every shape, fields of NULL structs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Int64Type};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;

use super::support::fixture;
use crate::provider::realtime::without_leftovers;
use crate::provider::trim::{detached, trimmed};

/// What an operator counts for one batch: its buffers by their capacity.
fn counted(batch: &RecordBatch) -> usize {
    RecordBatchMemoryCounter::new().count_batch(batch)
}

#[tokio::test]
async fn batches_of_a_scan_count_as_their_rows() {
    let fixture = fixture(1, 1, false);
    let theirs = fixture.run("SELECT * FROM m").await;
    let all: usize = theirs.iter().map(counted).sum();
    for sql in ["SELECT * FROM t", "SELECT * FROM t WHERE id >= 0", "SELECT * FROM t WHERE loc < 25"] {
        let batches = fixture.run(sql).await;
        let n_rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert!(batches.len() > 5, "{sql}: {} batches", batches.len());
        let sum: usize = batches.iter().map(counted).sum();
        // Counted by what they are slices of, every zone of a run would count as the run.
        let own = all * n_rows / fixture.n_rows;
        assert!(sum < 2 * own + 100_000, "{sql}: {sum} bytes for {own}");
    }
}

/// A column of every shape, a quarter of it NULL.
fn all_shapes(n: usize) -> RecordBatch {
    let nulls = || Some(NullBuffer::from_iter((0..n).map(|i| i % 4 != 1)));
    let numbers = || (0..n as i64).map(|i| (i % 4 != 1).then_some(i)).collect::<Int64Array>();
    let texts = |n: usize| (0..n).map(|i| (i % 5 != 2).then(|| format!("text {i}"))).collect::<StringArray>();
    let flags = (0..n).map(|i| (i % 4 != 1).then_some(i % 3 == 0)).collect::<BooleanArray>();
    let bytes = (0..n).map(|i| (i % 4 != 1).then(|| i.to_be_bytes().to_vec())).collect::<BinaryArray>();
    let decimals = Decimal128Array::from_iter_values((0..n).map(|i| i as i128 * 1_000_003));
    let lengths: Vec<usize> = (0..n).map(|i| i % 3).collect();
    let item = Arc::new(Field::new("item", texts(0).data_type().clone(), true));
    let lists = |nulls| {
        let values = Arc::new(texts(lengths.iter().sum()));
        ListArray::new(Arc::clone(&item), OffsetBuffer::from_lengths(lengths.iter().copied()), values, nulls)
    };
    let inner = lists(None);
    let fields = vec![
        Field::new("a", numbers().data_type().clone(), true),
        Field::new("b", flags.data_type().clone(), true),
        Field::new("c", inner.data_type().clone(), true),
    ];
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers()), Arc::new(flags.clone()), Arc::new(inner)];
    let structs = StructArray::new(fields.into(), columns, nulls());
    let columns: [(&str, ArrayRef); 7] = [
        ("numbers", Arc::new(numbers())),
        ("flags", Arc::new(flags)),
        ("texts", Arc::new(texts(n))),
        ("bytes", Arc::new(bytes)),
        ("decimals", Arc::new(decimals)),
        ("lists", Arc::new(lists(nulls()))),
        ("structs", Arc::new(structs)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("one length")
}

#[test]
fn a_slice_counts_as_itself() {
    let n_whole = 20_000;
    let whole = all_shapes(n_whole);
    for (start, n) in [(0, 8_192), (8_192, 8_192), (13, 999), (19_990, 10), (5, 1), (7, 0)] {
        let slice = whole.slice(start, n);
        assert!(counted(&slice) > counted(&whole) / 2);
        for (what, made) in [("trimmed", trimmed(&slice)), ("detached", detached(&slice))] {
            let made = made.expect("the same columns");
            assert!(made == slice, "{what} {start}..+{n}: other rows");
            // Rounded up to the allocator's units, buffer by buffer.
            let most = 2 * counted(&whole) * n / n_whole + 4_096;
            let bytes = counted(&made);
            assert!(bytes < most, "{what} {start}..+{n}: {bytes} bytes, at most {most}");
        }
    }
    // What is nearly the whole is passed on as it is.
    assert!(trimmed(&whole).expect("the same columns") == whole);
}

fn struct_of(name: &str, column: ArrayRef, valid: [bool; 4]) -> ArrayRef {
    let field = Field::new(name, column.data_type().clone(), true);
    Arc::new(StructArray::new(vec![field].into(), vec![column], Some(NullBuffer::from(valid.to_vec()))))
}

fn innermost(structs: &ArrayRef) -> Int64Array {
    structs.as_struct().column(0).as_struct().column(0).as_primitive::<Int64Type>().clone()
}

#[test]
fn fields_of_null_structs_are_null() {
    let inner = struct_of("a", Arc::new(Int64Array::from(vec![1, 2, 3, 4])), [true, false, true, true]);
    let outer = struct_of("inner", inner, [true, true, false, true]);
    let made = without_leftovers(Arc::clone(&outer)).expect("the same type");
    assert_eq!(&made, &outer);
    assert_eq!(innermost(&made), Int64Array::from(vec![Some(1), None, None, Some(4)]));

    let item = Arc::new(Field::new("item", outer.data_type().clone(), true));
    let lists: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 0, 2, 1]), outer, None));
    let slice = lists.slice(2, 2);
    let made = without_leftovers(Arc::clone(&slice)).expect("the same type");
    assert_eq!(&made, &slice);
    assert_eq!(innermost(made.as_list::<i32>().values()), Int64Array::from(vec![None, None, Some(4)]));
}
