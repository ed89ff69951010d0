//! Does the runner say what is wrong with what it is given? It needs no server for that.

use std::path::Path;
use std::process::{Command, Output};

fn run(options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewater-slt"));
    command.args(["--server", "http://127.0.0.1:1"]).args(options).output().expect("the runner starts")
}

fn said(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_folder_without_files_is_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = folder.to_str().expect("text");
    assert!(said(&run(&["--files", folder])).contains("no file"));
    assert!(said(&run(&["--files", "/nosuchfolder"])).contains("cannot read"));
}

#[test]
fn a_skip_has_one_of_four_reasons() {
    let folder = tempfile::tempdir().expect("a folder");
    let skips = folder.path().join("skips.tsv");
    let skips = skips.to_str().expect("text");
    for (line, part) in [
        ("a.slt\t1\tit is slow\tnote", "none of the four reasons"),
        ("a.slt\t1\trefused by design", "not 4 columns"),
        ("a.slt\t1\trefused by design\t", "needs a note"),
        ("a.slt\t1\tengine bug\tsomewhere", "needs its issue"),
    ] {
        std::fs::write(skips, line).expect("written");
        let error = said(&run(&["--files", "/nosuchfolder", "--skips", skips]));
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn a_refusal_by_design_says_what_was_asked_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusals = folder.path().join("refusals.toml");
    let refusals = refusals.to_str().expect("text");
    for (line, part) in [
        ("reason = 'UNSUPPORTED_STATEMENT'\nnote = 'no'", "missing field `sql`"),
        ("reason = 'UNSUPPORTED_STATEMENT'\nsql = ''\nnote = 'no'", "needs a note, a statement"),
        ("reason = 'UNSUPPORTED_STATEMENT'\nsql = 'UPDATE'\nnote = ''", "needs a note, a statement"),
        ("reason = 'SYNTAX_ERROR'\nsql = 'UPDATE'\nnote = 'no'", "and no mistake"),
    ] {
        std::fs::write(refusals, format!("[[refusal]]\n{line}\n")).expect("written");
        let error = said(&run(&["--files", "/nosuchfolder", "--refusals", refusals]));
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn the_repository_s_own_lists_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let (skips, fixtures, rules) = (path("skips.tsv"), path("fixtures.toml"), path("rules.toml"));
    let refusals = path("refusals.toml");
    let lists = ["--skips", skips.as_str(), "--fixtures", fixtures.as_str(), "--write-skips", rules.as_str(), "out"];
    let refused = ["--refusals", refusals.as_str()];
    let options = [["--files", "/nosuchfolder"].as_slice(), lists.as_slice(), refused.as_slice()].concat();
    assert!(said(&run(&options)).contains("cannot read /nosuchfolder"));
}
