//! What happens to a batch as a whole?

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType as T, Field, Int32Type};

use super::{AdmissionRules, NOW_US, admit_batch, batch, rejections, rules, table, texts};
use crate::admission::{IncomingRows, OnError, RejectCode, RejectedRow, admit};
use crate::catalog::tests::{defined, plain};
use crate::error::Code;

const HOUR_US: i64 = 3_600_000_000;

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn good_rows_are_passed_on_without_a_copy() {
    let def = defined(&[("id!", T::Int64), ("t!", plain()), ("name", T::Utf8)], &["id"], &[]);
    let id = ints(&(0..10_000).collect::<Vec<_>>());
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![NOW_US; 10_000]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["camera"; 10_000]));
    let pointers =
        |batch: &[ArrayRef]| batch.iter().map(|array| array.to_data().buffers()[0].as_ptr()).collect::<Vec<_>>();
    let before = pointers(&[id.clone(), time.clone(), name.clone()]);
    // In another order than the table's, and in another case.
    let admitted = admit_batch(&def, vec![("NAME", name), ("t", time), ("Id", id)], &rules()).unwrap();
    assert_eq!(pointers(admitted.rows.columns()), before);
    assert_eq!((admitted.late, admitted.future, admitted.received), (0, 0, 10_000));
    assert_eq!(admitted.max_event_time_us, Some(NOW_US));
    assert_eq!(admitted.bytes, 10_000 * (8 + 8 + 4 + 6) + 4);
}

#[test]
fn a_slice_of_a_large_message_is_copied() {
    let def = table(&[("x", T::Int64), ("name", T::Utf8)]);
    let large =
        batch(vec![("x", ints(&vec![7; 100_000])), ("name", Arc::new(StringArray::from(vec!["some text"; 100_000])))]);
    let whole = large.column(0).to_data().buffers()[0].data_ptr();
    let admitted = admit(&def, large.slice(50_000, 3).into(), &rules()).unwrap();
    assert_ne!(admitted.rows.column(0).to_data().buffers()[0].data_ptr(), whole);
    assert!(admitted.rows.get_array_memory_size() < 4096, "{}", admitted.rows.get_array_memory_size());
    assert_eq!(texts(admitted.rows.column(1)), ["some text"; 3]);
    assert_eq!(admitted.bytes, 3 * 8 + 4 * 4 + 27);
}

#[test]
fn a_slice_of_lists_is_copied_with_its_own_elements_only() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..10_000).map(|i| Some(vec![Some(i); 10])));
    let inside = StructArray::from(vec![(
        Arc::new(Field::new("l", lists.data_type().clone(), true)),
        Arc::new(lists) as ArrayRef,
    )]);
    let def = table(&[("x", inside.data_type().clone())]);
    let slice: ArrayRef = Arc::new(inside.slice(5000, 2));
    let admitted = admit_batch(&def, vec![("x", slice)], &rules()).unwrap();
    assert_eq!(texts(admitted.rows.column(0))[0], format!("{{l: [{}]}}", ["5000"; 10].join(", ")));
    assert_eq!(admitted.bytes, 3 * 4 + 20 * 4);
    assert!(admitted.rows.get_array_memory_size() < 4096, "{}", admitted.rows.get_array_memory_size());
}

#[test]
fn columns_that_do_not_match() {
    let def = table(&[("id!", T::Int64), ("camera", T::Int64)]);
    let one = || ints(&[1]);
    let refused = |columns: Vec<(&str, ArrayRef)>, part: &str, column: &str| {
        let error = admit_batch(&def, columns, &rules()).unwrap_err();
        assert_eq!(error.code(), Code::SchemaMismatch);
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.metadata().contains(&("column", column.to_owned())), "{:?}", error.metadata());
    };
    refused(vec![("id", one()), ("camra", one())], "did you mean camera?", "camra");
    refused(vec![("id", one()), ("ID", one())], "twice", "ID");
    refused(vec![("camera", one())], "may not be NULL", "id");
    let admitted = admit_batch(&def, vec![("id", one())], &rules()).unwrap();
    assert_eq!(texts(admitted.rows.column(1)), ["NULL"]);
    let ignoring = AdmissionRules { ignore_unknown_columns: true, ..rules() };
    let admitted = admit_batch(&def, vec![("zzz", one()), ("id", one())], &ignoring).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), ["1"]);
}

