//! Users with every special case: a user's contents depend only on its number and the seed.
//!
//! | number | what is special |
//! |---|---|
//! | 0 | one large message, in `Big` |
//! | every 5th, from 2 | a dot in the user's name (where `/` separates) |
//! | every 7th, from 6 | empty: an INBOX without messages |
//! | every 3rd | quota of all four resources; the next ones of storage only; the third ones none |
//! | every 4th | a second quota root on a folder |
//! | every 5th, from 1 | a Sieve script |
//! | all that are not empty | folders, flags, expunged messages, annotations, ACLs, subscriptions, seen state |

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Composer;
use crate::cyrus::Cyrus;
use crate::error::Result;
use crate::imap::{Client, Pipeline};
use crate::oracle::PrivateServer;

const NAMES: [&str; 12] =
    ["anna", "bob", "carla", "david", "eva", "frank", "greta", "hans", "ida", "jan", "kim", "lena"];

/// Folders below the INBOX with names that need care; `/` stands for the separator.
const FOLDERS: [&str; 13] = [
    "Sent",
    "Drafts",
    "With Space",
    "it's (quoted) [x] $1",
    "&U,BTFw-",
    "Entw&APw-rfe",
    "Gr&APwA3w-e/aus &ZeVnLIqe-",
    "a&-b",
    "A/B",
    "A/B/C/D/E/F/G/H/I/J",
    "numbers 0123456789 = + , ~ @ :?",
    " leading and trailing",
    "#hash *star",
];

/// Users that are filled at the same time.
const WORKERS: usize = 4;

/// How much to fill in.
#[derive(Debug, Clone)]
pub struct FillOptions {
    /// Decides everything that is random.
    pub seed: u64,
    /// The number of users.
    pub users: usize,
    /// Messages in an INBOX; other folders get about a third.
    pub messages: usize,
    /// The large message's text, in bytes; 0 for none.
    pub big_message_bytes: usize,
    /// Whether Sieve scripts are put in (through the instance's own private sync_server).
    pub sieve: bool,
}

impl FillOptions {
    /// Few messages, a large one of 20 MB, Sieve scripts.
    #[must_use]
    pub fn new(seed: u64, users: usize) -> Self {
        Self { seed, users, messages: 12, big_message_bytes: 20_000_000, sieve: true }
    }
}

/// Makes `n` users from a seed with [`FillOptions::new`]; gives their names.
///
/// # Errors
/// When the server refuses anything.
pub fn fill_users(cyrus: &Cyrus, seed: u64, n: usize) -> Result<Vec<String>> {
    fill_with(cyrus, &FillOptions::new(seed, n))
}

/// Makes users with these options; returns their names.
///
/// # Errors
/// When the server refuses anything.
pub fn fill_with(cyrus: &Cyrus, options: &FillOptions) -> Result<Vec<String>> {
    let users: Vec<String> = (0..options.users).map(|nr| user_name(cyrus, nr)).collect();
    let mut admin = cyrus.admin()?;
    for user in &users {
        admin.create(&cyrus.name(&["user", user]))?;
    }
    // Cyrus waits for the disk most of the time, so several users are filled at once; each by one thread, so that the
    // result does not depend on which thread is faster.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| fill_some(cyrus, options, &users, &next)))
            .collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })?;
    if options.sieve {
        put_scripts(cyrus, &users)?;
    }
    Ok(users)
}

/// Fills users until none is left.
fn fill_some(
    cyrus: &Cyrus,
    options: &FillOptions,
    users: &[String],
    next: &AtomicUsize,
) -> Result<()> {
    let mut admin = cyrus.admin()?;
    loop {
        let nr = next.fetch_add(1, Ordering::SeqCst);
        let Some(user) = users.get(nr) else {
            return Ok(());
        };
        if nr % 7 == 6 {
            continue;
        }
        let reader = users.get((nr + 1) % users.len()).map_or("cyrus", String::as_str);
        let mut filler = Filler {
            cyrus,
            options,
            nr,
            user,
            reader,
            rng: StdRng::seed_from_u64(options.seed ^ ((nr as u64 + 1) << 20)),
            composer: Composer::new(options.seed.wrapping_mul(1000) + nr as u64),
            client: cyrus.login(user)?,
        };
        filler.fill(&mut admin)?;
    }
}

fn user_name(cyrus: &Cyrus, nr: usize) -> String {
    let name = NAMES.get(nr % NAMES.len()).copied().unwrap_or("user");
    if nr % 5 == 2 && cyrus.separator() == '/' {
        format!("{name}.x{nr:03}")
    } else {
        format!("{name}{nr:03}")
    }
}

