//! The program under demonstration or measurement: built for release.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Builds `sync_client` for release and gives its path.
///
/// # Errors
/// When cargo can't be run or the program does not build; the compiler has said why.
pub(crate) fn build() -> Result<PathBuf> {
    build_binary("sync_client")
}

/// Builds a program of the workspace for release, whose package has the same name, and gives its path.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_binary(name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--package", name, "--bin", name])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let output = command.output().context("failed to run cargo build")?;
    if !output.status.success() {
        bail!("{name} does not build");
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("failed to find the program: cargo build named no executable")
}

/// Cargo names the file it made: `{…,"executable":"/path/sync_client",…}`.
fn executable(messages: &str) -> Option<PathBuf> {
    let named = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split('"').next().map(PathBuf::from)
    };
    messages.lines().rev().find_map(named)
}

/// The root of this checkout.
pub(crate) fn checkout() -> PathBuf {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR"));
    tasks.ancestors().nth(2).unwrap_or(tasks).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_executable_named_is_the_program() {
        let text = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"executable\":\"/t/release/sync_client\",\"fresh\":true}\n{\"success\":true}\n";
        assert_eq!(executable(text), Some(PathBuf::from("/t/release/sync_client")));
        assert_eq!(executable("{}"), None);
    }
}
