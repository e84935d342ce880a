//! The cost of a first build: announced before it starts, and refused if the disk has no room for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Refusal, say};

/// A build: its folder below `target/`, and the cost of the first one on two cores.
pub(crate) struct Build {
    /// What is built, for the reader of the message.
    pub(crate) what: &'static str,
    /// `debug` or `release`.
    pub(crate) folder: &'static str,
    /// How long the first one takes.
    pub(crate) takes: &'static str,
    /// The size it leaves in `target/`.
    pub(crate) megabytes: u64,
}

impl Build {
    /// Announces the build.
    pub(crate) fn announce(&self) -> Result<(), Refusal> {
        let Build { what, takes, megabytes, .. } = self;
        let target = target_folder();
        if target.join(self.folder).join("sync_client").is_file() {
            say(&format!("building {what} (what has not changed is there already)"));
            return Ok(());
        }
        say(&format!(
            "building {what}: {takes} the first time, on two cores; {megabytes} MB in {}",
            target.display()
        ));
        match free_megabytes(&target) {
            Some(free) if free < *megabytes => Err(Refusal::lacking(format!(
                "only {free} MB are free there (CARGO_TARGET_DIR names another place)"
            ))),
            _ => Ok(()),
        }
    }
}

/// Where cargo builds: this program is in `debug/` below it.
fn target_folder() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.ancestors().nth(2).unwrap_or(Path::new("target")).to_path_buf()
}

/// The free space where a folder is.
fn free_megabytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    available(&String::from_utf8_lossy(&output.stdout))
}

/// The fourth column of the last line, in kilobytes.
fn available(df: &str) -> Option<u64> {
    let kilobytes: u64 = df.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes / 1024)
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command line to be run.
pub(crate) fn shown(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("cargo {}", args.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_as_df_tells_it() {
        let df = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                  /dev/vda         264090792 18347144  76541188      20% /\n";
        assert_eq!(available(df), Some(74747));
        assert_eq!(available(""), None);
        assert!(free_megabytes(Path::new("/")).is_some());
    }
}
