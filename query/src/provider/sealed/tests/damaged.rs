//! Who is refused when a file is damaged, and what is said? Those that need it; what is known without it is still answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::object_store;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
use tidewater_storage::{Code, Engine, EngineOptions, Error};

use super::super::reader::unreadable;
use super::super::source::named;
use super::support::{Fixture, Session, narrow, narrow_rows};
use crate::error::from_datafusion;
use crate::provider::tests::support::Random;

/// Two files: rows 0 to 99 in hour 0, rows 100 to 199 in hour 1.
async fn two_files() -> Fixture {
    let fixture = Fixture::new(narrow()).await;
    for hour in 0..2 {
        fixture.write(narrow_rows(hour * 100, 100, hour, |id| Some(id as f64))).await;
        fixture.table.seal().await.expect("sealed");
    }
    fixture
}

async fn refused(session: &Session, sql: &str) -> Error {
    let frame = session.0.sql(sql).await.expect("planned");
    from_datafusion(frame.collect().await.expect_err("refused"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_on_record_fails_only_those_that_need_it_until_it_is_restored() {
    let fixture = two_files().await;
    let snapshot = fixture.table.snapshot();
    let broken = snapshot.files()[0].clone();
    let path = fixture.folder.path().join("data").join(broken.place.path.to_string());
    let whole = std::fs::read(&path).expect("readable");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    // A snapshot from before knows it as well.
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    assert_eq!(session.number("SELECT count(v) FROM t WHERE id >= 0").await, 200);
    std::fs::write(&path, &bytes).expect("written");
    let checks = fixture.table.verify().await.expect("asked");
    assert_eq!(checks.iter().find(|check| check.name == "files").expect("there").is_ok, Some(false));

    let error = refused(&session, "SELECT sum(v) FROM t").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    let text = error.to_string();
    assert!(text.contains(&broken.file.name) && text.contains("checksum") && text.contains("CALL verify"), "{text}");
    let (first, last) = if broken.file.min_seq.0 == 1 { (100, 200) } else { (0, 100) };
    let pruned = format!("SELECT count(v) FROM t WHERE id >= {first} AND id < {last}");
    assert_eq!(session.number(&pruned).await, 100);
    assert_eq!(session.number("SELECT count(*) FROM t").await, 200, "what is known of files is right");
    assert_eq!(session.number("SELECT max(id) FROM t").await, 199);

    std::fs::write(&path, &whole).expect("restored");
    fixture.table.verify().await.expect("asked");
    assert_eq!(session.number("SELECT count(v) FROM t WHERE id >= 0").await, 200);
}

/// A file whose column `v` has values of nothing but random bits: of another one nothing but a checksum can tell. Nobody tests files here.
async fn random_values() -> Fixture {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut options = EngineOptions::temporary(Arc::clone(&folder), 2 << 30);
    options.seals_by_itself = false;
    options.scrub.rate = None;
    let engine = Engine::open(options).expect("the folder opens").0;
    let (table, _) = engine.create_table(narrow()).await.expect("created");
    let fixture = Fixture { engine, table, folder };
    let value = |id: i64| Some(f64::from_bits(Random::new(id as u64 + 1).next() & !(1 << 62)));
    fixture.write(narrow_rows(0, 40_000, 0, value)).await;
    fixture.table.seal().await.expect("sealed");
    fixture
}

#[test]
fn what_a_decoder_cannot_read_is_told_without_the_name_of_its_error() {
    let error = ArrowError::ParquetError("External: Data corruption detected".to_owned());
    let told = from_datafusion(named(error.into(), "t", &|| Some("a.parquet".to_owned())));
    assert_eq!(told.message(), "the file a.parquet of table t is damaged: Data corruption detected");
}

#[test]
fn who_finds_a_file_missing_is_told_to_look_for_its_file_system_first() {
    let missing = object_store::Error::NotFound { path: "a.parquet".to_owned(), source: "nothing".into() };
    let error = unreadable(&object_store::path::Path::from("a.parquet"), missing);
    assert_eq!((error.code(), error.message()), (Code::FileDamaged, "the file a.parquet is damaged: it is missing"));
    let hint = error.hint_text().expect("a hint");
    assert!(hint.starts_with("mount its file system") && hint.contains("CALL give_up"), "{hint}");
}

fn decodes(path: &Path) -> usize {
    let file = std::fs::File::open(path).expect("there");
    let rows = ParquetRecordBatchReaderBuilder::try_new(file).expect("a footer").build().expect("a reader");
    rows.map(|rows| rows.expect("it decodes").num_rows()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_first_gets_no_wrong_value() {
    let fixture = random_values().await;
    let snapshot = fixture.table.snapshot();
    let file = &snapshot.files()[0];
    let path = fixture.folder.path().join("data").join(file.place.path.to_string());
    let whole = std::fs::read(&path).expect("readable");
    let footer = SerializedFileReader::new(Bytes::from(whole.clone())).expect("a file").metadata().clone();
    let (at, length) = footer.row_group(0).column(2).byte_range();
    let mut bytes = whole.clone();
    bytes[(at + length / 2) as usize] ^= 4;
    std::fs::write(&path, &bytes).expect("written");
    assert_eq!(decodes(&path), 40_000, "nothing but a checksum tells");

    let session = Session::new(1);
    session.show("t", &snapshot, false);
    assert_eq!(session.number("SELECT sum(id) FROM t").await, 20_000 * 39_999, "other blocks are read");
    let error = refused(&session, "SELECT v FROM t").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    assert!(error.to_string().contains(&file.file.name) && error.to_string().contains("checksum"), "{error}");
    std::fs::write(&path, &whole).expect("restored");
    fixture.table.verify().await.expect("asked");
    assert_eq!(session.number("SELECT count(v) FROM t WHERE id >= 0").await, 40_000);
    fixture.engine.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_first_believes_no_other_footer() {
    let fixture = random_values().await;
    let snapshot = fixture.table.snapshot();
    let file = &snapshot.files()[0];
    let path = fixture.folder.path().join("data").join(file.place.path.to_string());
    let whole = std::fs::read(&path).expect("readable");
    let n_bytes = file.file.tail.expect("it has one").bytes as usize;
    // Bounds of pages among them, by which rows are left out.
    for at in (0..n_bytes).step_by(97) {
        let mut bytes = whole.clone();
        let place = bytes.len() - n_bytes + at;
        bytes[place] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).expect("written");
        let session = Session::new(1);
        session.show("t", &snapshot, false);
        let error = refused(&session, "SELECT v FROM t WHERE id = 7").await;
        assert_eq!(error.code(), Code::FileDamaged, "{at}: {error}");
    }
    fixture.engine.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stumbles_over_a_file_names_it() {
    let fixture = two_files().await;
    let snapshot = fixture.table.snapshot();
    let broken = &snapshot.files()[0];
    let path = fixture.folder.path().join("data").join(broken.place.path.to_string());
    let mut bytes = std::fs::read(&path).expect("readable");
    // The header of the first page; the footer and its index stay as they are.
    bytes[4..20].fill(0xff);
    std::fs::write(&path, &bytes).expect("written");
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    let error = refused(&session, "SELECT id, ts, v FROM t WHERE id >= 0 ORDER BY v").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    assert!(error.to_string().contains(&broken.file.name), "{error}");
}

/// Claims two thousand million row groups: read as it says, it ends the process.
const HOSTILE_FOOTER: &[u8] = &[
    0x15, 0x02, 0x19, 0x1c, 0x48, 1, b'm', 0x15, 0x00, 0x00, 0x16, 0x00, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 19,
    0, 0, 0, b'P', b'A', b'R', b'1',
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_made_to_harm_fails_the_query_alone() {
    let fixture = two_files().await;
    let snapshot = fixture.table.snapshot();
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    let broken = &snapshot.files()[0];
    let path = fixture.folder.path().join("data").join(broken.place.path.to_string());
    let whole = std::fs::read(&path).expect("readable");
    let mut bytes = whole.clone();
    let at = bytes.len() - HOSTILE_FOOTER.len();
    bytes[at..].copy_from_slice(HOSTILE_FOOTER);
    std::fs::write(&path, &bytes).expect("written");
    let error = refused(&session, "SELECT sum(v) FROM t").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    assert!(error.to_string().contains(&broken.file.name), "{error}");

    // The plain size of the first page, which is decoded into so much.
    let mut bytes = whole.clone();
    assert_eq!(bytes[4..7], [0x15, 0x00, 0x15], "the header of a page");
    bytes[7..12].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff, 0x0f]);
    std::fs::write(&path, &bytes).expect("written");
    let error = refused(&session, "SELECT id, ts, v FROM t WHERE id >= 0 ORDER BY v").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    std::fs::write(&path, &whole).expect("restored");
    fixture.table.verify().await.expect("asked");
    assert_eq!(session.number("SELECT count(v) FROM t WHERE id >= 0").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_disk_gives_in_part_is_tested_soon() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut options = EngineOptions::temporary(Arc::clone(&folder), 2 << 30);
    // Only what a query stumbles over.
    options.scrub.rate = None;
    let engine = Engine::open(options).expect("the folder opens").0;
    let (table, _) = engine.create_table(narrow()).await.expect("created");
    let fixture = Fixture { engine, table, folder };
    fixture.write(narrow_rows(0, 100, 0, |id| Some(id as f64))).await;
    fixture.table.seal().await.expect("sealed");
    let snapshot = fixture.table.snapshot();
    let broken = &snapshot.files()[0];
    let session = Session::new(1);
    session.show("t", &snapshot, false);
    // Its footer is known from here on.
    assert_eq!(session.number("SELECT count(v) FROM t WHERE id >= 0").await, 100);
    let path = fixture.folder.path().join("data").join(broken.place.path.to_string());
    let file = std::fs::File::options().write(true).open(&path).expect("there");
    file.set_len(4).expect("cut");
    let error = refused(&session, "SELECT sum(v) FROM t").await;
    assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    let found = async {
        while snapshot.quarantine().damage(&broken.file.name).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("it is found");
    let error = refused(&session, "SELECT sum(v) FROM t").await;
    assert_eq!(error.code(), Code::FileDamaged, "{error}");
    fixture.engine.shutdown().await.expect("a clean end");
}
