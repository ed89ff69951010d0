//! Is every batch of the type that was announced for it?

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Decimal256Array, DictionaryArray, FixedSizeListArray, Float16Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, ListViewArray, MapBuilder,
    RecordBatch, RunArray, StringArray, StringBuilder, StringViewArray, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::array::{Int64Builder, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Field, Fields, Float16Type, Int16Type, Int32Type, Schema, TimeUnit, UInt8Type, i256,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Profile, to_wire, wire_schema};

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

/// <https://github.com/apache/arrow-java/issues/807>
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

/// <https://github.com/influxdata/influxdb_iox/issues/6711>
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

/// The column as it is sent in these types: its type, and its values as text.
fn sent_in(types: Profile, array: ArrayRef) -> (DataType, Vec<String>) {
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let announced = types.schema(&schema);
    assert_eq!(
        types.data_type(announced.field(0).data_type()),
        *announced.field(0).data_type(),
        "it is of the profile"
    );
    let batch = RecordBatch::try_new(schema, vec![array]).expect("a batch");
    let out = to_wire(batch, &announced).expect("a batch that can be sent");
    (out.column(0).data_type().clone(), text(out.column(0)))
}

#[test]
fn native_types_keep_their_width() {
    let native = |array: ArrayRef| sent_in(Profile::Native, array).0;
    assert_eq!(native(Arc::new(LargeStringArray::from(vec!["a"]))), DataType::LargeUtf8);
    assert_eq!(native(Arc::new(LargeBinaryArray::from(vec![b"a".as_slice()]))), DataType::LargeBinary);
    let list = LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    assert_eq!(native(Arc::new(list)), DataType::LargeList(item(DataType::Int32)));
    let small = PrimitiveArray::<Decimal32Type>::from(vec![123]).with_precision_and_scale(5, 2).expect("fits");
    assert_eq!(native(Arc::new(small)), DataType::Decimal32(5, 2));
    let berlin = TimestampMicrosecondArray::from(vec![0]).with_timezone("Europe/Berlin");
    assert_eq!(native(Arc::new(berlin.clone())), *berlin.data_type());
    // Layouts that cannot be cut are spelled out.
    assert_eq!(native(Arc::new(StringViewArray::from(vec!["a"]))), DataType::Utf8);
    let dictionary: DictionaryArray<Int16Type> = [Some("a"), None].into_iter().collect();
    assert_eq!(native(Arc::new(dictionary)), DataType::Utf8);
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
    let large =
        LargeListArray::new(item(DataType::Utf8View), arrow::buffer::OffsetBuffer::from_lengths([2]), views, None);
    assert_eq!(native(Arc::new(large)), DataType::LargeList(item(DataType::Utf8)));
}

#[test]
fn grafana_gets_nanoseconds_numbers_and_text() {
    let drawn = |array: ArrayRef| sent_in(Profile::Grafana, array);
    let ns = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    let times = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]);
    let shown = vec!["2023-11-14T22:13:20.123456".to_owned(), "NULL".to_owned()];
    assert_eq!(drawn(Arc::new(times.clone())), (ns(None), shown));
    assert_eq!(drawn(Arc::new(times.with_timezone("Europe/Berlin"))).0, ns(Some("UTC")));
    let days = arrow::array::Date32Array::from(vec![1]);
    assert_eq!(drawn(Arc::new(days)), (ns(None), vec!["1970-01-02T00:00:00".to_owned()]));
    let decimals = Decimal256Array::from(vec![i256::from_i128(125)]).with_precision_and_scale(60, 1).expect("fits");
    assert_eq!(drawn(Arc::new(decimals)), (DataType::Float64, vec!["12.5".to_owned()]));
    let bytes = BinaryViewArray::from(vec![Some(b"\x00\xff".as_slice()), None, Some(b"")]);
    assert_eq!(drawn(Arc::new(bytes)).1, ["00ff", "NULL", ""]);
    let clock = arrow::array::Time64MicrosecondArray::from(vec![3_661_000_000]);
    assert_eq!(drawn(Arc::new(clock)), (DataType::Utf8, vec!["01:01:01".to_owned()]));
    let nothing: ArrayRef = Arc::new(arrow::array::NullArray::new(1));
    assert_eq!(drawn(nothing), (DataType::Utf8, vec!["NULL".to_owned()]));
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2]), &StringArray::from(vec!["a"])).expect("runs");
    assert_eq!(drawn(Arc::new(runs)).1, ["a", "a"]);
}

