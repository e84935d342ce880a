//! How much memory an answer may take, whatever the replica sends.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use embedded_replica::{Fault, Keep, Options, Replica, Server};
use testkit::c_client::{self, Outcome};
use testkit::store::{MasterStore, Plan, Sizes};

/// The most memory that the program may ever take, in MiB. As it is built for tests its code and stacks alone take 6 more
/// (16 against 10 with nothing to do), and glibc's heaps differ from run to run.
const MOST: u64 = if cfg!(debug_assertions) { 64 + 8 } else { 64 };

fn world(users: usize) -> (Replica, Server, MasterStore, PathBuf) {
    let plan =
        Plan { users, mailboxes: 2, messages: 1, sizes: Sizes::Fixed(300), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("peer", server.address().port()).unwrap();
    let mut text = std::fs::read_to_string(&conf).unwrap();
    text.push_str("sync_timeout: 3s\n");
    std::fs::write(&conf, text).unwrap();
    (replica, server, store, conf)
}

fn sync(conf: &PathBuf, args: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(conf).args(args);
    c_client::measure(command).unwrap()
}

fn mailbox(name: &str, uniqueid: &str) -> String {
    format!(
        "* MAILBOX %(UNIQUEID {uniqueid} MBOXNAME {name} LAST_UID 0 HIGHESTMODSEQ 1 RECENTUID 0 RECENTTIME 0 \
         LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 9 PARTITION default ACL \"\" OPTIONS \"\")\r\n"
    )
}

// A million lines took 3 GB, and 5.3 GB in half a minute if they came deflated, a thousandth of it on the wire. Now,
// whatever arrives in one answer or on all connections at once, the program stays below its bound, and the users whose
// answers they are fail.
#[test]
fn no_answer_takes_all_memory() {
    let userid = "user00000";
    let floods: [(&str, Vec<u8>); 6] = [
        ("subscriptions", b"* LSUB (user.a user.b user.c)\r\n".to_vec()),
        ("mailboxes", mailbox("user.user00000.x", "u").into_bytes()),
        ("values", [b"* LSUB (".to_vec(), b"a ".repeat(500_000), b")\r\n".to_vec()].concat()),
        ("deep lines", b"* SEEN ((((((((((((a))))))))))))\r\n".to_vec()),
        ("one value", b"* LSUB".to_vec()),
        ("unasked greetings", b"* OK still here\r\n".to_vec()),
    ];
    for (what, piece) in floods {
        let (replica, _server, _store, conf) = world(3);
        let times = 150_000_000 / piece.len() as u64;
        replica.faults().always("GET USER", userid, Fault::Flood { piece, times });
        let started = Instant::now();
        let run = sync(&conf, &["-A", "-j", "2", "-z"]);
        let peak = run.peak_rss_bytes >> 20;
        println!("{what}: {peak} MiB, {:?}, {}", started.elapsed(), run.stderr);
        assert!(peak <= MOST, "{what}: {peak} MiB");
        assert_eq!(run.code, Some(1), "{what}: {}", run.stderr);
        assert!(run.stderr.contains(&format!("failed: {userid}: ")), "{what}: {}", run.stderr);
        assert!(run.stderr.contains("2 replicated, 1 failed"), "{what}: {}", run.stderr);
    }
}

// The same on all connections at once, about every user.
#[test]
fn all_connections_together_do_not_either() {
    let (replica, _server, store, conf) = world(16);
    for user in &store.model().users {
        let lines: String = (0..20_000)
            .map(|nr| {
                mailbox(&format!("user.{}.m{nr}", user.userid), &format!("id-{}-{nr}", user.userid))
            })
            .collect();
        let answer = format!("{lines}OK success\r\n").into_bytes();
        replica.faults().always("GET USER", &user.userid, Fault::Answer(answer));
    }
    let run = sync(&conf, &["-A", "-j", "6"]);
    let peak = run.peak_rss_bytes >> 20;
    println!("{peak} MiB: {}", run.stderr);
    assert!(peak <= MOST, "{peak} MiB");
}

// A mailbox of a million records that has to be compared record by record: it passes, in the same memory.
#[test]
fn a_million_records_pass() {
    let (replica, _server, store, conf) = world(2);
    sync(&conf, &["-A"]).must_succeed().unwrap();
    let user = &store.model().users[0];
    let mailbox = &user.mailboxes[0];
    // It is ahead there, and with -O that needs a full comparison; its extra records are expunged already.
    let full = |records: &str| {
        format!(
            "* MAILBOX %(UNIQUEID {} MBOXNAME {} LAST_UID 1000010 HIGHESTMODSEQ 99999 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 \
             POP3_LAST_LOGIN 0 UIDVALIDITY {} SYNC_CRC 4711 PARTITION default ACL \"\" OPTIONS \"\"{records})\r\nOK success\r\n",
            mailbox.uniqueid, mailbox.name, mailbox.uidvalidity
        )
    };
    let one = |uid: usize| {
        format!(
            "%(UID {uid} MODSEQ 1 LAST_UPDATED 1700000000 FLAGS (\\Seen \\Expunged) INTERNALDATE 1700000000 SIZE 1234 GUID {uid:040x})"
        )
    };
    let records: Vec<String> = (10..1_000_010).map(one).collect();
    let answer = full(&format!(" RECORD ({})", records.join(" "))).into_bytes();
    replica.faults().always("GET USER", &user.userid, Fault::Answer(full("").into_bytes()));
    replica.faults().always("GET FULLMAILBOX", &mailbox.name, Fault::Answer(answer));
    let run = sync(&conf, &["-u", &user.userid, "-v", "-O"]);
    let peak = run.peak_rss_bytes >> 20;
    println!("{peak} MiB: {}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains(&format!("FULLMAILBOX {}", mailbox.name)), "{}", run.stdout);
    assert!(!run.stderr.contains("lost") && !run.stderr.contains("memory"), "{}", run.stderr);
    assert!(peak <= MOST, "{peak} MiB");
}
