//! Every reader agrees with the oracle: the lines that we would send are exactly the lines that the master's own
//! sync_server reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::encode::{Encoder, Head, State};
use actors::source::{MailboxSource, Source, Which};
use csync::{DlistWriter, IntermediateHead, command};
use cyrus_store::{Config, MboxEntry, MboxList, Store};
use cyrus_types::{Guid, ModSeq};
use testkit::fill::{self, RandomWork};
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, DeleteMode};

/// The answers of the master's own server about one user, each line without its `* `.
struct Said {
    user: String,
    /// GET USER for a peer that accepts `#sieve` mailboxes.
    lines: Vec<Vec<u8>>,
    /// GET USER for a peer that does not: scripts have lines of their own.
    plain: Vec<Vec<u8>>,
    /// GET FULLMAILBOX of each mailbox, by name.
    full: Vec<(String, Vec<u8>)>,
}

fn ask(master: &Cyrus, users: &[String]) -> Vec<Said> {
    let mut server = PrivateServer::start(master).unwrap();
    let mut plain = PrivateServer::start_plain(master).unwrap();
    let bare = |line: Vec<u8>| line.strip_prefix(b"* ").unwrap().to_vec();
    let mut all = Vec::new();
    for user in users {
        let lines: Vec<_> = server.get_named("USER", user).unwrap().into_iter().map(bare).collect();
        let mut full = Vec::new();
        for item in server.items("USER", user).unwrap() {
            let is_mailbox = item.name == "MAILBOX"
                && !item.value.text("MBOXTYPE").is_some_and(|letters| letters.contains('i'));
            if is_mailbox {
                let name = item.value.text("MBOXNAME").unwrap();
                let mut answer = server.get_named("FULLMAILBOX", &name).unwrap();
                assert_eq!(answer.len(), 1, "{name}");
                full.push((name, bare(answer.remove(0))));
            }
        }
        let plain = plain.get_named("USER", user).unwrap().into_iter().map(bare).collect();
        all.push(Said { user: user.clone(), lines, plain, full });
    }
    all
}

/// Those lines of an answer that begin with this name.
fn named<'a>(lines: &'a [Vec<u8>], name: &str) -> Vec<&'a [u8]> {
    let prefix = format!("{name} ");
    lines.iter().filter(|l| l.starts_with(prefix.as_bytes())).map(Vec::as_slice).collect()
}

/// A command of ours in the form of a server's answer: without `APPLY ` and the line's end, and with literals `{n}` where
/// we send `{n+}`.
fn as_answer(command: &[u8]) -> Vec<u8> {
    let mut rest = command.strip_prefix(b"APPLY ").unwrap().strip_suffix(b"\r\n").unwrap();
    let mut out = Vec::new();
    // No quoted string contains a line's end, so outside of literals this is always a literal's head.
    while let Some(at) = rest.windows(4).position(|window| window == b"+}\r\n") {
        let open = rest[..at].iter().rposition(|byte| *byte == b'{').unwrap();
        let size: usize = std::str::from_utf8(&rest[open + 1..at]).unwrap().parse().unwrap();
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&rest[at + 1..at + 4 + size]);
        rest = &rest[at + 4 + size..];
    }
    out.extend_from_slice(rest);
    out
}

