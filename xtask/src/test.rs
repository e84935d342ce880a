//! `cargo xtask test`: everything, against real servers.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use groundwork::Folder;

use crate::build::{Build, cargo, shown};
use crate::{Refusal, needs, say};

const BUILD: Build =
    Build { what: "all tests", folder: "debug", takes: "some four minutes", megabytes: 2000 };

/// Checks what is needed, installs what is missing, runs all tests, and returns their exit code.
pub(crate) fn run(args: &[String]) -> Result<u8, Refusal> {
    needs::root_and_cyrus("test")?;
    BUILD.announce()?;
    let mut command = cargo();
    if has_nextest() {
        // A filter that matches nothing is a mistake, not a success.
        command.args(["nextest", "run", "--workspace", "--no-tests=fail"]);
    } else {
        command.args(["test", "--workspace"]);
    }
    // After such a long wait, report all failures.
    if !args.iter().any(|arg| arg.ends_with("fail-fast") || arg.starts_with("--max-fail")) {
        command.arg("--no-fail-fast");
    }
    command.args(args);
    say(&format!("then running them, some ten minutes: {}", shown(&command)));
    // If we are killed, everything that a test left in it is removed, and every process with it in its environment is
    // killed.
    let folder = temporary_folder()
        .map_err(|err| Refusal::lacking(format!("failed to make a temporary folder: {err}")))?;
    let status = command.env("TMPDIR", folder.path()).status();
    let status = status.map_err(|err| Refusal::lacking(format!("failed to run cargo: {err}")))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A place for temporary files that the Cyrus user can reach.
fn temporary_folder() -> std::io::Result<Folder> {
    let folder = Folder::make(&std::env::temp_dir(), "cytests")?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn has_nextest() -> bool {
    let status = Command::new("cargo-nextest")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
