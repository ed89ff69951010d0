//! Is every pair of files that cannot be used named, and is one that was changed taken when it is whole?

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tidewater_storage::Code;

use super::{Tls, TlsFiles, Validity};

/// 2020-01-01 and 2030-01-01, in seconds since 1970.
const Y2020_S: u64 = 1_577_836_800;
const Y2030_S: u64 = 1_893_456_000;

/// Who issues certificates that clients trust.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub cert: String,
    pub key: String,
}

impl Issuer {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// What a client trusts.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine, from the beginning of 2019 to that of `end_year`.
    pub fn issue(&self, end_year: i32) -> Issued {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(end_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A folder with the files of a server.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub fn with(issued: &Issued) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.put(issued);
        folder
    }

    pub fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.path("cert.pem"), key: self.path("key.pem") }
    }

    pub fn put(&self, issued: &Issued) {
        self.write("cert.pem", &issued.cert);
        self.write("key.pem", &issued.key);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Under a number of its own, as programs that know their business replace files.
    fn write(&self, name: &str, text: &str) {
        let aside = self.path("new");
        std::fs::write(&aside, text).expect("written");
        std::fs::rename(&aside, self.path(name)).expect("renamed");
    }
}

fn ends_at(tls: &Tls) -> u64 {
    tls.validity().expect("a validity").not_after_s
}

#[test]
fn a_certificate_says_until_when_it_holds() {
    let folder = Folder::with(&Issuer::new().issue(2030));
    let tls = Tls::load(folder.files()).expect("a pair");
    let validity = tls.validity().expect("a validity");
    assert_eq!(validity, Validity { not_before_s: 1_546_300_800, not_after_s: Y2030_S });
    assert_eq!(validity.end(), "2030-01-01T00:00:00Z");
    let at = |seconds: u64| tls.fault(seconds as i64 * 1_000_000);
    assert_eq!((at(Y2020_S), at(Y2030_S)), (None, None));
    assert!(at(Y2030_S + 1).expect("a fault").contains("expired at 2030-01-01T00:00:00Z"));
    assert!(at(1_546_300_799).expect("a fault").contains("does not hold yet"));
}

/// A server with an expired certificate starts: whoever mends it must be able to see what is wrong.
#[test]
fn an_expired_certificate_is_loaded() {
    let folder = Folder::with(&Issuer::new().issue(2020));
    assert_eq!(ends_at(&Tls::load(folder.files()).expect("a pair")), Y2020_S);
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let issuer = Issuer::new();
    let (good, other) = (issuer.issue(2030), issuer.issue(2030));
    let folder = Folder::with(&good);
    let refused = |cert: &str, key: &str| {
        folder.write("cert.pem", cert);
        folder.write("key.pem", key);
        let error = Tls::load(folder.files()).expect_err("refused");
        assert_eq!(error.code(), Code::InvalidConfig);
        let text = error.to_string();
        assert!(!text.contains("PRIVATE KEY") && error.hint_text().is_some(), "{text}");
        text
    };
    let broken = good.cert.replace("-----END CERTIFICATE-----", "");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let long = "x".repeat(2 << 20);
    let (cert, key) = (good.cert.as_str(), good.key.as_str());
    for (cert, key, parts) in [
        ("", key, ["tls.cert", "has no certificate in it"]),
        (key, key, ["tls.cert", "has no certificate in it"]),
        (broken.as_str(), key, ["tls.cert", "is not whole PEM"]),
        (no_der, key, ["tls.cert", "cannot be used"]),
        (cert, "", ["tls.key", "has no private key in it"]),
        (cert, cert, ["tls.key", "has no private key in it"]),
        (cert, encrypted, ["tls.key", "is encrypted"]),
        (cert, no_key, ["tls.key", "cannot be used"]),
        (cert, other.key.as_str(), ["tls.key", "is not the key of the certificate"]),
        (long.as_str(), key, ["tls.cert", "has more than 1048576 bytes"]),
    ] {
        let text = refused(cert, key);
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    }
    let missing = TlsFiles { cert: folder.path("missing.pem"), ..folder.files() };
    let text = Tls::load(missing).expect_err("refused").to_string();
    assert!(text.contains("tls.cert") && text.contains("missing.pem") && text.contains("cannot be read"), "{text}");
}

#[test]
fn a_changed_pair_is_taken_when_two_looks_see_the_same() {
    let issuer = Issuer::new();
    let folder = Folder::with(&issuer.issue(2030));
    let tls = Tls::load(folder.files()).expect("a pair");
    tls.look();
    assert_eq!(ends_at(&tls), Y2030_S);
    let next = issuer.issue(2020);
    folder.write("cert.pem", &next.cert);
    tls.look();
    // The key comes late: what was seen has changed again.
    folder.write("key.pem", &next.key);
    tls.look();
    assert_eq!(ends_at(&tls), Y2030_S, "it may still be written");
    tls.look();
    assert_eq!(ends_at(&tls), Y2020_S);
}

#[test]
fn a_bad_pair_is_not_taken_and_does_no_harm() {
    let issuer = Issuer::new();
    let folder = Folder::with(&issuer.issue(2030));
    let tls = Tls::load(folder.files()).expect("a pair");
    let next = issuer.issue(2020);
    folder.write("cert.pem", &next.cert);
    (0..4).for_each(|_| tls.look());
    assert!(tls.reload().expect_err("refused").to_string().contains("is not the key of the certificate"));
    std::fs::remove_file(folder.path("key.pem")).expect("removed");
    (0..4).for_each(|_| tls.look());
    assert_eq!(ends_at(&tls), Y2030_S);
    folder.write("key.pem", &next.key);
    (0..2).for_each(|_| tls.look());
    assert_eq!(ends_at(&tls), Y2020_S);
}

#[test]
fn what_is_the_same_is_no_change() {
    let folder = Folder::with(&Issuer::new().issue(2030));
    let tls = Tls::load(folder.files()).expect("a pair");
    let same = std::fs::read_to_string(folder.path("cert.pem")).expect("text");
    folder.write("cert.pem", &same);
    assert!(!tls.reload().expect("the same"));
}

/// A folder is swapped as a whole behind a link, which the files are links into.
#[test]
fn files_behind_links_are_followed() {
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let link = |to: &Path, name: &str| {
        std::os::unix::fs::symlink(to, path("aside")).expect("a link");
        std::fs::rename(path("aside"), path(name)).expect("renamed");
    };
    for (version, end_year) in [("v1", 2030), ("v2", 2020)] {
        let issued = issuer.issue(end_year);
        std::fs::create_dir(path(version)).expect("a folder");
        std::fs::write(path(version).join("tls.crt"), issued.cert).expect("written");
        std::fs::write(path(version).join("tls.key"), issued.key).expect("written");
    }
    link(Path::new("v1"), "..data");
    link(Path::new("..data/tls.crt"), "tls.crt");
    link(Path::new("..data/tls.key"), "tls.key");
    let tls = Tls::load(TlsFiles { cert: path("tls.crt"), key: path("tls.key") }).expect("a pair");
    link(Path::new("v2"), "..data");
    (0..2).for_each(|_| tls.look());
    assert_eq!(ends_at(&tls), Y2020_S);
}
