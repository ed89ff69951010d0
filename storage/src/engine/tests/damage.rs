//! What does a start do with a folder that is not as it was left? It refuses, by name, unless nothing acknowledged is missing.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::PathBuf;

use super::support::{Fixture, batch, keys_of, request};
use crate::engine::{Engine, EngineOptions};
use crate::error::Code;
use crate::ids::{CommitSeq, SHARD_ZERO, SchemaId};
use crate::log::{Entry, EntryBody, Family, Op, Store, log_key, meta_key};

async fn with_three_entries() -> Fixture {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    for key in 1..=3 {
        table.write(request(batch(&[key]))).await.expect("stored");
    }
    drop(table);
    fixture.close().await;
    fixture
}

fn newest_wal(fixture: &Fixture) -> PathBuf {
    let logs = std::fs::read_dir(fixture.path().join("log")).expect("readable");
    logs.filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|x| x == "log") && p.metadata().is_ok_and(|m| m.len() > 0))
        .max()
        .expect("a write-ahead log")
}

/// Changes an entry behind the engine's back, through RocksDB, so that only our own checks can see it.
async fn change_entry(fixture: &mut Fixture, seq: u64, change: impl FnOnce(&mut Vec<u8>) -> bool) {
    fixture.reopen().expect("opens");
    let id = fixture.table("t").def().id;
    fixture.close().await;
    let store = Store::open(fixture.path()).expect("opens");
    let key = log_key(id, SHARD_ZERO, CommitSeq(seq));
    let mut entry = store.get(Family::Log, &key).expect("readable").expect("there");
    let op = if change(&mut entry) { Op::Put(Family::Log, key, entry) } else { Op::Delete(Family::Log, key) };
    store.write(&[op], true).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_refused_by_sequence() {
    let mut fixture = with_three_entries().await;
    change_entry(&mut fixture, 2, |entry| {
        let last = entry.len() - 1;
        entry[last] ^= 1;
        true
    })
    .await;
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogDamaged);
    assert!(refused.to_string().contains("entry 2 of table"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_entry_is_refused_by_sequence() {
    let mut fixture = with_three_entries().await;
    change_entry(&mut fixture, 2, |_| false).await;
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogDamaged);
    assert!(refused.to_string().contains("entry 3 where entry 2 belongs"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_versions_of_later_programs_are_refused() {
    let later = |body| Entry { schema: SchemaId(1), stamp_us: 1, uptime_us: 1, body }.encode();
    let unknown = |at: usize, value: u8| {
        let mut entry = later(EntryBody::Truncate);
        entry[at] = value;
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&entry[..16]);
        hash.update(&entry[24..]);
        entry[16..24].copy_from_slice(&hash.digest().to_le_bytes());
        entry
    };
    let cases = [(unknown(0, 9), "version 9"), (unknown(1, 77), "unknown kind (77)")];
    for (entry, what) in cases {
        let mut fixture = with_three_entries().await;
        change_entry(&mut fixture, 3, |stored| {
            *stored = entry;
            true
        })
        .await;
        let refused = fixture.reopen().expect_err("refused");
        assert_eq!(refused.code(), Code::LogUnknownVersion, "{what}");
        assert!(refused.to_string().contains(what), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_later_program_is_refused_with_both_versions() {
    let mut fixture = with_three_entries().await;
    let store = Store::open(fixture.path()).expect("opens");
    let format = |version: &str| Op::Put(Family::Meta, meta_key::FORMAT.to_vec(), version.as_bytes().to_vec());
    store.write(&[format("2")], true).expect("written");
    drop(store);
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogUnknownVersion);
    let ours = format!("Tidewater {}, reads disk format 1", env!("CARGO_PKG_VERSION"));
    for part in [fixture.path().display().to_string().as_str(), "has disk format 2", ours.as_str()] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    // Nothing was changed.
    let store = Store::open(fixture.path()).expect("opens");
    store.write(&[format("1")], true).expect("written");
    drop(store);
    fixture.reopen().expect("opens");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_log_that_a_later_program_made_are_refused() {
    let mut fixture = with_three_entries().await;
    let log = fixture.path().join("log");
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &log).expect("readable");
    let later = rocksdb::DB::open_cf(&options, &log, families).expect("opens");
    later.create_cf("later", &options).expect("made");
    drop(later);
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogUnknownVersion, "{refused}");
    assert!(refused.to_string().contains("does not know") && refused.to_string().contains("later"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_behind_its_witness_is_refused() {
    let mut fixture = with_three_entries().await;
    let wal = newest_wal(&fixture);
    let file = OpenOptions::new().write(true).open(&wal).expect("opens");
    file.set_len(wal.metadata().expect("there").len() - 10).expect("cut");
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogDamaged);
    assert!(refused.to_string().contains("acknowledged"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_inside_the_log_is_refused_by_file() {
    let mut fixture = with_three_entries().await;
    let wal = newest_wal(&fixture);
    let mut bytes = Vec::new();
    std::fs::File::open(&wal).expect("opens").read_to_end(&mut bytes).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&wal, bytes).expect("written");
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogDamaged);
    assert!(refused.to_string().contains(".log"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_innocent_torn_tail_opens() {
    let mut fixture = with_three_entries().await;
    let wal = newest_wal(&fixture);
    // A record that was never finished, so never acknowledged: a plausible header and less body than it says.
    let mut file = OpenOptions::new().append(true).open(&wal).expect("opens");
    file.write_all(&[0x51, 0x3a, 0x77, 0x10, 0xff, 0x00, 0x01, 1, 2, 3]).expect("written");
    fixture.reopen().expect("opens");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_an_unusable_folder_are_refused() {
    let fixture = Fixture::open();
    let second = Engine::open(EngineOptions::new(fixture.path(), 1 << 30)).expect_err("refused");
    assert_eq!(second.code(), Code::FolderLocked);
    let file = fixture.path().join("a file");
    std::fs::write(&file, "x").expect("written");
    let unusable = Engine::open(EngineOptions::new(file.join("folder"), 1 << 30)).expect_err("refused");
    assert_eq!(unusable.code(), Code::FolderUnusable);
}
