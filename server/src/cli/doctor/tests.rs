//! Do findings say what they should, at the edges of what is fine?

use std::path::Path;
use std::time::Duration;

use super::report::{Finding, Status, lines};
use super::{certificate, disk, machine, server};
use crate::tls::{TlsFiles, Validity};

const GIB: u64 = 1 << 30;
const DAY_US: i64 = 86_400_000_000;

fn statuses<const N: usize>(findings: [Finding; N]) -> [Status; N] {
    for finding in &findings {
        assert_eq!(finding.action.is_none(), finding.status == Status::Ok, "{finding:?} says what to do, or need not");
    }
    findings.map(|finding| finding.status)
}

use Status::{Fail, Ok, Warn};

#[test]
fn machines_are_judged_by_memory_and_handles() {
    let memory = |limit| machine::memory_of(limit, 16 * GIB);
    assert_eq!(statuses([memory(10 * GIB), memory(15 * GIB), memory(17 * GIB)]), [Ok, Warn, Fail]);
    let files = machine::open_files_of;
    assert_eq!(
        statuses([files(None), files(Some(65_536)), files(Some(5_000)), files(Some(1_024))]),
        [Ok, Ok, Warn, Fail]
    );
}

#[test]
fn disks_are_judged_by_kind_space_and_syncs() {
    let kind = |number| disk::kind_of(Path::new("/data"), number);
    // ext4, NFS, tmpfs, overlayfs
    assert_eq!(statuses([0xEF53, 0x6969, 0x0102_1994, 0x794C_7630].map(kind)), [Ok, Warn, Warn, Warn]);
    let space = |free| disk::space(free, GIB);
    assert_eq!(statuses([space(2 * GIB), space(GIB), space(GIB - 1)]), [Ok, Warn, Fail]);
    let took = |p50: u64, p99: u64| {
        let mut took = vec![Duration::from_micros(p50); 49];
        took.push(Duration::from_micros(p99));
        disk::syncs(took)
    };
    assert_eq!(statuses([took(300, 20_000), took(300, 150_000), took(15_000, 15_000)]), [Ok, Warn, Warn]);
    assert!(took(300, 20_000).detail.contains("p50 0.30 ms, p99 20.00 ms"), "{:?}", took(300, 20_000));
}

#[test]
fn a_folder_is_measured_and_nothing_is_left_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder that is not there yet is made by the server: the one above it is measured.
    let findings = disk::check(&folder.path().join("not/yet"), 1);
    let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["file system", "free disk", "sync"], "{findings:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    assert!(findings[2].detail.contains("50 syncs"), "{findings:?}");
}

#[test]
fn servers_are_judged_by_version_clock_and_what_waits() {
    let own = ("0.1.0", "abc1234");
    let version = |server| server::version_of(server, own);
    assert_eq!(
        statuses([version(own), version(("0.1.0", "def5678")), version(("0.2.0", "abc1234"))]),
        [Ok, Warn, Warn]
    );
    let clock = |server| server::clock_of(server, 10_000_000, 12_000_000);
    let ahead = clock(15_000_000);
    assert!(ahead.detail.contains("3.0 s ahead"), "{ahead:?}");
    // It took two seconds to ask: a clock that shows any time between is right.
    assert_eq!(
        statuses([clock(10_000_000), clock(12_900_000), clock(9_100_000), ahead, clock(8_000_000)]),
        [Ok, Ok, Ok, Warn, Warn]
    );
    let waiting = server::unpublished_of;
    assert_eq!(statuses([waiting(GIB, None), waiting(GIB, Some(2 * GIB)), waiting(GIB, Some(GIB))]), [Ok, Ok, Warn]);
}

#[test]
fn tables_that_are_not_healthy_come_with_a_cure() {
    let table = |health: &str, reason: Option<&str>| {
        let row = [Some("public"), Some("t"), Some(health), reason].map(|text| text.map(str::to_owned));
        server::table_of(row.to_vec())
    };
    assert_eq!(table("ok", None), None);
    let damaged = table("damaged", Some("1 file")).expect("a finding");
    assert!(damaged.detail.contains("public.t is damaged: 1 file"), "{damaged:?}");
    assert!(damaged.action.as_deref().is_some_and(|action| action.contains("table give-up public.t")), "{damaged:?}");
    assert_eq!(statuses([damaged, table("failed", Some("it stopped")).expect("a finding")]), [Fail, Fail]);
}

#[test]
fn certificates_are_judged_by_their_dates() {
    let validity = Validity { not_before_s: 86_400, not_after_s: 100 * 86_400 };
    let judge = |day: i64| certificate::judge("cert.pem", Some(validity), day * DAY_US);
    assert_eq!(statuses([judge(0), judge(1), judge(80), judge(101)]), [Fail, Ok, Warn, Fail]);
    assert!(judge(80).detail.contains("expires in 20 days, at 1970-04-11T00:00:00Z"), "{:?}", judge(80));
    assert_eq!(statuses([certificate::judge("cert.pem", None, 0)]), [Warn]);
}

#[test]
fn a_certificate_is_read_with_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    assert_eq!(statuses([certificate::check(files.clone(), 0)]), [Fail], "there is none");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    std::fs::write(&files.cert, params.self_signed(&key).expect("signed").pem()).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    // The first of June, and the last of December.
    let at = |us| certificate::check(files.clone(), us);
    assert_eq!(statuses([at(1_780_272_000_000_000), at(1_798_675_200_000_000)]), [Ok, Warn]);
    let other = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(&files.key, other.serialize_pem()).expect("written");
    assert_eq!(statuses([at(1_780_272_000_000_000)]), [Fail], "the key is another certificate's");
}

#[test]
fn a_finding_is_a_line_and_what_to_do() {
    let findings = [Finding::ok("memory", "much"), Finding::fail("disk", "full\nof things", "empty it")];
    assert_eq!(lines(&findings), "ok    memory: much\nfail  disk: full of things\n      -> empty it\n");
}
