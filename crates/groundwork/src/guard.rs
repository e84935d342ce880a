//! Cleans up after a process that was killed: removes its servers and its folders.
//!
//! A process that is killed by SIGKILL, or by a signal it does not handle, runs no destructor. So each process that makes a
//! [`Folder`](crate::Folder) has one small shell beside it, in a process group of its own, which learns of every folder
//! through a pipe. When the pipe closes, because the process has ended, the shell kills every process that has such a
//! folder in its command line or its environment (as all that work on it have: `-C FOLDER/imapd.conf`,
//! `TESTKIT_SYSLOG=FOLDER/log`, `TMPDIR=FOLDER`) and removes the folder. It repeats this until both are gone, because
//! servers start others while they are being killed, and write until they are dead.
//!
//! It also finds a daemon that left its session and its process group.

use std::ffi::OsStr;
use std::io::{Error, Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The script reads one folder per line. The first time it only looks, and gives a second to processes that are ending by
/// themselves (cargo-nextest reports the running tests after Ctrl-C). The pattern comes to grep through a pipe, because
/// otherwise grep would find itself; it is never empty, because an empty one would match every process.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
while IFS= read -r folder; do
    case $folder in /*/?*) set -- "$@" "$folder" ;; esac
done
[ $# -gt 0 ] || exit 0
act=:
for pause in 1 0 0.02 0.05 0.1 0.1 0.2 0.5 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1; do
    busy=
    for file in $(printf '%s\n' "$@" | grep -lsF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do
        pid=${file#/proc/} pid=${pid%/*} busy=yes
        $act -KILL "-$pid" "$pid"
    done
    for folder; do
        ! [ -e "$folder" ] || { busy=yes; [ $act = : ] || rm -rf -- "$folder"; }
    done
    [ "$busy" ] || exit 0
    sleep "$pause"
    act=kill
done
"#;

/// The pipe to the shell of this process, once there is one.
static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// Registers this folder: when this process ends without having removed it, the shell removes it and kills the processes
/// that work on it. Call it before the folder is made, so that there is no moment without a guard.
pub(crate) fn watch(folder: &Path) -> Result<()> {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    if pipe.is_none() {
        *pipe = Some(start()?);
    }
    if let Some(pipe) = pipe.as_mut() {
        let line = [folder.as_os_str().as_bytes(), b"\n"].concat();
        pipe.write_all(&line)?;
    }
    Ok(())
}

fn start() -> Result<ChildStdin> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "testkit-guard"]).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Nothing of ours may be in its environment: another guard would take it for a process to kill.
    let path = std::env::var_os("PATH");
    command.env_clear().env("PATH", path.as_deref().unwrap_or(OsStr::new("/usr/bin:/bin")));
    // It ends after us, so nothing waits for it.
    command.spawn()?.stdin.ok_or_else(|| Error::other("the guard has no stdin"))
}