#[test]
fn texts_longer_than_their_column_takes() {
    let mut def = table(&[("code", T::Utf8), ("note", T::Utf8)]);
    def.columns[0].max_chars = Some(3);
    let codes: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), Some("äöü"), None, Some("abcd"), Some("äöüß")]));
    let notes: ArrayRef = Arc::new(StringArray::from(vec!["as long as you like"; 5]));
    let admitted = admit_batch(&def, vec![("code", codes), ("note", notes)], &rules()).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), ["abc", "äöü", "NULL"]);
    assert_eq!(rejections(&admitted), ["3 OUT_OF_RANGE", "4 OUT_OF_RANGE"]);
    assert_eq!(admitted.rejected[1].column.as_deref(), Some("code"));
    assert_eq!(admitted.rejected[1].message, "a value of 4 characters is too long for VARCHAR(3)");
    // What becomes text on its way in is as long as that text.
    let admitted = admit_batch(&def, vec![("code", ints(&[999, 1000]))], &rules()).unwrap();
    assert_eq!(rejections(&admitted), ["1 OUT_OF_RANGE"]);
    let aborting = AdmissionRules { on_error: OnError::Abort, ..rules() };
    let error = admit_batch(&def, vec![("code", ints(&[999, 1000]))], &aborting).unwrap_err();
    assert_eq!(error.code(), Code::BadRows);
    assert!(error.to_string().contains("row 1, column 'code': a value of 4 characters"), "{error}");
}

#[test]
fn nulls_where_none_may_be() {
    let def = defined(&[("k", T::Int64), ("t", plain()), ("n!", T::Utf8)], &["k"], &[("time_column", "t")]);
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("k", Arc::new(Int64Array::from(vec![None, Some(1), Some(2), Some(3)]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(0), Some(5)]))),
            ("n", Arc::new(StringArray::from(vec![None, Some("a"), None, Some("b")]))),
        ]
    };
    let admitted = admit_batch(&def, columns(), &rules()).unwrap();
    assert_eq!(texts(admitted.rows.column(0)), ["3"]);
    assert_eq!(rejections(&admitted), ["0 NULL_VIOLATION", "1 NULL_VIOLATION", "2 NULL_VIOLATION"]);
    let columns_named: Vec<_> = admitted.rejected.iter().map(|row| row.column.as_deref().unwrap_or("")).collect();
    assert_eq!(columns_named, ["k", "t", "n"]);
    assert_eq!(admitted.rejected[1].payload, r#"{"k":1,"n":"a"}"#);
    assert_eq!(admitted.max_event_time_us, Some(5));
}

#[test]
fn event_times_ahead_and_behind() {
    let def = defined(&[("t!", plain())], &[], &[("max_lateness", "2 hours")]);
    let times = [NOW_US, NOW_US + HOUR_US, NOW_US + HOUR_US + 1, NOW_US - 2 * HOUR_US, NOW_US - 2 * HOUR_US - 1];
    let input: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
    let admitted = admit_batch(&def, vec![("t", input)], &rules()).unwrap();
    assert_eq!(rejections(&admitted), ["2 FUTURE_TIME", "4 LATE_TIME"]);
    assert_eq!((admitted.late, admitted.future), (1, 1));
    assert_eq!(admitted.max_event_time_us, Some(NOW_US + HOUR_US));
    assert_eq!(
        admitted.rejected[0].message,
        "2023-11-14T23:13:20.000001Z is more than max_future ahead of the server's clock, 2023-11-14T22:13:20.000000Z"
    );
}

#[test]
fn rows_past_the_retention_are_expired_and_not_late() {
    let def = defined(&[("t!", plain())], &[], &[("max_lateness", "2 hours"), ("retention", "3 hours")]);
    let behind = [2 * HOUR_US, 2 * HOUR_US + 1, 3 * HOUR_US, 3 * HOUR_US + 1];
    let input: ArrayRef = Arc::new(TimestampMicrosecondArray::from(behind.map(|us| NOW_US - us).to_vec()));
    let admitted = admit_batch(&def, vec![("t", input)], &rules()).unwrap();
    assert_eq!(rejections(&admitted), ["1 LATE_TIME", "2 LATE_TIME", "3 EXPIRED"]);
    assert_eq!((admitted.late, admitted.n_rejected), (2, 3));
}

#[test]
fn abort_stores_nothing_and_names_the_rows() {
    let def = table(&[("x", T::Int8)]);
    let abort = AdmissionRules { on_error: OnError::Abort, ..rules() };
    let error = admit_batch(&def, vec![("x", ints(&(120..160).collect::<Vec<_>>()))], &abort).unwrap_err();
    assert_eq!(error.code(), Code::BadRows);
    assert!(error.message().starts_with("32 of 40 rows for the table 't' are bad"), "{error}");
    assert!(error.message().contains("; row 8, column 'x': 128 does not fit TINYINT (OUT_OF_RANGE)"), "{error}");
    assert!(error.message().ends_with("; and 22 more"), "{error}");
    assert!(error.metadata().contains(&("row", "8".to_owned())));
    let rows: Vec<u64> = error.rows().iter().map(|row| row.row).collect();
    assert_eq!(rows, (8..40).collect::<Vec<_>>());
    assert_eq!((error.rows()[0].code, error.rows()[0].column.as_deref()), ("OUT_OF_RANGE", Some("x")));
    assert!(admit_batch(&def, vec![("x", ints(&[1, 2]))], &abort).is_ok());
}

