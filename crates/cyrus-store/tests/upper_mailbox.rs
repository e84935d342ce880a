//! Mailboxes written by a real Cyrus, read here, must print as that server's own `GET FULLMAILBOX` printed them.
//!
//! The fixtures are, by the server's version (3.6.1: index versions 10 to 17; 3.10.1: 18 and 19), a spool (files below
//! `spool/uuid`), the global annotation database, and the server's lines in `oracle.txt`. `tests/cyrus/oracle_lines.rs` compares a running server's store in the same way.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::Config;
use cyrus_store::error::{ErrorClass, StoreError};
use cyrus_store::mailbox::Mailbox;
use cyrus_store::mailbox::annotations::Annotation;
use cyrus_store::mboxlist::MboxEntry;
use cyrus_store::store::Store;
use cyrus_types::{MailboxName, ModSeq, Uid, UniqueId};

struct Spool {
    spool: PathBuf,
    annotations: PathBuf,
    locks: PathBuf,
}

fn fixtures(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upper").join(server)
}

fn fixture_spool(server: &str, temp: &Path) -> Spool {
    Spool {
        spool: fixtures(server).join("spool"),
        annotations: fixtures(server).join("annotations.db"),
        locks: temp.join("lock"),
    }
}

fn store(temp: &Path, spool: &Spool) -> Store {
    let text = format!(
        "configdirectory: {}\ndefaultpartition: default\npartition-default: {}\nannotation_db_path: {}\n\
         mboxname_lockpath: {}\n",
        temp.display(),
        spool.spool.display(),
        spool.annotations.display(),
        spool.locks.display(),
    );
    let conf_path = temp.join("imapd.conf");
    fs::write(&conf_path, text).unwrap();
    Store::open(Arc::new(Config::load(&conf_path).unwrap()))
}

/// The value of `KEY value` in a mailbox line, unquoted.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let start = line.find(&format!("{key} ")).unwrap() + key.len() + 1;
    let rest = &line[start..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split([' ', ')']).next().unwrap(),
    }
}

fn entry(line: &str) -> MboxEntry {
    MboxEntry {
        name: MailboxName::new(field(line, "MBOXNAME")),
        uniqueid: UniqueId::new(field(line, "UNIQUEID")),
        partition: field(line, "PARTITION").to_string(),
        acl: field(line, "ACL").to_string(),
        ..Default::default()
    }
}

/// In the format of `prot_printastring`.
fn astring(out: &mut String, value: &[u8]) {
    let is_atom = |byte: &u8| *byte >= 0x1f && *byte < 0x7f && !b" {()\"%*\\".contains(byte);
    let is_quotable = |byte: &u8| *byte < 0x80 && !b"\0\r\n\"%\\".contains(byte);
    let text = String::from_utf8_lossy(value);
    if value.is_empty() {
        out.push_str("\"\"");
    } else if value.iter().all(is_atom) && value != b"NIL" {
        out.push_str(&text);
    } else if value.iter().all(is_quotable) {
        write!(out, "\"{text}\"").unwrap();
    } else {
        write!(out, "{{{}}}\r\n{text}", value.len()).unwrap();
    }
}

fn annotation(out: &mut Vec<String>, annotation: &Annotation) {
    let mut text = String::from("%(ENTRY ");
    astring(&mut text, annotation.entry.as_bytes());
    text.push_str(" USERID ");
    astring(&mut text, annotation.userid.as_bytes());
    write!(text, " MODSEQ {} VALUE ", annotation.modseq).unwrap();
    astring(&mut text, &annotation.value);
    text.push(')');
    out.push(text);
}

