//! Everything that is written is read back unchanged. The writers here know the formats only from their documentation, and
//! share nothing with the readers.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cyrus_store::db::Database;
use cyrus_store::mailbox::header::{MAGIC, MailboxHeader};
use cyrus_store::mailbox::index::IndexHeader;
use cyrus_store::mailbox::record::IndexRecord;
use cyrus_store::mboxlist::MboxList;
use cyrus_store::{Config, Store};
use cyrus_types::{MailboxName, ModSeq, Uid};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::reseal;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A twoskip file whose records are on up to three lists each.
fn twoskip(entries: &Entries) -> Vec<u8> {
    fn record(kind: u8, level: usize, next: &[u64; 31], key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, level as u8];
        bytes.extend((key.len() as u16).to_be_bytes());
        bytes.extend((value.len() as u32).to_be_bytes());
        for pointer in [next[0]].iter().chain(&next[..level]) {
            bytes.extend(pointer.to_be_bytes());
        }
        bytes.extend([0; 8]);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
    let none = [0; 31];
    let level = |number: usize| 1 + number % 3;
    let mut at = 64 + record(b'=', 31, &none, b"", b"").len() as u64;
    let mut places = Vec::new();
    for (number, (key, value)) in entries.iter().enumerate() {
        places.push(at);
        at += record(b'+', level(number), &none, key, value).len() as u64;
    }
    let next_of = |from: usize| {
        let mut next = none;
        for (list, slot) in next.iter_mut().enumerate() {
            *slot = (from..places.len()).find(|n| level(*n) > list).map_or(0, |n| places[n]);
        }
        next
    };
    let mut file = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0".to_vec();
    file.extend(1u32.to_be_bytes());
    for number in [1, entries.len() as u64, at, at] {
        file.extend(number.to_be_bytes());
    }
    file.extend([0; 8]);
    file.extend(record(b'=', 31, &next_of(0), b"", b""));
    for (number, (key, value)) in entries.iter().enumerate() {
        file.extend(record(b'+', level(number), &next_of(number + 1), key, value));
    }
    assert_eq!(file.len() as u64, at);
    reseal::twoskip(&mut file);
    file[48..56].copy_from_slice(&at.to_be_bytes());
    let crc = crc32fast::hash(&file[..60]);
    file[60..64].copy_from_slice(&crc.to_be_bytes());
    file
}

fn flat(entries: &Entries) -> Vec<u8> {
    let escape = |text: &[u8]| -> Vec<u8> {
        let special = |byte: u8| matches!(byte, 0 | b'\t' | b'\n' | b'\r');
        text.iter()
            .flat_map(|byte| match *byte {
                0xff => vec![0xff, 0xff],
                byte if special(byte) => vec![0xff, byte | 0x80],
                byte => vec![byte],
            })
            .collect()
    };
    let line = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        [escape(key), b"\t".to_vec(), escape(value), b"\n".to_vec()].concat()
    };
    entries.iter().flat_map(line).collect()
}

