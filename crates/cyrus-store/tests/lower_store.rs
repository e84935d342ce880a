//! What we read of the mailbox list and of users must equal what cyrus-imapd 3.6.1 reports for the same files.
//!
//! The fixtures are databases that its servers wrote, the lines its `sync_server` answered to `GET USER` and `GET QUOTA`
//! (`oracle.txt`), and the output of `ctl_mboxlist -d` (`mboxlist.tsv`). `tests/cyrus/oracle_lines.rs` compares a running
//! server's store in the same way.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::dlist::Value;
use cyrus_store::mboxlist::{MboxEntry, MboxList};
use cyrus_store::store::Store;
use cyrus_store::user::conversations::{Conversations, has_conversations};
use cyrus_store::user::quota::{QuotaDb, RESOURCE_NAMES};
use cyrus_store::user::{counters, seen, sieve, subs};
use cyrus_store::{Config, paths};
use cyrus_types::MailboxName;

struct Case {
    _temp: tempfile::TempDir,
    store: Store,
    list: MboxList,
    folder: PathBuf,
}

fn open() -> Case {
    let temp = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lower");
    let text = format!(
        "configdirectory: {0}/conf\ndefaultpartition: default\npartition-default: {0}/spool\n\
         partition-two: {0}/spool2\nhashimapspool: yes\nreverseacls: yes\n\
         sievedir: {0}/sieve\nvirtdomains: userid\nconversations: yes\nmboxname_lockpath: {1}\n",
        folder.display(),
        temp.path().display(),
    );
    let conf = Config::parse(&text, "fixture").unwrap();
    let list = MboxList::open(&conf).unwrap();
    Case { _temp: temp, store: Store::open(Arc::new(conf)), list, folder }
}

/// The sections of `oracle.txt`: the command, and the untagged answers to it.
fn sections(folder: &Path) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let text = fs::read_to_string(folder.join("oracle.txt")).unwrap();
    for line in text.lines() {
        if let Some(asked) = line.strip_prefix("# ") {
            all.push((asked.to_string(), Vec::new()));
        } else if let Some(answer) = line.strip_prefix("* ") {
            all.last_mut().unwrap().1.push(answer.to_string());
        } else if !line.starts_with("OK ") && !line.starts_with("NO ") {
            // The rest of a literal.
            let answer = all.last_mut().unwrap().1.last_mut().unwrap();
            answer.push_str("\r\n");
            answer.push_str(line);
        }
    }
    all
}

/// The answers of one kind, parsed.
fn answers(lines: &[String], kind: &str) -> Vec<Value> {
    let prefix = format!("{kind} ");
    let wanted = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
    wanted.map(|text| Value::parse(text.as_bytes()).unwrap()).collect()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).map(|value| value.text().unwrap_or_default().to_string()).unwrap_or_default()
}

/// The part of GET USER's answer about a mailbox that comes from the files under test.
fn described(
    case: &Case,
    entry: &MboxEntry,
    conversations: &Conversations,
    userid: &str,
) -> Vec<String> {
    let conf = &case.store.conf;
    let xconvmodseq = match has_conversations(conf, entry) {
        true => conversations.xconvmodseq(entry).unwrap().to_string(),
        false => String::new(),
    };
    let inbox = conf.names().parse(&entry.name).is_inbox();
    let racl = inbox.then(|| counters::raclmodseq(conf, &case.list, userid).unwrap());
    vec![
        entry.name.to_string(),
        entry.uniqueid.to_string(),
        entry.partition.clone(),
        entry.acl.clone(),
        entry.uidvalidity.to_string(),
        entry.createdmodseq.to_string(),
        entry.foldermodseq.to_string(),
        entry.mbtype.sync_str().unwrap_or_default(),
        xconvmodseq,
        racl.map_or_else(String::new, |racl| racl.to_string()),
    ]
}

