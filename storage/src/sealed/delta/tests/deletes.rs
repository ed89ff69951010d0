//! Do deletion vectors hold exactly the rows, and is a damaged one noticed?

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::super::{Add, Change, DeletionVector, Features};
use super::{added, commit, create, delta_in, events, file, memory};
use crate::error::Code;
use crate::sealed::SegmentFile;

/// A table of one file, of which `rows` are deleted, as it is loaded.
async fn loaded_rows(file: &SegmentFile, rows: &RoaringBitmap) -> Option<RoaringBitmap> {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let vector = delta.write_deletion_vector(Uuid::from_u128(5), rows).await.expect("a vector");
    let adds = vec![Add { vector: Some(&vector), ..added(file) }];
    let protocol = Some(Features::of(&def).with_deletion_vectors(true));
    commit(&delta, 0, &Change { adds, protocol, ..create(&def) }).await;
    delta.load().await.expect("load").files.remove(0).deleted
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_as_they_went() {
    let file = SegmentFile { rows: u64::from(u32::MAX) + 1, ..file("a.parquet", 1) };
    let mut runs = RoaringBitmap::from_iter(1000u32..400_000);
    runs.optimize();
    let some = [
        RoaringBitmap::from_iter([0u32]),
        RoaringBitmap::from_iter([0u32, 65_535, 65_536, u32::MAX]),
        RoaringBitmap::from_iter((0u32..200_000).step_by(3)),
        runs,
    ];
    for rows in some {
        assert_eq!(loaded_rows(&file, &rows).await, Some(rows));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_come_back(rows in prop::collection::btree_set(any::<u32>(), 1..2000)) {
        let rows = RoaringBitmap::from_iter(rows);
        let file = SegmentFile { rows: u64::from(u32::MAX) + 1, ..file("a.parquet", 1) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let loaded = runtime.expect("a runtime").block_on(loaded_rows(&file, &rows));
        prop_assert_eq!(loaded, Some(rows));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_used_once() {
    let store = memory();
    let delta = delta_in(&store);
    let id = Uuid::from_u128(0x61d1_6c75_6994_46b7_a15b_8b53_8852_e50e);
    let rows = RoaringBitmap::from_iter([1u32, 5]);
    let first = delta.write_deletion_vector(id, &rows).await.expect("a vector");
    let again = delta.write_deletion_vector(id, &rows).await.expect("the same");
    assert_eq!(first, again);
    assert_eq!(first.cardinality, 2);
    assert_eq!(first.file_name().as_deref(), Some("_dv/deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin"));
    let others = RoaringBitmap::from_iter([1u32]);
    assert_eq!(delta.write_deletion_vector(id, &others).await.expect_err("other rows").code(), Code::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_deletion_vector_is_read_back() {
    let store = memory();
    let rows = RoaringBitmap::from_iter([1u32, 5]);
    let written = delta_in(&store).write_deletion_vector(Uuid::from_u128(5), &rows).await.expect("a vector");
    assert_eq!(DeletionVector::from_disk(&written.to_disk()).expect("it reads"), written);
    // What the first version of this program wrote. The id is an example of the Delta protocol.
    let fixture = concat!(
        "\x01",
        r#"{"storageType":"u","pathOrInlineDv":"_dvvBn[lx{q8@P<9BNH/isA","offset":1,"sizeInBytes":36,"cardinality":2}"#
    );
    let read = DeletionVector::from_disk(fixture.as_bytes()).expect("it reads");
    assert_eq!(read.cardinality, 2);
    assert_eq!(read.file_name().as_deref(), Some("_dv/deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin"));
    let code = |bytes: &[u8]| DeletionVector::from_disk(bytes).expect_err("not readable").code();
    assert_eq!(code(b"\x02{}"), Code::LogUnknownVersion);
    assert_eq!(code(b"\x01{}"), Code::LogDamaged);
    assert_eq!(code(b""), Code::LogDamaged);
    assert_eq!(code(fixture.replace(":2}", ":-2}").as_bytes()), Code::LogDamaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_deletion_vector_is_named() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let a = file("a.parquet", 1);
    let rows = RoaringBitmap::from_iter([1u32, 5]);
    let vector = delta.write_deletion_vector(Uuid::from_u128(5), &rows).await.expect("a vector");
    let adds = vec![Add { vector: Some(&vector), ..added(&a) }];
    let protocol = Some(Features::of(&def).with_deletion_vectors(true));
    commit(&delta, 0, &Change { adds, protocol, ..create(&def) }).await;
    let path = Path::from(format!("tables/events-1/{}", vector.file_name().expect("a file")));
    let whole = store.get(&path).await.expect("get").bytes().await.expect("bytes");
    for at in [0, 4, 6, whole.len() - 6, whole.len() - 1] {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0xff;
        store.put(&path, PutPayload::from(damaged)).await.expect("put");
        let e = delta.load().await.expect_err("damaged");
        assert!(e.message().contains("a.parquet"), "byte {at}: {e}");
        assert_eq!(e.code(), Code::DeltaDamaged, "byte {at}: {e}");
    }
    store.delete(&path).await.expect("delete");
    let e = delta.load().await.expect_err("missing");
    assert!(e.message().contains("a.parquet") && e.code() == Code::DeltaDamaged, "{e}");
    store.put(&path, whole.into()).await.expect("put");
    assert_eq!(delta.load().await.expect("whole").files[0].deleted, Some(rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_row_must_be_one_of_the_file() {
    let store = memory();
    let (delta, def) = (delta_in(&store), events());
    let a = file("a.parquet", 1);
    let vector = delta.write_deletion_vector(Uuid::from_u128(5), &RoaringBitmap::from_iter([100u32])).await;
    let vector = vector.expect("a vector");
    let adds = vec![Add { vector: Some(&vector), ..added(&a) }];
    let protocol = Some(Features::of(&def).with_deletion_vectors(true));
    commit(&delta, 0, &Change { adds, protocol, ..create(&def) }).await;
    assert_eq!(delta.load().await.expect_err("row 100 of 100").code(), Code::DeltaDamaged);
    // A commit that does not declare what it uses is not made.
    let undeclared = Change { adds: vec![Add { vector: Some(&vector), ..added(&a) }], ..create(&def) };
    assert_eq!(undeclared.to_bytes().expect_err("undeclared").code(), Code::Internal);
}
