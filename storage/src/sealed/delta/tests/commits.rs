//! Do commits do what they say, and is another's commit told from ours?

use arrow::datatypes::DataType;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::super::{Add, Change, Features, Put, Remove, Winner};
use super::{added, change, commit, create, delta_in, events, file, memory};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};
use crate::error::Code;
use crate::ids::SchemaId;
use crate::sealed::{SegmentFile, Tail};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_filled_deleted_from_and_truncated() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let (a, b) = (file("a.parquet", 1), file("b.parquet", 11));
    let tail = Some(Tail { bytes: 900, checksum: 3 });
    let b = SegmentFile { entry: Some((b.min_seq, 5)), max_seq: b.min_seq, tail, ..b };
    commit(&delta, 0, &create(&def)).await;
    let loaded = delta.load().await.expect("the new table");
    assert_eq!((loaded.version, loaded.files.len(), loaded.txns.len()), (0, 0, 0));
    assert_eq!((loaded.id, loaded.name.as_deref()), (def.id.to_string(), Some("t")));
    assert_eq!(loaded.configuration["delta.deletedFileRetentionDuration"], "interval 7 days");
    assert_eq!(loaded.configuration["tidewater.key"], "id");
    let definition = loaded.definition.expect("the definition");
    // Whoever reads the table could make keys that are taken for each other.
    let public = TableDef { hash_key: [0; 16], ..def.clone() };
    assert_eq!(TableDef::from_disk(definition.as_bytes()).expect("it reads"), public);

    let adds = vec![added(&a), added(&b)];
    commit(&delta, 1, &Change { adds, txn: Some(("app", 20)), ..change(&def, "WRITE") }).await;
    let mut loaded = delta.load().await.expect("two files");
    loaded.files.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(loaded.txns, [("app".to_owned(), 20)]);
    assert_eq!(format!("{:?}", loaded.segments(&def).expect("ours")), format!("{:?}", [&a, &b]));
    assert!(loaded.files.iter().all(|file| file.deleted.is_none() && file.rows == Some(100)));

    let rows = RoaringBitmap::from_iter([1u32, 5]);
    let vector = delta.write_deletion_vector(Uuid::from_u128(1), &rows).await.expect("a vector");
    let delete = Change {
        protocol: Some(Features::of(&def).with_deletion_vectors(true)),
        adds: vec![Add { file: &a, vector: Some(&vector), data_change: true }],
        removes: vec![Remove { file: &a, vector: None, data_change: true }],
        txn: Some(("app", 21)),
        ..change(&def, "DELETE")
    };
    commit(&delta, 2, &delete).await;
    let loaded = delta.load().await.expect("a deletion vector");
    let of = |name: &str| loaded.files.iter().find(|file| file.name == name).expect("a file");
    assert_eq!((of("a.parquet").deleted.as_ref(), of("b.parquet").deleted.as_ref()), (Some(&rows), None));
    assert_eq!(of("a.parquet").vector.as_ref(), Some(&vector));
    assert!(loaded.protocol.features().deletion_vectors);
    assert_eq!(loaded.configuration["delta.enableDeletionVectors"], "true");

    let removes = vec![
        Remove { file: &a, vector: Some(&vector), data_change: true },
        Remove { file: &b, vector: None, data_change: true },
    ];
    commit(&delta, 3, &Change { removes, txn: Some(("app", 22)), ..change(&def, "TRUNCATE") }).await;
    let loaded = delta.load().await.expect("an empty table");
    assert_eq!((loaded.version, loaded.files.len()), (3, 0));
    assert_eq!(loaded.txns, [("app".to_owned(), 22)]);
    let before = delta.load_at(1).await.expect("an older version");
    assert_eq!((before.version, before.files.len(), before.txns[0].1), (1, 2, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_added_has_no_bounds_in_older_files() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let old = file("old.parquet", 1);
    commit(&delta, 0, &Change { adds: vec![added(&old)], ..create(&def) }).await;
    let columns = [("id!", DataType::Int64), ("name", DataType::Utf8), ("at!", instant()), ("n", plain())];
    let wider = defined(&columns, &["id"], &[("time_column", "at")]);
    let wider = TableDef { schema_id: SchemaId(2), ..wider };
    let features = Features::of(&wider);
    assert!(features.timestamp_ntz && !Features::of(&def).timestamp_ntz);
    let alter = Change { metadata: Some(&wider), protocol: Some(features), ..change(&wider, "ADD COLUMNS") };
    commit(&delta, 1, &alter).await;
    let loaded = delta.load().await.expect("the wider table");
    assert_eq!(loaded.protocol.min_reader_version, 3);
    assert_eq!(loaded.protocol.features(), features);
    assert_eq!(loaded.segments(&wider).expect("ours")[0].columns.len(), 3);
    assert!(loaded.schema.contains("timestamp_ntz"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_put_once() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    commit(&delta, 0, &create(&def)).await;
    let other = Change { commit_id: Uuid::from_u128(8), ..create(&def) }.to_bytes().expect("a commit");
    assert_eq!(delta.put(0, other).await.expect("put"), Put::Exists);
    let winner = delta.read(0).await.expect("read").expect("the first");
    assert_eq!(winner.commit_id.as_deref(), Some("00000000-0000-0000-0000-000000000007"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_at_a_version_is_told() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let (a, b) = (file("a.parquet", 1), file("b%20ä.parquet", 11));
    assert_eq!(delta.read(0).await.expect("read"), None);
    let ours = Change {
        adds: vec![added(&b)],
        removes: vec![Remove { file: &a, vector: None, data_change: false }],
        txn: Some(("app", 3)),
        ..create(&def)
    };
    commit(&delta, 0, &ours).await;
    let expected = Winner {
        commit_id: Some(Uuid::from_u128(7).to_string()),
        txns: vec![("app".into(), 3)],
        removed: vec!["a.parquet".into()],
        added: vec!["b%20ä.parquet".into()],
        changes_metadata: true,
        changes_protocol: true,
        timestamp_ms: Some(1_700_000_000_000),
    };
    assert_eq!(delta.read(0).await.expect("read"), Some(expected));

    let others = concat!(
        r#"{"commitInfo":{"timestamp":5,"operation":"WRITE","operationMetrics":{"numFiles":"1"}}}"#,
        "\n",
        r#"{"add":{"path":"part%201.parquet","partitionValues":{},"size":9,"modificationTime":1,"dataChange":true,"tags":null}}"#,
        "\n",
        r#"{"someLaterAction":{"x":1}}"#,
    );
    delta.put(1, Bytes::from_static(others.as_bytes())).await.expect("put");
    let winner = delta.read(1).await.expect("read").expect("another's");
    let expected = Winner { added: vec!["part 1.parquet".into()], timestamp_ms: Some(5), ..Winner::default() };
    assert_eq!(winner, expected);

    delta.put(2, Bytes::new()).await.expect("put");
    assert_eq!(delta.read(2).await.expect("read"), Some(Winner::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_is_named() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let a = file("a.parquet", 1);
    commit(&delta, 0, &create(&def)).await;
    let whole = Change { adds: vec![added(&a)], ..change(&def, "WRITE") }.to_bytes().expect("a commit");
    let path = Path::from("tables/events-1/_delta_log/00000000000000000001.json");
    let last_line = whole.iter().rposition(|byte| *byte == b'{').expect("JSON");
    for cut in [1, 40, last_line + 1, whole.len() - 2] {
        store.put(&path, whole.slice(..cut).into()).await.expect("put");
        let e = delta.read(1).await.expect_err("not a commit");
        assert_eq!(e.code(), Code::DeltaDamaged);
        assert!(e.message().contains("s3://bucket/tables/events-1/_delta_log/00000000000000000001.json"), "{e}");
        assert_eq!(delta.load().await.expect_err("not a commit").code(), Code::DeltaDamaged);
    }
    store.put(&path, whole.into()).await.expect("put");
    assert_eq!(delta.load().await.expect("whole").files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_committed_there_is_no_table() {
    let store = memory();
    let delta = delta_in(&store);
    assert_eq!(delta.load().await.expect_err("nothing").code(), Code::TableNotFound);
    assert_eq!(delta.load_at(4).await.expect_err("nothing").code(), Code::TableNotFound);
    commit(&delta, 0, &create(&events())).await;
    assert_eq!(delta.load_at(4).await.expect_err("not yet").code(), Code::DeltaDamaged);
}

#[test]
fn a_commit_that_would_mislead_readers_is_not_made() {
    let def = events();
    let changed = Change { metadata: Some(&def), ..change(&def, "ADD COLUMNS") };
    assert_eq!(changed.to_bytes().expect_err("no protocol").code(), Code::Internal);
    let txn = Change { txn: Some(("app", u64::MAX)), ..change(&def, "WRITE") };
    assert_eq!(txn.to_bytes().expect_err("too large").code(), Code::Internal);
}
