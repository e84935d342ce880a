//! `imapd.conf` and the sync log.

use std::fs;
use std::io::BufReader;

use cyrus_store::Config;
use cyrus_store::sync_log::{Line, Lines};
use cyrus_types::MailboxName;

use crate::{attack, corpus, named_file};

#[test]
fn configurations() {
    let dir = tempfile::tempdir().unwrap();
    attack("imapd.conf", corpus("imapd.conf"), hostile::no_repair, move |bytes| {
        let path = dir.path().join("imapd.conf");
        fs::write(&path, bytes).unwrap();
        let Some(conf) = named_file(Config::load(&path), &path) else { return };
        for option in
            ["sync_repeat_interval", "sync_timeout", "sync_batchsize", "maxmessagesize", "unknown"]
        {
            if !conf.is_set(option) {
                continue;
            }
            // The error names the place where the option is set.
            for unit in ['s', 'm', 'h', 'd'] {
                named_file(conf.duration(option, unit), &path);
                named_file(conf.channel_duration(Some("one"), option, unit), &path);
            }
            named_file(conf.bytesize(option, 'K'), &path);
            named_file(conf.int(option), &path);
            named_file(conf.switch(option), &path);
        }
        assert!(conf.partitions().len() <= bytes.len());
        let _ = (conf.admins(), conf.lock_root(), conf.virtdomains(), conf.sieve_dir());
        let names = conf.names();
        for name in ["user.anna", "", "a!user.b", "DELETED.user.a.B.1", "user."] {
            let parsed = names.parse(&MailboxName::new(name));
            let _ = (names.internal(&parsed), names.db_key(&parsed), names.external(&parsed));
        }
    });
}

fn lines(bytes: &[u8], room: usize) -> Vec<Line> {
    Lines::new(BufReader::with_capacity(room, bytes)).map(Result::unwrap).collect()
}

#[test]
fn sync_logs() {
    attack("sync_log", corpus("sync_log"), hostile::no_repair, |bytes| {
        let whole = lines(bytes, bytes.len().max(1));
        assert!(whole.len() <= bytes.len());
        // Read piece by piece the result is the same.
        for room in [1, 2, 7, 64] {
            assert_eq!(lines(bytes, room), whole, "in pieces of {room}");
        }
        for line in &whole {
            match line {
                Line::Entry(entry) => {
                    let again = lines(format!("{entry}\n").as_bytes(), 4096);
                    assert_eq!(again, [Line::Entry(entry.clone())], "{entry}");
                }
                Line::Unread { text, why } => assert!(text.len() <= 64 * 1024 && !why.is_empty()),
            }
        }
    });
}
