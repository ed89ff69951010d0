//! Which commit is this? `TIDEWATER_COMMIT`, or what git says, or `unknown` in sources without history. No date: a build can be repeated.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "TIDEWATER_COMMIT";
const DIGITS: &str = "--short=7";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let given = std::env::var(VARIABLE).ok().filter(|commit| is_plain(commit));
    let commit = given.or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=TIDEWATER_BUILD_COMMIT={commit}");
}

fn from_git() -> Option<String> {
    // A folder above that has a history of its own is none of ours: this one must know our manifest.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // The first changes with the branch, the second with each commit. One that is not there would run this at each build.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", DIGITS, "HEAD"]).filter(|commit| is_plain(commit))
}

/// What git prints; `None` if there is no git, or no repository.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn is_plain(commit: &str) -> bool {
    !commit.is_empty() && commit.len() <= 64 && commit.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
