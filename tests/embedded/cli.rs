//! The command line and imapd.conf: exit codes, and messages about mistakes.

use std::fs;

use testkit::Folder;

use crate::running::ours;

/// An invalid command line is reported as such (64); help and version are not failures.
#[test]
fn usage() {
    for args in
        [&["-v"][..], &["-u", "-A", "anna"], &["-j", "0", "-A"], &["-j", "x", "-A"], &["-u"]]
    {
        let run = ours(args);
        assert_eq!(run.code, Some(64), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty() && run.stdout.is_empty());
    }
    assert!(ours(&["-v"]).stderr.contains("No replication mode specified"));
    assert!(ours(&["-A", "-u"]).stderr.contains("Mutually exclusive options defined"));
    for args in [&["--help"][..], &["--version"]] {
        let run = ours(args);
        assert_eq!(run.code, Some(0), "{args:?}: {}", run.stderr);
        assert!(run.stdout.contains("sync_client"));
    }
}

/// A wrong imapd.conf ends with 78 and names the file and the line.
#[test]
fn configuration() {
    let dir = Folder::make(&std::env::temp_dir(), "cli-test").unwrap();
    let good = "configdirectory: /tmp/nowhere\npartition-default: /tmp/nowhere\n";
    let cases = [
        ("", "sync_host", None),
        ("sync_host: h\nsync_port: banana\n", "'banana' is not a port", Some(4)),
        ("sync_host: h:kiwi\n", "server h:kiwi: 'kiwi' is not a port", Some(0)),
        ("sync_host: h\n", "sync_authname not defined in ", None),
        ("sync_host: h\nsync_authname: c\n", "sync_password not defined in ", None),
        ("sync_host: h\nunixhierarchysep: maybe\n", "unixhierarchysep", Some(4)),
        ("sync_host: h\nsync_timeout: soon\n", "sync_timeout", Some(4)),
        ("sync_host:\n", "sync_host", Some(3)),
        ("# a comment\nsync_host h\n", "':'", Some(4)),
        (
            "@include: /nowhere/more.conf\n",
            "can't read /nowhere/more.conf: no such file; line 3 of ",
            Some(0),
        ),
    ];
    for (nr, (lines, word, line)) in cases.iter().enumerate() {
        let path = dir.path().join(format!("imapd{nr}.conf"));
        fs::write(&path, format!("{good}{lines}")).unwrap();
        let run = ours(&["-C", path.to_str().unwrap(), "-A"]);
        assert_eq!(run.code, Some(78), "{lines}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{lines}: {}", run.stderr);
        match line {
            None => assert!(run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr),
            // The included file is the unreadable one.
            Some(0) => {}
            Some(line) => {
                let wanted = format!("{} line {line}", path.display());
                assert!(run.stderr.contains(&wanted), "{wanted}: {}", run.stderr);
            }
        }
    }
    let run = ours(&["-C", "/nowhere/imapd.conf", "-A"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let wanted = "sync_client: can't read /nowhere/imapd.conf: no such file; -C names another\n";
    assert_eq!(run.stderr, wanted);
}
