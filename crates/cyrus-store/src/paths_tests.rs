//! Tests of where things are.

use super::*;

const PLAIN: &str = "configdirectory: /c\npartition-default: /p\nsievedir: /s\n";

fn conf(extra: &str) -> Config {
    Config::parse(&format!("{PLAIN}{extra}"), "/t").unwrap()
}

fn named(name: &str) -> MailboxName {
    MailboxName::new(name)
}

fn legacy(name: &MailboxName) -> Place<'_> {
    Place { name, partition: "default", unique_id: None }
}

#[test]
fn mailboxes_by_id_and_by_name() {
    let id = UniqueId::new("f0c1-2");
    let anna = named("user.anna");
    let by_id = Place { name: &anna, partition: "default", unique_id: Some(&id) };
    assert_eq!(data_dir(&conf(""), by_id).unwrap(), Path::new("/p/uuid/f/0/f0c1-2"));
    assert_eq!(
        message_path(&conf(""), by_id, 7, true).unwrap(),
        Path::new("/p/uuid/f/0/f0c1-2/7.")
    );
    assert_eq!(
        data_dir(&conf(""), legacy(&named("user.anna.A^b"))).unwrap(),
        Path::new("/p/user/anna/A^b")
    );
    let hashed = conf("hashimapspool: yes\n");
    assert_eq!(
        data_dir(&hashed, legacy(&named("user.Anna.S"))).unwrap(),
        Path::new("/p/a/user/Anna/S")
    );
    assert_eq!(data_dir(&hashed, legacy(&named("shared"))).unwrap(), Path::new("/p/s/shared"));
    assert_eq!(
        data_dir(&hashed, legacy(&named("e.com!user.anna"))).unwrap(),
        Path::new("/p/domain/e/e.com/a/user/anna")
    );
    assert_eq!(
        data_dir(&hashed, legacy(&named("DELETED.user.anna.S.5F00AA11"))).unwrap(),
        Path::new("/p/u/DELETED/user/anna/S/5F00AA11")
    );
}

#[test]
fn a_unique_id_cannot_leave_its_folder() {
    for id in ["", "a", "../../etc", "a/b", ".."] {
        let id = UniqueId::new(id);
        let x = named("x");
        let place = Place { name: &x, partition: "default", unique_id: Some(&id) };
        assert!(data_dir(&conf(""), place).is_err(), "{id}");
    }
    assert!(data_dir(&conf(""), Place { partition: "none", ..legacy(&named("x")) }).is_err());
}

#[test]
fn metadata_and_archive_partitions() {
    let c = conf(
        "metapartition-default: /m\nmetapartition_files: index annotations\narchivepartition-default: /a\narchive_enabled: on\n",
    );
    let (anna, id) = (named("user.anna"), UniqueId::new("abc"));
    let place = Place { name: &anna, partition: "default", unique_id: Some(&id) };
    assert_eq!(
        meta_path(&c, place, MetaFile::Index).unwrap(),
        Path::new("/m/uuid/a/b/abc/cyrus.index")
    );
    assert_eq!(
        meta_path(&c, place, MetaFile::Header).unwrap(),
        Path::new("/p/uuid/a/b/abc/cyrus.header")
    );
    assert_eq!(
        meta_path(&c, place, MetaFile::ArchiveCache).unwrap(),
        Path::new("/a/uuid/a/b/abc/cyrus.cache")
    );
    assert_eq!(message_path(&c, place, 3, true).unwrap(), Path::new("/a/uuid/a/b/abc/3."));
    assert_eq!(message_path(&c, place, 3, false).unwrap(), Path::new("/p/uuid/a/b/abc/3."));
}

#[test]
fn files_of_users() {
    let c = conf("virtdomains: on\n");
    let seen = |user: &str, id: Option<&str>| {
        user_file(&c, user, id.map(UniqueId::new).as_ref(), UserFile::Seen).unwrap()
    };
    assert_eq!(seen("anna", Some("abc")), Path::new("/c/user/uuid/a/b/abc/seen.db"));
    assert_eq!(seen("anna.b", None), Path::new("/c/user/a/anna.b.seen"));
    assert_eq!(seen("anna@e.com", None), Path::new("/c/domain/e/e.com/user/a/anna.seen"));
    assert_eq!(sieve_dir(&c, "anna@e.com", None).unwrap(), Path::new("/s/domain/e/e.com/a/anna"));
    assert_eq!(sieve_dir(&conf(""), "anna@e.com", None).unwrap(), Path::new("/s/a/anna@e.com"));
    assert_eq!(quota_file(&c, Path::new("/c"), "user.anna"), Path::new("/c/quota/a/user.anna"));
    assert_eq!(
        quota_file(&c, Path::new("/c"), "e.com!user.z"),
        Path::new("/c/domain/e/e.com/quota/z/user.z")
    );
    assert_eq!(
        quota_file(&c, Path::new("/c"), "e.com!"),
        Path::new("/c/domain/e/e.com/quota/root")
    );
}

#[test]
fn locks_are_hashed_like_mailboxes() {
    assert_eq!(lock_path(&conf(""), "*U*anna"), Path::new("/c/lock/*U*anna.lock"));
    let hashed = conf("hashimapspool: on\nmboxname_lockpath: /l\n");
    assert_eq!(lock_path(&hashed, "*U*a^b"), Path::new("/l/q/*U*a^b.lock"));
    assert_eq!(lock_path(&hashed, "f0c1"), Path::new("/l/f/f0c1.lock"));
    let full = conf("hashimapspool: on\nfulldirhash: on\n");
    assert_eq!(data_dir(&full, legacy(&named("user.anna"))).unwrap(), Path::new("/p/B/user/anna"));
}
