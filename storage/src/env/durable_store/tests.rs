//! Is a name in the store either absent or whole, whatever fails, and does the store do what any object store does?

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use futures::{FutureExt, TryStreamExt};
use object_store::{Attribute, Attributes, ObjectStoreExt, UpdateVersion};
use proptest::prelude::*;
use tempfile::TempDir;

use super::disk::TEMPORARY;
use super::*;
use crate::env::FailAction;

/// Nobody stops it.
static GO_ON: AtomicBool = AtomicBool::new(false);

struct Opened {
    folder: TempDir,
    env: Env,
    store: DurableLocalStore,
}

fn opened() -> Opened {
    let folder = tempfile::tempdir().expect("a folder");
    let env = Env::system();
    let store = DurableLocalStore::open(folder.path(), &env).expect("opens");
    Opened { folder, env, store }
}

/// Without a runtime all work is done at the first poll.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("no runtime, so nothing is left for later")
}

fn at(path: &str) -> StorePath {
    StorePath::parse(path).expect("a path")
}

fn put(store: &DurableLocalStore, path: &str, bytes: &[u8], mode: PutMode) -> StoreResult<PutResult> {
    now(store.put_opts(&at(path), Bytes::copy_from_slice(bytes).into(), mode.into()))
}

fn get(store: &DurableLocalStore, path: &str) -> Option<Vec<u8>> {
    match now(store.get(&at(path))) {
        Ok(found) => Some(now(found.bytes()).expect("readable").to_vec()),
        Err(StoreError::NotFound { .. }) => None,
        Err(e) => panic!("{e}"),
    }
}

/// What the store lists, sorted.
fn listed(store: &DurableLocalStore) -> Vec<String> {
    let found: Vec<ObjectMeta> = now(store.list(None).try_collect()).expect("lists");
    let mut names: Vec<String> = found.into_iter().map(|object| object.location.to_string()).collect();
    names.sort();
    names
}

/// Temporary files below `folder`.
fn n_temporary(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| match path.is_dir() {
            true => n_temporary(&path),
            false => usize::from(path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(TEMPORARY))),
        })
        .sum()
}

/// Fails the test unless the error is of the kind that `is` names.
fn refused<T: std::fmt::Debug>(outcome: StoreResult<T>, is: fn(&StoreError) -> bool) {
    let error = outcome.expect_err("refused");
    assert!(is(&error), "{error:?}");
}

fn exists(e: &StoreError) -> bool {
    matches!(e, StoreError::AlreadyExists { .. })
}

fn absent(e: &StoreError) -> bool {
    matches!(e, StoreError::NotFound { .. })
}

fn unsupported(e: &StoreError) -> bool {
    matches!(e, StoreError::NotSupported { .. })
}

