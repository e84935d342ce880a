//! The protocol: reading a replica's answers, and encoding a mailbox with its records.
//!
//! `cargo bench --bench wire`; counters give bytes and records per second.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;

use actors::encode::{self, Encoder, State};
use actors::source::{Source, Which};
use bytes::BytesMut;
use csync::{Decoder, FullMailbox, Item, Limits, ReplicaUser, Reply};
use cyrus_store::{Config, Store};
use cyrus_types::{MailboxName, ModSeq, SyncCrcs};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use embedded_replica::{Options, Replica};
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan, Sizes};

fn main() {
    divan::main();
}

/// One user with a mailbox of many messages and some others.
fn master() -> MasterStore {
    let plan = Plan {
        users: 1,
        mailboxes: 200,
        messages: 100,
        sizes: Sizes::Fixed(600),
        ..Plan::default()
    };
    MasterStore::write(&plan).unwrap()
}

/// The answers to GET of a replica that has all of the store.
fn answer(master: &MasterStore, what: &str, name: &str) -> Vec<u8> {
    let replica = Replica::new(Options { conversations: false, ..Options::default() }).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let port = server.address().port();
    let config = Config::load(master.conf_for("bench", port).unwrap()).unwrap();
    let work = actors::Selection::AllUsers { prefix: None };
    let report = actix_rt::System::new().block_on(async move {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let (reporting, progress) = Default::default();
        actors::replicate(
            settings(port),
            Arc::new(cyrus_store::Store::open(Arc::new(config))),
            work,
            reporting,
            stop,
            progress,
        )
        .await
    });
    assert_eq!(report.failed(), 0, "{report}");
    let mut said = PrivateServer::over_tcp(port).unwrap();
    let mut bytes = said.get_named(what, name).unwrap().join(&b"\r\n"[..]);
    bytes.extend_from_slice(b"\r\nOK success\r\n");
    bytes
}

fn settings(port: u16) -> actors::Settings {
    actors::Settings {
        replica: actors::ReplicaSettings {
            server: "127.0.0.1".into(),
            port: Some(port.to_string()),
            authname: "cyrus".into(),
            password: "secret".into(),
            try_imap: false,
            connect_once: true,
            ..actors::ReplicaSettings::default()
        },
        ..actors::Settings::default()
    }
}

/// The lines of an answer, decoded as they arrive.
fn items(bytes: &[u8]) -> Vec<Item> {
    let mut decoder = Decoder::new(csync::Framing::Csync, Limits::default());
    let mut unread = BytesMut::new();
    let mut items = Vec::new();
    for piece in bytes.chunks(32 * 1024) {
        unread.extend_from_slice(piece);
        while let Some(reply) = decoder.decode(&mut unread).unwrap() {
            match reply {
                Reply::Untagged(item) => items.push(item),
                Reply::Done(_) => return items,
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("the answer has no end");
}

#[divan::bench]
fn decode_get_user(bencher: Bencher) {
    let master = master();
    let bytes = answer(&master, "USER", "user00000");
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut user = ReplicaUser::default();
        for item in items(black_box(&bytes)) {
            user.push(item).unwrap();
        }
        user
    });
}

#[divan::bench]
fn decode_get_fullmailbox(bencher: Bencher) {
    let master = master();
    let bytes = answer(&master, "FULLMAILBOX", "user.user00000");
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let items = items(black_box(&bytes));
        FullMailbox::decode(&items[0]).unwrap()
    });
}

#[divan::bench]
fn encode_mailbox(bencher: Bencher) {
    let plan = Plan { users: 1, mailboxes: 1, messages: 10_000, ..Plan::default() };
    let master = MasterStore::write(&plan).unwrap();
    let store = Store::open(Arc::new(Config::load(master.imapd_conf()).unwrap()));
    let list = store.mailboxes().unwrap();
    let entry = list.lookup(&MailboxName::new("user.user00000")).unwrap().unwrap();
    let mailbox = store.open(&entry).unwrap().unwrap();
    let crcs = SyncCrcs { basic: 1, annot: 2 };
    let head = encode::Head {
        local_only: false,
        one_way: false,
        partition: "default",
        state: State::Whole(crcs),
        since: None,
        replica: None,
        groups: None,
    };
    let records: Vec<_> = mailbox.records(Which::Since(ModSeq::ZERO)).map(Result::unwrap).collect();
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| {
        let mut bytes = 0;
        let mut encoder = Encoder::begin(&*mailbox, &head).unwrap();
        for record in &records {
            encoder.record(record, record.modseq).unwrap();
            if encoder.pending() >= 64 * 1024 {
                encoder
                    .drain(|some| {
                        bytes += some.len();
                        Ok::<_, Infallible>(())
                    })
                    .unwrap();
            }
        }
        bytes + encoder.end().len()
    });
}
