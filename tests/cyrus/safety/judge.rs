//! Runs both clients on a story's pair and its twin, and lists what they did wrong.

use std::collections::BTreeSet;

use testkit::Cyrus;
use testkit::c_client::Outcome;
use testkit::oracle::{self, Difference, Ignore, Report};
use testkit::snapshot;

use super::damage::{self, Undo, Wound};
use super::facts::Facts;
use super::perform::Told;
use super::story::{Mode, Story, Target, Whom};
use super::world::{Call, World, ask, run_cyrus, run_ours};

/// A property that does not hold.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    /// Its name; a shrunk story violates the same one.
    pub(super) property: &'static str,
    pub(super) text: String,
}

/// What is known before, between and after the runs of a story.
struct Case<'a> {
    world: &'a World,
    told: &'a Told,
    wounds: Vec<Wound>,
    /// The master without its damage.
    truth: Facts,
    before: Facts,
    /// What the runs said in syslog.
    notices: String,
    found: Vec<Violation>,
}

/// The output of the runs, for the reader of a failure.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<Violation>,
    pub(super) words: String,
}

/// Runs the clients and checks everything.
pub(super) fn judge(world: &World, told: &Told) -> Verdict {
    let (pair, twin, user) = (&world.pair, &world.twin, told.user.as_str());
    let truth = Facts::of(&twin.master, user);
    let before = Facts::of(&pair.replica, user);
    let damages = told.story.damages.iter();
    let mut wounds: Vec<Wound> = Vec::new();
    for wound in damages.filter_map(|d| damage::aim(&twin.master, user, &truth, *d)) {
        // A file is damaged once.
        if !wounds.iter().any(|had| had.overlaps(&wound)) {
            wounds.push(wound);
        }
    }
    let mut case =
        Case { world, told, wounds, truth, before, notices: String::new(), found: Vec::new() };
    let _ = (pair.master.take_syslog(), pair.replica.take_syslog());

    // The run, and a second one.
    let undo = case.inflict(&pair.master);
    let untouched = snapshot::tree(pair.master.dir()).unwrap();
    let first = case.ours();
    case.never_touches(&untouched, "the run");
    let after = Facts::of(&pair.replica, user);
    case.keeps_what_it_must(&after);
    case.notices = pair.master.syslog().into_iter().map(|line| line.text + "\n").collect();
    let equal = case.differences();
    case.says_what_it_did(&first, &equal, &after);
    let second = case.ours();
    let later = Facts::of(&pair.replica, user);
    case.is_done_after_one_run((&first, &after), (&second, &later));

    // Cyrus' own client on the twin.
    let undo_twin = case.inflict(&twin.master);
    let theirs = run_cyrus(twin, case.call());
    undo_twin.into_iter().for_each(Undo::mend);
    case.is_no_worse_than(&theirs, &first, &after, &equal);

    // Repaired, it is as if nothing had happened.
    undo.into_iter().for_each(Undo::mend);
    let healed = if case.wounds.is_empty() { second.clone() } else { case.ours() };
    let theirs_healed =
        if case.wounds.is_empty() { theirs.clone() } else { run_cyrus(twin, case.call()) };
    case.heals(&healed, &theirs_healed);
    case.goes_on(&healed);
    let words = [
        ("first run", &first),
        ("second run", &second),
        ("mended", &healed),
        ("Cyrus' client", &theirs),
    ]
    .map(|(title, run)| format!("  -- {title}: exit {:?}\n{}", run.code, indent(run)))
    .concat();
    Verdict { violations: case.found, words }
}

fn indent(run: &Outcome) -> String {
    let lines = run.stdout.lines().chain(run.stderr.lines());
    // The summary says it better.
    lines.filter(|l| !l.contains("bailing out! (")).map(|line| format!("     {line}\n")).collect()
}

