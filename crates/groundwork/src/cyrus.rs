//! Finds Debian's Cyrus 3.6.1, and installs it if it is missing.
//!
//! The tests compare with this very program, byte by byte in places, so they depend on its version. [`TESTED`] is the
//! version last tested; if the mirror has another revision of 3.6.1 by now (a security update), that is used and named.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apt;

/// The version that all tests passed with.
pub const TESTED: &str = "3.6.1-4+deb12u5";

/// The folder of Debian's Cyrus programs.
pub const BIN: &str = "/usr/lib/cyrus/bin";

/// The packages with the programs that the tests run, and those of the same source that they need: all of one version.
pub const PACKAGES: [&str; 6] = [
    "cyrus-imapd",
    "cyrus-replication",
    "cyrus-clients",
    "cyrus-admin",
    "cyrus-common",
    "libcyrus-imap-perl",
];

/// The beginning of every acceptable version.
const SERIES: &str = "3.6.1-";
const NEEDED: [&str; 6] =
    ["master", "imapd", "sync_server", "sync_client", "ctl_cyrusdb", "mbpath"];

/// Why there is no Cyrus to test with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CyrusError {
    /// Another Cyrus is installed.
    OtherVersion(String),
    /// It is missing, and only root may install it.
    NotRoot,
    /// There is no apt-get.
    NotDebian,
    /// apt-get offers no acceptable version, only these.
    NotOffered(Vec<String>),
    /// apt-get failed: its output.
    Apt(String),
    /// apt-get succeeded, but this file is still missing.
    StillMissing(String),
}

impl fmt::Display for CyrusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = SERIES.trim_end_matches('-');
        match self {
            Self::OtherVersion(version) => write!(
                f,
                "cyrus {version} is installed, but the tests know {series}: run them on Debian 12, in a container for example"
            ),
            Self::NotRoot => write!(
                f,
                "cyrus {series} is not installed, and only root may install it: run this as root, in a container for example"
            ),
            Self::NotDebian => {
                write!(f, "cyrus {series} is not installed, and there is no apt-get: use Debian 12")
            }
            Self::NotOffered(none) if none.is_empty() => {
                write!(
                    f,
                    "apt-get offers no cyrus-imapd, but the tests need {series}: use Debian 12"
                )
            }
            Self::NotOffered(others) => write!(
                f,
                "apt-get offers cyrus-imapd {}, but the tests need {series}: use Debian 12",
                others.join(", ")
            ),
            Self::Apt(words) => write!(f, "installing cyrus failed: {words}"),
            Self::StillMissing(path) => {
                write!(f, "cyrus {series} is installed, but {path} is missing")
            }
        }
    }
}

impl std::error::Error for CyrusError {}

/// The installed version; `None` if there is none, or if dpkg does not know it.
#[must_use]
pub fn installed() -> Option<String> {
    apt::installed(PACKAGES[0])
}

/// The first program that is missing, if any.
#[must_use]
pub fn first_missing() -> Option<String> {
    NEEDED.iter().map(|name| format!("{BIN}/{name}")).find(|path| !Path::new(path).exists())
}

/// Makes sure that Cyrus is installed: checks, and installs it if it is missing. It reports each step, and how long that
/// takes, to `say`.
///
/// # Errors
/// When another version is installed, or it can't be installed; the text says what to do.
pub fn ensure(say: &dyn Fn(&str)) -> Result<(), CyrusError> {
    if is_there(say)? {
        return Ok(());
    }
    if !crate::is_root() {
        return Err(CyrusError::NotRoot);
    }
    if !apt::is_there() {
        return Err(CyrusError::NotDebian);
    }
    let _lock = lock("installing Cyrus", say);
    // The holder of the lock may have installed it.
    if is_there(say)? {
        return Ok(());
    }
    let started = Instant::now();
    let wanted = installed().unwrap_or_else(|| TESTED.to_owned());
    if !apt::offered(PACKAGES[0]).contains(&wanted) {
        apt::update(say).map_err(CyrusError::Apt)?;
    }
    let mut version = install(&wanted, say);
    if matches!(version, Err(CyrusError::Apt(_))) {
        say("that failed: asking the mirror what it has now, and trying once more");
        apt::update(say).map_err(CyrusError::Apt)?;
        version = install(&wanted, say);
    }
    let version = version?;
    if let Some(missing) = first_missing() {
        return Err(CyrusError::StillMissing(missing));
    }
    say(&format!("Cyrus {version} is installed ({} s)", started.elapsed().as_secs()));
    Ok(())
}

