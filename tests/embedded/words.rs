//! The program's messages before it does anything, kept as snapshots in `snapshots/`: help, errors.

use std::fs;
use std::path::Path;

use crate::running::ours;

/// Snapshots have the names that we give them; the folder's name differs from run to run.
fn plain(dir: Option<&Path>) -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    if let Some(dir) = dir {
        settings.add_filter(&dir.display().to_string(), "[dir]");
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.bind_to_scope()
}

#[test]
fn help() {
    let _plain = plain(None);
    insta::assert_snapshot!("help_short", ours(&["-h"]).stdout);
    insta::assert_snapshot!("help_long", ours(&["--help"]).stdout);
}

/// Errors before anything starts, each with its exit code.
#[test]
fn early_errors() {
    let dir = tempfile::tempdir().unwrap();
    let _plain = plain(Some(dir.path()));
    let conf = |name: &str, lines: &str| {
        let path = dir.path().join(name);
        let always = "configdirectory: /tmp/nowhere\npartition-default: /tmp/nowhere\n";
        fs::write(&path, format!("{always}{lines}")).unwrap();
        path.display().to_string()
    };
    let to = "sync_host: replica\nsync_authname: c\nsync_password: s\n";
    let good = conf("good", to);
    let nothing = conf("nothing", "");
    let no_name = conf("no_name", "sync_host: replica\n");
    let no_password = conf("no_password", "sync_host: replica\nsync_authname: c\n");
    let banana = conf("banana", &format!("{to}sync_port: banana\n"));
    let jobs = conf("jobs", &format!("{to}sync_jobs: many\n"));
    let channel = conf("channel", &format!("{to}one_sync_port: kiwi\n"));
    let missing = dir.path().join("missing").display().to_string();
    let cases: &[&[&str]] = &[
        &["-C", &missing, "-A"],
        &["-C", &nothing, "-A"],
        &["-C", &no_name, "-A"],
        &["-C", &no_password, "-A"],
        &["-C", &banana, "-A"],
        &["-C", &good, "-S", "replica:banana", "-A"],
        &["-C", &jobs, "-A"],
        &["-C", &channel, "-n", "one", "-A"],
        &["-C", &good, "-m"],
        &["-C", &good, "-m", "-f", "names", "user/anna"],
        &["-C", &good, "-m", ""],
        &["-C", &good, "-s"],
        &["-C", &good],
        &["-C", &good, "-u"],
        &["-C", &good, "-u", ""],
        &["-C", &good, "-A", "-u", "anna"],
        &["-C", &good, "--nonsense"],
    ];
    let mut said = String::new();
    for args in cases {
        let run = ours(args);
        let usage = run.stderr.find("\n\nUsage:").unwrap_or(run.stderr.len());
        let words = run.stderr[..usage].trim_end();
        said += &format!("$ sync_client {}\n{words}\n[{}]\n\n", args.join(" "), run.code.unwrap());
    }
    insta::assert_snapshot!("early_errors", said);
}
