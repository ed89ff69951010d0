//! How is the server under load watched? Its CPU time and memory, from /proc.

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
    pub rss_bytes: u64,
    pub rss_peak_bytes: u64,
}

impl Server {
    pub fn start(bin: &Path, folder: &Path) -> Result<Self> {
        let mut child = Command::new(bin)
            .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
            .arg(folder)
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
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find(|l| l.starts_with(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
        };
        Ok(Usage {
            cpu_s: ticks / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: kib("VmRSS:")? * 1024,
            rss_peak_bytes: kib("VmHWM:")? * 1024,
        })
    }

    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the server did not end well");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