fn unknown(e: &StoreError) -> bool {
    matches!(e, StoreError::Generic { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_in_a_runtime() {
    let Opened { store, folder, .. } = opened();
    let path = at("tables/t-1/_delta_log/00000000000000000000.json");
    store.put_opts(&path, "one".into(), PutMode::Create.into()).await.expect("new");
    refused(store.put_opts(&path, "two".into(), PutMode::Create.into()).await, exists);
    assert_eq!(store.get(&path).await.expect("there").bytes().await.expect("readable"), "one");
    store.put(&path, "three".into()).await.expect("replaced");
    assert_eq!(store.head(&path).await.expect("there").size, 5);
    assert_eq!(store.get_range(&path, 1..3).await.expect("there"), "hr");

    let mut upload = store.put_multipart(&at("tables/t-1/a.parquet")).await.expect("begun");
    let (first, second) = (upload.put_part("abc".into()), upload.put_part("de".into()));
    second.await.expect("written");
    first.await.expect("written");
    upload.complete().await.expect("complete");
    store.rename(&at("tables/t-1/a.parquet"), &at("tables/t-2/a.parquet")).await.expect("renamed");
    assert_eq!(store.get(&at("tables/t-2/a.parquet")).await.expect("there").bytes().await.expect("readable"), "abcde");

    store.delete(&path).await.expect("deleted");
    refused(store.delete(&path).await, absent);
    refused(store.delete(&at("never/was")).await, absent);
    assert_eq!(n_temporary(folder.path()), 0);
}

#[test]
fn what_is_not_supported_is_refused() {
    let Opened { store, folder: _folder, .. } = opened();
    let version = UpdateVersion { e_tag: None, version: None };
    refused(put(&store, "a", b"1", PutMode::Update(version)), unsupported);
    let attributes: Attributes = [(Attribute::ContentType, "text/plain")].into_iter().collect();
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    refused(now(store.put_opts(&at("a"), "1".into(), options)), unsupported);
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    refused(now(store.put_multipart_opts(&at("a"), options)), unsupported);
    // Names that lists hide.
    assert!(put(&store, "a#1", b"1", PutMode::Create).is_err());
    assert_eq!(listed(&store), Vec::<String>::new());
}

#[test]
fn the_root_is_made_and_stays_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("a/b/c");
    let env = Env::system();
    let store = DurableLocalStore::open(&root, &env).expect("makes it");
    put(&store, "x", b"1", PutMode::Create).expect("new");
    assert_eq!(get(&DurableLocalStore::open(&root, &env).expect("opens"), "x").as_deref(), Some(&b"1"[..]));
    let other = store.beside(&folder.path().join("d")).expect("makes it");
    assert_eq!(get(&other, "x"), None);
    fs::write(folder.path().join("file"), "").expect("written");
    let error = DurableLocalStore::open(&folder.path().join("file"), &env).expect_err("a file");
    assert_eq!(error.code(), Code::FolderUnusable, "{error}");
}

#[test]
fn a_folder_that_was_removed_is_made_again() {
    let Opened { store, folder, .. } = opened();
    for _ in 0..2 {
        put(&store, "t/log/1", b"1", PutMode::Create).expect("new");
        assert_eq!(get(&store, "t/log/1").as_deref(), Some(&b"1"[..]));
        fs::remove_dir_all(folder.path().join("t")).expect("removed");
    }
}

/// A name is there only after the bytes are written and synced, and nobody sees the temporary one, whatever the target is called.
#[test]
fn nothing_is_seen_before_it_is_whole() {
    let Opened { store, env, folder } = opened();
    for name in ["t/1.json", "t/a#b.json", &format!("t/{}", "n".repeat(255))] {
        env.fail.arm("store.before_name", FailAction::Hold(1));
        let writer = {
            let (store, name) = (store.clone(), name.to_owned());
            std::thread::spawn(move || put(&store, &name, b"whole", PutMode::Create).map(|_| ()))
        };
        while env.fail.visits("store.before_name") == 0 {
            std::thread::yield_now();
        }
        assert_eq!(n_temporary(folder.path()), 1);
        assert_eq!((get(&store, name), listed(&store)), (None, Vec::new()));
        assert_eq!(now(store.list_with_delimiter(Some(&at("t")))).expect("lists").objects, Vec::new());
        env.fail.release("store.before_name");
        writer.join().expect("no panic").expect("new");
        assert_eq!((get(&store, name).as_deref(), listed(&store)), (Some(&b"whole"[..]), vec![name.to_owned()]));
        assert_eq!(n_temporary(folder.path()), 0);
        now(store.delete(&at(name))).expect("deleted");
    }
}

/// What a write is made by.
type Attempt = fn(&Opened) -> bool;

const WRITES: [(&str, Attempt); 6] = [
    ("put", |o| put(&o.store, "t/new", b"bytes", PutMode::Create).is_ok()),
    ("replace", |o| put(&o.store, "t/new", b"bytes", PutMode::Overwrite).is_ok()),
    ("upload", |o| {
        let mut upload = now(o.store.put_multipart(&at("t/new"))).expect("begun");
        now(upload.put_part("bytes".into())).expect("written");
        now(upload.complete()).is_ok()
    }),
    ("copy", |o| now(o.store.copy_if_not_exists(&at("source"), &at("t/new"))).is_ok()),
    ("rename", |o| now(o.store.rename(&at("source"), &at("t/new"))).is_ok()),
    ("link", |o| o.store.link_in(&o.folder.path().join("source"), &at("t/new"), &GO_ON).is_ok()),
];

#[test]
fn a_write_that_fails_leaves_nothing_or_all() {
    for (what, write) in WRITES {
        for point in ["store.before_sync", "store.before_name", "store.after_name", "store.after_sync"] {
            let opened = opened();
            put(&opened.store, "source", b"bytes", PutMode::Create).expect("new");
            opened.env.fail.arm(point, FailAction::Error(1));
            let is_ok = write(&opened);
            // A link needs no sync of its own.
            let was_hit = opened.env.fail.visits(point) == 1;
            assert_eq!(is_ok, !was_hit, "{what} {point}");
            let is_named = point.starts_with("store.after") || !was_hit;
            let expected = is_named.then(|| b"bytes".to_vec());
            assert_eq!(get(&opened.store, "t/new"), expected, "{what} {point}");
            assert_eq!(n_temporary(opened.folder.path()), 0, "{what} {point}");
            if was_hit {
                assert_eq!(get(&opened.store, "source").as_deref(), Some(&b"bytes"[..]), "{what} {point}");
            }
            // The caller sends the same again.
            opened.env.fail.release(point);
            let again = write(&opened);
            let is_refused = is_named && matches!(what, "put" | "copy");
            // A rename that had happened has no source any more.
            let is_gone = what == "rename" && !was_hit;
            assert_eq!(again, !is_refused && !is_gone, "{what} {point}");
            assert_eq!(get(&opened.store, "t/new").as_deref(), Some(&b"bytes"[..]), "{what} {point}");
        }
    }
}

#[test]
fn a_delete_that_fails_can_be_sent_again() {
    let Opened { store, env, folder: _folder } = opened();
    for (point, is_there) in [("store.before_delete", true), ("store.after_delete", false)] {
        put(&store, "t/a", b"1", PutMode::Overwrite).expect("new");
        env.fail.arm(point, FailAction::Error(1));
        refused(now(store.delete(&at("t/a"))), unknown);
        env.fail.release(point);
        assert_eq!(get(&store, "t/a").is_some(), is_there);
        match now(store.delete(&at("t/a"))) {
            Ok(()) => assert!(is_there),
            Err(e) => assert!(absent(&e) && !is_there, "{e}"),
        }
    }
    let paths = ["a", "missing", "b"].map(|name| Ok(at(name)));
    put(&store, "a", b"1", PutMode::Create).expect("new");
    put(&store, "b", b"1", PutMode::Create).expect("new");
    let deleted: Vec<_> = now(store.delete_stream(futures::stream::iter(paths).boxed()).collect());
    assert_eq!(deleted.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(listed(&store), Vec::<String>::new());
}

#[test]
fn one_of_many_creators_wins() {
    let Opened { store, folder, .. } = opened();
    for round in 0..20 {
        let path = format!("t/log/{round}");
        let writers: Vec<_> = (0..8_u8)
            .map(|i| {
                let (store, path) = (store.clone(), path.clone());
                std::thread::spawn(move || put(&store, &path, &[i; 100], PutMode::Create))
            })
            .collect();
        let outcomes: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        let won: Vec<usize> = (0..8).filter(|i| outcomes[*i].is_ok()).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(get(&store, &path), Some(vec![won[0] as u8; 100]));
        outcomes.into_iter().filter(Result::is_err).for_each(|outcome| refused(outcome, exists));
    }
    assert_eq!(n_temporary(folder.path()), 0);
}

#[test]
fn an_upload_is_whole_or_absent() {
    let Opened { store, folder, .. } = opened();
    // A part that nobody waited for would be a hole.
    let mut upload = now(store.put_multipart(&at("a"))).expect("begun");
    let skipped = upload.put_part("skipped".into());
    now(upload.put_part("written".into())).expect("written");
    refused(now(upload.complete()), unknown);
    refused(now(upload.complete()), unknown);
    // Too late: it writes into a file without a name.
    now(skipped).expect("written");

    let mut upload = now(store.put_multipart(&at("a"))).expect("begun");
    now(upload.put_part("abc".into())).expect("written");
    assert_eq!(n_temporary(folder.path()), 1);
    now(upload.abort()).expect("aborted");
    refused(now(upload.complete()), unknown);

    let mut upload = now(store.put_multipart(&at("a"))).expect("begun");
    now(upload.put_part("abc".into())).expect("written");
    drop(upload);
    assert_eq!((get(&store, "a"), n_temporary(folder.path())), (None, 0));

    // It replaces, as every store's uploads do; one without parts is an empty object.
    put(&store, "a", b"old", PutMode::Create).expect("new");
    let mut upload = now(store.put_multipart(&at("a"))).expect("begun");
    now(upload.complete()).expect("complete");
    assert_eq!(get(&store, "a").as_deref(), Some(&b""[..]));
}

#[test]
fn copies_and_renames_lose_nothing() {
    let Opened { store, folder, .. } = opened();
    put(&store, "a", b"1", PutMode::Create).expect("new");
    // Onto itself.
    now(store.rename(&at("a"), &at("a"))).expect("nothing to do");
    now(store.copy(&at("a"), &at("a"))).expect("nothing to do");
    refused(now(store.rename_if_not_exists(&at("a"), &at("a"))), exists);
    assert_eq!(get(&store, "a").as_deref(), Some(&b"1"[..]));
    // Between two names of one file, where rename(2) does nothing.
    now(store.copy(&at("a"), &at("x/b"))).expect("copied");
    now(store.copy(&at("a"), &at("x/b"))).expect("copied again");
    now(store.rename(&at("a"), &at("x/b"))).expect("renamed");
    assert_eq!((get(&store, "a"), get(&store, "x/b").as_deref()), (None, Some(&b"1"[..])));
    // A copy is not changed with its source.
    now(store.copy_if_not_exists(&at("x/b"), &at("c"))).expect("copied");
    put(&store, "x/b", b"2", PutMode::Overwrite).expect("replaced");
    assert_eq!(get(&store, "c").as_deref(), Some(&b"1"[..]));
    refused(now(store.copy_if_not_exists(&at("x/b"), &at("c"))), exists);
    for missing in ["missing", "x"] {
        refused(now(store.copy(&at(missing), &at("d"))), absent);
        refused(now(store.rename_if_not_exists(&at(missing), &at("d"))), absent);
    }
    assert_eq!((listed(&store), n_temporary(folder.path())), (vec!["c".to_owned(), "x/b".to_owned()], 0));
}

#[test]
fn a_local_file_is_linked_in_once() {
    let Opened { store, folder, .. } = opened();
    let built = folder.path().join("built");
    fs::write(&built, "rows").expect("written");
    let inode = |path: &Path| fs::metadata(path).expect("there").ino();
    for _ in 0..2 {
        store.link_in(&built, &at("tables/t/a.parquet"), &GO_ON).expect("linked, or linked before");
        assert_eq!(inode(&built), inode(&folder.path().join("tables/t/a.parquet")));
    }
    fs::remove_file(&built).expect("removed");
    assert_eq!(get(&store, "tables/t/a.parquet").as_deref(), Some(&b"rows"[..]));

    let error = store.link_in(&built, &at("tables/t/b.parquet"), &GO_ON).expect_err("no such file");
    assert_eq!(error.code(), Code::FolderUnusable, "{error}");
    fs::write(&built, "other rows").expect("written");
    let error = store.link_in(&built, &at("tables/t/a.parquet"), &GO_ON).expect_err("another length");
    assert_eq!(error.code(), Code::FolderUnusable, "{error}");
    assert!(error.message().contains("4 bytes"), "{error}");
    assert_eq!(get(&store, "tables/t/a.parquet").as_deref(), Some(&b"rows"[..]));
    assert_eq!(n_temporary(folder.path()), 0);
}

#[test]
fn a_copy_that_is_stopped_leaves_nothing() {
    let Opened { store, folder, .. } = opened();
    let built = folder.path().join("built");
    fs::write(&built, "rows").expect("written");
    let stop = AtomicBool::new(true);
    store.disk.stage_copy(&built, &folder.path().join("t"), &stop).expect_err("stopped");
    assert_eq!(n_temporary(folder.path()), 0);
    // A link takes no time, so it is made all the same.
    store.link_in(&built, &at("t/a"), &stop).expect("linked");
    store.disk.stage_copy(&built, &folder.path().join("t"), &GO_ON).expect("copied");
}

#[test]
fn a_file_of_another_file_system_is_copied_in() {
    let Opened { store, folder, .. } = opened();
    // Where there is no second file system the copy itself is still tried.
    let elsewhere = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let built = elsewhere.path().join("built");
    fs::write(&built, "rows").expect("written");
    store.link_in(&built, &at("t/a"), &GO_ON).expect("linked or copied");
    let staged = store.disk.stage_copy(&built, &folder.path().join("t"), &GO_ON).expect("copied");
    assert!(store.disk.publish(staged, &folder.path().join("t/b"), false).expect("named"));
    fs::remove_file(&built).expect("removed");
    for name in ["t/a", "t/b"] {
        assert_eq!(get(&store, name).as_deref(), Some(&b"rows"[..]));
    }
    assert_eq!(n_temporary(folder.path()), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Put { path: usize, bytes: Vec<u8>, create: bool },
    Upload { path: usize, parts: Vec<Vec<u8>> },
    Delete { path: usize },
    Copy { from: usize, to: usize, create: bool },
    Rename { from: usize, to: usize, create: bool },
}

/// One is the folder of none of the others; `x#y` would be hidden if its temporary name were made from it.
const PATHS: [&str; 4] = ["a", "t/b", "t/u/x#y", "t/u/c"];

fn steps() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (path(), bytes(), any::<bool>()).prop_map(|(path, bytes, create)| Step::Put { path, bytes, create }),
        (path(), prop::collection::vec(bytes(), 0..4)).prop_map(|(path, parts)| Step::Upload { path, parts }),
        path().prop_map(|path| Step::Delete { path }),
        (path(), path(), any::<bool>()).prop_map(|(from, to, create)| Step::Copy { from, to, create }),
        (path(), path(), any::<bool>()).prop_map(|(from, to, create)| Step::Rename { from, to, create }),
    ]
}

/// What the step should say and do.
fn model(objects: &mut BTreeMap<usize, Vec<u8>>, step: &Step) -> &'static str {
    match step {
        Step::Put { path, create: true, .. } if objects.contains_key(path) => return "exists",
        Step::Put { path, bytes, .. } => drop(objects.insert(*path, bytes.clone())),
        Step::Upload { path, parts } => drop(objects.insert(*path, parts.concat())),
        Step::Delete { path } if objects.remove(path).is_none() => return "absent",
        Step::Delete { .. } => {}
        Step::Copy { from, to, create } | Step::Rename { from, to, create } => {
            let Some(bytes) = objects.get(from).cloned() else { return "absent" };
            if *create && objects.contains_key(to) {
                return "exists";
            }
            if matches!(step, Step::Rename { .. }) {
                objects.remove(from);
            }
            objects.insert(*to, bytes);
        }
    }
    "done"
}

fn run(store: &DurableLocalStore, step: &Step) -> &'static str {
    let path = |i: &usize| at(PATHS[*i]);
    let outcome = match step {
        Step::Put { path: i, bytes, create } => {
            let mode = if *create { PutMode::Create } else { PutMode::Overwrite };
            put(store, PATHS[*i], bytes, mode).map(|_| ())
        }
        Step::Upload { path: i, parts } => {
            let mut upload = now(store.put_multipart(&path(i))).expect("begun");
            for part in parts {
                now(upload.put_part(Bytes::copy_from_slice(part).into())).expect("written");
            }
            now(upload.complete()).map(|_| ())
        }
        Step::Delete { path: i } => now(store.delete(&path(i))),
        Step::Copy { from, to, create: true } => now(store.copy_if_not_exists(&path(from), &path(to))),
        Step::Copy { from, to, create: false } => now(store.copy(&path(from), &path(to))),
        Step::Rename { from, to, create: true } => now(store.rename_if_not_exists(&path(from), &path(to))),
        Step::Rename { from, to, create: false } => now(store.rename(&path(from), &path(to))),
    };
    match outcome {
        Ok(()) => "done",
        Err(e) if exists(&e) => "exists",
        Err(e) if absent(&e) => "absent",
        Err(e) => panic!("{e}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_does_what_a_map_does(steps in prop::collection::vec(steps(), 0..40)) {
        let Opened { store, folder, .. } = opened();
        let mut objects = BTreeMap::new();
        for step in &steps {
            prop_assert_eq!(run(&store, step), model(&mut objects, step), "{:?}", step);
        }
        let mut expected: Vec<String> = objects.keys().map(|i| PATHS[*i].to_owned()).collect();
        expected.sort();
        prop_assert_eq!(listed(&store), expected);
        for (i, bytes) in objects {
            prop_assert_eq!(get(&store, PATHS[i]), Some(bytes));
        }
        prop_assert_eq!(n_temporary(folder.path()), 0);
    }
}