/// The line as sync_server prints it, without the values that do not come from the mailbox's own files.
fn full_mailbox(mailbox: &Mailbox) -> String {
    let index = &mailbox.index;
    let mut out = format!("* MAILBOX %(UNIQUEID {} MBOXNAME ", mailbox.uniqueid());
    astring(&mut out, mailbox.name().as_str().as_bytes());
    write!(
        out,
        " SYNC_CRC {} SYNC_CRC_ANNOT {} LAST_UID {} HIGHESTMODSEQ {} RECENTUID {} RECENTTIME {} LAST_APPENDDATE {} \
         POP3_LAST_LOGIN {} POP3_SHOW_AFTER {} UIDVALIDITY {} PARTITION {} ACL ",
        index.sync_crcs.basic,
        index.sync_crcs.annot,
        index.last_uid,
        index.highestmodseq,
        index.recentuid,
        index.recenttime,
        index.last_appenddate,
        index.pop3_last_login,
        index.pop3_show_after,
        index.uidvalidity,
        mailbox.entry.partition,
    )
    .unwrap();
    astring(&mut out, mailbox.header.acl.as_bytes());
    out.push_str(" OPTIONS ");
    astring(&mut out, mailbox.options_str().as_bytes());
    if let Some(root) = &mailbox.header.quotaroot {
        write!(out, " QUOTAROOT {root}").unwrap();
    }
    if !index.createdmodseq.is_zero() {
        write!(out, " CREATEDMODSEQ {}", index.createdmodseq).unwrap();
    }
    let mut annotations = Vec::new();
    for found in mailbox.annotations().unwrap() {
        annotation(&mut annotations, &found);
    }
    if !annotations.is_empty() {
        write!(out, " ANNOTATIONS ({})", annotations.join(" ")).unwrap();
    }
    let mut records = Vec::new();
    for record in mailbox.records(ModSeq::ZERO) {
        let record = record.unwrap();
        let flags: Vec<&str> = mailbox.flags(&record).collect();
        let mut text = format!(
            "%(UID {} MODSEQ {} LAST_UPDATED {} FLAGS ({}) INTERNALDATE {} SIZE {} GUID {}",
            record.uid,
            record.modseq,
            record.last_updated,
            flags.join(" "),
            record.internaldate,
            record.size,
            record.guid
        );
        let mut annotations = Vec::new();
        for found in mailbox.message_annotations(record.uid).unwrap() {
            annotation(&mut annotations, &found);
        }
        for found in mailbox.virtual_annotations(&record) {
            let (entry, value) = (found.entry, found.value);
            annotations.push(format!("%(ENTRY {entry} USERID \"\" MODSEQ 0 VALUE {value})"));
        }
        if !annotations.is_empty() {
            write!(text, " ANNOTATIONS ({})", annotations.join(" ")).unwrap();
        }
        text.push(')');
        records.push(text);
    }
    write!(out, " RECORD ({}))", records.join(" ")).unwrap();
    out
}

/// Drops the keys that come from conversations, counters and the mailbox list.
fn without_foreign_keys(line: &str) -> String {
    let mut line = line.to_string();
    for key in ["XCONVMODSEQ", "RACLMODSEQ", "FOLDERMODSEQ"] {
        if let Some(start) = line.find(&format!(" {key} ")) {
            let value = start + key.len() + 2;
            let end = value + line[value..].find([' ', ')']).unwrap();
            line.replace_range(start..end, "");
        }
    }
    line
}

/// Splits the server's answers into `* MAILBOX` lines (which may have line breaks inside, in literals).
fn mailbox_lines(text: &str) -> Vec<&str> {
    let starts: Vec<usize> = text.match_indices("* MAILBOX %(").map(|(at, _)| at).collect();
    let mut lines = Vec::new();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(text.len());
        let line = &text[*start..end];
        lines.push(line.split("\r\nOK success").next().unwrap());
    }
    lines
}

fn compare_all(temp: &Path, spool: &Spool, lines: &Path) -> usize {
    let store = store(temp, spool);
    let text = String::from_utf8(fs::read(lines).unwrap()).unwrap();
    let lines = mailbox_lines(&text);
    for line in &lines {
        let mailbox = store.open_mailbox(&entry(line)).unwrap();
        assert_eq!(full_mailbox(&mailbox), without_foreign_keys(line));
        // Old index versions do not store both CRCs.
        let (computed, stored) = (mailbox.recompute_crcs().unwrap(), mailbox.index.sync_crcs);
        if mailbox.index.minor_version >= 12 {
            assert_eq!(computed.basic, stored.basic, "{}", mailbox.name());
        }
        if mailbox.index.minor_version >= 13 {
            assert_eq!(computed.annot, stored.annot, "{}", mailbox.name());
        }
        assert!(mailbox.header_crc_matches, "{}", mailbox.name());
    }
    lines.len()
}

#[test]
fn fixtures_print_as_the_server_printed_them() {
    for (server, mailboxes) in [("3.6.1", 12), ("3.10.1", 2)] {
        let temp = tempfile::tempdir().unwrap();
        let lines = fixtures(server).join("oracle.txt");
        let compared = compare_all(temp.path(), &fixture_spool(server, temp.path()), &lines);
        assert_eq!(compared, mailboxes);
    }
}

fn anna(temp: &Path) -> (Store, MboxEntry) {
    let text = fs::read_to_string(fixtures("3.6.1").join("oracle.txt")).unwrap();
    let lines = mailbox_lines(&text);
    let line = lines.iter().find(|line| line.contains(" MBOXNAME user.anna ")).unwrap();
    (store(temp, &fixture_spool("3.6.1", temp)), entry(line))
}

