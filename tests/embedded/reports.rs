//! `--report` and `--failed-users`: every user once, whole files or none, and a list that `-u -f` takes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use embedded_replica::{Fault, Keep, Options, Replica, Server};
use serde_json::Value;
use testkit::c_client::{self, Outcome};
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::{Running, summary, wait_for};

/// A store without servers, a replica, and a folder for files about runs.
struct World {
    replica: Replica,
    _server: Server,
    store: MasterStore,
    conf: PathBuf,
    files: tempfile::TempDir,
}

impl World {
    /// This many users with two mailboxes of three messages.
    fn new(users: usize) -> World {
        let plan =
            Plan { users, mailboxes: 2, messages: 3, sizes: Sizes::Fixed(300), ..Plan::default() };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        let conf = store.conf_for("reports", server.address().port()).unwrap();
        let files = tempfile::tempdir().unwrap();
        // If we are root, the program is not.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
        World { replica, _server: server, store, conf, files }
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(&self.conf).args(args);
        command
    }

    fn sync(&self, args: &[&str]) -> Outcome {
        c_client::measure(self.command(args)).unwrap()
    }

    /// The users' names.
    fn users(&self) -> Vec<String> {
        let mut users: Vec<_> =
            self.store.model().users.iter().map(|user| user.userid.clone()).collect();
        users.sort();
        users
    }

    fn refuse(&self, userid: &str) {
        let (code, text) = ("IMAP_MAILBOX_BADNAME".to_string(), "no such luck".to_string());
        self.replica.faults().always("GET USER", userid, Fault::Refuse { code, text });
    }
}

/// A report, checked: each user is in it once, and the totals are the sums.
fn read(path: &str) -> (Value, BTreeMap<String, String>) {
    let report: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(report["version"], 1);
    let users = report["users"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("shared mailboxes").to_string();
    let outcomes: BTreeMap<String, String> =
        users.iter().map(|user| (text(&user["user"]), text(&user["outcome"]))).collect();
    assert_eq!(outcomes.len(), users.len(), "a user is there twice");
    let totals = &report["totals"];
    assert_eq!(totals["users"], users.len());
    for word in [
        "replicated",
        "equal",
        "locked",
        "skipped",
        "absent",
        "failed",
        "broken_off",
        "not_reached",
    ] {
        let count = outcomes.values().filter(|outcome| *outcome == word).count();
        assert_eq!(totals[word], count, "{word}: {totals}");
    }
    for count in ["mailboxes", "messages", "bytes", "removed"] {
        let sum: u64 = users.iter().map(|user| user[count].as_u64().unwrap_or(0)).sum();
        assert_eq!(totals[count], sum, "{count}");
    }
    (report, outcomes)
}

/// The files in this folder.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The report has everybody, with reasons; the list of failed users repeats just those, and is empty when all is well.
#[test]
fn a_run_and_its_repetition() {
    let world = World::new(12);
    let users = world.users();
    let bad = [&users[3], &users[7]];
    bad.iter().for_each(|userid| world.refuse(userid));
    let (report, failed) = (world.file("report.json"), world.file("failed"));
    let files_to = ["--report", &report, "--failed-users", &failed];
    let run = world.sync(&[&["-A", "-j", "3"][..], &files_to].concat());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let (all, outcomes) = read(&report);
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), users.iter().collect::<Vec<_>>());
    assert_eq!((&all["totals"]["replicated"], &all["totals"]["failed"]), (&10.into(), &2.into()));
    assert_eq!((&all["exit_code"], &all["complete"]), (&1.into(), &true.into()));
    assert_eq!((&all["stopped"], &all["channel"]), (&Value::Null, &Value::Null));
    assert!(all["server"].as_str().unwrap().starts_with("127.0.0.1:"), "{all}");
    assert_eq!(all["totals"]["messages"], world.replica.stats().messages);
    for user in all["users"].as_array().unwrap() {
        let failed = user["outcome"] == "failed";
        let reason = user["reason"].as_str();
        assert_eq!(reason.is_some_and(|reason| reason.contains("no such luck")), failed, "{user}");
        assert!(user["tries"].as_u64() >= Some(1) && user["seconds"].is_number(), "{user}");
    }
    let mut listed: Vec<String> =
        fs::read_to_string(&failed).unwrap().lines().map(str::to_string).collect();
    listed.sort();
    assert_eq!(listed, bad.map(String::clone));

    world.replica.faults().mend();
    let again = world.sync(&[&["-u", "-f", &failed][..], &files_to].concat());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(summary(&again).starts_with("2 users: 2 replicated"), "{}", again.stderr);
    assert_eq!(read(&report).1.keys().collect::<Vec<_>>(), bad);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "");
    assert_eq!(files(world.files.path()), ["failed", "report.json"]);

    let absent = world.sync(&[&["-u", "nobody", &users[0]][..], &files_to].concat());
    assert_eq!(absent.code, Some(1), "{}", absent.stderr);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "nobody\n");
    assert_eq!(read(&report).1["nobody"], "absent");
}

