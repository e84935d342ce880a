//! `cargo xtask test`: everything, against real servers.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{complain, say};

/// Installs what is missing, runs all tests, and gives their exit code.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    testkit::ensure_cyrus().context("tests need real Cyrus servers")?;
    if testkit::process::cyrus_user().is_err() {
        complain("warning: not root: the tests that start Cyrus will fail; run this as root");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    if has_nextest() {
        // A filter that matches nothing is a mistake, not a success.
        command.args(["nextest", "run", "--workspace", "--no-tests=fail"]);
    } else {
        command.args(["test", "--workspace"]);
    }
    command.args(args);
    say(&format!("running {}", shown(&command)));
    let status = command.status().context("failed to run cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn has_nextest() -> bool {
    let status = Command::new("cargo-nextest")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("cargo {}", args.join(" "))
}