#[test]
fn changes_since_a_modseq_are_the_newer_records() {
    let temp = tempfile::tempdir().unwrap();
    let (store, entry) = anna(temp.path());
    let mailbox = store.open_mailbox(&entry).unwrap();
    let all: Vec<_> = mailbox.records(ModSeq::ZERO).map(Result::unwrap).collect();
    assert_eq!(all.len(), mailbox.index.num_records as usize);
    for since in [ModSeq(1), all[10].modseq, mailbox.index.highestmodseq] {
        let newer: Vec<_> = mailbox.records(since).map(Result::unwrap).collect();
        let wanted: Vec<_> = all.iter().filter(|record| record.modseq > since).copied().collect();
        assert_eq!(newer, wanted);
    }
    for record in &all {
        assert_eq!(mailbox.record(record.uid).unwrap().as_ref(), Some(record));
    }
    assert_eq!(mailbox.record(Uid::NONE).unwrap(), None);
    assert_eq!(mailbox.record(Uid(9999)).unwrap(), None);
    for uid in (0..=all.last().unwrap().uid.0 + 1).map(Uid) {
        let from: Vec<_> = mailbox.records_from_uid(uid).map(Result::unwrap).collect();
        let wanted: Vec<_> = all.iter().filter(|r| r.uid >= uid).copied().collect();
        assert_eq!(from, wanted, "from {uid}");
    }
}

#[test]
fn a_released_mailbox_keeps_its_files_but_reads_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let (store, entry) = anna(temp.path());
    let mut mailbox = store.open_mailbox(&entry).unwrap();
    let record = mailbox.record(Uid(1)).unwrap().unwrap();
    mailbox.release_index();
    assert!(mailbox.message_path(&record).ends_with(format!("{}/1.", entry.uniqueid)));
    assert!(mailbox.records(ModSeq::ZERO).next().unwrap().is_err());
    assert!(mailbox.record(Uid(1)).is_err());
}

/// A copy of the spool, to be damaged.
fn copied(temp: &Path, entry: &MboxEntry) -> (Spool, PathBuf) {
    let id = entry.uniqueid.as_str();
    let below = format!("uuid/{}/{}/{id}", &id[..1], &id[1..2]);
    let to = temp.join("spool").join(&below);
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(fixtures("3.6.1").join("spool").join(&below)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let spool = Spool {
        spool: temp.join("spool"),
        annotations: temp.join("none.db"),
        locks: temp.join("lock"),
    };
    (spool, to)
}

#[test]
fn damage_is_named_and_only_an_empty_database_has_no_annotations() {
    let temp = tempfile::tempdir().unwrap();
    let (_, entry) = anna(temp.path());
    let (spool, dir) = copied(temp.path(), &entry);
    let store = store(temp.path(), &spool);
    fs::remove_file(dir.join("cyrus.annotations")).unwrap();
    {
        let mailbox = store.open_mailbox(&entry).unwrap();
        let missing = mailbox.annotations().unwrap_err();
        assert!(matches!(missing, StoreError::MissingDatabase { .. }), "{missing}");
        fs::write(&spool.annotations, "").unwrap();
        assert_eq!(mailbox.annotations().unwrap(), []);
        assert_eq!(mailbox.message_annotations(Uid(1)).unwrap(), []);
        assert_ne!(mailbox.recompute_crcs().unwrap().annot, mailbox.index.sync_crcs.annot);
    }

    let index = dir.join("cyrus.index");
    let good = fs::read(&index).unwrap();
    let mut bad = good.clone();
    bad[160 + 2 * 112 + 70] ^= 4;
    fs::write(&index, &bad).unwrap();
    let mailbox = store.open_mailbox(&entry).unwrap();
    let results: Vec<_> = mailbox.records(ModSeq(u64::MAX - 1)).collect();
    assert_eq!(results.len(), 1);
    let error = results.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Damaged);
    let text = error.to_string();
    assert!(text.contains("user.anna") && text.contains("record 3"), "{text}");
    drop(mailbox);

    fs::write(&index, &good[..good.len() - 1]).unwrap();
    assert_eq!(store.open_mailbox(&entry).unwrap_err().class(), ErrorClass::Damaged);
    fs::write(&index, b"").unwrap();
    assert_eq!(store.open_mailbox(&entry).unwrap_err().class(), ErrorClass::Damaged);
    let mut newer = good.clone();
    newer[11] = 21;
    fs::write(&index, &newer).unwrap();
    assert_eq!(store.open_mailbox(&entry).unwrap_err().class(), ErrorClass::Unsupported);
    fs::write(&index, &good).unwrap();
    fs::write(dir.join("cyrus.header"), b"\xa1\x02").unwrap();
    assert_eq!(store.open_mailbox(&entry).unwrap_err().class(), ErrorClass::Damaged);
    fs::remove_file(dir.join("cyrus.header")).unwrap();
    assert_eq!(store.open_mailbox(&entry).unwrap_err().class(), ErrorClass::Missing);
}

#[test]
fn mailboxes_can_move_to_other_threads() {
    fn movable<T: Send + 'static>() {}
    fn shareable<T: Send + Sync + Clone + 'static>() {}
    movable::<Mailbox>();
    shareable::<Store>();
}