fn read(path: &Path) -> Entries {
    let db = Database::open(path).unwrap();
    let mut entries = Entries::new();
    db.foreach(b"", |key, value| {
        assert_eq!(db.fetch(key).unwrap().as_deref(), Some(value));
        assert!(entries.insert(key.to_vec(), value.to_vec()).is_none());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    entries
}

fn any_entries() -> impl Strategy<Value = Entries> {
    btree_map(vec(any::<u8>(), 1..30), vec(any::<u8>(), 0..100), 1..40)
}

/// A store in a new folder with these files below it.
fn store(dir: &Path, files: &[(&str, Vec<u8>)]) -> (Store, MboxList) {
    let list = Entries::from([(
        b"Nuser\x1fanna".to_vec(),
        b"%(T el I f0c1 P default V 12 C 3 F 4 M 99 A %(anna lrs))".to_vec(),
    )]);
    for (name, bytes) in files.iter().chain(&[("mailboxes.db", twoskip(&list))]) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let text = format!(
        "configdirectory: {0}\ndefaultpartition: default\npartition-default: {0}/spool\n",
        dir.display()
    );
    let store = Store::open(Arc::new(Config::parse(&text, "imapd.conf").unwrap()));
    let list = store.mailboxes().unwrap();
    (store, list)
}

/// Numbers at their places in a record of an index, or in its header; the version determines the length.
fn put(bytes: &mut [u8], at: usize, len: usize, number: u64) {
    bytes[at..at + len].copy_from_slice(&number.to_be_bytes()[8 - len..]);
}

proptest! {
    #![proptest_config(hostile::config(48))]

    #[test]
    fn databases(entries in any_entries()) {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [twoskip(&entries), flat(&entries)] {
            let path = dir.path().join("some.db");
            fs::write(&path, bytes).unwrap();
            prop_assert_eq!(&read(&path), &entries);
        }
    }

    #[test]
    fn seen_state(times in any::<[i32; 2]>(), uid in any::<u32>(), uids in "[0-9:,]{0,40}") {
        let dir = tempfile::tempdir().unwrap();
        let value = format!("1 {} {uid} {} {uids}", times[0], times[1]).into_bytes();
        let file = twoskip(&Entries::from([(b"f0c1".to_vec(), value)]));
        let (store, list) = store(dir.path(), &[("user/a/anna.seen", file)]);
        let seen = store.seen(&list, "anna").unwrap();
        prop_assert_eq!(seen.len(), 1);
        prop_assert_eq!((seen[0].lastread, seen[0].lastchange), (times[0].into(), times[1].into()));
        prop_assert_eq!((seen[0].lastuid, &seen[0].seenuids), (Uid(uid), &uids));
    }

    #[test]
    fn quota(used in 0..i64::MAX, limits in any::<[i32; 3]>(), modseq in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let [storage, message, folders] = limits.map(|limit| i64::from(limit).max(-1));
        let both = [
            format!("%(S ({used} {storage}) M (7 {message}) NF (9 {folders}) MODSEQ {modseq})\n"),
            format!("{used} {storage} M 7 {message} NF 9 {folders}\n"),
        ];
        for (number, text) in both.into_iter().enumerate() {
            let files = [("quota/a/user.anna", text.into_bytes())];
            let (store, _) = store(dir.path(), &files);
            let quota = store.quota("user.anna").unwrap().unwrap();
            prop_assert_eq!(quota.used, [used, 7, 0, 9]);
            prop_assert_eq!(quota.limits, [storage, message, -1, folders]);
            prop_assert_eq!(quota.modseq, ModSeq(if number == 0 { modseq } else { 0 }));
        }
    }

    #[test]
    fn headers(
        flags in vec(proptest::option::of("[!-~&&[^()\"{%]]{1,20}"), 0..128),
        acl in vec(("[ -~]{1,20}", "[a-z]{1,10}"), 0..9),
        name in "[ -~]{1,40}",
    ) {
        prop_assume!(flags.iter().flatten().all(|flag| flag != "NIL"));
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let users: Vec<_> = acl.iter().map(|(who, what)| format!("{} {what}", quoted(who))).collect();
        let words: Vec<_> = flags.iter().map(|flag| flag.clone().unwrap_or("NIL".into())).collect();
        let text = format!(
            "%(T e N {} I 0a1b A %({}) U ({}))\n", quoted(&name), users.join(" "), words.join(" ")
        );
        let header = MailboxHeader::decode(&[MAGIC, text.as_bytes()].concat()).unwrap();
        prop_assert_eq!(header.name, Some(MailboxName::new(name)));
        let wanted: String = acl.iter().map(|(who, what)| format!("{who}\t{what}\t")).collect();
        prop_assert_eq!(header.acl, wanted);
        prop_assert_eq!(&header.flags[..flags.len()], flags);
    }

    #[test]
    fn indexes(
        version in proptest::sample::select(vec![12u32, 13, 14, 15, 16, 17, 18, 19, 20]),
        numbers in any::<[u32; 4]>(),
        modseqs in any::<[u64; 2]>(),
        guid in any::<[u8; 20]>(),
        flags in any::<[u32; 4]>(),
    ) {
        let [uid, size, time, crc] = numbers;
        let (header_size, record_size) = reseal::index_sizes(version.into()).unwrap();
        let mut file = vec![0; header_size + record_size];
        for (at, number) in [(8, u64::from(version)), (12, header_size as u64), (16, record_size as u64), (20, 1)] {
            put(&mut file, at, 4, number);
        }
        let (last_uid_at, crc_at, modseq_at) = match version {
            20 => (88, 100, 72),
            19 => (28, 100, 72),
            _ => (28, 100, 68),
        };
        put(&mut file, last_uid_at, 4, uid.into());
        put(&mut file, crc_at, 4, crc.into());
        put(&mut file, modseq_at, 8, modseqs[0] | 1);
        let record = &mut file[header_size..];
        let nanos = 1_000_000_000;
        put(record, 0, 4, uid.into());
        if version == 20 {
            put(record, 8, 8, u64::from(time) * nanos + 5);
            put(record, 24, 8, size.into());
        } else {
            put(record, 4, 4, time.into());
            put(record, 12, 4, size.into());
        }
        for (word, flags) in flags.into_iter().enumerate() {
            put(record, if version == 20 { 40 } else { 36 } + 4 * word, 4, flags.into());
        }
        record[60..80].copy_from_slice(&guid);
        put(record, 80, 8, modseqs[1]);
        reseal::index(&mut file);

        let header = IndexHeader::decode(&file).unwrap();
        prop_assert_eq!((header.minor_version, header.num_records), (version, 1));
        prop_assert_eq!((header.last_uid, header.sync_crcs.basic), (Uid(uid), crc));
        prop_assert_eq!((header.highestmodseq, header.file_size()), (ModSeq(modseqs[0] | 1), file.len() as u64));
        let record = IndexRecord::decode(&file[header_size..], version, 1).unwrap();
        prop_assert_eq!((record.uid, record.size, record.internaldate), (Uid(uid), size.into(), time.into()));
        prop_assert_eq!((record.modseq, record.guid.0), (ModSeq(modseqs[1]), guid));
        // The word of version 15's savedate is the last of them in version 14.
        prop_assert_eq!(record.user_flags, flags);
    }

    #[test]
    fn configurations(
        options in btree_map("x[a-z0-9_-]{0,20}", "[!-~]([ -~]{0,40}[!-\\[\\]-~])?", 0..20),
    ) {
        prop_assume!(options.values().all(|value| !value.ends_with('\\')));
        let mut text = "configdirectory: /x\n".to_owned();
        for (name, value) in &options {
            text.push_str(&format!("{}:  {value} \n# {value}\n", name.to_uppercase()));
        }
        let conf = Config::parse(&text, "imapd.conf").unwrap();
        for (name, value) in &options {
            prop_assert_eq!(conf.get(name), Some(value.as_str()));
        }
    }
}
