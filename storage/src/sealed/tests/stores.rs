//! Is the store of Delta tables the one that was named, and is one refused that commits cannot rest on?

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3ConfigKey as Key;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ClientConfigKey, Error as StoreError, ObjectStoreExt};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::env::{DurableLocalStore, Env};
use crate::error::{Code, Error};
use crate::sealed::faulty::{Fault, FaultyStore, Op};
use crate::sealed::stores::{
    StoreOptions, StorePlace, TablesStore, check_conditional_put, open_tables, s3_settings, store_error,
};

fn data_folder() -> (TempDir, Arc<DurableLocalStore>) {
    let folder = tempfile::tempdir().expect("a folder");
    let local = DurableLocalStore::open(folder.path(), &Env::system()).expect("opens");
    (folder, Arc::new(local))
}

fn pairs(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn at(url: &str, options: &[(&str, &str)]) -> StoreOptions {
    StoreOptions { url: Some(url.to_owned()), options: pairs(options) }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_tables_are_under_the_data_folder() {
    let (folder, local) = data_folder();
    let tables = open_tables(folder.path(), &local, &StoreOptions::default()).expect("opens");
    let expected = folder.path().canonicalize().expect("there").join("tables");
    assert_eq!(tables.root.to_file_path(), Ok(expected.clone()));
    assert!(tables.local.as_ref().is_some_and(|own| Arc::ptr_eq(own, &local)));
    check_conditional_put(&tables, "probe").await.expect("suitable");
    tables.store.put(&tables.prefix.clone().join("t").join("x"), "rows".into()).await.expect("new");
    assert_eq!(std::fs::read(expected.join("t/x")).expect("there"), b"rows");
    assert_eq!(std::fs::read_dir(&expected).expect("a folder").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_can_be_in_another_folder() {
    let (folder, local) = data_folder();
    let other = folder.path().join("other place");
    for slash in ["", "/"] {
        let url = format!("{}{slash}", Url::from_file_path(&other).expect("absolute"));
        let tables = open_tables(folder.path(), &local, &at(&url, &[])).expect("opens");
        assert!(tables.root.as_str().ends_with("/other%20place"), "{}", tables.root);
        assert!(tables.local.is_some() && tables.prefix.is_root());
        check_conditional_put(&tables, "probe").await.expect("suitable");
        tables.store.put(&StorePath::from("x"), "rows".into()).await.expect("new");
        assert_eq!(std::fs::read(other.join("x")).expect("there"), b"rows");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let (folder, local) = data_folder();
    let check = |options: StoreOptions, part: &str| {
        let error = open_tables(folder.path(), &local, &options).map(|_| ()).expect_err(part);
        assert_eq!(error.code(), Code::InvalidConfig, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(options.check().expect_err(part).to_string(), error.to_string(), "a check says the same");
    };
    check(at("gs://bucket/prefix", &[]), "supported are file:///folder and s3://bucket/prefix");
    check(at("az://container/prefix", &[]), "'az'");
    check(at("https://bucket.s3.amazonaws.com", &[]), "'https'");
    check(at("/var/lib/tables", &[]), "write file:///folder or s3://");
    check(at("file:tables", &[]), "file:///");
    check(at("file://tables/x", &[]), "file:///");
    check(at("file:///tables", &[("aws_region", "eu-1")]), "'aws_region' means nothing to a local folder");
    let no_url = StoreOptions { url: None, options: pairs(&[("aws_region", "eu-1")]) };
    check(no_url, "'aws_region' means nothing");
    std::fs::write(folder.path().join("file"), b"x").expect("written");
    for path in ["file", "file/below"] {
        let url = Url::from_file_path(folder.path().join(path)).expect("absolute");
        check(at(url.as_str(), &[]), "is no folder");
    }
    check(at("s3:///prefix", &[]), "names no bucket");
    check(at("s3://bucket:9000/prefix", &[]), "names no bucket");
    check(at("s3://bucket/a//b", &[]), "empty path segment");
    check(at("s3://key:secret@bucket/prefix", &[]), "more than a place and a path");
    check(at("s3://bucket/prefix?versionId=secret", &[]), "more than a place and a path");
    check(at("s3://bucket/x", &[("aws_regio", "secret")]), "'aws_regio' is unknown");
    check(at("s3://bucket/x", &[("bucket", "secret")]), "the URL names the bucket");
    check(at("s3://bucket/x", &[("region", "a"), ("AWS_REGION", "b")]), "says again");
    let keys = [("aws_access_key_id", "key"), ("aws_secret_access_key", "hidden"), ("timeout", "soon")];
    check(at("s3://bucket/x", &keys), "cannot be opened");
    for endpoint in ["minio:9000", "localhost", "ftp://host", "http://"] {
        check(at("s3://bucket/x", &[("aws_endpoint", endpoint)]), "is no URL");
    }
}

#[test]
fn a_place_has_one_form_whatever_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let place = |url: &str| StorePlace::of(&data, &at(url, &[])).expect("a place");
    let beside = |path: &str| Url::from_file_path(folder.path().join(path)).expect("absolute").to_string();
    let usual = StorePlace::of(&data, &StoreOptions::default()).expect("a place");
    assert_eq!((usual.to_disk(), usual.setting(&data)), (b"\x01tables".to_vec(), "local".to_owned()));
    for same in [beside("data/tables"), beside("data/tables/"), beside("data/x/../tables"), beside("data//tables")] {
        assert_eq!(place(&same), usual, "{same}");
    }
    let inside = place(&beside("data/other place"));
    assert_eq!((inside.to_disk(), inside.setting(&data)), (b"\x01other%20place".to_vec(), beside("data/other place")));
    assert_eq!(inside.folder(&data), Some(data.join("other place")));
    let elsewhere = place(&format!("{}/", beside("other")));
    assert_eq!((elsewhere.to_string(), elsewhere.setting(&data)), (beside("other"), beside("other")));
    let remote = place("s3://bucket/a%20prefix/");
    assert_eq!((remote.to_string().as_str(), remote.folder(&data)), ("s3://bucket/a prefix", None));
    assert_eq!(place("s3://bucket/"), place("s3://bucket"));
    for (one, other) in
        [(&usual, &inside), (&inside, &elsewhere), (&elsewhere, &remote), (&remote, &place("s3://bucket"))]
    {
        assert!(one.is(one, &data) && !one.is(other, &data) && !other.is(one, &data), "{one} is not {other}");
        assert_eq!(StorePlace::from_disk(&one.to_disk()).expect("the first form is read"), *one);
    }
    let with_secret = StorePlace::of(&data, &at("s3://key:secret@bucket/prefix", &[])).expect_err("refused");
    assert!(!with_secret.to_string().contains("secret"), "{with_secret}");
    let code = |bytes: &[u8]| StorePlace::from_disk(bytes).expect_err("refused").code();
    assert_eq!(
        [code(&[]), code(&[2, b'x']), code(&[1, 0xff])],
        [Code::LogDamaged, Code::LogUnknownVersion, Code::LogDamaged]
    );
}

#[test]
fn a_check_makes_and_asks_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("tables");
    let local = at(Url::from_file_path(&place).expect("absolute").as_str(), &[]);
    local.check().expect("fine");
    assert_eq!(local.folder().expect("a URL"), Some(place.clone()));
    assert!(!place.exists());
    let away = [("aws_endpoint", "http://127.0.0.1:1"), ("aws_access_key_id", "key"), ("aws_secret_access_key", "x")];
    at("s3://bucket/prefix", &away).check().expect("fine");
    StoreOptions::default().check().expect("fine");
}

#[test]
fn a_debug_text_holds_no_secret() {
    let text = format!("{:?}", at("s3://bucket", &[("aws_secret_access_key", "hidden")]));
    assert!(text.contains("aws_secret_access_key") && !text.contains("hidden"), "{text}");
}

fn settings(options: &[(&str, &str)], environment: &[(&str, &str)]) -> HashMap<Key, String> {
    s3_settings(&pairs(options), pairs(environment).into_iter()).expect("known keys")
}

#[test]
fn options_go_before_the_environment_and_do_not_mix_with_it() {
    let of = |settings: &HashMap<Key, String>, key: Key| settings.get(&key).cloned();
    let plain = settings(&[], &[("AWS_REGION", "eu-1"), ("AWS_UNHEARD_OF", "x"), ("PATH", "/bin")]);
    assert_eq!(of(&plain, Key::Region).as_deref(), Some("eu-1"));
    assert_eq!(plain.len(), 3, "the time-outs are ours: {plain:?}");
    let timeout = Key::Client(ClientConfigKey::Timeout);
    assert_eq!(of(&settings(&[], &[("AWS_TIMEOUT", "1m")]), timeout).as_deref(), Some("1m"));
    assert_eq!(of(&settings(&[("timeout", "2m")], &[("AWS_TIMEOUT", "1m")]), timeout).as_deref(), Some("2m"));

    let environment = [
        ("AWS_ACCESS_KEY_ID", "theirs"),
        ("AWS_SECRET_ACCESS_KEY", "theirs"),
        ("AWS_SESSION_TOKEN", "theirs"),
        ("AWS_ENDPOINT_URL_S3", "http://theirs"),
        ("AWS_DEFAULT_REGION", "theirs"),
    ];
    let mixed = settings(
        &[("aws_access_key_id", "ours"), ("aws_secret_access_key", "ours"), ("aws_endpoint", "https://ours")],
        &environment,
    );
    assert_eq!(of(&mixed, Key::Token), None);
    assert_eq!((of(&mixed, Key::S3Endpoint), of(&mixed, Key::Endpoint).as_deref()), (None, Some("https://ours")));
    assert_eq!(of(&mixed, Key::DefaultRegion).as_deref(), Some("theirs"));
    let allow_http = Key::Client(ClientConfigKey::AllowHttp);
    assert_eq!(of(&mixed, allow_http), None);

    let theirs = settings(&[], &environment);
    assert_eq!(of(&theirs, Key::Token).as_deref(), Some("theirs"));
    assert_eq!(of(&theirs, allow_http).as_deref(), Some("true"));
    let forbidden = settings(&[("endpoint", "HTTP://ours"), ("allow_http", "false")], &[]);
    assert_eq!(of(&forbidden, allow_http).as_deref(), Some("false"));
}

/// What an S3 does with a conditional put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    Heeds,
    Ignores,
    Forbids,
}

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// As much of S3 as these tests ask for: puts, and deletes of one object. Returns its endpoint.
async fn serve_s3(manners: Manners, objects: &Objects) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let objects = Arc::clone(objects);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let objects = Arc::clone(&objects);
            tokio::spawn(async move { answer(stream, manners, &objects).await.expect("the client stays") });
        }
    });
    format!("http://{address}")
}

