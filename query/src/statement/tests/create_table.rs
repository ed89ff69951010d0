//! What table does a CREATE TABLE ask for?

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use tidewater_storage::catalog::{NewTable, sql_type};

use super::super::Kind;
use super::{front_end, on_big_stack, read};

fn create(sql: &'static str) -> NewTable {
    on_big_stack(move || match front_end(sql).map(|s| s.kind) {
        Ok(Kind::CreateTable { new, .. }) => *new,
        other => panic!("{sql}: {other:?}"),
    })
}

#[test]
fn a_query_gives_the_columns() {
    let sql = "CREATE TABLE IF NOT EXISTS s.t (PRIMARY KEY (a)) WITH (sort_by = 'a') AS SELECT 1 AS a";
    on_big_stack(move || match front_end(sql).map(|s| s.kind) {
        Ok(Kind::CreateTableAs { new, if_not_exists: true, or_replace: false, query }) => {
            assert_eq!((new.schema_name.as_str(), new.name.as_str()), ("s", "t"));
            assert_eq!((new.key.as_slice(), new.columns.len(), new.options.len()), (&["a".to_owned()][..], 0, 1));
            assert_eq!(query.to_string(), "SELECT 1 AS a");
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn columns_keys_and_options_are_taken() {
    let table = create(
        "CREATE TABLE IF NOT EXISTS sales.Orders (Id BIGINT, at TIMESTAMP NOT NULL COMMENT 'when', v DOUBLE, PRIMARY KEY (id, at))
         WITH (time_column = 'at', sort_by = 'id, at', dedup_window = 'forever', system_columns = off, seal_after_rows = 10)",
    );
    assert_eq!((table.schema_name.as_str(), table.name.as_str()), ("sales", "orders"));
    assert_eq!(table.key, ["id", "at"]);
    let nullable: Vec<bool> = table.columns.iter().map(|c| c.nullable).collect();
    assert_eq!(nullable, [false, false, true]);
    assert_eq!(table.columns[1].comment.as_deref(), Some("when"));
    let options: Vec<String> = table.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        options,
        ["time_column=at", "sort_by=id, at", "dedup_window=forever", "system_columns=off", "seal_after_rows=10"]
    );
    assert_eq!(create("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)").key, ["a"]);
    // What a key is in any case may be said.
    let held = "CREATE TABLE t (a BIGINT, CONSTRAINT pk PRIMARY KEY (a) NOT DEFERRABLE INITIALLY IMMEDIATE ENFORCED)";
    assert_eq!(create(held).key, ["a"]);
}

#[test]
fn every_sql_type_has_its_storage_type_and_back() {
    for (declared, named) in [
        ("BOOLEAN", "BOOLEAN"),
        ("BOOL", "BOOLEAN"),
        ("TINYINT", "TINYINT"),
        ("SMALLINT", "SMALLINT"),
        ("INT", "INTEGER"),
        ("INTEGER", "INTEGER"),
        ("BIGINT", "BIGINT"),
        ("INT8", "BIGINT"),
        ("TINYINT UNSIGNED", "UTINYINT"),
        ("UTINYINT", "UTINYINT"),
        ("USMALLINT", "USMALLINT"),
        ("UINTEGER", "UINTEGER"),
        ("INTEGER UNSIGNED", "UINTEGER"),
        ("UBIGINT", "UBIGINT"),
        ("BIGINT UNSIGNED", "UBIGINT"),
        ("REAL", "REAL"),
        ("FLOAT", "REAL"),
        ("DOUBLE", "DOUBLE"),
        ("DOUBLE PRECISION", "DOUBLE"),
        ("DECIMAL(10, 2)", "DECIMAL(10,2)"),
        ("NUMERIC(38)", "DECIMAL(38,0)"),
        ("VARCHAR", "VARCHAR"),
        ("TEXT", "VARCHAR"),
        ("STRING", "VARCHAR"),
        ("VARBINARY", "VARBINARY"),
        ("BLOB", "VARBINARY"),
        ("BYTEA", "VARBINARY"),
        ("DATE", "DATE"),
        ("TIME", "TIME"),
        ("TIMESTAMP", "TIMESTAMP"),
        ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP"),
        ("DATETIME", "TIMESTAMP"),
        ("TIMESTAMPTZ", "TIMESTAMPTZ"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"),
        ("BIGINT[]", "BIGINT[]"),
        ("ARRAY<VARCHAR>", "VARCHAR[]"),
        ("STRUCT<a BIGINT, b TEXT[]>", "STRUCT<a BIGINT, b VARCHAR[]>"),
        ("STRUCT<a STRUCT<b BIGINT[]>>[]", "STRUCT<a STRUCT<b BIGINT[]> >[]"),
        ("STRUCT<a STRUCT<b ARRAY<ARRAY<BIGINT>>>>[] []", "STRUCT<a STRUCT<b BIGINT[][]> >[][]"),
    ] {
        let sql: &'static str = Box::leak(format!("CREATE TABLE t (c {declared})").into_boxed_str());
        let column = create(sql).columns.remove(0);
        assert_eq!(sql_type(&column.data_type), named, "{declared}");
        assert!(!matches!(column.data_type, DataType::Utf8View | DataType::LargeUtf8), "{declared}");
    }
}

#[test]
fn text_has_the_length_that_is_declared() {
    for (declared, named) in [
        ("VARCHAR(10)", "VARCHAR(10)"),
        ("VARCHAR(10 CHARACTERS)", "VARCHAR(10)"),
        ("NVARCHAR(10)", "VARCHAR(10)"),
        ("CHARACTER VARYING(10)", "VARCHAR(10)"),
        ("CHAR VARYING(10)", "VARCHAR(10)"),
        ("STRING(10)", "VARCHAR(10)"),
        ("CHAR(10)", "VARCHAR(10)"),
        ("CHARACTER(10)", "VARCHAR(10)"),
        ("CHAR", "VARCHAR(1)"),
        ("CHARACTER", "VARCHAR(1)"),
        ("NVARCHAR", "VARCHAR"),
        ("TEXT", "VARCHAR"),
    ] {
        let sql: &'static str = Box::leak(format!("CREATE TABLE t (c {declared} NOT NULL)").into_boxed_str());
        let column = create(sql).columns.remove(0);
        assert_eq!((column.sql_type().as_str(), &column.data_type), (named, &DataType::Utf8), "{declared}");
        // What it is called makes it again.
        let sql: &'static str = Box::leak(format!("CREATE TABLE t (c {named} NOT NULL)").into_boxed_str());
        assert_eq!(create(sql).columns, [column]);
    }
}

/// What SHOW, DESCRIBE and `system.columns` say can be pasted into CREATE TABLE: every type of `storage/src/catalog/tests/types.rs`.
#[test]
fn the_text_of_a_type_makes_the_same_type() {
    use DataType as T;
    let list = |item: T| T::List(Arc::new(Field::new("item", item, true)));
    let structure = |fields: &[(&str, T)]| {
        T::Struct(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect())
    };
    let plain = vec![
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float32,
        T::Float64,
        T::Decimal128(10, 2),
        T::Decimal128(38, 38),
        T::Utf8,
        T::Binary,
        T::Date32,
        T::Time64(TimeUnit::Microsecond),
        T::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        structure(&[("a", T::Int64), ("B", list(list(T::UInt64)))]),
        structure(&[("order", T::UInt32), ("timestamp", T::Utf8), ("key", T::Int8), ("q\"q", T::Float64)]),
    ];
    for data_type in plain {
        let inner = structure(&[("in", list(data_type.clone())), ("also", data_type.clone())]);
        let outer = structure(&[("s", inner.clone()), ("l", list(inner.clone()))]);
        for data_type in [list(list(data_type.clone())), list(data_type.clone()), data_type, inner, outer] {
            let text = sql_type(&data_type);
            let sql: &'static str = Box::leak(format!("CREATE TABLE t (c {text}, d {text} NOT NULL)").into_boxed_str());
            let types: Vec<T> = create(sql).columns.into_iter().map(|column| column.data_type).collect();
            assert_eq!(types, [data_type.clone(), data_type], "{text}");
        }
    }
}

#[test]
fn what_a_table_cannot_hold_or_do_is_refused_with_a_hint() {
    for (definition, part) in [
        ("(c INTERVAL)", "use BIGINT"),
        ("(c JSON)", "use VARCHAR"),
        ("(c UUID)", "use VARCHAR"),
        ("(c ENUM('a', 'b'))", "use VARCHAR"),
        ("(c VARCHAR(10)[])", "only columns have a length"),
        ("(c STRUCT<a CHAR>)", "only columns have a length"),
        ("(c VARCHAR(10 OCTETS))", "a number of characters"),
        ("(c VARCHAR(MAX))", "a number of characters"),
        ("(c VARCHAR(4294967296))", "out of range"),
        ("(c FIXEDSTRING(10))", "never padded"),
        ("(c DECIMAL)", "precision and a scale"),
        ("(c DECIMAL(50, 2))", "out of range"),
        ("(c DECIMAL(5, 6))", "out of range"),
        ("(c TIMESTAMP(3))", "microseconds"),
        ("(c BIGINT[3])", "leave the size out"),
        ("(c HUGEINT)", "DECIMAL(38, 0)"),
        ("(c nosuchtype)", "there is no type"),
        ("(c BIGINT CHECK (c > 0))", "CHECK"),
        ("(c BIGINT UNIQUE)", "PRIMARY KEY"),
        ("(c BIGINT DEFAULT 1)", "DEFAULT"),
        ("(c BIGINT REFERENCES u (a))", "REFERENCES"),
        ("(c BIGINT, d BIGINT GENERATED ALWAYS AS (c) STORED)", "generated column"),
        ("(c BIGINT, UNIQUE (c))", "UNIQUE"),
        ("(c BIGINT, CHECK (c > 0))", "CHECK"),
        ("(c BIGINT, FOREIGN KEY (c) REFERENCES u (a))", "FOREIGN KEY"),
        ("(c BIGINT PRIMARY KEY, PRIMARY KEY (c))", "two primary keys"),
        ("(c BIGINT, PRIMARY KEY (c + 1))", "a key cannot be"),
        ("(c BIGINT) PARTITION BY (c)", "PARTITION BY"),
        ("(c BIGINT) PARTITIONED BY (c)", "PARTITIONED BY is not supported"),
        ("(c BIGINT) PARTITIONED BY (nosuch)", "PARTITIONED BY is not supported"),
        ("(c BIGINT) PARTITIONED BY (day DATE)", "PARTITIONED BY is not supported"),
        ("PARTITIONED BY (c) AS SELECT 1 AS c", "PARTITIONED BY is not supported"),
        ("(c BIGINT, PRIMARY KEY (c) DEFERRABLE)", "deferred or not enforced"),
        ("(c BIGINT, PRIMARY KEY (c) INITIALLY DEFERRED)", "deferred or not enforced"),
        ("(c BIGINT, PRIMARY KEY (c) NOT ENFORCED)", "deferred or not enforced"),
        ("(c BIGINT PRIMARY KEY DEFERRABLE)", "deferred or not enforced"),
        ("(c BIGINT, PRIMARY KEY (c) USING BTREE)", "an index for a PRIMARY KEY"),
        ("(c BIGINT COMMENT 'a' COMMENT 'b')", "two comments"),
        ("(c BIGINT NULL NOT NULL)", "both NULL and NOT NULL"),
        ("(c BIGINT) WITH (seal_after_rows = -1)", "a number that is not negative"),
        ("(c BIGINT) WITH (a = 1, a = 2)", "given twice"),
        ("(c BIGINT) WITH (a = b + 1)", "cannot be"),
        ("(c BIGINT) ENGINE = MergeTree", "not supported"),
        ("LIKE u", "write the columns out"),
    ] {
        let (_, error) = read(&format!("CREATE TABLE t {definition}")).expect_err(definition);
        assert!(error.contains(part), "{definition}: {error}");
    }
    for sql in [
        "CREATE TEMPORARY TABLE t (a INT)",
        "CREATE OR REPLACE TABLE IF NOT EXISTS t (a INT)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    ] {
        let (_, error) = read(sql).expect_err(sql);
        assert!(error.contains("not supported"), "{sql}: {error}");
    }
}
