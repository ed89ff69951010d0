//! How is the real binary started, watched and ended? Waits on its own ready line and on its end, never on time.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A running server. Killed when dropped.
pub struct Server {
    pub grpc: String,
    child: Mutex<Child>,
}

fn spawn(folder: &Path, fail_points: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidewater"))
        .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
        .arg(folder)
        .env("TIDEWATER_FAIL_POINTS", fail_points)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

impl Server {
    /// Returns when the server says that it is ready.
    pub fn start(folder: &Path, fail_points: &str) -> Self {
        let mut child = spawn(folder, fail_points);
        let stdout = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.starts_with("ready "))
            .expect("the server gets ready");
        let grpc = ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix("grpc="))
            .expect("the ready line names the port")
            .to_owned();
        // The pipe is read to its end, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { grpc, child: Mutex::new(child) }
    }

    /// A server that is killed before it is ready.
    pub fn start_and_die(folder: &Path, fail_points: &str) {
        let mut child = spawn(folder, fail_points);
        let mut out = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
        assert!(!out.contains("ready "), "the server got ready");
        assert!(!child.wait().expect("ends").success());
    }

    pub fn kill(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        child.kill().expect("killed");
        child.wait().expect("ends");
    }

    /// Waits for the end; true if it was a SIGKILL.
    pub fn was_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.child.lock().expect("not poisoned").wait().expect("ends").signal() == Some(9)
    }

    /// Asks for an orderly end and waits for it.
    pub fn stop(self) {
        let mut child = self.child.lock().expect("not poisoned");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        assert!(child.wait().expect("ends").success(), "the server ends with status 0");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
