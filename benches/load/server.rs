//! How is the server under load watched? Its CPU time and memory, from /proc.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

pub struct Server {
    pub grpc: String,
    child: Child,
}

pub struct Usage {
    /// User and system time, all threads.
    pub cpu_s: f64,
    pub rss_peak_bytes: u64,
}

/// CPU seconds of threads that live, by their name.
pub type CpuByThread = BTreeMap<String, f64>;

impl Server {
    pub fn start(bin: &Path, folder: &Path, memory_limit: Option<&str>) -> Result<Self> {
        let mut command = Command::new(bin);
        command.args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"]).arg(folder);
        if let Some(limit) = memory_limit {
            command.arg("--set").arg(format!("memory.limit={limit}"));
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let ready = lines
            .by_ref()
            .map_while(|l| l.ok())
            .find(|l| l.starts_with("ready "))
            .context("the server did not start")?;
        let grpc = ready.split_whitespace().find_map(|w| w.strip_prefix("grpc=")).context("no port")?.to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { grpc, child })
    }

    pub fn usage(&self) -> Result<Usage> {
        let (_, cpu_s) = named_cpu(&format!("/proc/{}/stat", self.child.id()))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find(|l| l.starts_with(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
        };
        Ok(Usage { cpu_s, rss_peak_bytes: kib("VmHWM:")? * 1024 })
    }

    /// Where the time goes. A thread that ends while it is looked at is left out.
    pub fn cpu_by_thread(&self) -> Result<CpuByThread> {
        let mut threads = CpuByThread::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = format!("{}/stat", task?.path().display());
            if let Ok((name, cpu_s)) = named_cpu(&path) {
                *threads.entry(name).or_default() += cpu_s;
            }
        }
        Ok(threads)
    }

    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the server did not end well");
        Ok(())
    }
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
