//! The list of mailboxes is read once a run.

use std::sync::Arc;

use cyrus_store::{Config, Store};
use embedded_replica::{Options, Replica};
use testkit::c_client;
use testkit::store::{MasterStore, Plan};

use crate::running::{in_process, settings};

// Shows that many jobs are not stopped by the usual soft limit of open files.
#[test]
fn many_jobs_may_open_more_files_than_the_soft_limit() {
    let plan = Plan { users: 60, mailboxes: 4, messages: 5, ..Plan::default() };
    let master = MasterStore::write(&plan).unwrap();
    let replica = Replica::new(Options { conversations: false, ..Options::default() }).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = master.conf_for("files", server.address().port()).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -S -n 48; exec \"$0\" -C \"$1\" -A -o -j 60"]);
    command.arg(env!("CARGO_BIN_EXE_sync_client")).arg(conf);
    let run = c_client::measure(command).unwrap();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("60 replicated"), "{}", run.stderr);
}

// Shows that a run for all users reads mailboxes.db once, however many users there are and whether there is
// something to do or not.
#[test]
fn a_run_reads_it_once() {
    let plan = Plan { users: 30, messages: 3, ..Plan::default() };
    let master = MasterStore::write(&plan).unwrap();
    let replica = Replica::new(Options { conversations: false, ..Options::default() }).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let config = Arc::new(Config::load(master.imapd_conf()).unwrap());
    for done in [30, 0] {
        let work = actors::Selection::AllUsers { prefix: None };
        let mut settings = settings(server.address().port());
        settings.run.jobs = 4;
        let store = Arc::new(Store::open(config.clone()));
        let report = in_process(settings, store.clone(), work);
        assert_eq!((report.well.replicated, report.failed()), (done, 0), "{report}");
        assert_eq!(store.list_passes(), 1);
    }
}