impl Case<'_> {
    fn inflict(&self, cyrus: &Cyrus) -> Vec<Undo> {
        self.wounds.iter().enumerate().map(|(nr, wound)| wound.inflict(cyrus, nr)).collect()
    }

    fn ours(&self) -> Outcome {
        run_ours(&self.world.pair, self.call())
    }

    fn call(&self) -> Call<'_> {
        let Story { mode, whom, .. } = self.told.story;
        Call { user: &self.told.user, mode, whom, log: &self.told.log }
    }

    /// Whether the run is to look at all of the user: changes on the replica are in no log, and a user that was removed
    /// from the master is skipped.
    fn looks_at_all(&self) -> bool {
        self.exists() && (self.told.story.whom != Whom::Log || self.told.story.is_one_way())
    }

    fn broken(&mut self, property: &'static str, text: impl Into<String>) {
        self.found.push(Violation { property, text: text.into() });
    }

    fn overwrites(&self) -> bool {
        self.told.story.mode == Mode::Overwrite
    }

    /// Whether a run can't read all of the user here, beyond single messages. A run by the log may never come to the damage.
    fn is_blind(&self) -> bool {
        self.told.story.whom != Whom::Log && self.wounds.iter().any(Wound::is_deep)
    }

    fn never_touches(&mut self, before: &snapshot::Tree, when: &str) {
        let now = snapshot::tree(self.world.pair.master.dir()).unwrap();
        for change in snapshot::changes(before, &now) {
            // The servers' answers to private questions of our program; not part of the store.
            if !change.starts_with("run/") && !change.starts_with("log ") {
                self.broken("master untouched", format!("{when}: {change}"));
            }
        }
    }

    /// Nothing is lost on the replica that the master did not remove itself.
    fn keeps_what_it_must(&mut self, after: &Facts) {
        let (before, truth) = (self.before.clone(), self.truth.clone());
        let here = truth.bodies();
        for (id, mailbox) in &before.mailboxes {
            for (uid, guid) in &mailbox.live {
                let place = format!("{} uid {uid} (guid {guid})", mailbox.name);
                let kept = after.bodies().contains(guid.as_str());
                if !kept && !self.told.ever_master.contains(guid) && !self.overwrites() {
                    self.broken("replica's own mail stays", place.clone());
                }
                if !kept && here.contains(guid.as_str()) && !self.overwrites() {
                    self.broken("mail of both sides stays", place.clone());
                }
                let hurt = self.wounds.iter().any(|wound| {
                    wound.mailbox.as_ref() == Some(id)
                        && wound.uid.is_none_or(|hurt| hurt == *uid)
                        && truth.mailboxes.get(id).is_some_and(|m| m.live.get(uid) == Some(guid))
                });
                let there = after.mailboxes.get(id).is_some_and(|m| m.live.get(uid) == Some(guid));
                if hurt && !there {
                    self.broken("what can't be read stays", place);
                }
            }
            let lives = after.mailboxes.contains_key(id);
            if !lives && truth.mailboxes.contains_key(id) {
                self.broken("mailboxes of both sides stay", format!("{} ({id})", mailbox.name));
            }
            if !lives && self.is_blind() {
                self.broken("nothing is deleted while blind", format!("{} ({id})", mailbox.name));
            }
        }
        let blind = self.is_blind();
        for name in before.subscriptions.difference(&after.subscriptions) {
            if blind || truth.subscriptions.contains(name) && !self.hits(Target::Subscriptions) {
                self.broken("subscriptions stay", name.clone());
            }
        }
        for root in before.roots.difference(&after.roots) {
            if blind || truth.roots.contains(root) {
                self.broken("quota roots stay", root.clone());
            }
        }
    }

    /// Whether the user has an INBOX on the master.
    fn exists(&self) -> bool {
        self.truth.find(&format!("user.{}", self.told.user)).is_some()
    }

    /// The differences between the undamaged master and the replica, without those that nobody can know any more.
    fn differences(&self) -> Report {
        let (pair, twin) = (&self.world.pair, &self.world.twin);
        let mut report = compare(&twin.master, &pair.replica, &self.told.user);
        report.0.retain(|difference| {
            let key = &difference.key;
            !(self.hits(Target::Subscriptions) && key.starts_with("LSUB ")
                || self.hits(Target::Seen) && key.starts_with("SEEN "))
        });
        self.without_noticed(report)
    }

    /// A mailbox that only the replica has, and that nothing shows to be deleted here, is reported only in syslog, as by
    /// Cyrus' client.
    fn without_noticed(&self, mut report: Report) -> Report {
        report.0.retain(|Difference { mailbox, key, master, .. }| {
            let noticed = mailbox.as_ref().is_some_and(|name| {
                self.notices.contains(&format!("without a tombstone: mailbox=<{name}>"))
            });
            !(noticed && master.is_none() && key == "MAILBOX")
        });
        report
    }

    fn hits(&self, target: Target) -> bool {
        self.wounds.iter().any(|wound| wound.damage.target == target)
    }

    /// Exit 0 is equality; anything else is named.
    fn says_what_it_did(&mut self, run: &Outcome, differences: &Report, after: &Facts) {
        let missing: Vec<String> = after
            .mailboxes
            .values()
            .flat_map(|m| m.without_file.iter().map(move |uid| format!("{} uid {uid}", m.name)))
            .filter(|place| !self.before_lacked(place))
            .collect();
        for place in missing {
            self.broken("files are there", place);
        }
        if run.code == Some(0) {
            if !differences.is_empty() && self.looks_at_all() {
                self.broken("exit 0 is equality", differences.to_string());
            }
            return;
        }
        let said = format!("{}{}", run.stdout, run.stderr);
        let user = self.told.user.clone();
        let looks_at_all = self.looks_at_all();
        // The run as a whole: a missing list of mailboxes.
        if run.code == Some(78) && said.contains("mailboxes.db") {
            return;
        }
        if !said.contains(&user) {
            self.broken("failures are named", format!("not a word of {user}"));
            return;
        }
        let hurt: Vec<String> = self
            .wounds
            .iter()
            .filter(|wound| wound.is_deep() && looks_at_all)
            .filter_map(|wound| self.truth.mailboxes.get(wound.mailbox.as_ref()?))
            .map(|mailbox| mailbox.name.clone())
            .filter(|name| !run.stderr.contains(name.as_str()))
            .collect();
        for name in hurt {
            self.broken("failures are named", format!("{name} can't be read, and is not named"));
        }
        let prefix = format!("failed: {user}: ");
        let failures: Vec<&str> = run
            .stderr
            .lines()
            .filter_map(|line| line.split_once(&prefix))
            .map(|(_, l)| l)
            .collect();
        let whole_user = failures.is_empty() || failures.iter().any(|l| !l.contains("mailbox "));
        let silent: BTreeSet<&String> = differences
            .0
            .iter()
            // What only the replica has stays there while something can't be read here.
            .filter(|difference| difference.master.is_some() || !self.is_blind())
            .filter_map(|Difference { mailbox, .. }| mailbox.as_ref())
            .filter(|mailbox| !run.stderr.contains(mailbox.as_str()))
            .collect();
        if !whole_user && looks_at_all && !silent.is_empty() {
            self.broken("failures are named", format!("{silent:?} differ and are not named"));
        }
    }

    fn before_lacked(&self, place: &str) -> bool {
        let lacked = |m: &super::facts::Mailbox| {
            m.without_file.iter().any(|uid| place == format!("{} uid {uid}", m.name))
        };
        self.before.mailboxes.values().any(lacked)
    }

    fn is_done_after_one_run(&mut self, first: (&Outcome, &Facts), second: (&Outcome, &Facts)) {
        let by_log = self.told.story.whom == Whom::Log;
        if first.0.code == Some(0)
            && self.exists()
            && !by_log
            && !second.0.stderr.contains("already equal")
        {
            self.broken("a second run has nothing to do", second.0.stderr.clone());
        }
        if first.0.code != second.0.code {
            let codes = format!("{:?}, then {:?}", first.0.code, second.0.code);
            self.broken("a second run ends the same", codes);
        }
        if first.1.lines != second.1.lines {
            let mut text = String::new();
            for line in first.1.lines.iter().filter(|line| !second.1.lines.contains(line)) {
                text.push_str(&format!("- {line}\n"));
            }
            for line in second.1.lines.iter().filter(|line| !first.1.lines.contains(line)) {
                text.push_str(&format!("+ {line}\n"));
            }
            self.broken("a second run changes nothing", text);
        }
    }

    /// What Cyrus' client keeps, ours keeps; what it can do, ours can do.
    fn is_no_worse_than(
        &mut self,
        theirs: &Outcome,
        ours: &Outcome,
        after: &Facts,
        equal: &Report,
    ) {
        let twin = &self.world.twin;
        let (master, replica) =
            (Facts::of(&twin.master, &self.told.user), Facts::of(&twin.replica, &self.told.user));
        let (before, truth) = (self.before.clone(), self.truth.clone());
        let gone_here: BTreeSet<&String> = self
            .told
            .ever_master
            .iter()
            .filter(|guid| !truth.bodies().contains(guid.as_str()))
            .collect();
        for guid in before.bodies().intersection(&replica.bodies()) {
            let guid = (*guid).to_owned();
            if !after.bodies().contains(guid.as_str())
                && !gone_here.contains(&guid)
                && !self.overwrites()
            {
                self.broken("what Cyrus keeps we keep", format!("a message: {guid}"));
            }
        }
        for id in before.mailboxes.keys().filter(|id| replica.mailboxes.contains_key(*id)) {
            let proven = !truth.mailboxes.contains_key(id) && theirs.code != Some(0);
            if !after.mailboxes.contains_key(id) && !proven && !self.overwrites() {
                self.broken("what Cyrus keeps we keep", format!("a mailbox: {}", before.name(id)));
            }
        }
        let copyback = master.lines != truth.lines;
        let well = theirs.code == Some(0) && !copyback && self.exists() && !self.is_blind();
        if well && ours.code != Some(0) {
            let theirs = compare(&twin.master, &twin.replica, &self.told.user);
            if theirs.is_empty() {
                let text = format!("exit {:?}, and it is {equal}", ours.code);
                self.broken("what Cyrus replicates we replicate", text);
            }
        }
    }

    /// If only the runs changed the replica, a repaired master is replicated, if Cyrus' client can do it.
    fn heals(&mut self, run: &Outcome, theirs: &Outcome) {
        let pair = &self.world.pair;
        let differences =
            self.without_noticed(compare(&pair.master, &pair.replica, &self.told.user));
        if run.code == Some(0) {
            if !differences.is_empty() && self.looks_at_all() {
                self.broken("exit 0 is equality", format!("mended: {differences}"));
            }
        } else if self.told.story.is_one_way() && self.exists() && theirs.code == Some(0) {
            self.broken("a mended master is replicated", format!("exit {:?}", run.code));
        }
    }

    /// Both sides accept new messages, and the master's arrive.
    fn goes_on(&mut self, last: &Outcome) {
        let (pair, user) = (&self.world.pair, &self.told.user);
        let mut found = append_everywhere(&pair.master, user, "master");
        if last.code == Some(0) && found.is_empty() && self.exists() {
            let run = run_ours(pair, Call { whom: Whom::User, ..self.call() });
            if !self.looks_at_all() {
                // What the replica has of its own shows only now.
            } else if run.code != Some(0) {
                found.push(format!("the new message is not sent: {}", run.stderr));
            } else {
                let report = self.without_noticed(compare(&pair.master, &pair.replica, user));
                if !report.is_empty() {
                    found.push(format!("after a new message: {report}"));
                }
            }
        }
        // Deaths that the story itself caused are not the runs' fault.
        let doomed = self.before.mailboxes.values().any(|mailbox| mailbox.is_doomed);
        if !doomed {
            found.extend(append_everywhere(&pair.replica, user, "replica"));
        }
        for text in found {
            self.broken("both sides go on", text);
        }
        for (side, cyrus) in [("master", &pair.master), ("replica", &pair.replica)] {
            for line in cyrus.take_syslog() {
                let dead = ["assertion failed", "signaled to death", "abort"];
                if dead.iter().any(|words| line.text.to_lowercase().contains(words)) {
                    self.broken("no server dies", format!("{side}: {}", line.text));
                }
            }
        }
    }
}

