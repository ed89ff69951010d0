//! Does a folder start over the store alone that its tables are in, whatever it is called, and wherever the folder goes?

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use url::Url;

use super::support::{Fixture, batch, keys_of, request};
use crate::attaching::check_place;
use crate::error::Code;
use crate::log::{Family, Op, Store, meta_key};
use crate::sealed::{StoreOptions, StorePlace};
use crate::table::Table;

/// What the next start is told: the name of the data folder among those of the test, and `storage.url`.
#[derive(Default)]
struct Told {
    folder: String,
    url: Option<String>,
}

fn fixture() -> (Fixture, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(Told { folder: "data".to_owned(), url: None }));
    let next = Arc::clone(&told);
    let fixture = Fixture::open_with(move |options| {
        let told = next.lock();
        options.data_dir = options.data_dir.join(&told.folder);
        options.tables.url.clone_from(&told.url);
    });
    (fixture, told)
}

fn url_of(folder: &Path) -> Option<String> {
    Some(Url::from_file_path(folder).expect("absolute").to_string())
}

/// `t` with ten sealed rows.
async fn with_sealed_rows() -> (Fixture, Arc<Mutex<Told>>) {
    let (mut fixture, told) = fixture();
    fill(&fixture.create("t").await).await;
    fixture.close().await;
    (fixture, told)
}

async fn fill(table: &Table) {
    table.write(request(batch(&(0..10).collect::<Vec<_>>()))).await.expect("stored");
    table.seal().await.expect("sealed");
}

/// Opens with what it has, all of which is whole, and closes.
async fn assert_opens(fixture: &mut Fixture, why: &str) {
    fixture.reopen().unwrap_or_else(|e| panic!("{why}: {e}"));
    assert_eq!(keys_of(&fixture.table("t")), (0..10).collect::<Vec<_>>(), "{why}");
    let checks = fixture.table("t").verify().await.expect("asked");
    assert!(checks.iter().all(|check| check.is_ok != Some(false)), "{why}: {checks:?}");
    fixture.close().await;
}

