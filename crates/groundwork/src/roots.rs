//! Other versions of Cyrus, each in a folder of its own: those of Debian's other releases.
//!
//! ```text
//!   target/cyrus/bullseye/            3.2.6, of debootstrap; made by the first test that wants it, some 300 MB and a minute
//!   target/cyrus/bullseye.complete    it is all there
//! ```
//! Two tests never make it at once. Nothing is changed in it afterwards, and no process needs to chroot into it: its
//! programs are started by its own dynamic loader, with its own libraries, and see the same files as all others. So an
//! instance of it is like any other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cyrus::lock;
use crate::{apt, is_root};

/// Where debootstrap gets packages from.
const MIRROR: &str = "http://deb.debian.org/debian";
/// The packages to install.
const PACKAGES: &str = "cyrus-imapd,cyrus-replication,cyrus-admin,cyrus-clients,libsasl2-modules";
/// Files without which a root is not complete.
const NEEDED: [&str; 5] = ["master", "imapd", "sync_server", "sync_client", "ctl_cyrusdb"];

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 11: Cyrus 3.2.6.
    Bullseye,
    /// The next release: Cyrus 3.12.
    Sid,
}

impl Release {
    /// Debian's name for it.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Release::Bullseye => "bullseye",
            Release::Sid => "sid",
        }
    }
}

/// The programs of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    dir: PathBuf,
    loader: PathBuf,
}

impl Root {
    /// The words that start one of its Cyrus programs; the program's own arguments follow.
    #[must_use]
    pub fn program(&self, name: &str) -> Vec<String> {
        let at = |path: &str| self.dir.join(path).display().to_string();
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/cyrus"];
        vec![
            self.loader.display().to_string(),
            "--library-path".to_owned(),
            libraries.map(at).join(":"),
            at(&format!("usr/lib/cyrus/bin/{name}")),
        ]
    }

    /// The folder of its SASL mechanisms: for SASL_PATH in the environment.
    #[must_use]
    pub fn sasl_path(&self) -> PathBuf {
        self.dir.join("usr/lib/x86_64-linux-gnu/sasl2")
    }
}

/// Makes sure that a release is installed.
///
/// # Errors
/// In words: it can't be made.
pub fn ensure(release: Release, say: &dyn Fn(&str)) -> Result<Root, String> {
    let suite = release.suite();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cyrus");
    let told = |action: &str, path: &Path, e: &std::io::Error| {
        format!("can't {action} {}: {e}", path.display())
    };
    fs::create_dir_all(&base).map_err(|e| told("make", &base, &e))?;
    let base = base.canonicalize().map_err(|e| told("find", &base, &e))?;
    let (dir, complete) = (base.join(suite), base.join(format!("{suite}.complete")));
    let held = if complete.exists() { None } else { lock(&format!("making {suite}"), say) };
    // The holder of the lock may have made it.
    if !complete.exists() {
        if !is_root() {
            return Err(format!("only root can make {}", dir.display()));
        }
        if !Path::new("/usr/sbin/debootstrap").exists() {
            apt::install(&["debootstrap".to_owned()], say)?;
        }
        say(&format!("making {} with debootstrap: a minute or two, some 300 MB", dir.display()));
        let _ = fs::remove_dir_all(&dir);
        let mut command = Command::new("/usr/sbin/debootstrap");
        command.args(["--variant=minbase", &format!("--include={PACKAGES}"), suite]);
        command.arg(&dir).arg(MIRROR).stdin(Stdio::null());
        // It fails to configure Cyrus, because no system is running; the programs are there.
        let output = command.output().map_err(|e| format!("can't run debootstrap: {e}"))?;
        let bin = dir.join("usr/lib/cyrus/bin");
        if let Some(missing) = NEEDED.iter().find(|name| !bin.join(name).exists()) {
            let words = String::from_utf8_lossy(&output.stdout).into_owned();
            let last: Vec<&str> = words.lines().rev().take(5).collect();
            return Err(format!("debootstrap left no {missing}: {last:?}"));
        }
        fs::write(&complete, "").map_err(|e| told("write", &complete, &e))?;
    }
    drop(held);
    let loader = loader_of(&dir)
        .ok_or_else(|| format!("{} has no dynamic loader for x86_64", dir.display()))?;
    Ok(Root { dir, loader })
}

/// The loader itself, not the link to it, which leads out of the folder.
fn loader_of(dir: &Path) -> Option<PathBuf> {
    let libraries = dir.join("usr/lib/x86_64-linux-gnu");
    let newer = libraries.join("ld-linux-x86-64.so.2");
    if newer.symlink_metadata().is_ok_and(|facts| facts.is_file()) {
        return Some(newer);
    }
    let names = fs::read_dir(libraries).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    names.into_iter().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("ld-2.") && name.ends_with(".so")
    })
}