/// A run that SIGTERM stops: everybody is in the report once, and the failed users are all that are not done.
#[test]
fn a_run_that_is_stopped() {
    let world = World::new(60);
    let users = world.users();
    let slow = Duration::from_millis(300);
    users.iter().for_each(|user| {
        world.replica.faults().always("GET USER", user, Fault::Delay(slow));
    });
    let (report, failed) = (world.file("report.json"), world.file("failed"));
    let args = ["-A", "-j", "1", "-v", "--report", &report, "--failed-users", &failed];
    let running = Running::start(world.command(&args));
    wait_for("some users", || running.stdout().matches("DONE ").count() >= 3);
    assert_eq!(files(world.files.path()), Vec::<String>::new());
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let (all, outcomes) = read(&report);
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), users.iter().collect::<Vec<_>>());
    assert_eq!((&all["exit_code"], &all["complete"]), (&75.into(), &false.into()));
    assert_eq!(all["stopped"]["why"], "signal");
    let left: Vec<&String> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome != "replicated")
        .map(|(user, _)| user)
        .collect();
    assert!(!left.is_empty() && left.len() < 58, "{outcomes:?}");
    let list = fs::read_to_string(&failed).unwrap();
    let mut listed: Vec<&str> = list.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, left);

    world.replica.faults().mend();
    let again = world.sync(&["-u", "-f", &failed, "-j", "8"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

/// A run that is killed leaves the older files as they were, and nothing beside them; the next one replaces them.
#[test]
fn a_run_that_is_killed() {
    let world = World::new(20);
    let (report, failed) = (world.file("report.json"), world.file("failed"));
    let args = ["-A", "-j", "1", "-v", "--report", &report, "--failed-users", &failed];
    assert_eq!(world.sync(&args).code, Some(0));
    let before = fs::read_to_string(&report).unwrap();
    let slow = Duration::from_millis(300);
    world.users().iter().for_each(|user| {
        world.replica.faults().always("GET USER", user, Fault::Delay(slow));
    });
    let mut running = Running::start(world.command(&args));
    wait_for("a user", || running.stdout().contains("DONE "));
    running.kill();
    assert_eq!(fs::read_to_string(&report).unwrap(), before);
    assert_eq!(files(world.files.path()), ["failed", "report.json"]);
    world.replica.faults().mend();
    assert_eq!(world.sync(&args).code, Some(0));
    assert_eq!(read(&report).0["totals"]["equal"], 20);
    assert_eq!(files(world.files.path()), ["failed", "report.json"]);
}

/// A file that can't be written is an error before anything starts; one that can't be written any more is one at the end.
#[test]
fn files_that_cannot_be_written() {
    let world = World::new(4);
    for option in ["--report", "--failed-users"] {
        let run = world.sync(&["-A", option, "/nowhere/file"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stderr.starts_with("sync_client: can't write the "), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        let run = world.sync(&["-R", option, "/tmp/file"]);
        assert_eq!(run.code, Some(64), "{}", run.stderr);
        assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
    }
    assert_eq!(world.replica.stats().messages, 0);
    let same = world.file("same");
    assert_eq!(world.sync(&["-A", "--report", &same, "--failed-users", &same]).code, Some(64));

    // One at a time: the others are behind it.
    let slow = Fault::Delay(Duration::from_millis(500));
    world.users().iter().for_each(|user| {
        world.replica.faults().always("GET USER", user, slow.clone());
    });
    let gone = world.files.path().join("gone");
    fs::create_dir(&gone).unwrap();
    fs::set_permissions(&gone, fs::Permissions::from_mode(0o777)).unwrap();
    let (report, failed) = (world.file("report.json"), world.file("gone/failed"));
    let args = ["-A", "-j", "1", "-v", "--report", &report, "--failed-users", &failed];
    let running = Running::start(world.command(&args));
    wait_for("a user", || running.stdout().contains("DONE "));
    fs::remove_dir(&gone).unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let wanted = format!("sync_client: can't write the list of failed users {failed}: ");
    assert_eq!(ended.stderr.matches(&wanted).count(), 1, "{}", ended.stderr);
    assert_eq!(read(&report).0["exit_code"], 1);
}

/// A list of --failed-users has comments about what -f can't repeat. A run that takes it and does all others seemed to have
/// done everything, and then the list was replaced by an empty one.
#[test]
fn what_a_list_cannot_name_is_not_forgotten() {
    let world = World::new(2);
    let (failed, report) = (world.file("failed"), world.file("report"));
    let shared = "# shared mailboxes: repeat them with -A and the beginning of their names";
    fs::write(&failed, format!("{}\n# mine\n{shared}\n", world.users()[0])).unwrap();
    for users in ["1 user", "0 users"] {
        let args = ["-u", "-f", &failed, "--failed-users", &failed, "--report", &report];
        let run = world.sync(&args);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let said = "sync_client: not done: shared mailboxes: repeat them with -A";
        assert!(users == "0 users" || run.stderr.contains(said), "{}", run.stderr);
        let left = fs::read_to_string(&failed).unwrap();
        assert!(left.lines().next() == Some(shared), "{left}");
        let all = read(&report).0;
        assert_eq!((&all["left_to_do"][0], &all["exit_code"]), (&shared.into(), &1.into()));
    }
}
