//! Carries out the steps of a story on the pair, up to the run that is examined.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use testkit::Cyrus;
use testkit::imap::Client;

use super::facts::{Facts, hex, place_of};
use super::story::{By, Mode, Side, Step, Story, Which, Whom, Work};
use super::world::{Call, World, friend_of, run_cyrus, run_ours};

/// A story whose steps are done.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) story: Story,
    pub(super) user: String,
    /// The result of each step.
    pub(super) results: Vec<String>,
    /// The GUIDs of everything that ever was on the master, except what it lost by an accident.
    pub(super) ever_master: BTreeSet<String>,
    /// What the master logged since the last run that ended well.
    pub(super) log: String,
}

/// Carries out a story's steps for a user that did not exist.
pub(super) fn perform(world: &mut World, story: &Story) -> Told {
    let user = world.fresh_user();
    world.pair.master.create_user(&friend_of(&user)).unwrap();
    let mut told = Told {
        story: story.clone(),
        user,
        results: Vec::new(),
        ever_master: BTreeSet::new(),
        log: String::new(),
    };
    let mut logged = 0;
    let mut hands = [Hand::default(), Hand::default()];
    for (nr, step) in story.steps.iter().enumerate() {
        let result = match step {
            Step::At(side, work) => {
                let (cyrus, hand) = match side {
                    Side::Master => (&world.pair.master, &mut hands[0]),
                    Side::Replica => (&world.pair.replica, &mut hands[1]),
                };
                let body = format!(
                    "From: a@example.org\r\nTo: b@example.org\r\nSubject: {side:?} {} {nr}\r\nMessage-ID: <{}.{nr}@{side:?}>\r\n\r\nText {nr}.\r\n",
                    story.seed, story.seed
                );
                if *side == Side::Master {
                    told.ever_master.insert(hex(&Sha1::digest(body.as_bytes())));
                }
                match work {
                    Work::GoBack(folder) => {
                        *hand = Hand::default();
                        go_back(cyrus, folder, &mut told)
                    }
                    _ => hand.work(cyrus, &told.user, *work, body.as_bytes()),
                }
            }
            Step::Run(by, one_way) => {
                // No process may hold what a run needs.
                hands = [Hand::default(), Hand::default()];
                let mode = if *one_way { Mode::OneWay } else { Mode::Plain };
                // The friend is replicated too, so that a folder given away may move there and back.
                let call = Call { user: &told.user, mode, whom: Whom::Prefix, log: "" };
                let before = log_of(&world.pair.master, &told.user).len();
                let run = match by {
                    By::Ours => run_ours(&world.pair, call),
                    By::Cyrus => run_cyrus(&world.pair, call),
                };
                let master = Facts::of(&world.pair.master, &told.user);
                told.ever_master.extend(master.bodies().into_iter().map(str::to_owned));
                match run.code {
                    Some(0) => {
                        logged = before;
                        back_up(&world.pair.master, &told.user, &master);
                        Ok(())
                    }
                    code => Err(format!("exit {code:?}: {}", last_lines(&run.stderr))),
                }
            }
        };
        told.results.push(result.err().unwrap_or_default());
    }
    let lines = log_of(&world.pair.master, &told.user).split_off(logged);
    told.log = lines.iter().map(|line| format!("{line}\n")).collect();
    told
}

/// The lines of the master's sync log that are about a user or its friend.
fn log_of(master: &Cyrus, user: &str) -> Vec<String> {
    let log = std::fs::read_to_string(master.config_dir().join("sync/log")).unwrap_or_default();
    log.lines().filter(|line| line.contains(user)).map(str::to_owned).collect()
}

/// Where the backup of a user's folders is.
fn backup(master: &Cyrus, user: &str) -> PathBuf {
    master.dir().join("backup").join(user)
}

/// Keeps a copy of all folders of a user.
fn back_up(master: &Cyrus, user: &str, facts: &Facts) {
    let to = backup(master, user);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    for id in facts.mailboxes.keys() {
        let place = place_of(master, "default", id);
        // An intermediate has no folder.
        if place.exists() {
            copy(&place, &to.join(id));
        }
    }
}

/// Restores a folder to its state at the last run that ended well.
fn go_back(master: &Cyrus, folder: &str, told: &mut Told) -> Done {
    let before = Facts::of(master, &told.user);
    let name = full(master, &told.user, folder).replace('/', ".");
    let (id, _) = before.find(&name).ok_or("no such mailbox")?;
    let from = backup(master, &told.user).join(id);
    if !from.exists() {
        return Err("no backup".to_owned());
    }
    let place = place_of(master, "default", id);
    std::fs::remove_dir_all(&place).map_err(say)?;
    copy(&from, &place);
    let after = Facts::of(master, &told.user);
    let lost = before.bodies().into_iter().filter(|guid| !after.bodies().contains(guid));
    for guid in lost {
        told.ever_master.remove(guid);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    testkit::process::must_run(command.arg("-a").arg(from).arg(to)).unwrap();
}

/// The last two lines of a text, as one.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(2)..].join(" | ")
}

/// A user's session on one server, opened when it is needed.
#[derive(Default)]
struct Hand {
    client: Option<Client>,
}

type Done = Result<(), String>;