struct Filler<'a> {
    cyrus: &'a Cyrus,
    options: &'a FillOptions,
    nr: usize,
    user: &'a str,
    reader: &'a str,
    rng: StdRng,
    composer: Composer,
    client: Client,
}

impl Filler<'_> {
    fn fill(&mut self, admin: &mut Client) -> Result<()> {
        let folders = self.make_folders()?;
        self.messages("INBOX", self.options.messages)?;
        for folder in &folders {
            let count = self.rng.random_range(0..=self.options.messages * 2 / 3);
            self.messages(folder, count)?;
        }
        self.flags_and_expunged("INBOX")?;
        self.annotations(admin)?;
        self.quota(admin)?;
        for folder in folders.iter().step_by(2) {
            self.client.subscribe(folder)?;
        }
        self.share()?;
        self.many_flags()?;
        self.leave_traces()?;
        if self.nr == 0 && self.options.big_message_bytes > 0 {
            let big = self.own("Big");
            self.client.create(&big)?;
            let message = self.composer.message(self.options.big_message_bytes);
            self.client.append(&big, &["\\Flagged"], None, &message)?;
        }
        Ok(())
    }

    /// A folder's name as the user writes it.
    fn own(&self, folder: &str) -> String {
        let separator = self.cyrus.separator().to_string();
        format!("INBOX{separator}{}", folder.replace('/', &separator))
    }

    /// A folder's name as the admin and other users write it.
    fn full(&self, folder: &str) -> String {
        let name = self.cyrus.name(&["user", self.user]);
        if folder.is_empty() { name } else { format!("{name}{}{folder}", self.cyrus.separator()) }
    }

    fn make_folders(&mut self) -> Result<Vec<String>> {
        let mut names: Vec<String> = FOLDERS.iter().map(|folder| self.own(folder)).collect();
        if self.cyrus.separator() == '/' {
            names.push(self.own("v1.2 .notes."));
        }
        names.push(self.own(&format!("long {}", "x".repeat(180))));
        if self.nr.is_multiple_of(3) {
            names.push(self.own("quite deep/".repeat(30).trim_end_matches('/')));
        }
        for name in &names {
            self.client.create(name)?;
        }
        Ok(names)
    }

    fn messages(&mut self, folder: &str, count: usize) -> Result<()> {
        let mut pipeline = Pipeline::new(&mut self.client);
        for _ in 0..count {
            let all =
                ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded", "work", "NonJunk"];
            let flags: Vec<&str> =
                all.into_iter().filter(|_| self.rng.random_ratio(1, 4)).collect();
            let date = self.rng.random_ratio(3, 4).then(|| self.composer.date());
            // Most are small; the sizes include those that fit a 4 KiB page and those that do not.
            let size = self.rng.random_range(10..6000);
            pipeline.append(folder, &flags, date.as_deref(), &self.composer.message(size))?;
        }
        pipeline.finish()?;
        Ok(())
    }

    /// Changes flags in several steps, and expunges some messages, the last one among them.
    fn flags_and_expunged(&mut self, folder: &str) -> Result<()> {
        self.client.select(folder)?;
        let uids = self.client.uids()?;
        for uid in &uids {
            match self.rng.random_range(0..6) {
                0 => self.client.store(&uid.to_string(), "+FLAGS", &["$Label1", "\\Seen"])?,
                1 => self.client.store(&uid.to_string(), "-FLAGS", &["\\Seen", "work"])?,
                2 => self.client.remove(&uid.to_string())?,
                _ => {}
            }
        }
        if let Some(last) = uids.last() {
            self.client.remove(&last.to_string())?;
        }
        Ok(())
    }

    fn annotations(&mut self, admin: &mut Client) -> Result<()> {
        let (sent, drafts) = (self.own("Sent"), self.own("Drafts"));
        self.client.set_metadata("INBOX", "/private/comment", Some("my own comment"))?;
        self.client.set_metadata(
            "INBOX",
            "/shared/comment",
            Some("for all: \u{fc}\r\nsecond line"),
        )?;
        self.client.set_metadata(&sent, "/private/specialuse", Some("\\Sent"))?;
        self.client.set_metadata(&sent, "/shared/vendor/testkit/colour", Some("red (really)"))?;
        // An annotation that was set and removed again.
        self.client.set_metadata(&drafts, "/private/comment", Some("gone soon"))?;
        self.client.set_metadata(&drafts, "/private/comment", None)?;
        let shared_seen = "/shared/vendor/cmu/cyrus-imapd/sharedseen";
        admin.set_metadata(&self.full("Drafts"), shared_seen, Some("true"))?;
        admin.set_metadata(
            &self.full("Sent"),
            "/shared/vendor/cmu/cyrus-imapd/expire",
            Some("30"),
        )?;
        self.client.select("INBOX")?;
        for uid in self.client.uids()?.iter().take(3) {
            let uid = uid.to_string();
            self.client.annotate(&uid, "/comment", "value.priv", Some("seen it, (twice)"))?;
            self.client.annotate(&uid, "/comment", "value.shared", Some("for all \u{e4}"))?;
            self.client.annotate(&uid, "/vendor/testkit/note", "value.shared", Some("n\r\nn"))?;
        }
        if let Some(uid) = self.client.uids()?.get(1) {
            self.client.annotate(&uid.to_string(), "/vendor/testkit/note", "value.shared", None)?;
        }
        Ok(())
    }

    fn quota(&mut self, admin: &mut Client) -> Result<()> {
        let root = self.full("");
        match self.nr % 3 {
            0 => {
                let limits = [
                    ("STORAGE", 500_000),
                    ("MESSAGE", 5000),
                    ("X-ANNOTATION-STORAGE", 100),
                    ("X-NUM-FOLDERS", 200),
                ];
                admin.set_quota(&root, &limits)?;
            }
            1 => admin.set_quota(&root, &[("STORAGE", 400_000)])?,
            _ => {}
        }
        if self.nr.is_multiple_of(4) {
            admin.set_quota(&self.full("Sent"), &[("MESSAGE", 1000)])?;
        }
        Ok(())
    }

    /// A folder that another user reads: rights, the reader's seen state and subscription.
    fn share(&mut self) -> Result<()> {
        let (shared, full) = (self.own("Shared"), self.full("Shared"));
        self.client.create(&shared)?;
        self.messages(&shared, 6)?;
        self.client.set_acl(&shared, self.reader, "lrsw")?;
        self.client.set_acl(&shared, "anyone", "l")?;
        self.client.set_acl(&shared, "-mallory", "lr")?;
        if self.reader == self.user {
            return Ok(());
        }
        let mut other = self.cyrus.login(self.reader)?;
        other.select(&full)?;
        other.store("1:4", "+FLAGS", &["\\Seen"])?;
        other.store("2", "-FLAGS", &["\\Seen"])?;
        other.annotate("1", "/comment", "value.priv", Some("the reader's own"))?;
        other.unselect()?;
        other.subscribe(&full)?;
        Ok(())
    }

    /// More user flags than one 32-bit word holds.
    fn many_flags(&mut self) -> Result<()> {
        if self.nr % 5 != 3 {
            return Ok(());
        }
        let folder = self.own("Flags");
        self.client.create(&folder)?;
        self.messages(&folder, 3)?;
        self.client.select(&folder)?;
        for nr in 0..45 {
            let flag = format!("flag{nr}");
            self.client.store(if nr % 2 == 0 { "1:3" } else { "2" }, "+FLAGS", &[&flag])?;
        }
        Ok(())
    }

    /// Folders that were renamed and deleted, messages that were copied and moved.
    fn leave_traces(&mut self) -> Result<()> {
        let (temporary, renamed, old) =
            (self.own("Temporary"), self.own("Renamed"), self.own("Old"));
        self.client.create(&temporary)?;
        self.client.create(&old)?;
        self.messages(&old, 2)?;
        self.client.select("INBOX")?;
        let uids = self.client.uids()?;
        if let (Some(first), Some(second)) = (uids.first(), uids.get(1)) {
            self.client.copy(&format!("{first},{second}"), &temporary)?;
            self.client.move_to(&second.to_string(), &temporary)?;
        }
        self.client.unselect()?;
        self.client.rename(&temporary, &renamed)?;
        self.client.delete(&old)?;
        Ok(())
    }
}

/// Gives every fifth user a script. There is no ManageSieve client here, so Cyrus' own sync_server writes it.
fn put_scripts(cyrus: &Cyrus, users: &[String]) -> Result<()> {
    let mut server = PrivateServer::start_plain(cyrus)?;
    for user in users.iter().skip(1).step_by(5) {
        let script =
            "require \"fileinto\";\r\nif header :contains \"Subject\" \"message\" { keep; }\r\n";
        server.command(&format!(
            "APPLY SIEVE %(USERID {user} FILENAME rules.script LAST_UPDATE 1700000000 CONTENT {{{}+}}\r\n{script})",
            script.len()
        ))?;
        server.command(&format!("APPLY ACTIVATE_SIEVE %(USERID {user} FILENAME rules.bc)"))?;
    }
    Ok(())
}