#[test]
fn rows_that_were_rejected_before_keep_their_place() {
    let def = table(&[("x", T::Int8)]);
    let before =
        RejectedRow { row: 1, column: None, code: RejectCode::Malformed, message: "m".into(), payload: "{".into() };
    let incoming = || IncomingRows {
        batch: batch(vec![("x", ints(&[1, 500, 3]))]),
        row_numbers: Some(vec![0, 2, 3]),
        rejected: vec![before.clone()],
    };
    let admitted = admit(&def, incoming(), &rules()).unwrap();
    assert_eq!(admitted.received, 4);
    assert_eq!(rejections(&admitted), ["1 MALFORMED", "2 OUT_OF_RANGE"]);
    let abort = AdmissionRules { on_error: OnError::Abort, ..rules() };
    assert!(admit(&def, incoming(), &abort).unwrap_err().message().contains("2 of 4 rows"));
}

#[test]
fn batches_that_would_blow_up() {
    let columns: Vec<(String, T)> = (0..2000).map(|i| (format!("c{i}"), T::Int64)).collect();
    let columns: Vec<(&str, T)> = columns.iter().map(|(name, data_type)| (name.as_str(), data_type.clone())).collect();
    let wide = table(&columns);
    let many: ArrayRef = Arc::new(Int8Array::from(vec![1; 100_000]));
    assert_eq!(admit_batch(&wide, vec![("c0", many)], &rules()).unwrap_err().code(), Code::BatchTooLarge);

    let def = table(&[("x", T::Utf8)]);
    let long = "x".repeat(1 << 20);
    let keys = Int32Array::from(vec![0; 1000]);
    let dictionary = DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec![long.as_str()])));
    assert_eq!(admit_batch(&def, vec![("x", Arc::new(dictionary))], &rules()).unwrap_err().code(), Code::BatchTooLarge);

    let view = StringViewArray::from(vec![long.as_str()]);
    let views = StringViewArray::new(vec![view.views()[0]; 1000].into(), view.data_buffers().to_vec(), None);
    assert_eq!(admit_batch(&def, vec![("x", Arc::new(views))], &rules()).unwrap_err().code(), Code::BatchTooLarge);

    let rows: ArrayRef = Arc::new(NullArray::new((1 << 20) + 1));
    assert_eq!(admit_batch(&def, vec![("x", rows)], &rules()).unwrap_err().code(), Code::BatchTooLarge);
}

#[test]
fn payloads_are_cut_between_characters() {
    let def = table(&[("x", T::Int8), ("text", T::Utf8)]);
    let long = "ü".repeat(40_000);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("text", Arc::new(StringArray::from(vec![long.as_str(), "a\nb"]))), ("x", ints(&[300, 301]))];
    let admitted = admit_batch(&def, columns, &rules()).unwrap();
    let payload = &admitted.rejected[0].payload;
    assert!((65_533..=65_536).contains(&payload.len()) && payload.ends_with('ü'), "{}", payload.len());
    assert_eq!(admitted.rejected[1].payload, r#"{"text":"a\nb","x":301}"#);

    // All the rejected rows of a batch together have a limit too; the reasons stay.
    let texts = vec![long.as_str(); 300];
    let columns: Vec<(&str, ArrayRef)> = vec![("text", Arc::new(StringArray::from(texts))), ("x", ints(&[300; 300]))];
    let admitted = admit_batch(&def, columns, &rules()).unwrap();
    let kept: usize = admitted.rejected.iter().map(|row| row.payload.len()).sum();
    assert!(kept <= crate::limits::MAX_REJECTED_BATCH_BYTES && kept > crate::limits::MAX_REJECTED_BATCH_BYTES - 70_000);
    assert_eq!(admitted.rejected.len(), 300);
    assert!(admitted.rejected[299].payload.is_empty() && !admitted.rejected[299].message.is_empty());
}

