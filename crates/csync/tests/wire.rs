//! Real dialogues, replayed: every transcript is read however it is cut, and what was read is written again byte for byte.
//!
//! A transcript's lines are `C: ` for the client, `S: ` for the server, `# ` for a remark. Each ends in CRLF on the wire,
//! and `<NUL>` stands for that byte.
#![allow(clippy::unwrap_used)] // all of this file is a test, its helpers too

use bytes::BytesMut;
use csync::command::{self, Command, Seen};
use csync::{
    Annotation, Code, CommandKind, Decoder, DlistWriter, Framing, FullMailbox, Handshake,
    HandshakeOptions, HandshakeStep, IntermediateHead, Item, Limits, MailboxCommand, MailboxHead,
    MessageCommand, OwnedAnnotation, Record, ReplicaMailbox, ReplicaRecord, ReplicaUser, Reply,
    Session, StatusKind, Tags, apply_intermediate, enabled, intermediate_line, mailbox_line,
    message, missing,
};
use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UidValidity, UniqueId};

const TRANSCRIPTS: [(&str, &str); 5] = [
    ("csync-read", include_str!("transcripts/csync-read.txt")),
    ("csync-write", include_str!("transcripts/csync-write.txt")),
    ("csync-sieve", include_str!("transcripts/csync-sieve.txt")),
    ("imap-read", include_str!("transcripts/imap-read.txt")),
    ("imap-write", include_str!("transcripts/imap-write.txt")),
];

/// Turns of the dialogue: the client's bytes, then the server's answer.
fn turns(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut turns = vec![(Vec::new(), Vec::new())];
    let mut server_spoke = false;
    for line in text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (who, said) = line.split_at(3);
        let said = said.replace("<NUL>", "\0");
        let from_client = who == "C: ";
        if from_client && server_spoke {
            turns.push((Vec::new(), Vec::new()));
        }
        server_spoke = !from_client;
        let turn = turns.last_mut().unwrap();
        let side = if from_client { &mut turn.0 } else { &mut turn.1 };
        side.extend_from_slice(said.as_bytes());
        side.extend_from_slice(b"\r\n");
    }
    turns
}

fn transcript(name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    turns(TRANSCRIPTS.iter().find(|(known, _)| *known == name).unwrap().1)
}

fn options(name: &str) -> HandshakeOptions {
    HandshakeOptions {
        authname: "cyrus".into(),
        password: "secret".into(),
        want_sieve_mailbox: name != "csync-sieve",
        force: true,
        ..HandshakeOptions::default()
    }
}