#[test]
fn users_are_what_get_user_says() {
    let case = open();
    let mut compared = 0;
    for (asked, lines) in sections(&case.folder) {
        let Some(userid) = asked.strip_prefix("USER ") else { continue };
        let conf = &case.store.conf;
        let conversations = Conversations::open(conf, &case.list, userid).unwrap();
        let tree = case.list.user_tree(userid).unwrap();
        // A peer that has not enabled SIEVE-MAILBOX does not see that one.
        let live =
            tree.iter().filter(|entry| !entry.mbtype.is_deleted() && !entry.mbtype.is_sieve());
        let ours: Vec<Vec<String>> =
            live.map(|entry| described(&case, entry, &conversations, userid)).collect();
        let keys = [
            "MBOXNAME",
            "UNIQUEID",
            "PARTITION",
            "ACL",
            "UIDVALIDITY",
            "CREATEDMODSEQ",
            "FOLDERMODSEQ",
            "MBOXTYPE",
            "XCONVMODSEQ",
            "RACLMODSEQ",
        ];
        let theirs = answers(&lines, "MAILBOX");
        let mut theirs: Vec<Vec<String>> =
            theirs.iter().map(|line| keys.iter().map(|key| text(line, key)).collect()).collect();
        // Cyrus prints an intermediate's missing parts, and zeros, in its own way.
        for (line, ours) in theirs.iter_mut().zip(&ours) {
            for (slot, our) in line.iter_mut().zip(ours) {
                if slot.is_empty() && our == "0" || slot == "0" && our.is_empty() {
                    slot.clone_from(our);
                }
            }
        }
        assert_eq!(ours, theirs, "{userid}");

        let seen = seen::seen(conf, &case.list, userid).unwrap();
        let seen: Vec<[String; 5]> = seen
            .into_iter()
            .map(|s| {
                [
                    s.uniqueid.to_string(),
                    s.lastread.to_string(),
                    s.lastuid.to_string(),
                    s.lastchange.to_string(),
                    s.seenuids,
                ]
            })
            .collect();
        let keys = ["UNIQUEID", "LASTREAD", "LASTUID", "LASTCHANGE", "SEENUIDS"];
        let theirs: Vec<[String; 5]> =
            answers(&lines, "SEEN").iter().map(|line| keys.map(|key| text(line, key))).collect();
        assert_eq!(seen, theirs, "{userid}");

        let subscribed = subs::subscriptions(conf, &case.list, userid).unwrap().unwrap_or_default();
        let theirs = answers(&lines, "LSUB");
        let theirs = theirs.first().and_then(Value::list).unwrap_or_default();
        let theirs: Vec<&str> = theirs.iter().map(|name| name.text().unwrap()).collect();
        assert_eq!(subscribed, theirs, "{userid}");

        let mut scripts = Vec::new();
        for script in sieve::scripts(&case.store, &case.list, userid).unwrap() {
            scripts
                .push(format!("{}.script {} {} 0", script.name, script.last_update, script.guid));
            if script.active {
                scripts.push(format!("{}.bc 0 {} 1", script.name, "0".repeat(40)));
            }
        }
        let keys = ["FILENAME", "LAST_UPDATE", "GUID", "ISACTIVE"];
        let theirs = answers(&lines, "SIEVE");
        let mut theirs: Vec<String> =
            theirs.iter().map(|line| keys.map(|key| text(line, key)).join(" ")).collect();
        scripts.sort();
        theirs.sort();
        assert_eq!(scripts, theirs, "{userid}");
        compared += tree.len();
    }
    assert!(compared > 20);
}

