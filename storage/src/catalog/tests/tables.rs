//! Which tables may be made, and with which options?

use arrow::datatypes::DataType as T;

use super::{column, defined, instant, new_table, plain, test_env, try_define};
use crate::catalog::{ColumnDef, Durability, NewTable, TableChange, check_name, define};
use crate::error::Code;

/// `part` must be in the error's text.
fn refused(columns: &[(&str, T)], key: &[&str], options: &[(&str, &str)], code: Code, part: &str) {
    let error = try_define(columns, key, options).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn a_table_of_the_design_page() {
    let (def, notices) = try_define(
        &[
            ("geographical_location_oid!", T::Int64),
            ("video_camera_oid!", T::Int64),
            ("detection_oid!", T::Int64),
            ("item_name!", T::Utf8),
            ("timestamp_detected!", plain()),
        ],
        &["detection_oid"],
        &[("time_column", "timestamp_detected"), ("sort_by", "geographical_location_oid, timestamp_detected")],
    )
    .unwrap();
    assert!(notices.is_empty());
    assert_eq!(def.key, [2]);
    assert_eq!(def.options.time_column, Some(4));
    assert_eq!(def.options.sort_by, [0, 4]);
    assert_eq!(def.options.max_future_us, 3_600_000_000);
    assert_eq!(def.options.durability, Durability::Fsync);
    assert_eq!(def.hash_key, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(def.created_at_us, 1_700_000_000_000_000);
    assert_eq!(def.arrow_schema.fields().len(), 5);
    assert_eq!(
        def.create_statement(),
        "CREATE TABLE public.t (\n  geographical_location_oid BIGINT NOT NULL,\n  video_camera_oid BIGINT NOT NULL,\n  \
         detection_oid BIGINT NOT NULL,\n  item_name VARCHAR NOT NULL,\n  timestamp_detected TIMESTAMP NOT NULL,\n  \
         PRIMARY KEY (detection_oid)\n) WITH (time_column = 'timestamp_detected', sort_by = 'geographical_location_oid, \
         timestamp_detected', dedup_window = 'forever', max_future = '1 hour', max_lateness = 'none', retention = 'none', \
         durability = 'fsync', system_columns = 'on', seal_after_rows = '4000000', seal_after = '10 minutes', \
         seal_after_bytes = '536870912')"
    );
}

#[test]
fn names_that_are_refused() {
    let long = "x".repeat(256);
    for name in ["", "a b", "a\tb", "a,b", "a;b", "{a", "a}", "(a", "a)", "a=b", "a\u{a0}b", long.as_str()] {
        refused(&[(name, T::Int64)], &[], &[], Code::InvalidName, "not a name");
        let mut new = new_table(&[("a", T::Int64)], &[], &[]);
        new.name = name.to_owned();
        assert_eq!(define(new, &test_env()).unwrap_err().code(), Code::InvalidName);
    }
    for name in ["_commit_seq", "_COMMIT_SEQ", "_ingested_at_2"] {
        refused(&[(name, T::Int64)], &[], &[], Code::InvalidName, "the system's");
    }
    refused(&[("Ärger", T::Int64), ("äRGER", T::Int64)], &[], &[], Code::InvalidDefinition, "without regard to case");
    let longest = "x".repeat(255);
    defined(&[(&longest, T::Int64), ("naïve-name.with'quotes\"", T::Int64)], &[], &[]);
}

#[test]
fn who_gives_a_wrong_name_is_told_what_names_may_have() {
    let rule = "a name has 1 to 255 bytes, without white space, control characters and ,;{}()=";
    let with_near = "for example; in a SELECT, write AS";
    let use_near = |near: &str| format!("{rule}: use {near}, {with_near} {near} behind the column");
    for (name, hint) in [
        ("first name", use_near("first_name")),
        ("count(*)", use_near("count")),
        ("sum(a.b)", use_near("sum_a_b")),
        ("2024 total", use_near("_2024_total")),
        ("\u{e4}\u{a0}b", use_near("\u{e4}_b")),
        ("(*)", rule.to_owned()),
        ("", rule.to_owned()),
    ] {
        let refused = try_define(&[(name, T::Int64)], &[], &[]).unwrap_err();
        assert_eq!((refused.code(), refused.hint_text()), (Code::InvalidName, Some(hint.as_str())), "{name}");
    }
    let refused = check_name("table", "my table").unwrap_err();
    assert_eq!(refused.message(), "'my table' is not a name for a table: it has ' '");
    assert_eq!(refused.hint_text(), Some(format!("{rule}: use my_table, for example").as_str()));
}

#[test]
fn number_of_columns() {
    refused(&[], &[], &[], Code::InvalidDefinition, "no columns");
    let of = |n: usize| NewTable {
        schema_name: "public".into(),
        name: "wide".into(),
        columns: (0..n).map(|i| column(&format!("c{i}"), T::Int64)).collect(),
        ..NewTable::default()
    };
    assert!(define(of(2000), &test_env()).is_ok());
    assert_eq!(define(of(2001), &test_env()).unwrap_err().code(), Code::InvalidDefinition);
}

#[test]
fn keys() {
    let def = defined(&[("a", T::Utf8), ("B", T::Int64)], &["b", "a"], &[]);
    assert_eq!(def.key, [1, 0]);
    assert!(def.columns.iter().all(|column| !column.nullable), "key columns become NOT NULL");
    assert_eq!(def.options.sort_by, [1, 0], "without a time column the key sorts");

    let list = T::List(arrow::datatypes::Field::new_list_field(T::Int64, true).into());
    for data_type in [T::Float32, T::Float64, T::Float16, list] {
        refused(&[("a", data_type)], &["a"], &[], Code::InvalidDefinition, "cannot be in a primary key");
    }
    refused(&[("camera", T::Int64)], &["camra"], &[], Code::InvalidDefinition, "did you mean 'camera'?");
    refused(&[("a", T::Int64)], &["a", "A"], &[], Code::InvalidDefinition, "twice");
}

#[test]
fn the_time_column_is_inferred() {
    let time = |columns: &[(&str, T)], from_data: bool| {
        let new = NewTable { from_data, ..new_table(columns, &[], &[]) };
        define(new, &test_env()).map(|(def, notices)| (def.options.time_column, def.options.sort_by, notices.len()))
    };
    assert_eq!(time(&[("a", T::Int64), ("t!", plain())], false).unwrap(), (Some(1), vec![1], 0));
    assert_eq!(time(&[("a", T::Int64), ("t!", instant())], true).unwrap(), (Some(1), vec![1], 0));
    assert_eq!(time(&[("a", T::Int64), ("d!", T::Date32)], false).unwrap(), (None, vec![], 0));
    assert_eq!(time(&[("t", plain())], false).unwrap(), (None, vec![], 1));
    assert_eq!(time(&[("t", plain())], true).unwrap(), (None, vec![], 1));
    assert_eq!(time(&[("t!", plain()), ("u", plain())], false).unwrap(), (None, vec![], 1));
    assert_eq!(time(&[("t!", plain()), ("u!", instant())], true).unwrap(), (None, vec![], 1));
    let error = time(&[("t!", plain()), ("u!", instant())], false).unwrap_err();
    assert_eq!(error.code(), Code::InvalidDefinition);
    assert!(error.message().contains("t, u"), "{error}");
    assert!(time(&[("t", plain()), ("u", plain())], false).is_ok());
}

#[test]
fn options_that_are_taken() {
    let columns = [("id", T::Int64), ("T1", plain()), ("t2", instant())];
    let def = defined(
        &columns,
        &["id"],
        &[
            ("time_column", "t1"),
            ("SORT_BY", "\"T1\",id"),
            ("max_future", "90 minutes"),
            ("max_lateness", "7 days"),
            ("durability", "OS"),
            ("system_columns", "off"),
            ("dedup_window", "forever"),
        ],
    );
    assert_eq!(def.options.time_column, Some(1));
    assert!(!def.columns[1].nullable, "a time column becomes NOT NULL");
    assert_eq!(def.options.sort_by, [1, 0]);
    assert_eq!(def.options.max_future_us, 5_400_000_000);
    assert_eq!(def.options.max_lateness_us, Some(604_800_000_000));
    assert_eq!(def.options.durability, Durability::Os);
    assert!(!def.options.system_columns);

    let none = defined(&[("t!", plain()), ("u!", plain())], &[], &[("time_column", "none"), ("sort_by", "arrival")]);
    assert_eq!((none.options.time_column, none.options.sort_by), (None, vec![]));
    let named_none = defined(&[("none", plain())], &[], &[("time_column", "none")]);
    assert_eq!(named_none.options.time_column, Some(0));
}

#[test]
fn options_that_are_refused() {
    let columns = [
        ("id", T::Int64),
        ("t!", plain()),
        ("s", T::Struct(vec![arrow::datatypes::Field::new("a", T::Int8, true)].into())),
    ];
    let check = |name: &str, value: &str, code: Code, part: &str| refused(&columns, &[], &[(name, value)], code, part);
    check("sort", "id", Code::InvalidOption, "did you mean sort_by?");
    check("max_latenes", "1h", Code::InvalidOption, "did you mean max_lateness?");
    check("zzz", "1", Code::InvalidOption, "the options are");
    check("foreign_writes", "1", Code::UnsupportedOption, "not supported yet");
    check("dedup_window", "7 days", Code::InvalidOption, "needs a primary key");
    check("retention", "a month", Code::InvalidOption, "not a duration");
    check("retention", "1 second", Code::InvalidOption, "less than 1 minute");
    check("seal_after", "1 ms", Code::InvalidOption, "less than 1 second");
    check("seal_after_rows", "0", Code::InvalidOption, "not a whole number above 0");
    check("time_column", "id", Code::InvalidOption, "is BIGINT, not TIMESTAMP");
    check("time_column", "tt", Code::InvalidOption, "not a column");
    check("sort_by", "id, id", Code::InvalidOption, "twice");
    check("sort_by", "s", Code::InvalidOption, "has no order");
    check("max_future", "soon", Code::InvalidOption, "not a duration");
    check("max_future", "-1h", Code::InvalidOption, "not a duration");
    check("max_future", "300000 years", Code::InvalidOption, "not a duration");
    check("durability", "disk", Code::InvalidOption, "use 'fsync' or 'os'");
    check("system_columns", "yes", Code::InvalidOption, "use 'on' or 'off'");
    refused(&columns, &[], &[("durability", "os"), ("Durability", "os")], Code::InvalidOption, "twice");
    refused(&[("a", T::Int64)], &[], &[("max_future", "1h")], Code::InvalidOption, "needs a time column");
    refused(&[("a", T::Int64)], &[], &[("max_lateness", "1h")], Code::InvalidOption, "needs a time column");
    refused(&[("a", T::Int64)], &[], &[("retention", "1 day")], Code::InvalidOption, "needs a time column");
    refused(&[("a", T::Int64)], &["a"], &[("dedup_window", "1 second")], Code::InvalidOption, "less than 1 minute");
    refused(&[("a", T::Int64)], &["a"], &[("dedup_window", "always")], Code::InvalidOption, "not a duration");
}

#[test]
fn option_texts_make_the_same_table() {
    for options in [
        &[][..],
        &[("max_future", "1us")],
        &[("max_future", "0s"), ("max_lateness", "1500ms")],
        &[("max_future", "36 hours"), ("max_lateness", "1 day")],
        &[("time_column", "none"), ("sort_by", "")],
        &[("sort_by", "T,id"), ("durability", "os"), ("system_columns", "off")],
        &[("dedup_window", "7 days"), ("retention", "90 days"), ("seal_after", "90s"), ("seal_after_rows", "1_000")],
    ] {
        let columns = [("id", T::Int64), ("T!", plain())];
        let first = defined(&columns, &["id"], options);
        let texts = first.options_text();
        let again: Vec<(&str, &str)> = texts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(defined(&columns, &["id"], &again).options, first.options, "{again:?}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let def = defined(&[("a", T::Int64), ("B", T::Int64)], &[], &[]);
    for (name, expected) in [("a", Some(0)), ("A", Some(0)), ("b", Some(1)), ("c", None)] {
        assert_eq!(def.column_index(name), expected, "{name}");
    }
}

#[test]
fn text_has_a_length_where_one_is_given() {
    let with = |data_type: T, max_chars: u32| NewTable {
        columns: vec![ColumnDef { max_chars: Some(max_chars), ..column("c", data_type) }],
        ..new_table(&[], &[], &[])
    };
    let (def, _) = define(with(T::LargeUtf8, 12), &test_env()).unwrap();
    assert_eq!((&def.columns[0].data_type, def.columns[0].max_chars), (&T::Utf8, Some(12)));
    assert!(def.create_statement().contains("(\n  c VARCHAR(12)\n)"), "{}", def.create_statement());
    for (data_type, max_chars, part) in [
        (T::Utf8, 0, "a length of 0"),
        (T::Utf8, 1 << 31, "out of range"),
        (T::Int64, 12, "BIGINT, which has no length"),
    ] {
        let error = define(with(data_type, max_chars), &test_env()).unwrap_err();
        assert_eq!(error.code(), Code::InvalidDefinition);
        assert!(error.message().contains(part), "{error}");
    }
    let set = |data_type: T, max_chars: Option<u32>| TableChange::SetType { column: "c".into(), data_type, max_chars };
    let longer = def.with_change(&set(T::Utf8, Some(13))).unwrap();
    assert_eq!(longer.columns[0].sql_type(), "VARCHAR(13)");
    assert_eq!(longer.with_change(&set(T::Int64, None)).unwrap().columns[0].sql_type(), "BIGINT");
    assert!(longer.with_change(&set(T::Int64, Some(1))).is_err());
    let added = ColumnDef { max_chars: Some(0), ..column("d", T::Utf8) };
    assert!(longer.with_change(&TableChange::AddColumn(added)).is_err());
}

#[test]
fn identifiers_are_quoted_where_needed() {
    let def = defined(&[("select", T::Int64), ("Upper", T::Int64), ("q\"q", T::Int64)], &[], &[]);
    let sql = def.create_statement();
    assert!(sql.contains("\"select\" BIGINT,\n  \"Upper\" BIGINT,\n  \"q\"\"q\" BIGINT\n)"), "{sql}");
}
