//! How is the server under load run and watched? Its CPU time, memory and writes, from /proc.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;

/// How often threads are looked at that come and go: half of this is missed of each, on average.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Any port.
pub const ANY_PORT: &str = "127.0.0.1:0";

pub struct Server {
    pub grpc: String,
    /// From the start of the process to the line that says that it takes requests.
    pub ready_s: f64,
    child: Child,
}

pub struct Usage {
    /// User and system time, all threads.
    pub cpu_s: f64,
    pub rss_peak_bytes: u64,
    /// What went to the disk, or will: pages that were made dirty. Those of files that were removed before they were written are in it.
    pub written_bytes: u64,
    /// What came from the disk and not from the page cache.
    pub read_bytes: u64,
    /// What was read by calls, from the disk or the page cache. Mapped files are not in it.
    pub called_read_bytes: u64,
}

/// CPU nanoseconds of threads that live, by their id.
pub type CpuByTask = BTreeMap<u64, u64>;

/// CPU seconds of threads, by their name.
pub type CpuByThread = BTreeMap<String, f64>;

impl Server {
    /// Starts a server over `folder` with these settings that listens at `grpc`. Its log goes to a file beside the folder.
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    pub fn start(
        bin: &Path,
        folder: &Path,
        grpc: &str,
        settings: &[(&str, String)],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(bin);
        command.args(["serve", "--grpc", grpc, "--http", ANY_PORT, "--data"]).arg(folder);
        for (name, value) in settings {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        let log = OpenOptions::new().create(true).append(true).open(folder.with_extension("log"))?;
        let started = Instant::now();
        let mut child = command
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let ready = lines.by_ref().map_while(|l| l.ok()).find(|l| l.starts_with("ready "));
        let Some(ready) = ready else {
            let log = std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("the server did not start: {}", end.join(" / "));
        };
        let grpc = ready.split_whitespace().find_map(|w| w.strip_prefix("grpc=")).context("no port")?.to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { grpc, ready_s: started.elapsed().as_secs_f64(), child })
    }

    pub fn usage(&self) -> Result<Usage> {
        let (_, cpu_s) = named_cpu(&format!("/proc/{}/stat", self.child.id()))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find(|l| l.starts_with(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
        };
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let bytes = |name: &str| -> Result<u64> {
            let value = io.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(value.trim().parse()?)
        };
        Ok(Usage {
            cpu_s,
            rss_peak_bytes: kib("VmHWM:")? * 1024,
            written_bytes: bytes("write_bytes:")?,
            read_bytes: bytes("read_bytes:")?,
            called_read_bytes: bytes("rchar:")?,
        })
    }

    /// Ends the process as a power cut of the process alone would: nothing of it runs any more, what the kernel has stays.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Where the time goes, of threads that live.
    pub fn cpu_by_thread(&self) -> Result<CpuByThread> {
        Ok(sums(threads(self.child.id())?))
    }

    /// The same with threads that ended, from now on and until the result is dropped. It stays what it was when the server ends.
    pub fn watch_threads(&self) -> watch::Receiver<CpuByThread> {
        let (sender, watched) = watch::channel(CpuByThread::new());
        let process = self.child.id();
        std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !sender.is_closed() {
                seen.extend(threads(process).unwrap_or_default());
                sender.send_replace(sums(seen.clone()));
                std::thread::sleep(WATCH_INTERVAL);
            }
        });
        watched
    }

    /// For what takes less than the hundredths of a second that [`Self::usage`] counts.
    pub fn cpu_by_task(&self) -> Result<CpuByTask> {
        let mut tasks = CpuByTask::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            let id = task.file_name().to_string_lossy().parse()?;
            // A thread that ended meanwhile has no file any more.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            tasks.insert(id, text.split_whitespace().next().context("an empty schedstat")?.parse()?);
        }
        ensure!(!tasks.is_empty(), "this kernel does not tell the CPU time of threads (schedstat)");
        Ok(tasks)
    }

    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the server did not end well");
        Ok(())
    }
}

/// CPU milliseconds between two looks; what a thread did that ended between them is not in it.
pub fn cpu_ms_between(before: &CpuByTask, after: &CpuByTask) -> f64 {
    let spent = |(id, ns): (&u64, &u64)| ns.saturating_sub(before.get(id).copied().unwrap_or_default());
    after.iter().map(spent).sum::<u64>() as f64 / 1e6
}

/// CPU seconds of each thread of a process, by its name and number. One that ends while it is looked at is left out.
fn threads(process: u32) -> Result<BTreeMap<(String, String), f64>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = task?.path().display().to_string();
        if let Ok((name, cpu_s)) = named_cpu(&format!("{path}/stat")) {
            threads.insert((name, path), cpu_s);
        }
    }
    Ok(threads)
}

fn sums(threads: BTreeMap<(String, String), f64>) -> CpuByThread {
    let mut sums = CpuByThread::new();
    for ((name, _), cpu_s) in threads {
        *sums.entry(name).or_default() += cpu_s;
    }
    sums
}

/// Name, and user and system time in seconds, of a process or thread.
fn named_cpu(stat: &str) -> Result<(String, f64)> {
    let stat = std::fs::read_to_string(stat)?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
    let (before, behind) = stat.rsplit_once(')').context("no name")?;
    let name = before.split_once('(').context("no name")?.1;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok((name.to_owned(), ticks / rustix::param::clock_ticks_per_second() as f64))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
