//! A client that replicates in the background of a benchmark: started, observed, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::Cyrus;

use crate::bench::results::Client;
use crate::program::C_CLIENT;

/// Jobs of ours.
pub(crate) const JOBS: &str = "4";
/// How long a client may take to end after a signal.
const FAREWELL: Duration = Duration::from_secs(30);

/// A running client; it is killed if it is not ended before.
pub(crate) struct Running {
    child: Child,
    /// Its output.
    output: PathBuf,
}

impl Running {
    /// Starts a client with the master's imapd.conf as it is now.
    pub(crate) fn start(client: Client, master: &Cyrus, program: &Path) -> Result<Running> {
        let mut command = match client == Client::C {
            true => master.command(C_CLIENT),
            false => master.root_command(program),
        };
        command.arg("-C").arg(master.imapd_conf()).arg("-R");
        if client != Client::C {
            command.args(["-j", JOBS]);
        }
        let output = master.dir().join("rolling.out");
        let file = File::create(&output)
            .with_context(|| format!("failed to create {}", output.display()))?;
        let also = file.try_clone().context("failed to share the output's file")?;
        command.stdin(Stdio::null()).stdout(file).stderr(also);
        let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        Ok(Running { child, output })
    }

    /// Fails when it has ended.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait().context("failed to look at the client")? {
            None => Ok(()),
            Some(status) => bail!("the client ended ({status}): {}", self.said()),
        }
    }

    /// CPU time so far in seconds, and the most memory it held at once in bytes.
    pub(crate) fn figures(&self) -> Result<(f64, f64)> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
        };
        let cpu = cpu_seconds(&read("stat")?).context("no CPU time in /proc")?;
        let status = read("status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok((cpu, peak.context("no VmHWM in /proc")? * 1024.0))
    }

    /// Asks it to end and waits for it.
    pub(crate) fn terminate(mut self) -> Result<()> {
        testkit::process::send(&self.child, "TERM").context("no client to end")?;
        let asked = Instant::now();
        while self.child.try_wait().context("failed to wait for the client")?.is_none() {
            ensure!(asked.elapsed() < FAREWELL, "the client does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `utime` and `stime` of `/proc/PID/stat`, which counts in hundredths of a second on all Linux there is.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_a_process() {
        let stat = "7 (sync (x) y) S 1 7 7 0 -1 4194560 900 0 3 0 150 25 0 0 20 0 9 0 100";
        assert_eq!(cpu_seconds(stat), Some(1.75));
    }
}
