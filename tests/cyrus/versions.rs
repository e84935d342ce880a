//! Compares the versions that the embedded replica plays with real servers: the same dialogue, the same answers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use embedded_replica::{Options, Replica, Version};
use testkit::{Builder, Cyrus, Release};

/// The answers of a server to these commands, one after the other. Each command waits for its answer.
struct Dialogue {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Dialogue {
    /// Connects; gives the banner, too.
    fn start(port: u16) -> (Dialogue, Vec<String>) {
        let output = TcpStream::connect(("127.0.0.1", port)).unwrap();
        output.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let input = BufReader::new(output.try_clone().unwrap());
        let mut dialogue = Dialogue { input, output };
        let mut banner = Vec::new();
        while !banner.last().is_some_and(|line: &String| line.starts_with("* OK")) {
            banner.push(dialogue.line().unwrap());
        }
        (dialogue, banner)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.input.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// All lines of the answer; `(closed)` where the connection ends.
    fn ask(&mut self, command: &str) -> Vec<String> {
        self.output.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line() else {
                lines.push("(closed)".to_owned());
                return lines;
            };
            let more = line.starts_with("* ");
            lines.push(line);
            if !more {
                return lines;
            }
        }
    }
}

/// A banner without the parts that differ between servers: its name, and the order of its mechanisms.
fn plain(banner: &[String]) -> Vec<String> {
    let plain = |line: &String| match line.split_once("Cyrus sync server ") {
        Some((_, version)) => {
            let numbers = version.split(['.', '-']).take(2).collect::<Vec<_>>();
            format!("* OK Cyrus sync server {}", numbers.join("."))
        }
        None if line.starts_with("* SASL ") => {
            let mut words: Vec<&str> = line.split(' ').skip(2).collect();
            words.sort_unstable();
            format!("* SASL {}", words.join(" "))
        }
        None => line.clone(),
    };
    banner.iter().map(plain).collect()
}

/// A MAILBOX, with these keys at its end.
fn mailbox(name: &str, id: &str, rest: &str) -> String {
    format!(
        "APPLY MAILBOX %(UNIQUEID {id} MBOXNAME {name} SYNC_CRC 0 SYNC_CRC_ANNOT 12345678 LAST_UID 0 HIGHESTMODSEQ 9 RECENTUID 0 \
         RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 XCONVMODSEQ 9 UIDVALIDITY 1700000000 \
         PARTITION default ACL \"anna\tlrswipkxtecdan\t\" OPTIONS P CREATEDMODSEQ 7 FOLDERMODSEQ 9{rest} RECORD ())"
    )
}

/// The commands for both. The last ones may end the connection.
fn commands() -> Vec<String> {
    let id = |nr: u32| format!("{nr:08x}-0000-4000-8000-000000000000");
    let expunged = |annotation: &str| {
        format!(
            "APPLY MAILBOX %(UNIQUEID {} MBOXNAME user.anna.b SYNC_CRC 0 SYNC_CRC_ANNOT 0 LAST_UID 1 HIGHESTMODSEQ 11 RECENTUID 0 \
             RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1700000000 PARTITION default ACL \"\" OPTIONS P \
             CREATEDMODSEQ 7 FOLDERMODSEQ 9 RECORD (%(UID 1 MODSEQ 11 LAST_UPDATED 1 FLAGS (\\Expunged) INTERNALDATE 1 SIZE 3 \
             GUID {} ANNOTATIONS (%(ENTRY /comment USERID anna{annotation} VALUE x)))))",
            id(2),
            "ab".repeat(20)
        )
    };
    let intermediate = |name: &str| {
        format!(
            "APPLY MAILBOX %(UNIQUEID {} MBOXNAME {name} MBOXTYPE i HIGHESTMODSEQ 8 CREATEDMODSEQ 8)",
            id(9)
        )
    };
    let mut commands: Vec<String> = [
        "NOOP",
        "RESTART",
        "APPLY CAPABILITIES (sieve-mailbox REPLICATION-ARCHIVE NONSENSE)",
        "APPLY NONSENSE %()",
        "GET NONSENSE x",
        "RESTORE NONSENSE %()",
        "NONSENSE",
        "GET USER nobody",
        "GET META nobody",
        "GET MAILBOXES (user.nobody)",
        "GET FULLMAILBOX user.nobody",
        "GET QUOTA user.nobody",
        "APPLY UNMAILBOX user.nobody",
        "APPLY LOCAL_UNMAILBOX user.nobody",
        "APPLY LOCAL_RENAME %(OLDMBOXNAME user.nobody NEWMBOXNAME user.some PARTITION default UIDVALIDITY 0)",
    ]
    .map(str::to_owned)
    .to_vec();
    commands.extend([
        mailbox("user.anna", &id(1), ""),
        "GET MAILBOXES (user.anna)".to_owned(),
        "GET USER anna".to_owned(),
        // Keys that only some versions know.
        mailbox("user.anna.b", &id(2), " USERFLAGS ($one $two) USERGROUPS \"staff\tboard\" NONSENSE x"),
        "GET MAILBOXES (user.anna.b user.anna)".to_owned(),
        mailbox("user.anna.b", &id(2), " SINCE_MODSEQ 5 SINCE_CRC 0 SINCE_CRC_ANNOT 0"),
        // Ids: the same twice, and another one under the same name.
        mailbox("user.anna.c", &id(2), ""),
        "APPLY LOCAL_UNMAILBOX user.anna.c".to_owned(),
        mailbox("user.anna.b", &id(3), ""),
        mailbox("user.anna.b", &id(2), ""),
        format!("APPLY EXPUNGE %(MBOXNAME user.anna.b UNIQUEID {} UID (1))", id(7)),
        format!("APPLY EXPUNGE %(MBOXNAME user.anna.b UNIQUEID {} UID (1))", id(2)),
        expunged(""),
        expunged(" MODSEQ 4"),
        // Names without a mailbox.
        intermediate("user.anna.x"),
        mailbox("user.anna.x.y", &id(4), ""),
        "GET MAILBOXES (user.anna.x)".to_owned(),
        "APPLY RENAME %(OLDMBOXNAME user.anna.x NEWMBOXNAME user.anna.z PARTITION default UIDVALIDITY 0)".to_owned(),
        // Quota resources by their old and their new names.
        "APPLY QUOTA %(ROOT user.anna LIMIT 77 STORAGE 77 MESSAGE 5 X-NUM-FOLDERS 6 MODSEQ 3)".to_owned(),
        "APPLY QUOTA %(ROOT user.anna.b LIMIT 4294967295 MAILBOX 6 ANNOTATION-STORAGE 8 MODSEQ 3)".to_owned(),
        "APPLY ACTIVATE_SIEVE %(USERID anna FILENAME none.bc)".to_owned(),
        format!("GET UNIQUEIDS ({})", id(1)),
        "APPLY FORCE %()".to_owned(),
        mailbox("user.anna.b", &id(8), ""),
        format!("GET UNIQUEIDS ({} {})", id(1), id(99)),
    ]);
    commands
}

/// A line of an answer, without the values that differ between servers.
fn comparable(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    // A real server counts these by itself.
    for key in ["XCONVMODSEQ", "RACLMODSEQ"] {
        if let Some(at) = words.iter().position(|word| *word == key) {
            words.drain(at..at + 2);
        }
    }
    words.join(" ")
}

/// Asks both the same; returns the differences, command by command.
fn differences(real: &Cyrus, options: Options) -> Vec<String> {
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let (mut theirs, their_banner) = Dialogue::start(real.csync_port().unwrap());
    let (mut ours, our_banner) = Dialogue::start(server.address().port());
    assert_eq!(plain(&our_banner), plain(&their_banner));
    // As the admin of the testkit's instances.
    let login = "AUTHENTICATE PLAIN AGN5cnVzAHNlY3JldA==".to_owned();
    let mut differences = Vec::new();
    let last = commands().last().cloned();
    let first = ["NOOP", "HELLO", "GET USER anna", "APPLY FORCE %()", "STARTTLS"];
    let all = first.iter().map(|c| (*c).to_owned()).chain([login]).chain(commands());
    for command in all {
        let (said, expected) = (ours.ask(&command), theirs.ask(&command));
        let plain = |lines: &[String]| lines.iter().map(|l| comparable(l)).collect::<Vec<_>>();
        if plain(&said) != plain(&expected) {
            differences.push(format!("{command}\n  real     {expected:#?}\n  embedded {said:#?}"));
        }
        if said.last().is_some_and(|line| line == "(closed)") {
            assert_eq!(Some(command), last, "the connection ended before its time");
        }
    }
    differences
}

fn assert_same(real: Builder, options: Options) {
    testkit::ensure_cyrus().unwrap();
    let real = real.start().unwrap();
    let differences = differences(&real, options);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn it_plays_3_2() {
    let real = Cyrus::replica().release(Release::Bullseye);
    assert_same(real, Options { version: Version::V3_2, ..Options::default() });
}

#[test]
fn it_plays_3_6() {
    assert_same(Cyrus::replica(), Options::default());
}

#[test]
fn it_plays_3_12() {
    let real = Cyrus::replica().release(Release::Sid);
    assert_same(real, Options { version: Version::V3_12, ..Options::default() });
}

/// With an archive partition there is one capability more.
#[test]
fn it_plays_3_12_with_an_archive() {
    let real = Cyrus::replica().release(Release::Sid).archive();
    assert_same(real, Options { version: Version::V3_12, archive: true, ..Options::default() });
}
