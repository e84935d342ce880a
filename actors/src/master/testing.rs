//! For tests: a master's store on disk, written without Cyrus.

use std::path::PathBuf;
use std::sync::Arc;

use cyrus_store::{Config, MboxEntry, Store};
use cyrus_types::{MailboxName, ModSeq, Uid};
use testkit::store::{Bodies, MasterStore, Plan, Sizes};

use crate::master::source::{MailboxSource, Message, Source, Which};

/// A store, which is removed when it is dropped.
pub(crate) struct Master {
    pub(crate) disk: MasterStore,
    pub(crate) store: Arc<Store>,
}

impl Master {
    /// A store with this many messages of this size in the INBOX of one user, all with the same text.
    pub(crate) fn with_messages(messages: usize, bytes: usize) -> Master {
        let (sizes, bodies) = (Sizes::Fixed(bytes), Bodies::Repeated(1));
        Master::of(&Plan { users: 1, mailboxes: 1, messages, sizes, bodies, ..Plan::default() })
    }

    /// A store according to a plan.
    pub(crate) fn of(plan: &Plan) -> Master {
        let disk = MasterStore::write(plan).unwrap();
        let store = Arc::new(Store::open(Arc::new(Config::load(disk.imapd_conf()).unwrap())));
        Master { disk, store }
    }

    /// The entry in mailboxes.db of a user's mailbox, both by number.
    pub(crate) fn entry(&self, user: usize, mailbox: usize) -> MboxEntry {
        let name = &self.disk.model().users[user].mailboxes[mailbox].name;
        self.store.mailboxes().unwrap().lookup(&MailboxName::new(name.as_str())).unwrap().unwrap()
    }

    /// The INBOX of the first user.
    pub(crate) fn inbox(&self) -> Box<dyn MailboxSource> {
        self.store.open(&self.entry(0, 0)).unwrap().unwrap()
    }
}

/// The messages of a mailbox.
pub(crate) fn messages(mailbox: &dyn MailboxSource) -> Vec<Message> {
    let records = mailbox.records(Which::Since(ModSeq::ZERO));
    records.map(|record| Message::from(&record.unwrap())).collect()
}

/// The path of a message's file.
pub(crate) fn file(mailbox: &dyn MailboxSource, uid: u32) -> PathBuf {
    let record = mailbox.records(Which::From(Uid(uid))).next().unwrap().unwrap();
    mailbox.message_path(&Message::from(&record))
}