#[test]
fn grafana_gets_json_of_what_is_nested() {
    let drawn = |array: ArrayRef| sent_in(Profile::Grafana, array);
    let list = LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let (data_type, values) = drawn(Arc::new(list));
    assert_eq!((data_type, values), (DataType::Utf8, vec!["[1,null]".into(), "NULL".into(), "[]".into()]));
    let mut map = MapBuilder::new(None, Int64Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_value("x \"y\"");
    map.append(true).expect("a map");
    assert_eq!(drawn(Arc::new(map.finish())).1, [r#"{"7":"x \"y\""}"#]);
    let fields: Fields =
        vec![Field::new("s", DataType::Utf8View, false), Field::new("n", DataType::Int64, true)].into();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringViewArray::from(vec!["a"])), Arc::new(Int64Array::from(vec![None]))];
    assert_eq!(drawn(Arc::new(StructArray::new(fields, columns, None))).1, [r#"{"s":"a","n":null}"#]);
}

/// The JDBC driver reads 255 of UTINYINT as -1.
#[test]
fn jdbc_gets_numbers_with_a_sign() {
    let read = |array: ArrayRef| sent_in(Profile::Jdbc, array);
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(read(Arc::new(UInt8Array::from(vec![u8::MAX]))), (DataType::Int16, one("255")));
    assert_eq!(read(Arc::new(UInt16Array::from(vec![u16::MAX]))), (DataType::Int32, one("65535")));
    assert_eq!(read(Arc::new(UInt32Array::from(vec![u32::MAX]))), (DataType::Int64, one("4294967295")));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    assert_eq!(read(large), (DataType::Decimal128(20, 0), one("18446744073709551615")));
    let list = ListArray::from_iter_primitive::<UInt8Type, _, _>([Some(vec![Some(200), None]), None]);
    assert_eq!(read(Arc::new(list)).0, DataType::List(item(DataType::Int16)));
    let dictionary: DictionaryArray<UInt8Type> = [Some("a"), None].into_iter().collect();
    assert_eq!(read(Arc::new(dictionary)).0, DataType::Utf8);
    assert_eq!(read(Arc::new(LargeStringArray::from(vec!["a"]))).0, DataType::Utf8);
    let times = TimestampMicrosecondArray::from(vec![1]);
    assert_eq!(read(Arc::new(times)).0, DataType::Timestamp(TimeUnit::Microsecond, None));
}

#[test]
fn jdbc_binds_milliseconds_and_text() {
    let us = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let ms = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into));
    for (plan, jdbc, others) in [
        (us(None), ms(None), us(None)),
        (us(Some("Europe/Berlin")), ms(Some("UTC")), us(Some("UTC"))),
        (
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Time32(TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Microsecond),
        ),
        (DataType::UInt8, DataType::Int16, DataType::UInt8),
        (DataType::UInt64, DataType::Int64, DataType::UInt64),
        (DataType::Null, DataType::Utf8, DataType::Null),
        (DataType::Utf8View, DataType::Utf8, DataType::Utf8),
        (DataType::Decimal128(20, 3), DataType::Decimal128(20, 3), DataType::Decimal128(20, 3)),
    ] {
        let schema = Arc::new(Schema::new(vec![Field::new("1", plan, true)]));
        for profile in Profile::ALL {
            let wanted = if profile == Profile::Jdbc { &jdbc } else { &others };
            assert_eq!(profile.parameters(&schema).field(0).data_type(), wanted, "{profile}");
        }
    }
}

/// Nanoseconds end in 2262: a value that would wrap round is an error.
#[test]
fn what_grafana_cannot_be_sent_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Date32, true)]));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(arrow::array::Date32Array::from(vec![2_000_000]))]);
    let refused = to_wire(batch.expect("a batch"), &Profile::Grafana.schema(&schema)).expect_err("refused");
    assert_eq!(refused.code(), tidewater_storage::Code::ResultTooLarge);
}

#[test]
fn a_profile_has_a_name() {
    for profile in Profile::ALL {
        assert_eq!(profile.to_string().to_uppercase().parse::<Profile>().expect("read"), profile);
    }
    assert_eq!("modern".parse::<Profile>().expect_err("refused").code(), tidewater_storage::Code::InvalidSetting);
}
