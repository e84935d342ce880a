//! `-m` and `-s` with replicas of every version.

use std::fs;

use embedded_replica::{Fault, Options, Replica, Version};
use testkit::c_client::Outcome;
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan};

use crate::running::{ours, summary};

/// All mailboxes of all users, by name, and then what the users have besides: that is everything, and a second run finds
/// nothing to do. No version gets what it does not know.
#[test]
fn mailboxes_and_the_rest_one_after_the_other_are_everything() {
    for version in Version::ALL {
        let plan = Plan { users: 4, mailboxes: 3, messages: 5, ..Plan::default() };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { version, conversations: false, ..Options::default() };
        let server = Replica::new(options).unwrap().serve("127.0.0.1:0").unwrap();
        let conf = store.conf_for("named", server.address().port()).unwrap();
        let users = &store.model().users;
        let list = |name: &str, lines: Vec<&str>| {
            let path = conf.with_file_name(name);
            fs::write(&path, lines.join("\n")).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mailboxes = users.iter().flat_map(|user| &user.mailboxes);
        let live = mailboxes.filter(|mailbox| !mailbox.deleted);
        let mailboxes = list("mailboxes", live.map(|mailbox| mailbox.name.as_str()).collect());
        let userids = list("userids", users.iter().map(|user| user.userid.as_str()).collect());
        let run = |option: &str, file: &str, wanted: &str| {
            let run = ours(&["-C", conf.to_str().unwrap(), "-j", "4", option, "-f", file]);
            assert_eq!(run.code, Some(0), "{version:?} {option}: {}", run.stderr);
            assert!(summary(&run).contains(wanted), "{version:?} {option}: {}", run.stderr);
        };
        run("-m", &mailboxes, "(4 users): 4 replicated; sent ");
        run("-s", &userids, "4 users: ");
        if version == Options::default().version {
            let mut said = PrivateServer::over_tcp(server.address().port()).unwrap();
            let differences = store.model().differences(&mut said).unwrap();
            assert!(differences.is_empty(), "{differences}");
        }
        run("-m", &mailboxes, "(4 users): 4 already equal");
        run("-s", &userids, "4 users: 4 already equal");
    }
}

/// A lost connection costs a try, and not the names that were on neither side.
#[test]
fn a_failure_in_passing_is_tried_again() {
    let store = MasterStore::write(&Plan { users: 1, messages: 3, ..Plan::default() }).unwrap();
    let replica = Replica::new(Options { conversations: false, ..Options::default() }).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("named", server.address().port()).unwrap();
    let user = &store.model().users[0];
    let inbox = user.mailboxes[0].name.as_str();
    let run = |names: &[&str]| -> Outcome {
        ours(&[&["-C", conf.to_str().unwrap(), "-m"][..], names].concat())
    };
    replica.faults().at("APPLY MAILBOX", 1, Fault::Drop);
    let nowhere = format!("user/{}/nowhere", user.userid);
    let ended = run(&[inbox, &nowhere]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = format!("failed: {}: no such mailbox: user.{0}.nowhere is", user.userid);
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert_eq!(summary(&run(&[inbox])), "1 mailbox (1 user): 1 already equal");
    assert!(replica.stats().commands["APPLY MAILBOX"] >= 2);
}
