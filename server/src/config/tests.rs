//! Does the right layer win, and is every mistake named?

use std::path::PathBuf;

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
fn every_setting_is_documented() {
    let text = include_str!("../../docs/configuration.md");
    for setting in SETTINGS {
        let row = format!("| `{}` | `{}` |", setting.name, setting.default);
        assert!(text.contains(&row), "{row} is missing");
    }
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
        ("log.level", "loud,,=", "log.level"),
        ("log.format", "xml", "text or json"),
        ("auth", "on", "not supported yet"),
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
fn the_example_is_valid_and_changes_nothing() {
    let plain = example();
    let config = load(&[], &[], Some(&plain)).unwrap();
    assert!(config.rows.iter().all(|row| row.origin == "default"));
    let uncommented: String = plain
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = \"")).unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = load(&[], &[], Some(&uncommented)).unwrap();
    assert!(config.rows.iter().all(|row| row.origin == "file" && row.value == row.default), "{:?}", config.rows);
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
