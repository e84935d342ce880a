//! Redirects the syslog lines of programs to a socket of ours, on any machine, and makes fsync do nothing.
//!
//! Cyrus 3.6.1 and our own program log through libc's `syslog(3)`, which knows one socket for the whole machine,
//! `/dev/log`: missing in a chroot, used by others elsewhere, and private only with rights that a container lacks. So
//! programs are started with a small library before libc (`shim/syslog.c`, compiled by the build script), which sends each
//! line to the socket that the environment names. Children inherit both; a set-user-ID program would not, and Cyrus has
//! none.
//!
//! The same library makes fsync do nothing (`shim/fsync.c`): in a container, whose memory file system is small, stores are
//! on disk, where Cyrus would spend most of its time on fsync. Benchmarks on disk keep the real fsync.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use groundwork::Folder;

use crate::error::{Result, io};
use crate::place;

const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));

/// The library at a place where the Cyrus user may load it, and the socket that it sends to.
#[derive(Debug)]
pub(crate) struct Shim {
    folder: Folder,
    socket: PathBuf,
    fsync: bool,
}

impl Shim {
    /// Puts the library below `/tmp`: memory file systems of containers forbid loading code from them. With `fsync`,
    /// programs wait for the disk as in real use.
    pub(crate) fn make(socket: &Path, fsync: bool) -> Result<Shim> {
        let tmp = place::on_disk();
        let folder = Folder::make(tmp, "cylog").map_err(io("make a folder in", tmp))?;
        let shim = Shim { folder, socket: socket.to_path_buf(), fsync };
        let library = shim.library();
        std::fs::write(&library, LIBRARY).map_err(io("write", &library))?;
        for path in [shim.folder.path(), &library] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, mode).map_err(io("chmod", path))?;
        }
        Ok(shim)
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.folder.path().join("shim.so")
    }

    /// Makes the program of this command, and all programs that it starts, load the library.
    pub(crate) fn aim(&self, command: &mut Command) {
        let mut libraries = self.library().into_os_string();
        if let Some(others) = std::env::var_os("LD_PRELOAD") {
            libraries = [libraries, OsString::from(":"), others].into_iter().collect();
        }
        command.env("LD_PRELOAD", libraries).env("TESTKIT_SYSLOG", &self.socket);
        if !self.fsync {
            command.env("TESTKIT_NO_FSYNC", "1");
        }
    }
}
