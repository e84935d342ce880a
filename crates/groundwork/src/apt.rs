//! apt-get and related programs: what is installed, what is offered, and how packages are installed without starting a
//! service.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Keeps the packages' scripts from starting a Cyrus on the machine, which could disturb the tests' servers (Debian's
/// switch for that: exit code 101 means "forbidden by policy"). It is written unless there is one, and removed however
/// apt-get ends. If this process is killed, the next run recognises the file by its comment.
const WITHOUT_SERVICES: &str = r#"
policy=/usr/sbin/policy-rc.d mark='# while sync_client installs Cyrus'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy" && chmod 755 "$policy" || exit
fi
"$@" 2>&1
"#;

/// Whether there is an apt-get.
pub(crate) fn is_there() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// The version of a package, if it is completely installed.
pub(crate) fn installed(package: &str) -> Option<String> {
    let answer = ask("dpkg-query", &["-W", "-f", "${db:Status-Abbrev}|${Version}", package])?;
    let (status, version) = answer.split_once('|')?;
    status.starts_with("ii").then(|| version.trim().to_owned())
}

/// The versions of a package that the mirrors offered at the last update, newest first.
pub(crate) fn offered(package: &str) -> Vec<String> {
    versions(&ask("apt-cache", &["madison", package]).unwrap_or_default())
}

/// Lines of `PACKAGE | VERSION | WHERE`.
fn versions(madison: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in madison.lines().filter(|line| line.ends_with(" Packages")) {
        let version = line.split('|').nth(1).unwrap_or_default().trim();
        if !version.is_empty() && !found.iter().any(|had| had == version) {
            found.push(version.to_owned());
        }
    }
    found
}

/// Gets the mirrors' package lists.
pub(crate) fn update(say: &dyn Fn(&str)) -> Result<(), String> {
    say("apt-get update");
    run(&["update"], say)
}

/// Installs packages (`NAME=VERSION`) and what they need, reporting each.
pub(crate) fn install(packages: &[String], say: &dyn Fn(&str)) -> Result<(), String> {
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages.iter().map(String::as_str));
    say(&format!("apt-get {}", args.join(" ")));
    run(&args, say)
}

/// Runs apt-get; on failure returns the end of its output.
fn run(args: &[&str], say: &dyn Fn(&str)) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WITHOUT_SERVICES, "sh", "apt-get", "--quiet=2"]);
    // If another apt-get runs (unattended upgrades), it waits for that.
    command.args(["-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    let failed = |err: std::io::Error| format!("failed to run apt-get: {err}");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut last = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(package) = line.strip_prefix("Setting up ") {
                say(&format!("  {}", package.trim_end_matches([' ', '.'])));
            }
            if last.len() == 15 {
                last.remove(0);
            }
            last.push(line);
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("apt-get {} ended with {status}:\n{}", args.join(" "), last.join("\n")))
}

/// The output of a program, if it succeeds.
fn ask(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_once_in_the_order_given() {
        let text = "cyrus-imapd | 3.6.1-4+deb12u5 | http://a bookworm-security/main amd64 Packages\n\
                    cyrus-imapd | 3.6.1-4+deb12u5 | http://b bookworm-security/main amd64 Packages\n\
                    cyrus-imapd | 3.6.1-4+deb12u4 | http://a bookworm/main amd64 Packages\n\
                    cyrus-imapd | 3.6.1-4+deb12u4 | http://a bookworm/main Sources\n";
        assert_eq!(versions(text), ["3.6.1-4+deb12u5", "3.6.1-4+deb12u4"]);
        assert_eq!(versions(""), [""; 0]);
    }

    #[test]
    fn what_is_not_installed_has_no_version() {
        assert_eq!(installed("no-such-package-anywhere"), None);
    }
}