#[test]
fn quotas_are_what_get_quota_says() {
    let case = open();
    let db = QuotaDb::open(&case.store.conf).unwrap();
    let mut compared = HashSet::new();
    for (asked, lines) in sections(&case.folder) {
        let Some(root) = asked.strip_prefix("QUOTA ") else { continue };
        let ours = db.quota(root).unwrap();
        let theirs = answers(&lines, "QUOTA");
        let Some(line) = theirs.first() else {
            assert_eq!(ours, None);
            continue;
        };
        let ours = ours.unwrap();
        assert_eq!(ours.modseq.to_string(), text(line, "MODSEQ"));
        assert_eq!((ours.limits[0] as u32).to_string(), text(line, "LIMIT"));
        for (name, limit) in RESOURCE_NAMES.iter().zip(ours.limits) {
            let theirs = line.get(name).and_then(Value::number);
            assert_eq!(u64::try_from(limit).ok(), theirs, "{root} {name}");
        }
        compared.insert(root.to_string());
    }
    let known: HashSet<String> = db.roots().unwrap().into_iter().collect();
    assert_eq!(known, compared);
}

#[test]
fn the_list_is_what_ctl_mboxlist_says() {
    let case = open();
    let dump = fs::read_to_string(case.folder.join("mboxlist.tsv")).unwrap();
    let mut users: Vec<String> = Vec::new();
    let names = case.store.conf.names();
    for line in dump.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let entry = case.list.lookup(&MailboxName::new(fields[0])).unwrap().unwrap();
        let acl: String = entry
            .acl
            .split_terminator('\t')
            .collect::<Vec<_>>()
            .chunks(2)
            .fold(String::new(), |text, pair| format!("{text}{}={};", pair[0], pair[1]));
        let history: Vec<&str> =
            entry.name_history.iter().map(|former| former.name.as_str()).collect();
        let ours = [
            entry.name.to_string(),
            entry.mbtype.letters(),
            entry.uniqueid.to_string(),
            entry.partition.clone(),
            entry.uidvalidity.to_string(),
            entry.createdmodseq.to_string(),
            entry.foldermodseq.to_string(),
            entry.mtime.to_string(),
            acl,
            history.join(","),
        ];
        // The tool reads the entries by name, which have no former names.
        let mut theirs = fields.clone();
        theirs[9] = &ours[9];
        assert_eq!(ours.each_ref().map(String::as_str), theirs[..], "{line}");
        if !entry.uniqueid.is_empty() && !entry.mbtype.is_deleted() {
            assert_eq!(case.list.find_uniqueid(&entry.uniqueid).unwrap().unwrap().name, entry.name);
        }
        let name = names.parse(&MailboxName::new(fields[0]));
        let counts =
            name.deleted == 0 && !entry.mbtype.is_deleted() && !entry.mbtype.is_intermediate();
        if let Some(user) = name.userid().filter(|user| counts && !users.contains(user)) {
            users.push(user);
        }
    }
    let renamed =
        case.list.lookup(&MailboxName::new("user.anna.Renamed2")).unwrap().unwrap().name_history;
    let former: Vec<&str> = renamed.iter().map(|former| former.name.as_str()).collect();
    assert_eq!(former, ["user.anna.Renamed", "user.anna.Old"]);
    assert!(renamed[0].mbtype.is_deleted() && renamed[0].foldermodseq > renamed[1].foldermodseq);
    let mut ours = case.list.all_users(None).unwrap();
    ours.sort();
    users.sort();
    assert_eq!(ours, users);
}

#[test]
fn mailboxes_are_where_mbpath_says() {
    let case = open();
    let lines = fs::read_to_string(case.folder.join("mbpath.tsv")).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let (name, path) = line.split_once('\t').unwrap();
        let entry = case.list.lookup(&MailboxName::new(name)).unwrap().unwrap();
        let unique_id = (!entry.mbtype.is_legacy_dirs()).then_some(&entry.uniqueid);
        let place = paths::Place { name: &entry.name, partition: &entry.partition, unique_id };
        let path = path.replace("ROOT", &case.folder.display().to_string());
        assert_eq!(paths::data_dir(&case.store.conf, place).unwrap(), Path::new(&path), "{name}");
        compared += 1;
    }
    assert!(compared > 0);
}