fn compare(master: &Cyrus, replica: &Cyrus, user: &str) -> Report {
    let ignore = Ignore { absent_users: true, ..Ignore::default() };
    let mut report =
        oracle::compare_servers(&mut ask(master), &mut ask(replica), &[user], ignore).unwrap();
    report.0.retain(|difference| {
        let Difference { mailbox, key, master, replica, .. } = difference;
        let number = |value: &Option<String>| value.as_ref().and_then(|v| v.parse::<u64>().ok());
        // Mailboxes that cyr_expire removed here from below DELETED leave no trace; there the replica's own cyr_expire
        // removes them.
        let expired =
            master.is_none() && mailbox.as_ref().is_some_and(|name| name.starts_with("DELETED."));
        // Counters that no command lowers.
        let counter =
            ["FOLDERMODSEQ", "XCONVMODSEQ", "RACLMODSEQ"].iter().any(|c| key.ends_with(c));
        let ahead = counter && number(replica) > number(master);
        // No command sets it: the servers maintain it themselves.
        let stale = key.ends_with("QUOTAROOT") && replica.is_none();
        !(expired || ahead || stale)
    });
    report
}

/// Appends a message to each of a user's mailboxes; returns the errors.
fn append_everywhere(cyrus: &Cyrus, user: &str, side: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let names = match cyrus.login(user).and_then(|mut client| Ok(client.list("", "*")?)) {
        Ok(names) => names,
        Err(err) => return vec![format!("no LIST on the {side}: {err}")],
    };
    for name in names.iter().filter(|name| name.starts_with("INBOX")) {
        // One session each: a server that dies takes its session with it.
        let done = cyrus.login(user).and_then(|mut client| {
            let body = format!("Subject: afterwards\r\n\r\n{side}, {name}, {user}.\r\n");
            Ok(client.append(name, &[], None, body.as_bytes())?)
        });
        if let Err(err) = done {
            wrong.push(format!("no APPEND to {name} on the {side}: {err}"));
        }
    }
    wrong
}

impl Wound {
    fn overlaps(&self, other: &Wound) -> bool {
        let places = [self, other].iter().any(|w| matches!(w.damage.target, Target::Place(_)));
        self.same_file(other) || places && self.mailbox.is_some() && self.mailbox == other.mailbox
    }
}
