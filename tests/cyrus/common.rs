//! Code that the tests share: a master with its replica, and runs of our program.

use std::process::Command;

use testkit::c_client::{self, Outcome};
use testkit::oracle::{self, Report};
use testkit::{Builder, Cyrus, Via};

pub(crate) use crate::running::*;

/// A master that replicates to a replica.
pub(crate) struct Pair {
    pub(crate) master: Cyrus,
    pub(crate) replica: Cyrus,
}

impl Pair {
    /// Two fresh servers with the usual settings, over the csync port.
    pub(crate) fn start() -> Pair {
        Pair::with(Cyrus::master(), Cyrus::replica(), Via::Csync)
    }

    /// Two servers as configured.
    pub(crate) fn with(master: Builder, replica: Builder, via: Via) -> Pair {
        testkit::ensure_cyrus().unwrap();
        let replica = replica.start().unwrap();
        let mut master = master.start().unwrap();
        master.replicate_to(&replica, via).unwrap();
        Pair { master, replica }
    }

    /// Our program with the master's imapd.conf, ready to be run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.master.root_command(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(self.master.imapd_conf()).args(args);
        command
    }

    /// Runs our program to its end.
    pub(crate) fn sync(&self, args: &[&str]) -> Outcome {
        c_client::measure(self.command(args)).unwrap()
    }

    /// Starts our program, to be observed while it runs.
    pub(crate) fn start_sync(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// Runs it and expects exit code 0.
    pub(crate) fn sync_well(&self, args: &[&str]) -> Outcome {
        self.sync(args).must_succeed().unwrap()
    }

    /// Both sides report the same about these users, including every message's bytes.
    pub(crate) fn assert_equal(&self, users: &[String]) {
        let lines = oracle::compare(&self.master, &self.replica, users).unwrap();
        assert!(lines.is_empty(), "{lines}");
        let bytes = oracle::compare_bytes(&self.master, &self.replica, users).unwrap();
        assert!(bytes.is_empty(), "{bytes}");
    }

    /// The differences between the sides.
    pub(crate) fn differences(&self, users: &[String]) -> Report {
        oracle::compare(&self.master, &self.replica, users).unwrap()
    }
}
