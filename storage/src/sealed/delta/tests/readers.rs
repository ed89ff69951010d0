//! Do other readers take our tables, and do other writers leave them alone? deltalake's own reader over plain files is the judge.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use deltalake::DeltaTable as OtherTable;
use deltalake::kernel::StructField;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::super::schema::schema;
use super::super::{Add, Change, DeltaTable, Expected, Features, Remove};
use super::{FOLDER, added, change, commit, create, delta_in, events, file};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};

/// A table in plain files.
struct OnDisk {
    dir: TempDir,
    delta: DeltaTable,
}

impl OnDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).expect("a store"));
        let delta = delta_in(&store);
        Self { dir, delta }
    }

    async fn opened_by_deltalake(&self) -> OtherTable {
        let url = Url::from_directory_path(self.dir.path().join(FOLDER)).expect("an absolute path");
        deltalake::open_table(url).await.expect("deltalake reads it")
    }
}

/// Column, its type, its type in Delta.
fn all_types() -> Vec<(&'static str, DataType, Value)> {
    let item = |data_type| DataType::List(Arc::new(Field::new_list_field(data_type, true)));
    let pair = |inner: DataType| {
        DataType::Struct(vec![Field::new("n", DataType::UInt64, true), Field::new("inner", inner, true)].into())
    };
    let array = |inner: Value| json!({ "type": "array", "elementType": inner, "containsNull": true });
    let field =
        |name: &str, data_type: Value| json!({ "name": name, "type": data_type, "nullable": true, "metadata": {} });
    let of_pair = |inner: Value| json!({ "type": "struct", "fields": [field("n", json!("decimal(20,0)")), field("inner", inner)] });
    vec![
        ("boolean", DataType::Boolean, json!("boolean")),
        ("i8", DataType::Int8, json!("byte")),
        ("i16", DataType::Int16, json!("short")),
        ("i32", DataType::Int32, json!("integer")),
        ("i64", DataType::Int64, json!("long")),
        ("u8", DataType::UInt8, json!("short")),
        ("u16", DataType::UInt16, json!("integer")),
        ("u32", DataType::UInt32, json!("long")),
        ("u64", DataType::UInt64, json!("decimal(20,0)")),
        ("f32", DataType::Float32, json!("float")),
        ("f64", DataType::Float64, json!("double")),
        ("amount", DataType::Decimal128(12, 3), json!("decimal(12,3)")),
        ("words", DataType::Utf8, json!("string")),
        ("bytes", DataType::Binary, json!("binary")),
        ("day", DataType::Date32, json!("date")),
        ("clock", DataType::Time64(TimeUnit::Microsecond), json!("long")),
        ("zoned!", instant(), json!("timestamp")),
        ("items", item(DataType::UInt8), array(json!("short"))),
        ("nested", item(pair(item(DataType::Utf8))), array(of_pair(array(json!("string"))))),
    ]
}

