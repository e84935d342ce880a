//! What a command needs on the machine, checked before anything is built.

use std::fs;

use groundwork::cyrus;

use crate::{Refusal, say};

/// Root, and Cyrus, which is installed if it is missing.
pub(crate) fn root_and_cyrus(command: &str) -> Result<(), Refusal> {
    if !groundwork::is_root() {
        return Err(Refusal::lacking(format!(
            "cargo xtask {command} wants root, as Cyrus changes to its own user, and Debian 12, for its Cyrus 3.6.1. \
             Run it as root, best in a container of its own; cargo xtask demo works without."
        )));
    }
    if forbids_code(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), "/tmp") {
        return Err(Refusal::lacking(
            "/tmp is mounted with noexec, but what listens to syslog is loaded from there (crates/testkit/shim): \
             mount -o remount,exec /tmp",
        ));
    }
    cyrus::ensure(&say).map_err(|err| Refusal::lacking(err.to_string()))
}

/// Whether a folder's file system forbids loading code, according to the mounts (`/proc/self/mounts`).
fn forbids_code(mounts: &str, folder: &str) -> bool {
    let mut best = ("", false);
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(place), _kind, Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let holds = place == "/" || place == folder;
        // Of two mounts at one place the later one counts.
        if holds && place.len() >= best.0.len() {
            best = (place, options.split(',').any(|option| option == "noexec"));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let root = "/dev/vda / ext4 rw,noexec 0 0\n";
        let shm = "tmpfs /dev/shm tmpfs rw,noexec 0 0\n";
        assert!(forbids_code(root, "/tmp"));
        assert!(!forbids_code(shm, "/tmp"));
        assert!(!forbids_code(&format!("{root}tmpfs /tmp tmpfs rw 0 0\n"), "/tmp"));
        assert!(forbids_code("tmpfs /tmp tmpfs rw 0 0\ntmpfs /tmp tmpfs rw,noexec 0 0", "/tmp"));
    }
}
