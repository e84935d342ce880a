//! A mailbox's own files, one of them damaged: `cyrus.index`, `cyrus.header`, `cyrus.annotations`, and annotations.db.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::{Config, IndexRecord, Mailbox, MboxEntry, Store, StoreError};
use cyrus_types::{MailboxName, ModSeq, Uid, UniqueId};

use crate::{attack, below, copy_tree, corpus, fixture, named, reseal};

/// user.anna of the fixtures: 40 records, flags, annotations.
const UNIQUE_ID: &str = "13vgunrvxfwy4zk4wobxl5uc";
const NAME: &str = "user.anna";

/// A store with one mailbox, a file of which is replaced again and again.
struct Case {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Case {
    fn new(file: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let folder = format!("spool/uuid/1/3/{UNIQUE_ID}");
        copy_tree(&fixture("upper/3.6.1").join(&folder), &dir.path().join(&folder));
        fs::copy(fixture("upper/3.6.1/annotations.db"), dir.path().join("annotations.db")).unwrap();
        let file =
            if file == "annotations.db" { file.to_owned() } else { format!("{folder}/{file}") };
        let file = dir.path().join(file);
        assert!(file.is_file());
        Case { dir, file }
    }

    fn read(&self, bytes: &[u8]) {
        fs::write(&self.file, bytes).unwrap();
        let dir = self.dir.path();
        let text = format!(
            "configdirectory: {0}\ndefaultpartition: default\npartition-default: {0}/spool\n\
             mboxname_lockpath: {0}/lock\n",
            dir.display(),
        );
        let conf = Config::parse(&text, "imapd.conf").unwrap();
        let entry = MboxEntry {
            name: MailboxName::new(NAME),
            uniqueid: UniqueId::new(UNIQUE_ID),
            partition: "default".into(),
            ..MboxEntry::default()
        };
        let store = Store::open(Arc::new(conf));
        if let Some(mailbox) = well_named(store.open_mailbox(&entry), &self.file) {
            read_all(&mailbox, &self.file, bytes.len());
        }
        well_named(store.server_annotations(), &self.file);
    }
}

/// An error must name the damaged file, or at least the mailbox, which has only one of each.
#[track_caller]
fn well_named<T>(result: Result<T, StoreError>, file: &Path) -> Option<T> {
    named(result, &[&file.display().to_string(), &format!("mailbox {NAME}")])
}

fn records(
    all: impl Iterator<Item = Result<IndexRecord, StoreError>>,
    file: &Path,
) -> (Vec<IndexRecord>, bool) {
    let mut good = Vec::new();
    for record in all {
        match well_named(record, file) {
            Some(record) => good.push(record),
            None => return (good, false),
        }
    }
    (good, true)
}

fn read_all(mailbox: &Mailbox, file: &Path, bytes: usize) {
    let (all, whole) = records(mailbox.records(ModSeq::ZERO), file);
    assert!(all.is_sorted_by(|a, b| a.uid < b.uid), "UIDs are out of order");
    assert!(all.len() <= mailbox.index.num_records as usize);
    assert!(all.first().is_none_or(|first| first.uid > Uid::NONE));
    let since = ModSeq(mailbox.index.highestmodseq.0 / 2);
    let (newer, _) = records(mailbox.records(since), file);
    let wanted = all.iter().filter(|record| since.is_zero() || record.modseq > since).count();
    assert!(newer.len() == wanted, "{} of {wanted} records since {since}", newer.len());
    for record in all.iter().step_by(all.len() / 20 + 1) {
        let found = well_named(mailbox.record(record.uid), file);
        let (from, _) = records(mailbox.records_from_uid(record.uid), file);
        if whole {
            assert_eq!(found, Some(Some(*record)));
            assert_eq!(from.first(), Some(record));
        }
        assert!(mailbox.flags(record).count() <= 6 + 128);
        assert!(mailbox.virtual_annotations(record).count() < 10);
        well_named(mailbox.message_annotations(record.uid), file);
        let path = mailbox.message_path(record);
        assert!(path.ends_with(format!("{UNIQUE_ID}/{}.", record.uid)), "{}", path.display());
    }
    let of = |uid| mailbox.message_annotations(uid);
    for found in [mailbox.annotations(), of(Uid(1)), of(Uid::MAX)] {
        let found = well_named(found, file).unwrap_or_default();
        let held: usize = found.iter().map(|one| one.entry.len() + one.value.len()).sum();
        assert!(held <= bytes.max(64 * 1024), "{held} bytes of annotations");
    }
    for uid in [Uid::NONE, Uid(1), Uid::MAX] {
        well_named(mailbox.record(uid), file);
    }
    if well_named(mailbox.recompute_crcs(), file).is_some() {
        assert!(whole, "checksums of records that can't be read");
    }
    assert!(mailbox.options_str().len() <= 4);
}

fn attack_file(file: &'static str, seeds: Vec<Vec<u8>>, repair: fn(&mut [u8])) {
    let case = Case::new(file);
    attack(file, seeds, repair, move |bytes| case.read(bytes));
}

/// This file of all mailboxes, which have index versions from 10 to 19.
fn of_all_versions(file: &str) -> Vec<Vec<u8>> {
    below(&fixture("upper"), file)
}

#[test]
fn indexes() {
    let seeds = [of_all_versions("cyrus.index"), corpus("index")].concat();
    let versions: std::collections::BTreeSet<u8> = seeds.iter().map(|seed| seed[11]).collect();
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [10, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    attack_file("cyrus.index", seeds, reseal::index);
}

#[test]
fn headers() {
    let seeds = [of_all_versions("cyrus.header"), corpus("header")].concat();
    attack_file("cyrus.header", seeds, hostile::no_repair);
}

#[test]
fn message_annotations() {
    attack_file("cyrus.annotations", of_all_versions("cyrus.annotations"), reseal::any_database);
}

#[test]
fn mailbox_annotations() {
    let seeds =
        ["3.6.1", "3.10.1"].map(|server| below(&fixture("upper").join(server), "annotations.db"));
    attack_file("annotations.db", seeds.concat(), reseal::any_database);
}
