//! Does the right layer win, and is every mistake named?

use std::path::PathBuf;
use std::time::Duration;

use tidewater_storage::memory::MIN_LIMIT_BYTES;
use tidewater_storage::{Code, Error};

use super::units::{Amount, parse_amount};
use super::{Config, FileSource, SETTINGS, Sources, example};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn sources(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> (Sources, Option<tempfile::TempDir>) {
    let folder = file.map(|text| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.toml"), text).unwrap();
        folder
    });
    let file = folder.as_ref().map_or(FileSource::None, |folder| FileSource::Named(folder.path().join("t.toml")));
    (Sources { flags: pairs(flags), env: pairs(env), file }, folder)
}

fn load(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> Result<Config, Error> {
    let (sources, _folder) = sources(flags, env, file);
    Config::load(sources)
}

fn refused(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> String {
    let error = load(flags, env, file).unwrap_err();
    assert_eq!(error.code(), Code::InvalidConfig);
    error.to_string()
}

fn origin(config: &Config, name: &str) -> (String, String) {
    let row = config.rows.iter().find(|row| row.name == name).unwrap();
    (row.value.clone(), row.origin.clone())
}

#[test]
fn defaults_are_whole() {
    let config = load(&[], &[("HOME", "/"), ("TIDEWATER_SERVER", "x")], None).unwrap();
    assert_eq!(config.grpc.to_string(), "127.0.0.1:8815");
    assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data, PathBuf::from("./tidewater-data"));
    assert_eq!(config.query_max_running, 2 * config.query_threads);
    assert_eq!(config.query_max_waiting, 64);
    assert!(config.memory_limit_bytes > 1 << 20 && config.query_spill_bytes > 1 << 20);
    assert_eq!(config.rows.len(), SETTINGS.len());
    assert!(config.rows.iter().all(|row| row.origin == "default" && row.value == row.default));
}

#[test]
fn the_documentation_has_every_setting_and_no_other() {
    let text = include_str!("../../docs/configuration.md");
    let table = text.split("| setting | default | meaning |\n|---|---|---|\n").nth(1).expect("the table of settings");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let mut documented: Vec<(&str, &str)> = rows
        .map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
            (cells.next().expect("a name"), cells.next().expect("a default"))
        })
        .collect();
    let mut settings: Vec<(&str, &str)> = SETTINGS.iter().map(|setting| (setting.name, setting.default)).collect();
    documented.sort();
    settings.sort();
    assert_eq!(documented, settings);
}

#[test]
fn a_flag_wins_over_env_over_file() {
    let file = Some("[server]\ndata = 'file'\ngrpc = '127.0.0.1:1'\nhttp = '127.0.0.1:2'\n[query]\nmax_waiting = 7\n");
    let env = [("TIDEWATER__SERVER__GRPC", "127.0.0.1:3"), ("TIDEWATER__SERVER__HTTP", "localhost:4")];
    let config = load(&[("server.http", "[::1]:5")], &env, file).unwrap();
    assert_eq!(origin(&config, "server.data"), ("file".into(), "file".into()));
    assert_eq!(origin(&config, "server.grpc"), ("127.0.0.1:3".into(), "env".into()));
    assert_eq!(origin(&config, "server.http"), ("[::1]:5".into(), "flag".into()));
    assert_eq!(config.query_max_waiting, 7);
    assert_eq!(origin(&config, "query.threads").1, "default");
}

#[test]
fn unknown_names_are_errors_with_the_nearest_right_one() {
    for (text, nearest) in [
        ("[server]\ngprc = 'x'", "did you mean 'server.grpc'?"),
        ("[memory]\nlimits = 'x'", "did you mean 'memory.limit'?"),
        ("data = 'x'", "did you mean 'server.data'?"),
        ("[sever]\ngrpc = 'x'", "did you mean 'server.grpc'?"),
        ("[zzz]", "the settings are server.data,"),
    ] {
        let message = refused(&[], &[], Some(text));
        assert!(message.contains(nearest) && message.contains("t.toml"), "{text}: {message}");
    }
    let message = refused(&[], &[("TIDEWATER__QUERY__THREAD", "2")], None);
    assert!(message.contains("'query.threads'") && message.contains("TIDEWATER__QUERY__THREAD"), "{message}");
}

