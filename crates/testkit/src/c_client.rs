//! Runs Cyrus' own sync_client, and any other program, and measures it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::cyrus::Cyrus;
use crate::error::{Error, Result, io};

/// How a program ended, its output, and the time and memory it used.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The program and its arguments.
    pub program: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// From its start to its end.
    pub wall: Duration,
    /// CPU time in user mode.
    pub user_cpu: Duration,
    /// CPU time in the kernel.
    pub system_cpu: Duration,
    /// The most memory it held at once, in bytes: sampled every few milliseconds from `/proc`, because the kernel's own
    /// figure for children includes the parent's memory before exec. 0 if it ended before the first sample.
    pub peak_rss_bytes: u64,
}

impl Outcome {
    /// User and kernel CPU time together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user_cpu + self.system_cpu
    }

    /// Fails unless it exited with 0.
    ///
    /// # Errors
    /// [`Error::Program`] with its whole output.
    pub fn must_succeed(self) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        Err(Error::Program {
            status: self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}")),
            output: format!("{}{}", self.stdout, self.stderr),
            program: self.program,
        })
    }
}

/// Runs `sync_client -C imapd.conf args…` of a master's version as the Cyrus user, to its end.
///
/// # Errors
/// When it cannot be started; an exit code is not an error here ([`Outcome::must_succeed`]).
pub fn run(master: &Cyrus, args: &[&str]) -> Result<Outcome> {
    let mut command = master.program("sync_client");
    command.arg("-C").arg(master.imapd_conf()).args(args);
    measure(command)
}

/// Runs any command to its end, measuring it. Its output is captured.
///
/// # Errors
/// When it cannot be started or waited for.
pub fn measure(mut command: Command) -> Result<Outcome> {
    let program = format!("{command:?}");
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io("start", &program))?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let ended = Arc::new(AtomicBool::new(false));
    let peak = Arc::new(AtomicU64::new(0));
    let sampler = {
        let (ended, peak, pid) = (Arc::clone(&ended), Arc::clone(&peak), child.id());
        std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                peak.fetch_max(peak_rss(pid), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let used = child.wait4();
    let wall = started.elapsed();
    ended.store(true, Ordering::SeqCst);
    let _ = sampler.join();
    let used = used.map_err(io("wait for", &program))?;
    Ok(Outcome {
        code: used.status.code(),
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
        wall,
        user_cpu: used.rusage.utime,
        system_cpu: used.rusage.stime,
        peak_rss_bytes: peak.load(Ordering::SeqCst),
        program,
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `VmHWM` of a living process, in bytes.
fn peak_rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_output_and_cost() {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "echo out; echo err >&2; n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done; exit 3",
        ]);
        let outcome = measure(command).unwrap();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
        assert!(outcome.cpu() > Duration::ZERO && outcome.peak_rss_bytes > 0, "{outcome:?}");
        assert!(outcome.must_succeed().is_err());
    }
}