async fn answer(mut stream: TcpStream, manners: Manners, objects: &Objects) -> io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&request[..end]).into_owned();
        }
    };
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let length: usize = header("content-length").map_or(0, |n| n.parse().expect("a number"));
    while request.len() < head.len() + 4 + length {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = &request[head.len() + 4..];
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, text) = match (method, path.strip_prefix("/bucket/")) {
        _ if manners == Manners::Forbids => ("403 Forbidden", String::new()),
        ("PUT", Some(key)) => {
            let mut objects = objects.lock();
            let is_refused = header("if-none-match").as_deref() == Some("*") && objects.contains_key(key);
            if is_refused && manners == Manners::Heeds {
                ("412 Precondition Failed", String::new())
            } else {
                objects.insert(key.to_owned(), body.to_vec());
                ("200 OK", String::new())
            }
        }
        ("POST", None) if path.starts_with("/bucket?delete") => {
            let body = String::from_utf8_lossy(body);
            let key = body.split("<Key>").nth(1).and_then(|rest| rest.split("</Key>").next()).unwrap_or_default();
            objects.lock().remove(key);
            ("200 OK", format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>"))
        }
        _ => ("400 Bad Request", String::new()),
    };
    let length = text.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"1\"\r\nConnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn open_s3(folder: &Path, local: &Arc<DurableLocalStore>, endpoint: &str, more: &[(&str, &str)]) -> TablesStore {
    open_tables(folder, local, &at_s3(endpoint, more)).expect("opens")
}