/// Plays the handshake; returns the session and how many turns it took.
fn open(name: &str, turns: &[(Vec<u8>, Vec<u8>)], piece: usize) -> (Session, usize) {
    let mut handshake = Handshake::new(options(name));
    let mut src = BytesMut::new();
    let mut spoken = Vec::new();
    for (number, (client, server)) in turns.iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&spoken), String::from_utf8_lossy(client));
        spoken.clear();
        for bytes in server.chunks(piece) {
            src.extend_from_slice(bytes);
            match handshake.handle(&mut src).unwrap() {
                HandshakeStep::NeedMore => {}
                HandshakeStep::Send(said) => spoken = said.bytes().to_vec(),
                HandshakeStep::Ready(session) => {
                    assert!(src.is_empty());
                    return (session, number + 1);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("the transcript ended before the session began");
}

fn decode(framing: Framing, pieces: &[&[u8]]) -> Vec<Reply> {
    let mut decoder = Decoder::new(framing, Limits::default());
    let mut src = BytesMut::new();
    let mut replies = Vec::new();
    for piece in pieces {
        src.extend_from_slice(piece);
        while let Some(reply) = decoder.decode(&mut src).unwrap() {
            replies.push(reply);
        }
    }
    assert!(src.is_empty());
    replies
}

/// All commands of a transcript after its opening, with their decoded answers.
fn answers(name: &str) -> Vec<(Vec<u8>, Vec<Item>, csync::Status)> {
    let turns = transcript(name);
    let (session, opening) = open(name, &turns, 4096);
    let mut answers = Vec::new();
    for (client, server) in &turns[opening..] {
        let mut items = Vec::new();
        for reply in decode(session.framing, &[server]) {
            match reply {
                Reply::Untagged(item) => items.push(item),
                Reply::Done(status) => {
                    answers.push((client.clone(), std::mem::take(&mut items), status));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(items.is_empty());
    }
    answers
}

/// The answer to the command that holds `command`.
fn answer(name: &str, command: &str) -> (Vec<Item>, csync::Status) {
    let all = answers(name);
    let found = all.into_iter().find(|(sent, ..)| String::from_utf8_lossy(sent).contains(command));
    let (_, items, status) = found.unwrap();
    (items, status)
}

#[test]
fn the_opening_says_what_the_c_client_would_and_ends_ready() {
    for (name, text) in TRANSCRIPTS {
        for piece in [1, 7, 100_000] {
            let (session, _) = open(name, &turns(text), piece);
            let imap = name.starts_with("imap");
            assert_eq!(session.framing, if imap { Framing::Imap } else { Framing::Csync });
            assert_eq!(session.capabilities.sieve_mailbox_enabled, name != "csync-sieve");
            assert!(session.force_active && !session.capabilities.compress_active);
            let software = &session.capabilities.software;
            assert!(software.starts_with("replica.example Cyrus "), "{software}");
            assert!(software.contains("3.6.1-Debian"), "{software}");
        }
    }
}

#[test]
fn every_split_point_gives_the_same_replies() {
    for (name, text) in TRANSCRIPTS {
        let turns = turns(text);
        let (session, opening) = open(name, &turns, 4096);
        for (_, server) in &turns[opening..] {
            let whole = decode(session.framing, &[server]);
            for at in 0..server.len() {
                let (head, tail) = server.split_at(at);
                assert_eq!(decode(session.framing, &[head, tail]), whole, "{name} at {at}");
            }
            let single: Vec<&[u8]> = server.chunks(1).collect();
            assert_eq!(decode(session.framing, &single), whole, "{name} by single bytes");
        }
    }
}

#[test]
fn what_was_read_is_written_byte_for_byte() {
    for (name, text) in TRANSCRIPTS {
        let turns = turns(text);
        let (session, opening) = open(name, &turns, 4096);
        for (_, server) in &turns[opening..] {
            let mut again = Vec::new();
            for reply in decode(session.framing, &[server]) {
                match reply {
                    Reply::Untagged(item) => {
                        again.extend_from_slice(b"* ");
                        let mut writer = DlistWriter::new(&mut again).as_server();
                        writer.atom(&item.name).value(&item.value).end_line();
                    }
                    Reply::Done(status) => {
                        let kind = format!("{:?}", status.kind).to_uppercase();
                        let tag = status.tag.map(|tag| tag + " ").unwrap_or_default();
                        again.extend_from_slice(
                            format!("{tag}{kind} {}\r\n", status.text).as_bytes(),
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(server), "{name}");
        }
    }
}

fn borrowed(annotations: &[OwnedAnnotation]) -> Vec<Annotation<'_>> {
    let mut borrowed = Vec::new();
    for a in annotations {
        borrowed.push(Annotation {
            entry: &a.entry,
            userid: &a.userid,
            modseq: a.modseq,
            value: &a.value,
        });
    }
    borrowed
}

fn head<'a>(m: &'a ReplicaMailbox, annotations: &'a [Annotation<'a>]) -> MailboxHead<'a> {
    MailboxHead {
        uniqueid: &m.uniqueid,
        mboxname: &m.name,
        mboxtype: Some(m.mboxtype.as_str()).filter(|t| !t.is_empty()),
        sync_crc: m.crcs.basic,
        sync_crc_annot: Some(m.crcs.annot),
        last_uid: m.last_uid,
        highestmodseq: m.highestmodseq,
        recentuid: m.recentuid,
        recenttime: m.recenttime,
        last_appenddate: m.last_appenddate,
        pop3_last_login: m.pop3_last_login,
        pop3_show_after: m.pop3_show_after,
        xconvmodseq: m.xconvmodseq,
        raclmodseq: m.raclmodseq,
        uidvalidity: m.uidvalidity,
        partition: &m.partition,
        acl: &m.acl,
        options: &m.options,
        quotaroot: m.quotaroot.as_deref(),
        createdmodseq: m.createdmodseq,
        foldermodseq: m.foldermodseq,
        annotations,
        userflags: None,
        usergroups: None,
        since: None,
    }
}

fn raw(item: &Item) -> String {
    let mut out = Vec::new();
    DlistWriter::new(&mut out).as_server().atom(&item.name).value(&item.value);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn typed_mailboxes_give_the_server_s_own_lines() {
    let mut seen = 0;
    for name in ["csync-read", "csync-write", "imap-read", "imap-write"] {
        for (_, items, _) in answers(name) {
            for item in items.iter().filter(|item| item.name == "MAILBOX") {
                let mailbox = ReplicaMailbox::decode(item).unwrap();
                let mut out = Vec::new();
                if mailbox.mboxtype.contains('i') {
                    let intermediate = IntermediateHead {
                        uniqueid: &mailbox.uniqueid,
                        mboxname: &mailbox.name,
                        mboxtype: &mailbox.mboxtype,
                        uidvalidity: UidValidity(0),
                        partition: None,
                        acl: Some(""),
                        createdmodseq: mailbox.createdmodseq,
                        foldermodseq: mailbox.foldermodseq,
                    };
                    intermediate_line(&mut out, &intermediate);
                } else if item.value.get("RECORD").is_none() {
                    mailbox_line(&mut out, &head(&mailbox, &borrowed(&mailbox.annotations)));
                } else {
                    continue;
                }
                assert_eq!(String::from_utf8_lossy(&out), raw(item));
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Writes a whole mailbox as a client does.
fn apply(full: &FullMailbox) -> String {
    let mailbox_annotations = borrowed(&full.mailbox.annotations);
    let mut out = Vec::new();
    let mut command =
        MailboxCommand::begin(&mut out, false, &head(&full.mailbox, &mailbox_annotations));
    for r in &full.records {
        let ReplicaRecord { uid, modseq, last_updated, internaldate, size, guid, .. } = *r;
        let flags: Vec<&str> = r.flags.iter().map(String::as_str).collect();
        let annotations = borrowed(&r.annotations);
        let record = Record {
            uid,
            modseq,
            last_updated,
            flags: &flags,
            internaldate,
            size,
            guid,
            annotations: &annotations,
        };
        command.record(&mut out, &record);
    }
    command.end(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn typed_records_give_the_server_s_own_lines() {
    for (name, mboxname) in [("csync-read", "user.anna"), ("imap-write", "user.carl")] {
        let (items, _) = answer(name, &format!("FULLMAILBOX {mboxname}"));
        let full = FullMailbox::decode(&items[0]).unwrap();
        assert!(full.records.len() > 1);
        let expected = raw(&items[0]).replace("}\r\n", "+}\r\n");
        assert_eq!(apply(&full), format!("APPLY {expected}\r\n"));
    }
}

#[test]
fn a_user_is_collected_line_by_line() {
    let (items, status) = answer("csync-read", "GET USER anna");
    assert!(status.is_ok());
    let mut user = ReplicaUser::default();
    for item in items {
        user.push(item).unwrap();
    }
    let names: Vec<&str> = user.mailboxes.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names[0], "user.anna");
    assert!(names.contains(&"user.anna.q ux") && names.contains(&"user.anna.&AOQ-rger"));
    let sent = user.mailboxes.iter().find(|m| m.name == "user.anna.Sent").unwrap();
    assert_eq!(sent.annotations[0].value, b"a\r\n");
    assert_eq!(sent.annotations[1].userid, "anna");
    assert_eq!(sent.acl, "anna\tlrswipkxtecdan\t");
    assert_eq!(user.subscriptions, ["user.anna", "user.anna.Sent"]);
    let limits: Vec<(&str, i64)> =
        user.quotas[0].limits.iter().map(|(name, limit)| (name.as_str(), *limit)).collect();
    assert_eq!(limits, [("LIMIT", 100_000), ("STORAGE", 100_000), ("MESSAGE", 500)]);

    let (items, _) = answer("imap-read", "GET META bob");
    let mut bob = ReplicaUser::default();
    bob.push(items[0].clone()).unwrap();
    assert_eq!((bob.seen[0].lastuid, bob.seen[0].seenuids.as_str()), (Uid(5), "2:3"));
    assert_eq!(bob.seen[0].uniqueid, user.mailboxes[0].uniqueid);

    let (items, status) = answer("csync-read", "GET USER nobody");
    assert!(items.is_empty() && status.is_ok());
}

#[test]
fn what_was_written_to_a_server_is_read_back() {
    for name in ["csync-write", "imap-write"] {
        let (items, _) = answer(name, "GET USER carl");
        let mut user = ReplicaUser::default();
        for item in items {
            user.push(item).unwrap();
        }
        assert_eq!(user.mailboxes[0].annotations[0].value, "a \"quoted\" 50% ü".as_bytes());
        assert_eq!(user.mailboxes[0].annotations[1].value, b"bin\0ary");
        assert_eq!(
            (user.mailboxes[0].crcs.annot != 0, user.mailboxes[0].quotaroot.as_deref()),
            (true, Some("user.carl"))
        );
        assert_eq!(
            (user.mailboxes[1].mboxtype.as_str(), user.mailboxes[1].foldermodseq),
            ("ei", ModSeq(8))
        );
        assert_eq!(
            (user.mailboxes[1].partition.as_str(), user.mailboxes[1].acl.as_str()),
            ("", "")
        );
        assert_eq!(user.subscriptions, ["user.carl.50% \"off\""]);
        assert_eq!(user.seen[0].seenuids, "");
        assert_eq!(
            user.quotas[0].limits,
            [("LIMIT".to_owned(), 4_294_967_295), ("MESSAGE".to_owned(), 77)]
        );

        let (items, _) = answer(name, "GET FULLMAILBOX user.carl");
        let full = FullMailbox::decode(&items[0]).unwrap();
        assert_eq!(full.mailbox, user.mailboxes[0]);
        assert_eq!(full.records[0].flags, ["\\Seen", "$Label1", "Work"]);
        assert_eq!(full.records[0].annotations[0].value, b"note");
        assert!(full.records[1].flags.is_empty());

        let (items, _) = answer(name, "RESERVE");
        assert_eq!(missing(&items[0]).unwrap()[1], Guid([1; 20]));
        assert!(enabled(&items[0]).is_err() && message(items[0].clone()).is_err());
    }
}

#[test]
fn files_scripts_and_refusals() {
    for name in ["csync-read", "imap-read"] {
        let (items, _) = answer(name, "FETCH");
        let (guid, data) = message(items[0].clone()).unwrap();
        assert_eq!(guid.to_string(), "a39e665b159ac9187ed96b54832769f5bd0cc97d");
        assert!(data.starts_with(b"From: a@b\r\n") && data.len() == 96);
        let code = |command| answer(name, command).1.code;
        assert_eq!(code("user.nope\r"), Some(Code::MailboxNonexistent));
        assert_eq!(code("APPLY FOO"), Some(Code::ProtocolError));
        assert_eq!(code("EXPUNGE"), Some(Code::ProtocolBadParameters));
        let (_, status) = answer(name, "foo bar");
        assert_eq!(status.kind, StatusKind::Bad);
    }
    let (items, _) = answer("csync-sieve", "GET META anna");
    let mut user = ReplicaUser::default();
    for item in items {
        user.push(item).unwrap();
    }
    assert_eq!((user.sieve[0].filename.as_str(), user.sieve[0].active), ("a.script", false));
    assert_eq!((user.sieve[1].filename.as_str(), user.sieve[1].active), ("a.bc", true));
    let (items, _) = answer("csync-sieve", "FETCH_SIEVE");
    assert_eq!(items[0].value.get("CONTENT").unwrap().bytes().unwrap(), b"keep;\r\n");
}

#[test]
fn commands_are_the_ones_that_the_servers_took() {
    let guid: Guid = "83a39ad2e5bdd5cc2b7b086d5b56fd87e2378299".parse().unwrap();
    let file = b"From: x\r\nSubject: y\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nbody\r\n";
    let seen = Seen {
        userid: "carl",
        uniqueid: &UniqueId::new("abc"),
        lastread: 1,
        lastuid: Uid(2),
        lastchange: 3,
        seenuids: "",
    };
    let intermediate = IntermediateHead {
        uniqueid: &UniqueId::new("carl0000000000000000inter"),
        mboxname: &MailboxName::new("user.carl.inter"),
        mboxtype: "i",
        uidvalidity: UidValidity(0),
        partition: None,
        acl: None,
        createdmodseq: ModSeq(7),
        foldermodseq: ModSeq(8),
    };
    let mut files = Vec::new();
    let mut messages = MessageCommand::begin(&mut files);
    messages.file(&mut files, "default", &guid, file.len() as u64);
    files.extend_from_slice(file);
    messages.end(&mut files);
    let commands = [
        (
            0,
            command::reserve(
                "default",
                &["user.carl"].map(MailboxName::new),
                [&guid, &Guid([1; 20])],
            ),
        ),
        (1, Command { kind: CommandKind::Message, bytes: files }),
        (3, apply_intermediate(&intermediate)),
        (4, command::quota("user.carl", [("LIMIT", 4_294_967_295), ("MESSAGE", 77)], ModSeq(12))),
        (5, command::subscription(true, "carl", &MailboxName::new("user.carl.50% \"off\""))),
        (6, command::seen(&seen)),
        (7, command::get_user("carl")),
        (9, command::restart()),
        (10, command::unuser(false, "carl")),
    ];
    for (name, framing) in [("csync-write", Framing::Csync), ("imap-write", Framing::Imap)] {
        let sent = answers(name);
        for (place, command) in &commands {
            let mut line = Vec::new();
            command::tag(&mut line, framing, *place as u64, command.kind);
            line.extend_from_slice(&command.bytes);
            assert_eq!(String::from_utf8_lossy(&line), String::from_utf8_lossy(&sent[*place].0));
            if framing == Framing::Imap {
                assert_eq!(sent[*place].2.tag, Some(Tags::text(*place as u64)));
            }
        }
    }
}