#[test]
fn of_many_bad_rows_the_first_are_kept_and_all_are_counted() {
    let def = defined(&[("id!", T::Int64), ("t!", plain()), ("x", T::Int8)], &["id"], &[]);
    let n = 200_000;
    // They are found column by column: values that do not fit, then NULLs, then times.
    let id: ArrayRef = Arc::new(Int64Array::from_iter((0..n).map(|i| (i % 3 != 1).then_some(i))));
    let time = |i: i64| if i % 3 == 2 { NOW_US + 2 * HOUR_US } else { NOW_US };
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values((0..n).map(time)));
    let x = ints(&(0..n).map(|i| if i % 3 == 0 { 300 } else { 1 }).collect::<Vec<_>>());
    let admitted = admit_batch(&def, vec![("x", x), ("t", time), ("id", id)], &rules()).unwrap();
    let most = crate::limits::MAX_REJECTED_BATCH_ROWS;
    assert_eq!((admitted.n_rejected, admitted.rejected.len()), (200_000, most));
    assert!(admitted.rejected.iter().map(|row| row.row).eq(0..most as u64));
    assert_eq!(rejections(&admitted)[..3], ["0 OUT_OF_RANGE", "1 NULL_VIOLATION", "2 FUTURE_TIME"]);
    assert_eq!((admitted.late, admitted.future), (0, 66_666));
    assert_eq!(admitted.rejected[1].payload, r#"{"x":1,"t":"2023-11-14T22:13:20"}"#);
    // Rows of a column without a type take no bytes at all.
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(NullArray::new(1 << 20))), ("t", Arc::new(NullArray::new(1 << 20)))];
    let admitted = admit_batch(&def, columns, &rules()).unwrap();
    assert_eq!((admitted.n_rejected, admitted.rejected.len()), (1 << 20, most));
}

#[test]
fn payloads_have_a_form_for_every_type() {
    let def = table(&[("x", T::Int8)]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![])]);
    let inside = StructArray::from(vec![
        (Arc::new(Field::new("a", T::Int64, true)), ints(&[1, 2])),
        (Arc::new(Field::new("b", T::Utf8, true)), Arc::new(StringArray::from(vec![None, Some("\"")])) as ArrayRef),
    ]);
    let words: DictionaryArray<Int32Type> = ["w", "v"].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", ints(&[300, 301])),
        ("f", Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("d", Arc::new(Date32Array::from(vec![0, 1]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"))),
        ("n", Arc::new(Decimal128Array::from(vec![12_345, -1]).with_precision_and_scale(10, 2).unwrap())),
        ("h", Arc::new(BinaryArray::from_iter_values([&[0xab_u8, 1][..], &[]]))),
        ("l", Arc::new(lists)),
        ("s", Arc::new(inside)),
        ("w", Arc::new(words)),
        ("none", Arc::new(NullArray::new(2))),
    ];
    let ignoring = AdmissionRules { ignore_unknown_columns: true, ..rules() };
    let admitted = admit_batch(&def, columns, &ignoring).unwrap();
    let payloads: Vec<&str> = admitted.rejected.iter().map(|row| row.payload.as_str()).collect();
    assert_eq!(
        payloads,
        [
            r#"{"x":300,"f":1.5,"b":true,"d":"1970-01-01","t":"1970-01-01T00:00:00Z","n":123.45,"h":"ab01","l":[1,null],"s":{"a":1},"w":"w"}"#,
            r#"{"x":301,"f":"NaN","d":"1970-01-02","t":"1970-01-01T00:00:00.000001Z","n":-0.01,"h":"","l":[],"s":{"a":2,"b":"\""},"w":"v"}"#,
        ]
    );
}

#[test]
fn a_row_that_would_be_huge_as_text_costs_what_is_kept_of_it() {
    // One row of 134 million truth values under long names: 16 MiB as it came, 35 GB as JSON.
    let def = table(&[("x", T::Int8)]);
    let n = 1 << 20;
    let values: ArrayRef = Arc::new(BooleanArray::new(arrow::buffer::BooleanBuffer::new_unset(n), None));
    let fields: Vec<(Arc<Field>, ArrayRef)> =
        (0..128).map(|i| (Arc::new(Field::new(format!("{i:0250}"), T::Boolean, true)), Arc::clone(&values))).collect();
    let items: ArrayRef = Arc::new(StructArray::from(fields));
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let lists = ListArray::new(item, arrow::buffer::OffsetBuffer::from_lengths([n]), items, None);
    let ignoring = AdmissionRules { ignore_unknown_columns: true, ..rules() };
    let admitted = admit_batch(&def, vec![("x", ints(&[300])), ("list", Arc::new(lists))], &ignoring).unwrap();
    assert_eq!(admitted.rejected[0].payload.len(), crate::limits::MAX_REJECTED_ROW_BYTES);
}

#[test]
fn empty_batches() {
    let def = defined(&[("t!", plain())], &[], &[]);
    let input: ArrayRef = Arc::new(TimestampMicrosecondArray::from(Vec::<i64>::new()));
    let admitted = admit_batch(&def, vec![("t", input)], &rules()).unwrap();
    assert_eq!((admitted.received, admitted.bytes, admitted.max_event_time_us), (0, 0, None));
}
