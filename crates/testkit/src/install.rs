//! Makes sure that Debian's Cyrus 3.6.1 is installed.
//!
//! A test that needs Cyrus fails loudly without it; it is never skipped. As root (or with a password-less sudo) the
//! packages are installed by apt. Their maintainer scripts would start a system-wide Cyrus, which could disturb the
//! tests' own; a temporary `/usr/sbin/policy-rc.d` (Debian's own switch for that, exit code 101 = "forbidden by policy")
//! prevents it.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result, io};

/// The folder of Debian's Cyrus programs.
pub const BIN: &str = "/usr/lib/cyrus/bin";

/// The packages that hold the programs the tests run.
pub const PACKAGES: [&str; 4] =
    ["cyrus-imapd", "cyrus-replication", "cyrus-clients", "cyrus-admin"];

const NEEDED: [&str; 6] =
    ["master", "imapd", "sync_server", "sync_client", "ctl_cyrusdb", "mbpath"];
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Checks for the Cyrus programs and installs them where they are missing; says what it does on stderr.
///
/// # Errors
/// [`Error::NoCyrus`], naming the packages, when they are missing and cannot be installed.
pub fn ensure_cyrus() -> Result<()> {
    static DONE: OnceLock<std::result::Result<(), (String, String)>> = OnceLock::new();
    let outcome = DONE.get_or_init(|| {
        let Some(missing) = first_missing() else {
            return Ok(());
        };
        say(&format!("{missing} is missing: installing {} with apt-get", PACKAGES.join(" ")));
        match install() {
            Err(err) => Err((missing, format!("installing it failed: {err}"))),
            Ok(()) => match first_missing() {
                None => Ok(()),
                Some(still) => Err((still, "apt-get did not bring it".to_owned())),
            },
        }
    });
    outcome.clone().map_err(|(missing, reason)| Error::NoCyrus {
        missing,
        reason,
        packages: PACKAGES.join(" "),
    })
}

/// The first program that is missing, if any.
#[must_use]
pub fn first_missing() -> Option<String> {
    NEEDED.iter().map(|name| format!("{BIN}/{name}")).find(|path| !Path::new(path).exists())
}

fn install() -> Result<()> {
    let policy_is_ours = forbid_service_starts()?;
    let outcome = apt(&["update"]).and_then(|()| {
        let mut args = vec!["install", "--yes", "--no-install-recommends"];
        args.extend(PACKAGES);
        apt(&args)
    });
    if policy_is_ours {
        run("rm", &["-f", POLICY])?;
    }
    outcome
}

/// Writes a policy that forbids service starts, unless there is a policy already; true when it was written.
fn forbid_service_starts() -> Result<bool> {
    if Path::new(POLICY).exists() {
        return Ok(false);
    }
    run(
        "sh",
        &["-c", &format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}")],
    )?;
    Ok(true)
}

fn apt(args: &[&str]) -> Result<()> {
    let mut all = vec!["DEBIAN_FRONTEND=noninteractive", "apt-get"];
    all.extend(args);
    run("env", &all)
}

/// Runs a program as root, through sudo where we are not.
fn run(program: &str, args: &[&str]) -> Result<()> {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("--non-interactive").arg(program);
        sudo
    };
    say(&format!("{program} {}", args.join(" ")));
    let output = command.args(args).output().map_err(io("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("{program} {}", args.join(" ")),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see that packages are being installed"
)]
fn say(text: &str) {
    eprintln!("testkit: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyrus_is_there_or_is_installed() {
        ensure_cyrus().unwrap();
        assert_eq!(first_missing(), None);
    }
}
