//! Is the data folder on a disk that keeps what it was given, soon enough, and is there space? It writes a small file to know.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanBytes;
use tokio::time::Instant;

use super::report::Finding;

/// Small writes whose sync is measured: each is what one acknowledgement waits for.
const SYNCS: usize = 50;
const WRITE_BYTES: usize = 4096;

/// Slower than this, each acknowledgement is.
const SLOW_P50: Duration = Duration::from_millis(10);
const SLOW_P99: Duration = Duration::from_millis(100);

/// What is wrong with file systems of a kind, by the number that the kernel has for it.
const KINDS: &[(u32, &str, &str)] = &[
    (0x6969, "NFS", NETWORK),
    (0x517B, "SMB", NETWORK),
    (0xFE53_4D42, "SMB", NETWORK),
    (0xFF53_4D42, "CIFS", NETWORK),
    (0x00C3_6400, "Ceph", NETWORK),
    (0x0BD0_0BD0, "Lustre", NETWORK),
    (0x0102_1997, "9p", NETWORK),
    (0x6573_5546, "FUSE", "what a sync means there is up to a program; use a local disk"),
    (0x0102_1994, "tmpfs", "it is memory, and empty after a restart of the machine; use a disk"),
    (0x8584_58F6, "ramfs", "it is memory, and empty after a restart of the machine; use a disk"),
    (0x794C_7630, "overlayfs", "it goes with its container; mount a volume for the data folder"),
];

const NETWORK: &str =
    "locks and syncs over a network are not to be relied on; use a local disk, and storage.url for the Delta tables";

pub(super) fn check(data: &Path, min_free_bytes: u64) -> Vec<Finding> {
    let Some(folder) = existing(data) else {
        let detail = format!("{} and no folder above it is there", data.display());
        return vec![Finding::fail("data folder", detail, "name a folder with --data")];
    };
    let mut findings = Vec::new();
    if let Ok(stat) = rustix::fs::statfs(&folder) {
        findings.push(kind_of(&folder, stat.f_type as u32));
    }
    if let Ok(stat) = rustix::fs::statvfs(&folder) {
        findings.push(space(stat.f_bavail.saturating_mul(stat.f_frsize), min_free_bytes));
    }
    findings.push(match measure(&folder) {
        Ok(took) => syncs(took),
        Err(reason) => Finding::fail(
            "sync",
            format!("nothing can be written in {}: {reason}", folder.display()),
            "let the user of the server own the folder, or name another one with --data",
        ),
    });
    findings
}

/// The folder, or the nearest one above it that is there.
fn existing(data: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(data).ok()?;
    whole.ancestors().find(|folder| folder.is_dir()).map(Path::to_path_buf)
}

pub(super) fn kind_of(folder: &Path, kind: u32) -> Finding {
    const CHECK: &str = "file system";
    match KINDS.iter().find(|(number, ..)| *number == kind) {
        Some((_, name, action)) => Finding::warn(CHECK, format!("{} is on {name}", folder.display()), *action),
        None => Finding::ok(CHECK, folder.display().to_string()),
    }
}

pub(super) fn space(free_bytes: u64, min_free_bytes: u64) -> Finding {
    const CHECK: &str = "free disk";
    let detail = format!("{} free, storage.min_free is {}", HumanBytes(free_bytes), HumanBytes(min_free_bytes));
    if free_bytes < min_free_bytes {
        Finding::fail(CHECK, detail, "free space or move the folder to a larger disk: rows are refused (DISK_FULL)")
    } else if free_bytes < min_free_bytes.saturating_mul(2) {
        Finding::warn(CHECK, detail, "free space soon: below storage.min_free rows are refused (DISK_FULL)")
    } else {
        Finding::ok(CHECK, detail)
    }
}

/// How long each sync took, sorted. The file has no name while it is written, so nothing can be left of it.
fn measure(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let path = folder.join(format!(".tidewater-doctor-{}", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    let mut took = (0..SYNCS).map(|_| sync(&mut file)).collect::<Result<Vec<_>, _>>()?;
    took.sort();
    Ok(took)
}

fn sync(file: &mut File) -> std::io::Result<Duration> {
    let started = Instant::now();
    file.write_all(&[0; WRITE_BYTES])?;
    file.sync_data()?;
    Ok(started.elapsed())
}

/// Takes sorted times.
pub(super) fn syncs(took: Vec<Duration>) -> Finding {
    const CHECK: &str = "sync";
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let (p50, p99) = (at(50), at(99));
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let detail = format!("{} syncs of 4 KiB: p50 {:.2} ms, p99 {:.2} ms", took.len(), ms(p50), ms(p99));
    if p50 > SLOW_P50 || p99 > SLOW_P99 {
        let action = "each acknowledgement waits for a sync; use a disk with power-loss protection, or durability = 'os' for \
                      tables that may lose the last second in a power cut";
        return Finding::warn(CHECK, detail, action);
    }
    Finding::ok(CHECK, detail)
}