/// Compares whole lists, and shows the first line that differs, not hundreds.
#[track_caller]
fn assert_lines(ours: &[Vec<u8>], theirs: &[&[u8]], what: &str) {
    for (our, their) in ours.iter().zip(theirs) {
        assert!(
            our == their,
            "{what}:\nours:   {}\ncyrus': {}",
            String::from_utf8_lossy(our),
            String::from_utf8_lossy(their)
        );
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: lines");
}

/// A mailbox as we would send all of it to an empty replica.
fn encoded(mailbox: &dyn MailboxSource, with_records: bool) -> Vec<u8> {
    let head = Head {
        local_only: false,
        one_way: true,
        partition: &mailbox.entry().partition,
        state: State::Whole(mailbox.index().crcs),
        since: None,
        replica: None,
        groups: None,
    };
    let mut encoder = Encoder::begin(mailbox, &head).unwrap();
    if with_records {
        for record in mailbox.records(Which::Since(ModSeq::ZERO)) {
            let record = record.unwrap();
            encoder.record(&record, record.modseq).unwrap();
        }
    }
    let mut bytes = Vec::new();
    encoder
        .drain(|some| {
            bytes.extend_from_slice(some);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
    bytes.extend(encoder.end());
    as_answer(&bytes)
}

/// A mailbox as GET USER lists it: no records, and no key for them.
fn listed(mailbox: &dyn MailboxSource) -> Vec<u8> {
    let line = encoded(mailbox, false);
    let mut line = line.strip_suffix(b" RECORD ())").unwrap().to_vec();
    line.push(b')');
    line
}

fn intermediate(entry: &MboxEntry) -> Vec<u8> {
    let mut line = Vec::new();
    let head = IntermediateHead {
        uniqueid: &entry.uniqueid,
        mboxname: &entry.name,
        mboxtype: &entry.mbtype.sync_str().unwrap_or_default(),
        uidvalidity: entry.uidvalidity,
        partition: (!entry.partition.is_empty()).then_some(entry.partition.as_str()),
        acl: Some(&entry.acl),
        createdmodseq: entry.createdmodseq,
        foldermodseq: entry.foldermodseq,
    };
    csync::intermediate_line(&mut line, &head);
    line
}

/// The counts of what was compared, so that a test can check that it compared something.
#[derive(Debug, Default)]
struct Compared {
    mailboxes: usize,
    intermediates: usize,
    records: usize,
    quotas: usize,
    subscriptions: usize,
    seen: usize,
    scripts: usize,
}

fn compare_mailboxes(store: &Store, list: &MboxList, said: &Said, compared: &mut Compared) {
    let mut ours = Vec::new();
    let mut full = Vec::new();
    let mut roots = BTreeSet::new();
    for entry in list.user_tree(&said.user).unwrap() {
        if entry.mbtype.is_deleted() {
            continue;
        }
        if entry.mbtype.is_intermediate() {
            ours.push(intermediate(&entry));
            compared.intermediates += 1;
            continue;
        }
        let mailbox = store.open_mailbox(&entry).unwrap();
        let source = store.open(&entry).unwrap().unwrap();
        ours.push(listed(&*source));
        full.push(encoded(&*source, true));
        roots.extend(mailbox.header.quotaroot.clone());
        // The index header's stored values equal those computed from the records.
        assert!(mailbox.header_crc_matches, "{}", entry.name);
        assert_eq!(mailbox.recompute_crcs().unwrap(), mailbox.index.sync_crcs, "{}", entry.name);
        compared.mailboxes += 1;
        compared.records += mailbox.records(ModSeq::ZERO).count();
    }
    assert_lines(&ours, &named(&said.lines, "MAILBOX"), &format!("GET USER {}", said.user));
    let theirs: Vec<&[u8]> = said.full.iter().map(|(_, line)| line.as_slice()).collect();
    assert_lines(&full, &theirs, &format!("GET FULLMAILBOX of {}", said.user));

    let mut quotas = Vec::new();
    for quota in roots.iter().filter_map(|root| store.quota(root).unwrap()) {
        let command = command::quota(&quota.root, quota.sync_limits(), quota.modseq);
        quotas.push(as_answer(&command.bytes));
    }
    // Cyrus lists roots in the order in which it meets them.
    quotas.sort();
    let mut theirs = named(&said.lines, "QUOTA");
    theirs.sort();
    assert_lines(&quotas, &theirs, &format!("QUOTA of {}", said.user));
    compared.quotas += quotas.len();
}

fn compare_meta(store: &Store, list: &MboxList, said: &Said, compared: &mut Compared) {
    let user = &said.user;
    let subscriptions = store.subscriptions(list, user).unwrap().unwrap_or_default();
    compared.subscriptions += subscriptions.len();
    let mut ours = Vec::new();
    if !subscriptions.is_empty() {
        let mut line = Vec::new();
        let mut writer = DlistWriter::new(&mut line).as_server();
        writer.key("LSUB").list_begin();
        for name in &subscriptions {
            writer.atom(name.as_str());
        }
        writer.list_end();
        ours.push(line);
    }
    assert_lines(&ours, &named(&said.lines, "LSUB"), &format!("LSUB of {user}"));

    let mut ours = Vec::new();
    for seen in store.seen(list, user).unwrap() {
        let mut line = Vec::new();
        let mut writer = DlistWriter::new(&mut line).as_server();
        writer.key("SEEN").map_begin().key("UNIQUEID").atom(seen.uniqueid.as_str());
        writer.key("LASTREAD").date(seen.lastread).key("LASTUID").uid(seen.lastuid);
        writer.key("LASTCHANGE").date(seen.lastchange).key("SEENUIDS").atom(&seen.seenuids);
        writer.map_end();
        ours.push(line);
    }
    compared.seen += ours.len();
    assert_lines(&ours, &named(&said.lines, "SEEN"), &format!("SEEN of {user}"));

    let mut ours = Vec::new();
    for script in store.sieve_scripts(list, user).unwrap() {
        let file = format!("{}.script", script.name);
        ours.push(sieve_line(&file, script.last_update, script.guid, false));
        if script.active {
            // The active one is listed once more, as its bytecode.
            ours.push(sieve_line(&format!("{}.bc", script.name), 0, Guid::NULL, true));
        }
    }
    compared.scripts += ours.len();
    ours.sort();
    let mut theirs = named(&said.plain, "SIEVE");
    theirs.sort();
    assert_lines(&ours, &theirs, &format!("SIEVE of {user}"));
}

fn sieve_line(filename: &str, last_update: i64, guid: Guid, active: bool) -> Vec<u8> {
    let mut line = Vec::new();
    let mut writer = DlistWriter::new(&mut line).as_server();
    writer.key("SIEVE").map_begin().key("FILENAME").atom(filename);
    writer.key("LAST_UPDATE").date(last_update).key("GUID").guid(&guid);
    writer.key("ISACTIVE").num(active.into()).map_end();
    line
}

/// Names without a mailbox. 3.6.1 makes none any more, older versions left them behind; its sync_server accepts them from
/// such a master.
fn make_intermediates(master: &Cyrus, users: &[String]) {
    let mut server = PrivateServer::start(master).unwrap();
    for (nr, user) in users.iter().enumerate() {
        let name = format!("user.{}.only a name", user.replace('.', "^"));
        let modseqs = "HIGHESTMODSEQ 9000 CREATEDMODSEQ 8000 FOLDERMODSEQ 9000";
        server
            .command(&format!(
                "APPLY MAILBOX %(UNIQUEID intermediate{nr:012} MBOXNAME \"{name}\" MBOXTYPE i {modseqs})"
            ))
            .unwrap();
    }
}

/// Fills a master, lets users work, and compares everything we read with everything the server reports.
fn readers_agree(master: Builder, seed: u64) {
    testkit::ensure_cyrus().unwrap();
    let mut master = master.start().unwrap();
    let options = fill::FillOptions { big_message_bytes: 0, ..fill::FillOptions::new(seed, 15) };
    let users = fill::fill_with(&master, &options).unwrap();
    RandomWork::new(seed).run(&master, &users, 800).unwrap();
    make_intermediates(&master, &users);
    let said = ask(&master, &users);
    // Our reads from here on need no server, and our lock files belong to root.
    master.stop();

    let store = Store::open(Arc::new(Config::load(master.imapd_conf()).unwrap()));
    let list = store.mailboxes().unwrap();
    let mut listed = list.all_users(None).unwrap();
    listed.sort();
    let mut wanted = users.clone();
    wanted.sort();
    assert_eq!(listed, wanted);

    let mut compared = Compared::default();
    for said in &said {
        // An unknown kind of line would be missed.
        for line in said.lines.iter().chain(&said.plain) {
            let kinds = ["MAILBOX ", "QUOTA ", "LSUB ", "SEEN ", "SIEVE "];
            let known = kinds.iter().any(|kind| line.starts_with(kind.as_bytes()));
            assert!(known, "{}", String::from_utf8_lossy(line));
        }
        compare_mailboxes(&store, &list, said, &mut compared);
        compare_meta(&store, &list, said, &mut compared);
    }
    let enough = compared.mailboxes > 200
        && compared.intermediates == users.len()
        && compared.records > 1000
        && compared.quotas > 10
        && compared.subscriptions > 50
        && compared.seen > 10
        && compared.scripts >= 6;
    assert!(enough, "{compared:?}");
}

// Shows that what we read of filled and busy users, encoded as we send it, is byte for byte what Cyrus reports about them:
// mailboxes, records, annotations, quota, subscriptions, seen state and scripts; and that stored checksums equal those that
// we compute.
#[test]
fn readers_agree_with_conversations() {
    readers_agree(Cyrus::master(), 31);
}

// The same without conversations, with `.` between folders, and without keeping deleted mailboxes.
#[test]
fn readers_agree_without_conversations() {
    let master = Cyrus::master()
        .conversations(false)
        .unixhierarchysep(false)
        .delete_mode(DeleteMode::Immediate)
        .delayed_expunge(false);
    readers_agree(master, 32);
}