fn of_types(types: &[(&'static str, DataType, Value)]) -> TableDef {
    let columns: Vec<(&str, DataType)> = types.iter().map(|(name, of, _)| (*name, of.clone())).collect();
    let mut def = defined(&columns, &[], &[("time_column", "zoned")]);
    def.columns[0].comment = Some("yes or \"no\"".into());
    def
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_every_type() {
    let types = all_types();
    let def = of_types(&types);
    let disk = OnDisk::new();
    commit(&disk.delta, 0, &create(&def)).await;
    let table = disk.opened_by_deltalake().await;
    let read = table.snapshot().expect("a snapshot").schema();
    let read = serde_json::to_value(&*read).expect("JSON");
    assert_eq!(read, schema(&def));
    let fields = read["fields"].as_array().expect("fields");
    assert_eq!(fields.len(), types.len() + 1);
    for (field, (name, _, expected)) in fields.iter().zip(&types) {
        assert_eq!(field["name"], json!(name.trim_end_matches('!')));
        assert_eq!(&field["type"], expected, "{name}");
        assert_eq!(field["nullable"], json!(!name.ends_with('!')), "{name}");
    }
    assert_eq!(fields[0]["metadata"]["comment"], "yes or \"no\"");
    assert_eq!(fields.last().expect("the last")["name"], "_commit_seq");
    let loaded = disk.delta.load().await.expect("load");
    assert_eq!(serde_json::from_str::<Value>(&loaded.schema).expect("JSON"), schema(&def));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_table_asks_nothing_of_readers() {
    let disk = OnDisk::new();
    let def = events();
    commit(&disk.delta, 0, &create(&def)).await;
    let table = disk.opened_by_deltalake().await;
    let protocol = serde_json::to_value(table.snapshot().expect("a snapshot").protocol()).expect("JSON");
    assert_eq!((&protocol["minReaderVersion"], &protocol["minWriterVersion"]), (&json!(1), &json!(7)));
    assert_eq!(protocol["writerFeatures"], json!(["appendOnly", "invariants", "tidewater.exclusiveWriter"]));
    // Its own writer refuses: it does not know the feature.
    let column = StructField::nullable("more", deltalake::kernel::DataType::LONG);
    let refused = table.add_columns().with_fields([column]).await.expect_err("another writer");
    assert!(refused.to_string().contains("exclusiveWriter"), "{refused}");
    assert_eq!(disk.delta.read(1).await.expect("read"), None);
}

#[test]
fn only_what_is_used_is_declared() {
    let with = |data_type: DataType| Features::of(&defined(&[("x", data_type)], &[], &[]));
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    assert_eq!(with(instant()), Features::default());
    assert!(with(plain()).timestamp_ntz);
    let deep = DataType::Struct(vec![Field::new("inner", list(plain()), true)].into());
    assert!(with(list(deep)).timestamp_ntz);
    let lines = |def: &TableDef, protocol| {
        let bytes = Change { protocol, ..create(def) }.to_bytes().expect("a commit");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        serde_json::from_str::<Value>(text.lines().nth(1).expect("the second line")).expect("JSON")
    };
    let ntz = defined(&[("x", plain())], &[], &[]);
    let both = Features::of(&ntz).with_deletion_vectors(true);
    let said = &lines(&ntz, Some(both))["protocol"];
    assert_eq!(said["minReaderVersion"], 3);
    assert_eq!(said["readerFeatures"], json!(["timestampNtz", "deletionVectors"]));
    assert_eq!(
        said["writerFeatures"],
        json!(["appendOnly", "invariants", "tidewater.exclusiveWriter", "timestampNtz", "deletionVectors"])
    );
    assert_eq!(lines(&ntz, None)["protocol"]["readerFeatures"], json!(["timestampNtz"]));
    assert!(lines(&events(), None)["protocol"]["readerFeatures"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_files_deletes_and_checkpoints() {
    let disk = OnDisk::new();
    let (delta, def) = (&disk.delta, events());
    let (a, b) = (file("a.parquet", 1), file("b.parquet", 11));
    let adds = vec![added(&a), added(&b)];
    commit(delta, 0, &Change { adds, txn: Some(("app", 20)), ..create(&def) }).await;
    let rows = RoaringBitmap::from_iter([1u32, 5]);
    let vector = delta.write_deletion_vector(Uuid::from_u128(1), &rows).await.expect("a vector");
    let delete = Change {
        protocol: Some(Features::of(&def).with_deletion_vectors(true)),
        adds: vec![Add { file: &a, vector: Some(&vector), data_change: true }],
        removes: vec![Remove { file: &a, vector: None, data_change: true }],
        txn: Some(("app", 21)),
        ..change(&def, "DELETE")
    };
    commit(delta, 1, &delete).await;
    for has_checkpoint in [false, true] {
        if has_checkpoint {
            delta.checkpoint(1, &Expected { n_files: 2, txn: ("app".into(), 21) }).await.expect("a checkpoint");
        }
        let table = disk.opened_by_deltalake().await;
        assert_eq!(table.version(), Some(1));
        let snapshot = table.snapshot().expect("a snapshot");
        let mut files: Vec<_> = snapshot.log_data().iter().collect();
        files.sort_by_key(|file| file.path().into_owned());
        assert_eq!(files.len(), 2);
        for (seen, ours) in files.iter().zip([&a, &b]) {
            assert_eq!((seen.path().as_ref(), seen.num_records()), (ours.name.as_str(), Some(100)));
            assert!(seen.min_values().is_some() && seen.max_values().is_some());
        }
        let seen = files[0].deletion_vector_descriptor().expect("deleted rows");
        assert_eq!((seen.cardinality, Some(seen)), (2, Some(vector.descriptor())));
        assert!(files[1].deletion_vector_descriptor().is_none());
        let stats: Value = serde_json::from_str(&files[0].stats().expect("statistics")).expect("JSON");
        assert_eq!((&stats["minValues"]["name"], &stats["nullCount"]["name"]), (&json!("apple"), &json!(3)));
        let store = table.log_store();
        let txn = snapshot.transaction_version(store.as_ref(), "app").await.expect("txn");
        assert_eq!(txn, Some(21));
    }
}
