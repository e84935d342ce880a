//! Runs programs as the Cyrus user, and ends them with all the processes that they started.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, User};

use crate::error::{Error, Result, io};

/// The user and group that own a Cyrus store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user `cyrus`.
    pub uid: Uid,
    /// Its group, `mail`.
    pub gid: Gid,
}

/// Looks up the user `cyrus`, after checking that we are root.
///
/// # Errors
/// [`Error::NotRoot`], or [`Error::NoUser`] if there is no such user.
pub fn cyrus_user() -> Result<Identity> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    match User::from_name("cyrus") {
        Ok(Some(user)) => Ok(Identity { uid: user.uid, gid: user.gid }),
        _ => Err(Error::NoUser),
    }
}

/// A command that will run as the Cyrus user, in its own process group.
///
/// # Errors
/// As [`cyrus_user`].
pub fn run_as_cyrus(program: impl AsRef<OsStr>) -> Result<Command> {
    let identity = cyrus_user()?;
    let mut command = Command::new(program);
    command.uid(identity.uid.as_raw()).gid(identity.gid.as_raw()).process_group(0);
    Ok(command)
}

/// Makes a folder and gives it to the Cyrus user.
///
/// # Errors
/// When it cannot be made.
pub fn cyrus_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(io("create", path))?;
    give_to_cyrus(path)
}

/// Gives a file to the Cyrus user.
///
/// # Errors
/// As [`cyrus_user`], and when its owner cannot be changed.
pub fn give_to_cyrus(path: &Path) -> Result<()> {
    let identity = cyrus_user()?;
    std::os::unix::fs::chown(path, Some(identity.uid.as_raw()), Some(identity.gid.as_raw()))
        .map_err(io("chown", path))
}

/// How long killed processes may take to end.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// A child in its own process group, which dies with all its descendants when this is dropped. (If our own process is
/// killed, the guard (`groundwork`) ends the processes that work on an instance.)
#[derive(Debug)]
pub struct Tree {
    child: Child,
}

impl Tree {
    /// Starts `command` (which must request its own process group, as those of this crate do).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(io("start", Path::new(&program)))?;
        Ok(Self { child })
    }

    /// The process id, which is also that of the group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the first process is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The ids of living processes of this group whose program is `name` (at most its first 15 bytes count).
    #[must_use]
    pub fn pids_named(&self, name: &str) -> Vec<i32> {
        let wanted = name.get(..15).unwrap_or(name);
        group_members(self.id())
            .into_iter()
            .filter(|(_, comm)| comm == wanted)
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Sends a signal to one process of this group; false if it is gone or not ours.
    #[must_use]
    pub fn signal(&self, pid: i32, signal: Signal) -> bool {
        let ours: BTreeSet<i32> =
            group_members(self.id()).into_iter().map(|(pid, _)| pid).collect();
        ours.contains(&pid) && kill(Pid::from_raw(pid), signal).is_ok()
    }

    /// Ends all: asks the first process to end (SIGTERM), waits for up to `grace`, then kills the group. No process is left
    /// afterwards, so that none writes into a folder that is removed next.
    pub fn stop(&mut self, grace: Duration) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let end = Instant::now() + grace;
            if !grace.is_zero() && self.is_running() {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
                while self.is_running() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            // The group may live on without its leader, and killed processes take a moment to die.
            let end = Instant::now() + DEATH_TIMEOUT;
            while !group_members(self.child.id()).is_empty() && Instant::now() < end {
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// All living processes of a group, with their program names, as `/proc/PID/stat` has them.
fn group_members(group: u32) -> Vec<(i32, String)> {
    let mut members = Vec::new();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return members;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // pid (comm) state ppid pgrp …; comm may contain anything, so look for its last ')'.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let Some(rest) = stat.get(close + 1..) else {
            continue;
        };
        let mut fields = rest.split_whitespace();
        let (state, _parent, pgrp) = (fields.next(), fields.next(), fields.next());
        if state != Some("Z") && pgrp.and_then(|pgrp| pgrp.parse::<u32>().ok()) == Some(group) {
            members.push((pid, stat.get(open + 1..close).unwrap_or_default().to_owned()));
        }
    }
    members
}

/// Sends a signal (`TERM`, `HUP` …) to a child that was not waited for.
///
/// # Errors
/// When there is no such signal, or the child is gone.
pub fn send(child: &Child, signal: &str) -> Result<()> {
    send_to(child.id(), signal)
}

/// Sends a signal to a process by its id.
///
/// # Errors
/// When there is no such signal, or no such process.
pub fn send_to(pid: u32, signal: &str) -> Result<()> {
    let failed = |err: nix::Error| io("signal", format!("process {pid}"))(err.into());
    let signal = format!("SIG{signal}").parse::<Signal>().map_err(failed)?;
    let pid = i32::try_from(pid).map_err(|_| failed(nix::Error::ESRCH))?;
    kill(Pid::from_raw(pid), signal).map_err(failed)
}

/// Runs a command to its end and returns its output; fails unless it succeeds.
///
/// # Errors
/// [`Error::Program`] with all it wrote, or when it cannot be started.
pub fn must_run(command: &mut Command) -> Result<std::process::Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(io("run", Path::new(command.get_program())))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Program {
        program: format!("{command:?}"),
        status: output.status.to_string(),
        output: text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_tree_leaves_nobody() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & sleep 1000 & wait"]).process_group(0);
        let tree = Tree::spawn(command).unwrap();
        let group = tree.id();
        for _ in 0..100 {
            if tree.pids_named("sleep").len() == 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(tree.pids_named("sleep").len(), 2);
        drop(tree);
        assert_eq!(group_members(group), []);
    }

    #[test]
    fn cyrus_runs_as_cyrus() {
        crate::ensure_cyrus().unwrap();
        let output = must_run(run_as_cyrus("id").unwrap().arg("-un")).unwrap();
        assert_eq!(output.stdout, b"cyrus\n");
    }
}