#[test]
fn bad_values_are_named_with_their_origin() {
    for (name, value, part) in [
        ("server.grpc", "0.0.0.0:8815", "beyond loopback"),
        ("server.http", "192.168.1.1:80", "beyond loopback"),
        ("server.grpc", "8815", "not an address"),
        ("server.grpc", "127.0.0.1:8080", "both"),
        ("server.data", "", "empty"),
        ("memory.limit", "lots", "number"),
        ("memory.limit", "120%", "percentage"),
        ("memory.limit", "128 MiB", "less than 512 MiB"),
        ("query.threads", "0", "from 1"),
        ("query.threads", "257", "to 256"),
        ("query.max_waiting", "auto", "from 0"),
        ("scrub.rate", "1 KiB", "64 KiB"),
        ("scrub.rate", "10%", "bytes a second"),
        ("scrub.interval", "7", "not a unit of time"),
        ("scrub.remote_interval", "0 days", "below a second"),
        ("tls.cert", "c.pem", "tls.key is not set"),
        ("tls.key", "k.pem", "tls.cert is not set"),
        ("tls.client_ca", "ca.pem", "without TLS"),
        ("tls.client_ca", "", "tls.client_ca is empty"),
        ("tls.client_auth", "required", "tls.client_ca is not set"),
        ("tls.client_auth", "maybe", "optional or required"),
        ("tls.behind_proxy", "maybe", "true or false"),
        ("server.allowed_hosts", "a.example, http://b.example", "'http://b.example' is no host name"),
        ("server.allowed_hosts", "a.example:80", "no host name"),
        ("server.allowed_hosts", "", "no host name"),
        ("limits.requests_per_second", "-1", "0 for no limit"),
        ("limits.bytes_per_second", "10", "at least '1 KiB'"),
        ("limits.bytes_per_second", "10%", "bytes a second"),
        ("limits.concurrent_queries", "many", "0 for no limit"),
        ("storage.min_free", "1 MiB", "less than 512 MiB"),
        ("log.level", "loud,,=", "log.level"),
        ("log.level", "inof", "'inof' is not a level"),
        ("log.level", "info,tidewater_storage", "'tidewater_storage' is not a level"),
        ("log.format", "xml", "auto, text or json"),
        ("log.slow_query", "soon", "500 ms"),
        ("log.slow_query", "5", "time unit"),
        ("auth", "maybe", "'maybe'"),
    ] {
        let message = refused(&[(name, value)], &[], None);
        assert!(message.contains(part), "{name} = {value}: {message}");
    }
    let message = refused(&[], &[("TIDEWATER__QUERY__THREADS", "x")], None);
    assert!(message.contains("(from TIDEWATER__QUERY__THREADS)"), "{message}");
    assert!(refused(&[], &[], Some("[server]\ndata = ['a']")).contains("wrong kind"));
    assert!(refused(&[], &[], Some("= nothing")).contains("not TOML"));
    let missing = Sources { file: FileSource::Named(PathBuf::from("/does/not/exist.toml")), ..Default::default() };
    assert!(Config::load(missing).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn beyond_loopback_callers_prove_who_they_are_and_nobody_reads_along() {
    let (grpc, http) = (("server.grpc", "0.0.0.0:1"), ("server.http", "192.168.1.1:2"));
    let pair = [("tls.cert", "c.pem"), ("tls.key", "k.pem")];
    let auth = ("auth", "on");
    for (flags, parts) in [
        (vec![grpc], ["server.grpc is 0.0.0.0:1", "auth is off"]),
        (vec![grpc, pair[0], pair[1]], ["server.grpc is 0.0.0.0:1", "auth is off"]),
        (vec![grpc, ("tls.behind_proxy", "true")], ["server.grpc is 0.0.0.0:1", "auth is off"]),
        (vec![grpc, auth], ["server.grpc is 0.0.0.0:1", "beyond loopback, without TLS"]),
        (vec![http, auth], ["server.http is 192.168.1.1:2", "beyond loopback, without TLS"]),
    ] {
        let message = refused(&flags, &[], None);
        assert!(parts.iter().all(|part| message.contains(part)), "{flags:?}: {message}");
    }
    for flags in [vec![grpc, http, auth, pair[0], pair[1]], vec![grpc, http, auth, ("tls.behind_proxy", "true")]] {
        assert!(load(&flags, &[], None).is_ok(), "{flags:?}");
    }
    let tls = load(&pair, &[], None).expect("a configuration").tls.expect("files");
    assert_eq!((tls.cert, tls.key), (PathBuf::from("c.pem"), PathBuf::from("k.pem")));
}

#[test]
fn limits_are_numbers_and_0_is_none() {
    let limits = load(&[], &[], None).expect("a configuration").limits;
    assert_eq!(limits, tidewater_storage::TokenLimits::default());
    let flags = [
        ("limits.requests_per_second", "100"),
        ("limits.bytes_per_second", "10 MiB"),
        ("limits.concurrent_queries", "4"),
    ];
    let limits = load(&flags, &[], None).expect("a configuration").limits;
    assert_eq!(
        (limits.requests_per_s, limits.bytes_per_s, limits.concurrent_queries),
        (Some(100), Some(10 << 20), Some(4))
    );
}

#[test]
fn files_are_tested_as_the_settings_say() {
    let config = load(&[], &[], None).unwrap();
    assert_eq!(config.scrub, tidewater_storage::ScrubOptions::default());
    let changed = [("scrub.rate", "1 MiB"), ("scrub.interval", "12 hours"), ("scrub.remote_interval", "1 day")];
    let scrub = load(&changed, &[], None).unwrap().scrub;
    assert_eq!(scrub.rate, Some(1 << 20));
    assert_eq!(scrub.interval.map(|span| span.as_secs()), Some(43_200));
    assert_eq!(scrub.remote_interval.map(|span| span.as_secs()), Some(86_400));
    let off = [("scrub.rate", "off"), ("scrub.interval", "off")];
    let scrub = load(&off, &[], None).unwrap().scrub;
    assert_eq!((scrub.rate, scrub.interval, scrub.remote_interval), (None, None, None));
}

#[test]
fn the_disk_for_keys_is_bytes_or_a_part_of_the_disk() {
    let bytes = |value: &str| load(&[("dedup.disk", value)], &[], None).expect("a configuration").key_disk_bytes;
    assert_eq!(bytes("3 GiB"), 3 << 30);
    let (whole, part) = (bytes("100%"), bytes("25%"));
    assert!(part > 1 << 20 && whole.abs_diff(4 * part) < 8, "{part} of {whole}");
    let usual = load(&[], &[], None).expect("a configuration").key_disk_bytes;
    assert!(whole.abs_diff(5 * usual) < 8, "{usual} of {whole}");
    for (value, part) in [("much", "number"), ("0", "possible number"), ("0%", "percentage")] {
        let message = refused(&[("dedup.disk", value)], &[], None);
        assert!(message.contains("dedup.disk") && message.contains(part), "{value}: {message}");
    }
}

#[test]
fn a_part_of_a_small_machine_is_raised_and_shown_as_it_is_in_force() {
    let config = load(&[("memory.limit", "0.0001%")], &[], None).unwrap();
    assert!(config.memory_limit_bytes < MIN_LIMIT_BYTES);
    assert_eq!(origin(&config, "memory.limit"), ("512 MiB".into(), "flag".into()));
    let config = load(&[("memory.limit", "512 MiB")], &[], None).unwrap();
    assert_eq!(config.memory_limit_bytes, MIN_LIMIT_BYTES);
    assert_eq!(origin(&config, "memory.limit"), ("512 MiB".into(), "flag".into()));
}

#[test]
fn a_wrong_limit_makes_nothing_else_wrong_and_hides_nothing() {
    let gigabyte = ("dedup.memory", "1 GiB");
    let message = refused(&[("memory.limit", "lots"), gigabyte], &[], None);
    assert!(message.contains("memory.limit") && !message.contains("dedup.memory"), "{message}");
    let message = refused(&[("memory.limit", "lots"), ("dedup.memory", "more")], &[], None);
    assert!(message.starts_with("2 problems") && message.contains("dedup.memory"), "{message}");
    assert!(refused(&[("memory.limit", "1 GiB"), gigabyte], &[], None).contains("dedup.memory"));
    assert!(!refused(&[("server.data", "")], &[], None).contains("dedup.disk"));
}

#[test]
fn levels_by_module_may_have_spaces() {
    let config = load(&[("log.level", "info, tidewater_storage=debug")], &[], None).expect("a configuration");
    assert_eq!(config.log_level, "info,tidewater_storage=debug");
}

#[test]
fn the_example_is_valid_and_changes_nothing() {
    let plain = example();
    let config = load(&[], &[], Some(&plain)).unwrap();
    assert!(config.rows.iter().all(|row| row.origin == "default"));
    // Explanations begin with `# `.
    let uncommented: String = plain
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    assert!(plain.lines().chain(uncommented.lines()).all(|line| line.len() <= 120), "{plain}");
    let written = uncommented.lines().filter(|line| line.contains(" = \"") && !line.starts_with('#')).count();
    assert_eq!(written, SETTINGS.len(), "{uncommented}");
    let config = load(&[], &[], Some(&uncommented)).unwrap();
    assert!(config.rows.iter().all(|row| row.origin == "file" && row.value == row.default), "{:?}", config.rows);
    let defaults = load(&[], &[], None).unwrap();
    let bare = |config: Config| Config { rows: Vec::new(), places: Default::default(), file: None, ..config };
    assert_eq!(format!("{:?}", bare(config)), format!("{:?}", bare(defaults)));
}

#[test]
fn mistakes_in_a_file_have_a_line_and_a_column() {
    for (text, place) in [
        ("[server]\n  gprc = 'x'", "t.toml:2:3"),
        ("# ä\n[query]\nthreads = 'x'", "t.toml:3:11"),
        ("server.data = ['a']", "t.toml:1:15"),
        ("server.data.deep = 'a'", "server.data in "),
        ("[memory]\nlimit = 1 GiB\n", "t.toml:2:"),
        ("[sever]\n\n[memory]\n", "t.toml:1:2"),
    ] {
        let message = refused(&[], &[], Some(text));
        assert!(message.contains(place), "{text}: {message}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = "nobody = 1\n[server]\ngprc = 'x'\nhttp = '0.0.0.0:1'\n[query]\nthreads = 0\nspill = []\n";
    let message = refused(&[("auth", "maybe")], &[("TIDEWATER__LOG__LEVELS", "info")], Some(file));
    assert!(message.starts_with("6 problems"), "{message}");
    let parts = ["t.toml:1:1", "'server.grpc'", "t.toml:7:9", "LOG__LEVELS", "auth is 'maybe'", "t.toml:6:11"];
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
    // Whether a port may be beyond loopback is not known while auth is neither on nor off.
    let message = refused(&[], &[], Some("[server]\nhttp = '0.0.0.0:1'\ngrpc = '0.0.0.0:2'\n"));
    assert!(message.contains("t.toml:2:8") && message.contains("t.toml:3:8"), "{message}");
}

#[test]
fn every_value_says_where_it_was_written() {
    let file = Some("[server]\ndata = 'file'\n\n[query]\nmax_waiting = 7\n");
    let config = load(&[("query.threads", "1")], &[("TIDEWATER__LOG__LEVEL", "warn")], file).unwrap();
    assert!(config.places["server.data"].starts_with("file ") && config.places["server.data"].ends_with("t.toml:2:8"));
    assert!(config.places["query.max_waiting"].ends_with("t.toml:5:15"), "{:?}", config.places);
    assert_eq!(config.places["log.level"], "env TIDEWATER__LOG__LEVEL");
    assert_eq!((&*config.places["query.threads"], &*config.places["auth"]), ("flag", "default"));
}

#[test]
fn slow_is_a_time_or_off() {
    let slow = |value: &str| load(&[("log.slow_query", value)], &[], None).unwrap().slow_query;
    assert_eq!(load(&[], &[], None).unwrap().slow_query, Some(Duration::from_secs(1)));
    assert_eq!(slow("250 ms"), Some(Duration::from_millis(250)));
    assert_eq!((slow("0"), slow("off")), (Some(Duration::ZERO), None));
}

#[test]
fn amounts_have_units() {
    for (text, expected) in [
        ("1", Some(Amount::Bytes(1))),
        ("2 GiB", Some(Amount::Bytes(2 << 30))),
        ("1.5MiB", Some(Amount::Bytes(3 << 19))),
        ("10 MB", Some(Amount::Bytes(10_000_000))),
        ("60%", Some(Amount::Percent(60.0))),
        ("12.5 %", Some(Amount::Percent(12.5))),
        ("0", None),
        ("0%", None),
        ("-1", None),
        ("", None),
        ("1 gib", None),
        ("1e30 TiB", None),
        ("99999999 TiB", None),
    ] {
        assert_eq!(parse_amount(text).ok(), expected, "{text}");
    }
}
