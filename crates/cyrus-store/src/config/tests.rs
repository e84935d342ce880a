//! Tests of the configuration reader.

use std::fs;

use std::path::Path;

use super::*;
use crate::error::StoreError;

fn parse(text: &str) -> Result<Config, StoreError> {
    Config::parse(text, "/t/imapd.conf")
}

#[test]
fn reads_options_and_knows_defaults() {
    let text = "# comment\n\n  ConfigDirectory:  /var/imap  \npartition-default: /spool\nPartition-Two:/spool2\n\
                defaultpartition: Default\nunknown_thing: a: b\nsync_host: r1\nch_sync_host: r2\n\
                long: a \\\n  b\nhashimapspool: t\n";
    let conf = parse(text).unwrap();
    assert_eq!(conf.config_dir(), Path::new("/var/imap"));
    assert_eq!(conf.default_partition(), Some("default"));
    assert_eq!(conf.partition_dir("two").unwrap(), Path::new("/spool2"));
    assert_eq!(conf.partitions().len(), 2);
    assert_eq!(conf.get("unknown_thing"), Some("a: b"));
    assert_eq!(conf.get("long"), Some("a   b"));
    assert_eq!(conf.channel(Some("ch"), "sync_host"), Some("r2"));
    assert_eq!(conf.channel(Some("other"), "sync_host"), Some("r1"));
    assert_eq!(conf.channel(None, "sync_host"), Some("r1"));
    assert!(conf.hashimapspool());
    assert!(!conf.fulldirhash());
    assert!(conf.switch("unixhierarchysep").unwrap());
    assert_eq!(conf.get("deletedprefix"), Some("DELETED"));
    assert_eq!(conf.get("lmtpsocket"), Some("/var/imap/socket/lmtp"));
    assert_eq!(conf.duration("sync_repeat_interval", 's').unwrap(), Some(1));
    assert_eq!(conf.int("sync_batchsize").unwrap(), Some(8192));
    assert_eq!(conf.lock_root(), Path::new("/var/imap/lock"));
    assert!(conf.delayed_delete());
    assert_eq!(conf.virtdomains(), VirtDomains::Off);
}

#[test]
fn a_channels_options_are_found_under_cyrus_names() {
    let text = "configdirectory: /c\nsync_host: plain\nFoo_sync_host: foo\nbar_sync_host: bar\n\
                sync_client_Bar_sync_host: own\nbar_sync_repeat_interval: 2\nsync_client_bar_sync_repeat_interval: 3\n";
    let conf = parse(text).unwrap();
    for (channel, host) in
        [("Foo", "foo"), ("foo", "foo"), ("bar", "own"), ("BAR", "own"), ("x", "plain")]
    {
        assert_eq!(conf.channel(Some(channel), "sync_host"), Some(host), "{channel}");
    }
    assert_eq!(conf.channel_duration(Some("bar"), "sync_repeat_interval", 's').unwrap(), Some(3));
}

#[test]
fn the_programs_own_form_wins_wherever_it_stands() {
    for text in [
        "configdirectory: /c\nsync_host: a\nsync_client_sync_host: b\n",
        "configdirectory: /c\nsync_client_sync_host: b\nsync_host: a\n",
    ] {
        assert_eq!(parse(text).unwrap().get("sync_host"), Some("b"));
    }
}

#[test]
fn mistakes_name_their_line() {
    let cases = [
        ("configdirectory: /c\nadmins:\n", 2, "has no value"),
        ("configdirectory: /c\n\nconversations: maybe\n", 3, "not a switch"),
        ("configdirectory: /c\nsync_timeout: soon\n", 2, "not a duration"),
        ("configdirectory: /c\nsync_batchsize: many\n", 2, "not a whole number"),
        ("no colon here\n", 1, "no ':'"),
        ("bad name: x\n", 1, "not an option's name"),
        ("configdirectory: /c\nconfigdirectory: /d\n", 2, "already set on line 1"),
        ("configdirectory: /c\npartition-a: /x\npartition-a: /y\n", 3, "already set on line 2"),
        ("@unknown: x\n", 1, "unknown directive"),
        ("metapartition_files: header nonsense\n", 1, "'nonsense' is not one of"),
    ];
    for (text, wanted_line, wanted) in cases {
        match parse(text).unwrap_err() {
            StoreError::Config { line, what, .. } => {
                assert_eq!(line, wanted_line, "{text}");
                assert!(what.contains(wanted), "{what}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(
        parse("admins: cyrus\n").unwrap_err().to_string().contains("configdirectory is not set")
    );
}

#[test]
fn includes_are_read_in_place_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("imapd.conf");
    let other = dir.path().join("other.conf");
    fs::write(&other, "configdirectory: /inc\n").unwrap();
    fs::write(&main, format!("@include: {}\nadmins: a b\n", other.display())).unwrap();
    let conf = Config::load(&main).unwrap();
    assert_eq!(conf.config_dir(), Path::new("/inc"));
    assert_eq!(conf.admins(), ["a", "b"]);
    fs::write(&other, format!("@include: {}\n", main.display())).unwrap();
    assert!(Config::load(&main).unwrap_err().to_string().contains("included twice"));
    let missing = Config::load(dir.path().join("none")).unwrap_err();
    assert!(missing.to_string().contains("no such file"));
    assert_eq!(missing.class(), crate::ErrorClass::Config);
}

#[test]
fn old_names_still_count() {
    let conf = parse("configdirectory: /c\ntls_cert_file: /x.pem\n").unwrap();
    assert_eq!(conf.get("tls_server_cert"), Some("/x.pem"));
}
