//! How is the real binary started, watched and ended? Waits on its own ready line and on its end, never on time.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;

/// A running server. Killed when dropped.
pub struct Server {
    pub grpc: String,
    process: Mutex<Process>,
}

/// A child and what it says to standard error, which is read to its end so that the child never waits for us.
struct Process {
    child: Child,
    said: Option<JoinHandle<String>>,
}

/// How a server is started over a folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct How<'a> {
    pub fail_points: &'a str,
    /// Seconds that its clocks are ahead. A later start over the same folder has as many or more.
    pub ahead_s: u64,
    /// Settings, `name=value` each.
    pub settings: &'a [&'a str],
    /// Errors may be logged.
    pub is_told_errors: bool,
}

fn spawn(folder: &Path, how: &How<'_>) -> Process {
    // Panics are told in any case.
    let level = if how.is_told_errors { "log.level=off,tidewater_server::logging=error" } else { "log.level=error" };
    let settings = [level].into_iter().chain(how.settings.iter().copied());
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidewater"))
        .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(settings.flat_map(|setting| ["--set", setting]))
        .arg("--data")
        .arg(folder)
        .env("TIDEWATER_FAIL_POINTS", how.fail_points)
        .env("TIDEWATER_CLOCK_AHEAD_S", how.ahead_s.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stderr = child.stderr.take().expect("piped");
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).expect("text");
        said
    });
    Process { child, said: Some(said) }
}

impl Process {
    /// Waits for the end. Whatever ended it: no thread may have panicked, and no error may have been logged before.
    fn ended(&mut self) -> std::process::ExitStatus {
        let status = self.child.wait().expect("ends");
        if let Some(said) = self.said.take() {
            let said = said.join().expect("read to its end");
            assert!(!said.contains("panicked") && !said.contains("ERROR"), "{status}, the server said: {said}");
        }
        status
    }
}

impl Server {
    /// Returns when the server says that it is ready.
    pub fn start(folder: &Path, fail_points: &str) -> Self {
        Self::try_start(folder, fail_points).expect("the server gets ready before it is killed")
    }

    /// `None`: it was killed before it was ready.
    pub fn try_start(folder: &Path, fail_points: &str) -> Option<Self> {
        Self::try_start_as(folder, &How { fail_points, ..How::default() })
    }

    /// The same, in another way than most.
    pub fn start_as(folder: &Path, how: &How<'_>) -> Self {
        Self::try_start_as(folder, how).expect("the server gets ready before it is killed")
    }

    /// The same; `None`: it was killed before it was ready.
    pub fn try_start_as(folder: &Path, how: &How<'_>) -> Option<Self> {
        let mut process = spawn(folder, how);
        let stdout = process.child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let Some(ready) = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready ")) else {
            let said = process.said.take().expect("not taken").join().expect("read to its end");
            let status = process.ended();
            assert_eq!(status.signal(), Some(9), "the server does not start: {status}, it said: {said}");
            return None;
        };
        let grpc = ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix("grpc="))
            .expect("the ready line names the port")
            .to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { grpc, process: Mutex::new(process) })
    }

    /// A server that is killed before it is ready.
    pub fn start_and_die(folder: &Path, fail_points: &str) {
        assert!(Self::try_start(folder, fail_points).is_none(), "{fail_points} was not reached");
    }

    pub fn kill(&self) {
        let mut process = self.process.lock().expect("not poisoned");
        process.child.kill().expect("killed");
        process.ended();
    }

    /// Waits for the end; true if it was a SIGKILL.
    pub fn was_killed(&self) -> bool {
        self.process.lock().expect("not poisoned").ended().signal() == Some(9)
    }

    /// Asks for an orderly end.
    pub fn terminate(&self) {
        let process = self.process.lock().expect("not poisoned");
        let pid = rustix::process::Pid::from_child(&process.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    }

    /// Asks for an orderly end and waits for it.
    pub fn stop(self) {
        self.terminate();
        let mut process = self.process.lock().expect("not poisoned");
        assert!(process.ended().success(), "the server ends with status 0");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
