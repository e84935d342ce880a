//! `demo` and `bench`: one cargo builds sync_client and the tasks for release; then this process becomes the tasks.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::build::{Build, cargo, shown};
use crate::{Refusal, needs, say};

const BUILD: Build = Build {
    what: "sync_client and the demo",
    folder: "release",
    takes: "some two minutes",
    megabytes: 700,
};
/// Passes the path of the built sync_client to the tasks.
const PROGRAM: &str = "XTASK_SYNC_CLIENT";

/// Builds and becomes the tasks; returns only if that fails.
pub(crate) fn run(command: &str, args: &[String]) -> Result<u8, Refusal> {
    let asks = |option: &str| args.iter().any(|arg| arg == option);
    if command == "demo" && args.iter().any(|arg| arg != "--cyrus") {
        let given = args.join(" ");
        return Err(Refusal::usage(format!("demo takes --cyrus or nothing, but not {given:?}")));
    }
    let reads_only = asks("--report") || asks("--help") || asks("-h");
    if asks("--cyrus") || command == "bench" && !reads_only {
        needs::root_and_cyrus(if command == "demo" { "demo --cyrus" } else { "bench" })?;
    }
    BUILD.announce()?;
    let (tasks, program) = build()?;
    let error = Command::new(&tasks).arg(command).args(args).env(PROGRAM, program).exec();
    Err(Refusal::lacking(format!("failed to run {}: {error}", tasks.display())))
}

/// Builds the tasks and sync_client, and returns their paths.
fn build() -> Result<(PathBuf, PathBuf), Refusal> {
    let mut command = cargo();
    command.args(["build", "--release", "-p", "sync_client", "-p", "xtask-tasks", "--bins"]);
    say(&shown(&command));
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|err| Refusal::lacking(format!("failed to run cargo: {err}")))?;
    if !output.status.success() {
        return Err(Refusal::lacking("it does not build: see above"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let find = |name: &str| {
        executable(&messages, name)
            .ok_or_else(|| Refusal::lacking(format!("cargo names no program {name}")))
    };
    Ok((find("xtask-tasks")?, find("sync_client")?))
}

/// Cargo names the files it made: `{…,"executable":"/path/sync_client",…}`.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let named = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let path = PathBuf::from(rest.split('"').next()?);
        path.file_name().is_some_and(|file| file == name).then_some(path)
    };
    messages.lines().rev().find_map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        let text = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"executable\":\"/t/release/sync_client\",\"fresh\":true}\n\
                    {\"executable\":\"/t/release/xtask-tasks\"}\n{\"success\":true}\n";
        assert_eq!(executable(text, "sync_client"), Some("/t/release/sync_client".into()));
        assert_eq!(executable(text, "xtask-tasks"), Some("/t/release/xtask-tasks".into()));
        assert_eq!(executable("{}", "sync_client"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_built() {
        let refused = run("demo", &["--fast".to_owned()]).unwrap_err();
        assert_eq!(refused.code, 64);
    }
}