impl Hand {
    fn work(&mut self, cyrus: &Cyrus, user: &str, work: Work, body: &[u8]) -> Done {
        match work {
            Work::CreateUser => {
                self.client = None;
                cyrus.create_user(user).map_err(say)
            }
            Work::DeleteUser => {
                self.client = None;
                let name = cyrus.name(&["user", user]);
                let mut admin = cyrus.admin().map_err(say)?;
                admin.set_acl(&name, testkit::cyrus::ADMIN, "lrswipkxtecda").map_err(say)?;
                admin.delete(&name).map_err(say)
            }
            Work::Quota(root, limit) => {
                let limits: Vec<(&str, u64)> = limit.map(|n| ("STORAGE", n)).into_iter().collect();
                let mut admin = cyrus.admin().map_err(say)?;
                admin.set_quota(&full(cyrus, user, root), &limits).map_err(say)
            }
            Work::Expire => {
                self.client = None;
                cyrus
                    .tool("cyr_expire", &["-E", "1", "-X", "0", "-D", "0", "-u", user])
                    .map(drop)
                    .map_err(say)
            }
            Work::Reconstruct(folder) => {
                self.client = None;
                cyrus.tool("reconstruct", &[full(cyrus, user, folder)]).map(drop).map_err(say)
            }
            Work::ReconstructFromNothing(folder) => {
                self.client = None;
                let name = full(cyrus, user, folder);
                let facts = Facts::of(cyrus, user);
                let (id, _) = facts.find(&name.replace('/', ".")).ok_or("no such mailbox")?;
                let place = place_of(cyrus, "default", id);
                std::fs::remove_file(place.join("cyrus.index")).map_err(|err| err.to_string())?;
                cyrus.tool("reconstruct", &[name]).map(drop).map_err(say)
            }
            Work::GiveAway(folder) => {
                self.client = None;
                let (from, friend) = (full(cyrus, user, folder), friend_of(user));
                let to = full(cyrus, &friend, folder);
                let mut admin = cyrus.admin().map_err(say)?;
                admin.set_acl(&from, testkit::cyrus::ADMIN, "lrswipkxtecda").map_err(say)?;
                admin.rename(&from, &to).map_err(say)
            }
            Work::Conversations(option) => {
                self.client = None;
                cyrus.tool("ctl_conversationsdb", &[option, user]).map(drop).map_err(say)
            }
            other => {
                let mut client = match self.client.take() {
                    Some(client) => client,
                    None => cyrus.login(user).map_err(say)?,
                };
                let done = imap_work(&mut client, other, body);
                match &done {
                    Err(err) if !err.is_refusal() => {}
                    _ => self.client = Some(client),
                }
                done.map_err(|err| err.to_string())
            }
        }
    }
}

fn say(err: impl ToString) -> String {
    err.to_string()
}

/// The admin's name of a user's folder.
pub(super) fn full(cyrus: &Cyrus, user: &str, folder: &str) -> String {
    let below = folder.strip_prefix("INBOX").unwrap_or_default();
    format!("{}{below}", cyrus.name(&["user", user]))
}

fn imap_work(client: &mut Client, work: Work, body: &[u8]) -> Result<(), testkit::imap::ImapError> {
    match work {
        Work::Append(to) => client.append(to, &[], None, body),
        Work::Flag(of, which, flag) => {
            with(client, of, which, |c, uids| c.store(uids, "+FLAGS", &[flag]))
        }
        Work::Expunge(of, which) => with(client, of, which, |c, uids| c.remove(uids)),
        Work::Copy(of, which, to) => with(client, of, which, |c, uids| c.copy(uids, to)),
        Work::Move(of, which, to) => with(client, of, which, |c, uids| c.move_to(uids, to)),
        Work::Create(name) => client.create(name),
        Work::Delete(name) => client.delete(name),
        Work::Rename(from, to) => client.rename(from, to),
        Work::Subscribe(to) => client.subscribe(to),
        Work::Unsubscribe(from) => client.unsubscribe(from),
        Work::Annotate(name, value) => {
            client.set_metadata(name, "/shared/comment", Some(&format!("note {value}")))
        }
        Work::Acl(name, rights) => client.set_acl(name, "anyone", rights),
        Work::Quota(..)
        | Work::DeleteUser
        | Work::CreateUser
        | Work::Expire
        | Work::Reconstruct(_)
        | Work::ReconstructFromNothing(_)
        | Work::GoBack(_)
        | Work::GiveAway(_)
        | Work::Conversations(_) => Ok(()),
    }
}

/// Does something with chosen messages of a folder; nothing if there are none.
fn with(
    client: &mut Client,
    folder: &str,
    which: Which,
    work: impl FnOnce(&mut Client, &str) -> Result<(), testkit::imap::ImapError>,
) -> Result<(), testkit::imap::ImapError> {
    client.select(folder)?;
    let uids = client.uids()?;
    let chosen = match which {
        Which::First => uids.first().map(ToString::to_string),
        Which::Last => uids.last().map(ToString::to_string),
        Which::All if uids.is_empty() => None,
        Which::All => Some("1:*".to_owned()),
    };
    let done = chosen.map_or(Ok(()), |uids| work(client, &uids));
    let left = client.unselect();
    done.and(left)
}
