//! Is every batch of the type that was announced for it?

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Decimal256Array, DictionaryArray, FixedSizeListArray, Float16Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, ListViewArray, MapBuilder,
    RecordBatch, RunArray, StringArray, StringBuilder, StringViewArray, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::array::{Int64Builder, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Field, Fields, Float16Type, Int16Type, Int32Type, Schema, TimeUnit, i256,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{to_wire, wire_schema};

fn text(array: &dyn Array) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array, &options).expect("a printable type");
    (0..array.len()).map(|i| formatter.value(i).to_string()).collect()
}

/// The column as it is sent: its type, and that its values print as before.
fn sent(array: ArrayRef) -> DataType {
    let field = Field::new("c", array.data_type().clone(), array.is_nullable());
    let metadata = [("k".to_string(), "v".to_string())].into();
    let schema = Arc::new(Schema::new_with_metadata(vec![field], metadata));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(&array)]).expect("a batch");
    let announced = wire_schema(&batch.schema());
    assert!(announced.metadata().is_empty());
    assert!(announced.field(0).is_nullable());
    let out = to_wire(batch, &announced).expect("a batch that can be sent");
    assert_eq!(out.schema(), announced);
    assert_eq!(out.column(0).data_type(), announced.field(0).data_type());
    assert_eq!(text(out.column(0)).len(), array.len());
    out.column(0).data_type().clone()
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

#[test]
fn views_and_large_variants_become_plain() {
    assert_eq!(sent(Arc::new(StringViewArray::from(vec![Some("a"), None]))), DataType::Utf8);
    assert_eq!(sent(Arc::new(LargeStringArray::from(vec![Some("a"), None]))), DataType::Utf8);
    assert_eq!(sent(Arc::new(BinaryViewArray::from(vec![b"a".as_slice()]))), DataType::Binary);
    assert_eq!(sent(Arc::new(LargeBinaryArray::from(vec![b"a".as_slice()]))), DataType::Binary);
    let list = LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    assert_eq!(sent(Arc::new(list)), DataType::List(item(DataType::Int32)));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
    let large = LargeListArray::new(
        Arc::new(Field::new("x", DataType::Utf8View, false)),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        views,
        None,
    );
    assert_eq!(sent(Arc::new(large)), DataType::List(Arc::new(Field::new("x", DataType::Utf8, true))));
    let list_view = ListViewArray::from(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]));
    assert_eq!(sent(Arc::new(list_view)), DataType::List(item(DataType::Int32)));
}

#[test]
fn dictionaries_and_runs_become_their_values() {
    let dictionary: DictionaryArray<Int16Type> = [Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(sent(Arc::new(dictionary)), DataType::Utf8);
    let over_views =
        DictionaryArray::<Int16Type>::new(vec![0i16, 0].into(), Arc::new(StringViewArray::from(vec!["v"])));
    assert_eq!(sent(Arc::new(over_views)), DataType::Utf8);
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3]), &StringArray::from(vec!["a", "b"]))
        .expect("runs");
    assert_eq!(sent(Arc::new(runs)), DataType::Utf8);
}

#[test]
fn numbers_that_clients_lack_are_widened() {
    let halves = Float16Array::from(vec![<Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::default(); 2]);
    assert_eq!(sent(Arc::new(halves)), DataType::Float32);
    let small = PrimitiveArray::<Decimal32Type>::from(vec![123]).with_precision_and_scale(5, 2).expect("fits");
    assert_eq!(sent(Arc::new(small)), DataType::Decimal128(5, 2));
    let large = |precision| {
        Decimal256Array::from(vec![i256::from_i128(5)]).with_precision_and_scale(precision, 0).expect("fits")
    };
    assert_eq!(sent(Arc::new(large(38))), DataType::Decimal128(38, 0));
    assert_eq!(sent(Arc::new(large(60))), DataType::Decimal256(60, 0));
    assert_eq!(sent(Arc::new(UInt64Array::from(vec![u64::MAX]))), DataType::UInt64);
}

#[test]
fn instants_are_labelled_utc_and_keep_their_value() {
    let berlin = TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("Europe/Berlin");
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(sent(Arc::new(berlin.clone())), utc);
    let schema = Arc::new(Schema::new(vec![Field::new("t", berlin.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(berlin)]).expect("a batch");
    let out = to_wire(batch, &wire_schema(&schema)).expect("sent");
    assert_eq!(out.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values(), &[0, 1]);
    let plain = TimestampNanosecondArray::from(vec![1]);
    assert_eq!(sent(Arc::new(plain)), DataType::Timestamp(TimeUnit::Nanosecond, None));
}

#[test]
fn nested_types_are_changed_inside() {
    let fields: Fields =
        vec![Field::new("s", DataType::Utf8View, false), Field::new("n", DataType::Int64, false)].into();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from(vec!["a"])), Arc::new(Int64Array::from(vec![1]))];
    let structure = StructArray::new(fields, columns, None);
    let wire: Fields = vec![Field::new("s", DataType::Utf8, true), Field::new("n", DataType::Int64, true)].into();
    assert_eq!(sent(Arc::new(structure)), DataType::Struct(wire));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
    let fixed = FixedSizeListArray::new(Arc::new(Field::new("x", DataType::Utf8View, false)), 2, views, None);
    assert_eq!(sent(Arc::new(fixed)), DataType::FixedSizeList(Arc::new(Field::new("x", DataType::Utf8, true)), 2));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).expect("a map");
    let DataType::Map(entries, false) = sent(Arc::new(map.finish())) else { panic!("no map") };
    assert!(!entries.is_nullable());
    let DataType::Struct(entry) = entries.data_type() else { panic!("no entries") };
    assert!(!entry[0].is_nullable() && entry[1].is_nullable());
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(7));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).expect("a batch");
    assert_eq!(to_wire(batch, &Arc::new(Schema::empty())).expect("sent").num_rows(), 7);
}
