//! Are types guessed with care, and do tables get them?

use arrow::datatypes::{DataType, TimeUnit};

use super::super::create::statement;
use super::super::load::Totals;
use super::super::source::Source;
use super::{file, ingest_args, open};

fn types(source: &Source) -> Vec<String> {
    source.shape().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

#[test]
fn csv_columns_have_the_types_that_all_texts_fit() {
    let text = "id,code,price,seen,day,ok,big,note,mixed\n\
        1,007,1.5,2024-01-02T03:04:05Z,2024-01-02,true,18446744073709551615,,1\n\
        one line,is,bad\n\
        -2,08,2,2024-01-02 03:04:05+02:00,2024-01-03,false,1,,x\n";
    let (_folder, path) = file("a.csv", text.as_bytes());
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        types(&open(&path, None)),
        [
            "id Int64",
            "code Utf8",
            "price Float64",
            &format!("seen {utc}"),
            "day Date32",
            "ok Boolean",
            "big UInt64",
            "note Utf8",
            "mixed Utf8"
        ]
    );
}

#[test]
fn json_objects_have_a_shape() {
    let text = "{\"id\": 9007199254740993, \"at\": \"2024-01-02T03:04:05.123456\", \"tags\": [\"a\"], \"n\": null}\n\
        not JSON\n{\"id\": \"\n\
        {\"id\": 2, \"at\": \"2024-01-02T03:04:06\", \"price\": 1.10, \"n\": null}\n";
    let (_folder, path) = file("a.ndjson", text.as_bytes());
    let source = open(&path, None);
    let shape = source.shape();
    assert_eq!(shape.field_with_name("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(shape.field_with_name("at").unwrap().data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    assert_eq!(shape.field_with_name("n").unwrap().data_type(), &DataType::Utf8);
    assert!(shape.field_with_name("tags").unwrap().data_type().is_nested());
    let (_folder, nothing) = file("a.ndjson", b"x\n\n");
    assert!(Source::open(&nothing, None, None, 10).err().unwrap().to_string().contains("no JSON object"));
}

#[test]
fn a_table_is_created_in_the_shape_of_the_file() {
    let (_folder, path) = file("a.csv", b"Id,at,na\"me\n1,2024-01-02 03:04:05,x\n");
    let source = open(&path, None);
    let args = ingest_args(&["t", "a.csv", "--create", "--key", "id", "--time", "at", "--sort", "Id,at"]);
    assert_eq!(
        statement(("public", "t"), source.shape(), &args).unwrap(),
        "CREATE TABLE IF NOT EXISTS \"public\".\"t\" (\"Id\" BIGINT NOT NULL, \"at\" TIMESTAMP NOT NULL, \
         \"na\"\"me\" VARCHAR, PRIMARY KEY (\"Id\")) WITH (time_column = 'at', sort_by = 'Id, at')"
    );
    let wrong = ingest_args(&["t", "a.csv", "--create", "--key", "nope"]);
    assert!(statement(("public", "t"), source.shape(), &wrong).unwrap_err().to_string().contains("Id, at"));
    let (_folder, nested) = file("a.ndjson", b"{\"s\": {\"a\": 1, \"l\": [\"x\"]}}\n");
    let args = ingest_args(&["t", "a.ndjson", "--create"]);
    let made = statement(("public", "t"), open(&nested, None).shape(), &args).unwrap();
    assert!(made.contains("(\"s\" STRUCT<a BIGINT, l VARCHAR[]>)"), "{made}");
}

#[test]
fn the_summary_adds_up_in_words() {
    let mut totals = Totals {
        received: 10,
        accepted: 5,
        duplicate: 2,
        rejected: 1,
        repeated: 2,
        seconds: 2.0,
        producer: "t:hash:csv.1".to_owned(),
    };
    assert_eq!(
        totals.to_string(),
        "10 rows received, 5 accepted, 2 duplicate, 1 rejected, 2 repeated, 2.0 s, 5 rows/s"
    );
    assert!(totals.where_rejected().unwrap().contains("FROM system.rejected WHERE producer = 't:hash:csv.1'"));
    totals.rejected = 0;
    assert_eq!(totals.where_rejected(), None);
}
