//! What each version offers and knows. `tests/cyrus/versions.rs` compares the versions that can be installed with real
//! servers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use embedded_replica::{Options, Replica, Version};

/// The banner, then the answers to these commands, after a login.
fn said(options: Options, commands: &[&str]) -> Vec<String> {
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tcp.write_all(b"AUTHENTICATE PLAIN AGEAYg==\r\n").unwrap();
    for command in commands {
        tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    }
    tcp.write_all(b"EXIT\r\n").unwrap();
    let lines: Vec<String> = BufReader::new(tcp).lines().map_while(Result::ok).collect();
    lines.into_iter().filter(|line| !line.starts_with("* SASL")).collect()
}

const REFUSED: &str = "NO IMAP_PROTOCOL_ERROR Protocol error";

#[test]
fn banners_capabilities_and_force() {
    let known: [(Version, &[&str]); 7] = [
        (Version::V3_0, &[]),
        (Version::V3_2, &[]),
        (Version::V3_4, &[]),
        (Version::V3_6, &["SIEVE-MAILBOX"]),
        (Version::V3_10, &["SIEVE-MAILBOX", "REPLICATION-ARCHIVE"]),
        (Version::V3_12, &["SIEVE-MAILBOX", "REPLICATION-ARCHIVE"]),
        (Version::Head, &["SIEVE-MAILBOX", "REPLICATION-ARCHIVE", "UNMAILBOX-ID"]),
    ];
    assert_eq!(known.map(|(version, _)| version), Version::ALL);
    for (version, capabilities) in known {
        let options = Options { version, archive: true, unmailbox_id: true, ..Options::default() };
        let asked = "APPLY CAPABILITIES (SIEVE-MAILBOX REPLICATION-ARCHIVE UNMAILBOX-ID ODD)";
        let mut expected = vec!["* COMPRESS DEFLATE".to_string()];
        expected.extend(capabilities.iter().map(|name| format!("* {name}")));
        let number = version.number();
        expected.push(format!("* OK localhost Cyrus sync server {number}-embedded"));
        expected.push("OK Success (no protection)".into());
        if capabilities.is_empty() {
            expected.extend([REFUSED, REFUSED].map(String::from));
        } else {
            expected.push(format!("* ENABLED ({})", capabilities.join(" ")));
            expected.extend(["OK success", "OK success"].map(String::from));
        }
        expected.push("OK Finished".into());
        assert_eq!(said(options, &[asked, "APPLY FORCE %()"]), expected, "{version:?}");
    }
}

fn mailbox(rest: &str) -> String {
    format!(
        "APPLY MAILBOX %(UNIQUEID u1 MBOXNAME user.a PARTITION default LAST_UID 0 HIGHESTMODSEQ 9 RECENTUID 0 RECENTTIME 0 \
         LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 5 ACL \"\" OPTIONS P CREATEDMODSEQ 7{rest} RECORD ())"
    )
}

#[test]
fn keys_of_mailboxes() {
    let new = mailbox(" USERFLAGS ($x) USERGROUPS g JMAPID P9 VERSION 19 DELETEDMODSEQ 3");
    for version in Version::ALL {
        let lines =
            said(Options { version, ..Options::default() }, &[&new, "GET MAILBOXES (user.a)"]);
        let line = lines.iter().find(|line| line.starts_with("* MAILBOX")).unwrap();
        for (key, since) in [
            ("CREATEDMODSEQ 7 FOLDERMODSEQ 9", Version::V3_2),
            ("USERGROUPS g", Version::V3_12),
            ("USERFLAGS ($x)", Version::V3_12),
            ("JMAPID P9 VERSION 19 DELETEDMODSEQ 3", Version::Head),
        ] {
            assert_eq!(line.contains(key), version >= since, "{version:?} {key}: {line}");
        }
    }
}

#[test]
fn ids_and_intermediates() {
    let intermediate = "APPLY MAILBOX %(UNIQUEID u2 MBOXNAME user.a.b MBOXTYPE i HIGHESTMODSEQ 9)";
    let commands =
        [intermediate, "GET MAILBOXES (user.a.b)", "GET UNIQUEIDS (u2)", "GET UNIQUEIDS (u3)"];
    for version in Version::ALL {
        let lines = said(Options { version, ..Options::default() }, &commands);
        let after = lines.iter().position(|line| line.starts_with("OK Success")).unwrap() + 1;
        let names: Vec<&str> = lines[after..]
            .iter()
            .map(|line| if line.starts_with("* MAILBOX") { "*" } else { line })
            .collect();
        let expected: &[&str] = match version {
            Version::V3_0 => {
                &["NO IMAP_PROTOCOL_BAD_PARAMETERS", "OK success", REFUSED, REFUSED, "OK Finished"]
            }
            // The last command ends the connection.
            Version::V3_2 => &["OK success"; 3],
            Version::V3_4 => &["OK success", "*", "OK success", "*", "OK success"],
            _ => &["OK success", "*", "OK success", "*", "OK success", "OK success", "OK Finished"],
        };
        assert_eq!(names, expected, "{version:?}");
    }
}

/// UNMAILBOX-ID: only the named mailbox is removed.
#[test]
fn removals_name_what_they_mean() {
    let removal = |id: &str, uidvalidity: u32| {
        format!("APPLY UNMAILBOX %(MBOXNAME user.a UNIQUEID {id} UIDVALIDITY {uidvalidity})")
    };
    let options = Options { version: Version::Head, unmailbox_id: true, ..Options::default() };
    let lines = said(
        options,
        &[&mailbox(""), &removal("u2", 5), &removal("u1", 6), &removal("u1", 5), &removal("u1", 5)],
    );
    let moved = "NO IMAP_MAILBOX_MOVED Mailbox exists with another name or uniqueid";
    let none = "NO IMAP_MAILBOX_NONEXISTENT No Such Mailbox";
    let last = &lines[lines.len() - 6..];
    assert_eq!(last, ["OK success", moved, moved, "OK success", none, "OK Finished"]);
    // Where it is not offered, only the bare name will do: in each version, whatever was asked of it.
    let of = |version, unmailbox_id| Options { version, unmailbox_id, ..Options::default() };
    let mut without: Vec<Options> = Version::ALL.map(|version| of(version, false)).into();
    let older = Version::ALL.into_iter().filter(|version| *version < Version::Head);
    without.extend(older.map(|version| of(version, true)));
    for options in without {
        let about = format!("{:?}, {}", options.version, options.unmailbox_id);
        let lines = said(options, &[&mailbox(""), &removal("u1", 5), "APPLY UNMAILBOX user.a"]);
        let last = &lines[lines.len() - 4..];
        assert_eq!(
            last,
            ["OK success", "NO IMAP_PROTOCOL_BAD_PARAMETERS", "OK success", "OK Finished"],
            "{about}"
        );
    }
}