fn at_s3(endpoint: &str, more: &[(&str, &str)]) -> StoreOptions {
    let mut options = vec![
        ("aws_endpoint", endpoint),
        ("aws_region", "eu-1"),
        ("aws_access_key_id", "key"),
        ("aws_secret_access_key", "secret"),
        ("aws_virtual_hosted_style_request", "false"),
    ];
    options.extend(more);
    at("s3://bucket/a/prefix/", &options)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_is_used_if_it_heeds_conditions() {
    let (folder, local) = data_folder();
    let objects = Objects::default();
    let endpoint = serve_s3(Manners::Heeds, &objects).await;
    let tables = open_s3(folder.path(), &local, &endpoint, &[]);
    let reached = at_s3(&endpoint, &[]).reach().await.expect("suitable");
    assert_eq!(reached.map(String::from).as_deref(), Some("s3://bucket/a/prefix"));
    assert_eq!(*objects.lock(), BTreeMap::new());
    assert_eq!((tables.root.as_str(), tables.prefix.as_ref()), ("s3://bucket/a/prefix", "a/prefix"));
    assert!(tables.local.is_none());
    check_conditional_put(&tables, "probe").await.expect("suitable");
    assert_eq!(*objects.lock(), BTreeMap::new());
    tables.store.put(&tables.prefix.clone().join("x"), "rows".into()).await.expect("new");
    assert_eq!(objects.lock().get("a/prefix/x").map(Vec::as_slice), Some(&b"rows"[..]));

    let whole = at("s3://bucket", &[("aws_access_key_id", "key"), ("aws_secret_access_key", "secret")]);
    let tables = open_tables(folder.path(), &local, &whole).expect("opens");
    assert_eq!((tables.root.as_str(), tables.prefix.is_root()), ("s3://bucket", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_that_overwrites_is_refused() {
    let (folder, local) = data_folder();
    let objects = Objects::default();
    let endpoint = serve_s3(Manners::Ignores, &objects).await;
    let tables = open_s3(folder.path(), &local, &endpoint, &[]);
    let error = check_conditional_put(&tables, "probe").await.expect_err("it overwrites");
    assert_eq!(error.code(), Code::StoreUnsuitable, "{error}");
    assert_eq!(*objects.lock(), BTreeMap::new(), "the probe is removed");

    let tables = open_s3(folder.path(), &local, &endpoint, &[("aws_conditional_put", "disabled")]);
    let error = check_conditional_put(&tables, "probe").await.expect_err("it is told not to");
    assert_eq!(error.code(), Code::StoreUnsuitable, "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("AWS_CONDITIONAL_PUT")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_absent_or_forbids_is_unavailable() {
    let (folder, local) = data_folder();
    let endpoint = serve_s3(Manners::Forbids, &Objects::default()).await;
    let tables = open_s3(folder.path(), &local, &endpoint, &[]);
    let error = check_conditional_put(&tables, "probe").await.expect_err("forbidden");
    assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("credentials")), "{error}");

    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let tables = open_s3(folder.path(), &local, &format!("http://{port}"), &[]);
    let error = check_conditional_put(&tables, "probe").await.expect_err("nobody listens");
    assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    let asked = at_s3(&format!("http://{port}"), &[]).reach().await.expect_err("nobody listens");
    assert_eq!(asked.code(), Code::StoreUnavailable, "{asked}");
    assert!(error.message().to_lowercase().contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_can_be_made_again() {
    let store = FaultyStore::new(Arc::new(InMemory::new()));
    let tables = TablesStore {
        store: Arc::new(store.clone()),
        root: Url::parse("s3://bucket").expect("a URL"),
        prefix: StorePath::default(),
        local: None,
    };
    for (op, fault) in [(Op::Put, Fault::Before), (Op::Put, Fault::After), (Op::Delete, Fault::Before)] {
        store.script(op, "probe", fault);
        let error = check_conditional_put(&tables, "probe").await.expect_err("a bad day");
        assert_eq!(error.code(), Code::StoreUnavailable, "{error}");
    }
    check_conditional_put(&tables, "probe").await.expect("suitable");
    assert!(matches!(tables.store.head(&StorePath::from("probe")).await, Err(StoreError::NotFound { .. })));
}

#[test]
fn errors_of_stores_say_what_to_do() {
    let check = |e: StoreError, code: Code| -> Error {
        let error = store_error("the file x cannot be uploaded", e);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().starts_with("the file x cannot be uploaded: "), "{error}");
        assert!(error.hint_text().is_some() && error.cause().is_some());
        error
    };
    let of = |kind: io::ErrorKind| StoreError::Generic { store: "s", source: Box::new(io::Error::new(kind, "inner")) };
    check(of(io::ErrorKind::StorageFull), Code::DiskFull);
    check(of(io::ErrorKind::QuotaExceeded), Code::DiskFull);
    check(of(io::ErrorKind::ConnectionRefused), Code::StoreUnavailable);
    let nested = StoreError::Generic { store: "s", source: Box::new(of(io::ErrorKind::StorageFull)) };
    assert!(check(nested, Code::DiskFull).message().ends_with("inner"));
    check(StoreError::NotSupported { source: "x".into() }, Code::StoreUnsuitable);
    check(StoreError::PermissionDenied { path: "x".into(), source: "x".into() }, Code::StoreUnavailable);
    check(StoreError::NotFound { path: "x".into(), source: "x".into() }, Code::StoreUnavailable);
    let role = "Error performing PUT http://169.254.169.254/latest/api/token in 3ms - 403 Forbidden";
    let without_keys = check(StoreError::Generic { store: "S3", source: role.into() }, Code::StoreUnavailable);
    assert!(without_keys.hint_text().is_some_and(|hint| hint.contains("AWS_ACCESS_KEY_ID")), "{without_keys}");
}