/// Whether an acceptable Cyrus is installed.
fn is_there(say: &dyn Fn(&str)) -> Result<bool, CyrusError> {
    let version = installed();
    match &version {
        Some(version) if !version.starts_with(SERIES) => {
            return Err(CyrusError::OtherVersion(version.clone()));
        }
        _ => {}
    }
    if first_missing().is_some() {
        return Ok(false);
    }
    match version {
        Some(version) if version == TESTED => {}
        Some(version) => {
            say(&format!("Cyrus {version} is installed; the tests were last run with {TESTED}"))
        }
        None => {
            say(&format!("the Cyrus in {BIN} is no package; the tests were last run with {TESTED}"))
        }
    }
    Ok(true)
}

/// Installs the wanted version, or the one on offer; returns which one.
fn install(wanted: &str, say: &dyn Fn(&str)) -> Result<String, CyrusError> {
    let offered = apt::offered(PACKAGES[0]);
    let Some(version) = choose(&offered, wanted).map(str::to_owned) else {
        return Err(CyrusError::NotOffered(offered));
    };
    if version != TESTED {
        say(&format!("the tests were last run with Cyrus {TESTED}, but this mirror has {version}"));
    }
    say(&format!(
        "installing Cyrus {version} with apt-get: a minute or two, some 200 MB with all it needs"
    ));
    let packages: Vec<String> = PACKAGES.iter().map(|name| format!("{name}={version}")).collect();
    apt::install(&packages, say).map_err(CyrusError::Apt)?;
    Ok(version)
}

/// The wanted version, or else the newest acceptable one (they are sorted newest first).
fn choose<'a>(offered: &'a [String], wanted: &str) -> Option<&'a str> {
    let exact = offered.iter().find(|version| *version == wanted);
    exact.or_else(|| offered.iter().find(|v| v.starts_with(SERIES))).map(String::as_str)
}

/// Several test processes may find at once that Cyrus is missing: one installs it, the others wait. The lock is a name in
/// Linux' abstract socket namespace, so it ends with its holder.
pub(crate) fn lock(what: &str, say: &dyn Fn(&str)) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("sync_client tests: {what}")).ok()?;
    let mut told = false;
    loop {
        match UnixListener::bind_addr(&name) {
            Ok(held) => return Some(held),
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => {}
            // Whatever the error is, apt-get has locks of its own.
            Err(_) => return None,
        }
        if !told {
            say(&format!("another process is {what}: waiting for it"));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[&str]) -> Vec<String> {
        list.iter().map(|version| (*version).to_owned()).collect()
    }

    #[test]
    fn what_was_tested_comes_first_then_the_newest() {
        let both = versions(&["3.6.1-4+deb12u6", TESTED, "3.6.1-4+deb12u4"]);
        assert_eq!(choose(&both, TESTED), Some(TESTED));
        let newer = versions(&["3.6.1-4+deb12u7", "3.6.1-4+deb12u6"]);
        assert_eq!(choose(&newer, TESTED), Some("3.6.1-4+deb12u7"));
        assert_eq!(choose(&newer, "3.6.1-4+deb12u6"), Some("3.6.1-4+deb12u6"));
        assert_eq!(choose(&versions(&["3.10.1-1", "3.8.2-1"]), TESTED), None);
    }

    #[test]
    fn errors_say_what_to_do() {
        let none = CyrusError::NotOffered(versions(&["3.10.1-1"])).to_string();
        assert_eq!(
            none,
            "apt-get offers cyrus-imapd 3.10.1-1, but the tests need 3.6.1: use Debian 12"
        );
        assert!(CyrusError::NotRoot.to_string().contains("run this as root"));
    }
}