/// The error of a start says all of this.
fn assert_refused(fixture: &mut Fixture, parts: &[&str]) {
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::StoreChanged, "{refused}");
    for part in parts {
        assert!(refused.to_string().contains(part), "{part}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_over_another_store_is_refused_and_changes_nothing() {
    let (mut fixture, told) = with_sealed_rows().await;
    let other = fixture.path().join("other");
    told.lock().url = url_of(&other);
    let named = format!("storage.url is '{}'", url_of(&other).expect("a URL"));
    for _ in 0..2 {
        let data = fixture.path().join("data").display().to_string();
        assert_refused(
            &mut fixture,
            &[&data, "in its folder 'tables' (public.t)", &named, "back to 'local'", "table attach"],
        );
        assert!(!other.exists(), "nothing is made there");
    }
    told.lock().url = Some("s3://bucket/x".to_owned());
    assert_refused(&mut fixture, &["storage.url is 's3://bucket/x'"]);
    // Another name of the same folder.
    told.lock().url = url_of(&fixture.path().join("data/tables")).map(|url| format!("{url}/"));
    assert_opens(&mut fixture, "the same by its URL").await;
    told.lock().url = None;
    assert_opens(&mut fixture, "set back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_its_tables_in_it_may_be_moved() {
    let (mut fixture, told) = with_sealed_rows().await;
    std::fs::rename(fixture.path().join("data"), fixture.path().join("moved")).expect("moved");
    told.lock().folder = "moved".to_owned();
    assert_opens(&mut fixture, "moved").await;
    told.lock().url = url_of(&fixture.path().join("data/tables"));
    assert_refused(&mut fixture, &["in its folder 'tables'"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_elsewhere_may_be_moved_and_linked() {
    let (mut fixture, told) = fixture();
    fixture.close().await;
    let (one, two) = (fixture.path().join("one"), fixture.path().join("two"));
    told.lock().url = url_of(&one);
    fixture.reopen().expect("nothing is in the other one");
    fill(&fixture.create("t").await).await;
    fixture.close().await;

    told.lock().url = None;
    let back = format!("back to '{}'", url_of(&one).expect("a URL"));
    assert_refused(&mut fixture, &["storage.url is 'local'", &back]);
    told.lock().url = url_of(&two);
    assert_refused(&mut fixture, &[&back]);
    // As when its file system is not mounted.
    std::fs::rename(&one, &two).expect("moved");
    told.lock().url = None;
    assert_refused(&mut fixture, &[&back]);
    told.lock().url = url_of(&two);
    assert_opens(&mut fixture, "moved").await;
    std::os::unix::fs::symlink(&two, &one).expect("linked");
    told.lock().url = url_of(&one);
    assert_opens(&mut fixture, "by a link").await;
    std::fs::remove_file(&one).expect("removed");
    std::fs::create_dir(&one).expect("another folder");
    told.lock().url = url_of(&two);
    assert_opens(&mut fixture, "what the link led to").await;
    told.lock().url = url_of(&one);
    assert_refused(&mut fixture, &["(public.t)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_store_holds_nobody_to_it() {
    let (mut old, _) = fixture();
    let table = old.create("t").await;
    fill(&table).await;
    let attached = table.shared.gate.folder.join(table.shared.folders.published().to_string());
    drop(table);
    old.close().await;

    let (mut fixture, told) = fixture();
    let table = fixture.engine().attach_table(&attached.display().to_string(), None).await.expect("attached");
    assert_eq!(keys_of(&table).len(), 10);
    drop(table);
    let fresh = fixture.create("fresh").await;
    fresh.write(request(batch(&[1, 2]))).await.expect("stored");
    drop(fresh);
    fixture.close().await;
    let other = fixture.path().join("other");
    told.lock().url = url_of(&other);
    fixture.reopen().expect("one table is where it was attached, and the other has no file");
    assert_eq!(fixture.table("fresh").seal().await.expect("sealed").rows, 2);
    assert!(fixture.table("fresh").location().starts_with(&url_of(&other).expect("a URL")));
    fixture.close().await;
    told.lock().url = None;
    assert_refused(&mut fixture, &["(public.fresh)"]);
    told.lock().url = url_of(&other);
    assert_opens(&mut fixture, "set back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_there_until_it_is_purged() {
    let (mut fixture, told) = with_sealed_rows().await;
    fixture.reopen().expect("opens");
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    fixture.close().await;
    told.lock().url = url_of(&fixture.path().join("other"));
    assert_refused(&mut fixture, &["(public.t)"]);
    told.lock().url = None;
    fixture.reopen().expect("opens");
    fixture.engine().purge_table("public", "t").await.expect("purged");
    fixture.close().await;
    told.lock().url = url_of(&fixture.path().join("other"));
    fixture.reopen().expect("nothing is left in the old one");
}

/// The folder as a program left it that did not know of the record.
fn forget_place(data: &Path) {
    let store = Store::open(data).expect("opens");
    store.write(&[Op::Delete(Family::Meta, meta_key::STORE.to_vec())], true).expect("written");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("known").is_dir() {
            true => copy(&from, &to),
            false => {
                std::fs::copy(&from, &to).expect("copied");
            }
        }
    }
}

fn place_on_record(data: &Path) -> Option<StorePlace> {
    let record = Store::open(data).expect("opens").get(Family::Meta, meta_key::STORE).expect("readable");
    record.map(|record| StorePlace::from_disk(&record).expect("whole"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_record_takes_what_it_is_told_unless_its_tables_are_in_it() {
    let (mut fixture, told) = with_sealed_rows().await;
    let data = fixture.path().join("data");
    forget_place(&data);
    told.lock().url = Some("s3://bucket/x".to_owned());
    assert_refused(&mut fixture, &["in its folder 'tables' (public.t)"]);
    assert_eq!(place_on_record(&data), None, "nothing was changed");
    told.lock().url = None;
    assert_opens(&mut fixture, "as before").await;
    assert_eq!(place_on_record(&data), Some(StorePlace::usual()));

    // Moved by hand, and told of it, as there was no record.
    forget_place(&data);
    let other = fixture.path().join("other");
    std::fs::rename(data.join("tables"), &other).expect("moved");
    told.lock().url = url_of(&other);
    assert_opens(&mut fixture, "where it is told").await;
    assert_eq!(place_on_record(&data).map(|place| place.to_string()), url_of(&other));
    told.lock().url = None;
    assert_refused(&mut fixture, &["storage.url is 'local'"]);

    // Copied by hand long ago: what was left behind is not what was written to since.
    forget_place(&data);
    copy(&other, &data.join("tables"));
    told.lock().url = url_of(&other);
    assert_opens(&mut fixture, "where it is told, whatever is in the old place").await;
    assert_eq!(place_on_record(&data).map(|place| place.to_string()), url_of(&other));
    forget_place(&data);
    told.lock().url = Some("s3://bucket/x".to_owned());
    let copies = format!("move the old copies out of {} first", data.join("tables").display());
    assert_refused(&mut fixture, &["in its folder 'tables' (public.t)", "copied to 's3://bucket/x'", &copies]);
    std::fs::remove_dir_all(data.join("tables")).expect("removed");
    told.lock().url = None;

    // Told wrongly, which nobody could know: the right one is taken all the same.
    forget_place(&data);
    fixture.reopen().expect("opens");
    fixture.close().await;
    assert_eq!(place_on_record(&data), Some(StorePlace::usual()));
    told.lock().url = url_of(&other);
    assert_opens(&mut fixture, "the right one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_an_object_store_are_looked_for_nowhere_else() {
    let (fixture, _) = with_sealed_rows().await;
    let data = fixture.path().join("data");
    let at = |url: Option<&str>| {
        let options = vec![("aws_secret_access_key".to_owned(), "hidden".to_owned())];
        let options = StoreOptions { url: url.map(str::to_owned), options };
        StorePlace::of(&data, &options).expect("a place")
    };
    let here = at(Some("s3://bucket/prefix/"));
    assert!(!String::from_utf8_lossy(&here.to_disk()).contains("hidden"));
    let store = Store::open(&data).expect("opens");
    store.write(&[Op::Put(Family::Meta, meta_key::STORE.to_vec(), here.to_disk())], true).expect("written");
    let check = |url: Option<&str>| check_place(&store, &data, &at(url)).map(|record| record.is_some());
    assert!(!check(Some("s3://bucket/prefix")).expect("the same"), "it is on record");
    for other in [None, Some("s3://bucket"), Some("s3://bucket/other"), Some("s3://other/prefix"), Some("file:///x")] {
        assert_eq!(check(other).expect_err("refused").code(), Code::StoreChanged, "{other:?}");
    }
    // Of a folder without a record, whose tables may be anywhere, nobody knows whether they are in this one.
    store.write(&[Op::Delete(Family::Meta, meta_key::STORE.to_vec())], true).expect("written");
    std::fs::rename(data.join("tables"), data.join("elsewhere")).expect("moved");
    assert!(!check(Some("s3://bucket/wrong")).expect("taken"), "it is not held to it");
    assert!(check(None).expect("taken"), "what the local disk knows of is put on record");
}
