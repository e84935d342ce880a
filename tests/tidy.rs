//! House rules that no compiler checks: which crates may depend on what, and the form of every file.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates that are plain readers, writers and decisions: no runtime, no actors, no sockets.
const PLAIN: [&str; 4] =
    ["crates/cyrus-types", "crates/csync", "crates/cyrus-store", "crates/sync-plan"];
/// Crates that they must not name.
const RUNTIMES: [&str; 6] = ["tokio", "actix", "actix-rt", "async-compression", "futures", "mio"];
/// Which of our crates each may depend on; tests and benches may use others.
const ARROWS: [(&str, &[&str]); 10] = [
    ("crates/cyrus-types", &[]),
    ("crates/csync", &["cyrus-types"]),
    ("crates/cyrus-store", &["cyrus-types"]),
    ("crates/sync-plan", &["cyrus-types", "csync"]),
    // A judge that shared more than the wire's values would not find our mistakes.
    ("crates/embedded-replica", &["cyrus-types", "csync"]),
    ("crates/groundwork", &[]),
    ("crates/hostile", &[]),
    ("crates/testkit", &["groundwork"]),
    ("actors", &["cyrus-types", "csync", "cyrus-store", "sync-plan"]),
    // A master for tests and load: above the client, whose traits it has.
    ("crates/synthetic-source", &["actors", "cyrus-types", "cyrus-store", "sync-plan"]),
];
/// A longer file has two ideas.
const MOST_LINES: usize = 500;

/// The rooms of `actors/src`, floor by floor from the ground up: a room may know only the rooms below it, and itself.
const FLOORS: [&[&str]; 9] = [
    &["settings"],
    &["monitor"],
    &["replica"],
    &["error"],
    &["master"],
    &["user"],
    &["work"],
    &["runtime"],
    &["batch", "rolling"],
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["src", "actors", "crates", "xtask", "tests", "benches"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} files: is this the checkout?", found.len());
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The names of a manifest's dependencies, those for tests and benches too.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            within = section.trim_end_matches(']').ends_with("dependencies");
            // [dependencies.NAME]
            if let Some((_, name)) = section.trim_end_matches(']').split_once("dependencies.") {
                names.push(name.to_owned());
            }
        } else if within && let Some((name, _)) = line.split_once(['=', '.']) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

/// The folders of all crates, as found on disk; the root's is empty.
fn crate_folders() -> BTreeSet<String> {
    fn find(folder: &Path, found: &mut BTreeSet<String>) {
        if folder.join("Cargo.toml").is_file() {
            let name = folder.strip_prefix(root()).unwrap().to_str().unwrap();
            found.insert(name.to_owned());
        }
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                find(&path, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    find(root(), &mut found);
    found
}

fn refuse(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_is_listed() {
    let found = crate_folders();
    let with_sources: BTreeSet<String> =
        found.iter().map(|krate| format!("{krate}/src").trim_start_matches('/').into()).collect();
    assert_eq!(BTreeSet::from(CRATES.map(str::to_owned)), with_sources, "CRATES");
    // The programs at the top may use all.
    let libraries =
        found.into_iter().filter(|krate| !krate.is_empty() && !krate.starts_with("xtask"));
    let known = ARROWS.map(|(krate, _)| krate.to_owned());
    assert_eq!(BTreeSet::from(known), libraries.collect(), "ARROWS");
}

#[test]
fn plain_crates_know_no_runtime() {
    let mut wrong = Vec::new();
    for krate in PLAIN {
        let path = root().join(krate).join("Cargo.toml");
        for name in dependencies(&fs::read_to_string(path).unwrap()) {
            if RUNTIMES.iter().any(|r| name == *r || name.starts_with(&format!("{r}-"))) {
                wrong.push(format!("{krate} depends on {name}; runtimes belong into actors/"));
            }
            if name == "nix" && krate != "crates/cyrus-store" {
                wrong.push(format!("{krate} depends on {name}; only the store calls the system"));
            }
        }
    }
    refuse(wrong);
}

#[test]
fn arrows_point_one_way() {
    let manifest = |krate: &str| fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
    let workspace = manifest("");
    let ours: Vec<&str> = workspace
        .lines()
        .filter_map(|line| line.split_once(" = { path = "))
        .map(|(name, _)| name)
        .collect();
    assert!(ours.len() >= ARROWS.len(), "only {ours:?}: are all crates listed?");
    let mut wrong = Vec::new();
    for (krate, known) in ARROWS {
        let manifest = manifest(krate);
        let shipped = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for name in dependencies(shipped) {
            if ours.contains(&name.as_str()) && !known.contains(&name.as_str()) {
                wrong.push(format!("{krate} must not depend on {name}"));
            }
        }
    }
    refuse(wrong);
}

#[test]
fn no_room_knows_what_is_above_it() {
    let floor_of = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let source = root().join("actors/src");
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (path, text) in sources() {
        let Ok(within) = path.strip_prefix(&source) else { continue };
        let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let Some(floor) = floor_of(room) else {
            wrong.push(format!("{} is in no room of FLOORS", path.display()));
            continue;
        };
        looked_at += 1;
        for known in rooms_named(&text).into_iter().filter(|known| *known != room) {
            if floor_of(&known).is_none_or(|known| known >= floor) {
                wrong.push(format!("{}: {room} must not know {known}", path.display()));
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} files in rooms");
    refuse(wrong);
}

/// The rooms that a file names, in its code.
fn rooms_named(text: &str) -> Vec<String> {
    let paths = paths_named(text).into_iter();
    paths.map(|path| path.split("::").next().unwrap_or_default().to_owned()).collect()
}

/// The paths behind `crate::` in a file's code, those in braces one by one, without what is no module's name.
fn paths_named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut paths = Vec::new();
    for after in code.split("crate::").skip(1) {
        let path = module_chars(after);
        match after[path.len()..].strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or_default();
                assert!(
                    !group.contains('{'),
                    "write this import as two, without inner braces: {group}}}"
                );
                let names = group.split(',').map(|name| module_chars(name.trim()));
                paths.extend(names.map(|name| format!("{path}{name}")));
            }
            None => paths.push(path.to_owned()),
        }
    }
    paths.into_iter().map(|path| path.trim_end_matches(':').to_owned()).collect()
}

fn module_chars(text: &str) -> &str {
    let end = |c: char| !(c.is_ascii_lowercase() || c == '_' || c == ':');
    text.split(end).next().unwrap_or_default()
}

/// Folders with a crate's own modules.
const CRATES: [&str; 13] = [
    "src",
    "actors/src",
    "crates/csync/src",
    "crates/cyrus-store/src",
    "crates/cyrus-types/src",
    "crates/embedded-replica/src",
    "crates/groundwork/src",
    "crates/hostile/src",
    "crates/sync-plan/src",
    "crates/synthetic-source/src",
    "crates/testkit/src",
    "xtask/src",
    "xtask/tasks/src",
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let mut wrong = Vec::new();
    for krate in CRATES {
        let mut imports = imports_within(&root().join(krate), &sources);
        assert!(!imports.is_empty(), "{krate} has no modules");
        // Files that import none of those that are left are in no circle.
        while let Some(free) = free_of(&imports) {
            imports.remove(&free);
        }
        let names = |known: &BTreeSet<String>| {
            let known = known.iter().filter(|known| imports.contains_key(*known));
            known.cloned().collect::<Vec<_>>().join(", ")
        };
        wrong.extend(imports.iter().map(|(m, known)| format!("{krate}: {m} -> {}", names(known))));
    }
    refuse(wrong);
}

fn free_of(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let is_free = |known: &BTreeSet<String>| !known.iter().any(|known| imports.contains_key(known));
    imports.iter().find(|(_, known)| is_free(known)).map(|(module, _)| module.clone())
}

/// The modules of a crate, each with those that its code names.
fn imports_within(
    source: &Path,
    sources: &[(PathBuf, String)],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = BTreeMap::new();
    for (path, text) in sources {
        let Ok(within) = path.strip_prefix(source) else { continue };
        let name = within.with_extension("").to_str().unwrap().replace('/', "::");
        let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
        let is_test = name.ends_with("tests");
        if !is_test && name != "lib" && name != "main" {
            modules.insert(name, text.as_str());
        }
    }
    let found = modules.iter().map(|(name, text)| {
        let known = paths_named(text).into_iter().filter_map(|path| module_at(&path, &modules));
        (name.clone(), known.filter(|known| known != name).collect())
    });
    found.collect()
}

/// The longest beginning of this path that is a module.
fn module_at(path: &str, modules: &BTreeMap<String, &str>) -> Option<String> {
    let mut path = path;
    while !modules.contains_key(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

#[test]
fn imports_in_braces_are_found() {
    let code = "use crate::{program, say};\nuse crate::user::{removal, tasks::Part};\n// crate::x\n\
                let a = crate::monitor::words::count(1);\n#[cfg(test)]\nuse crate::late;\n";
    let wanted = ["program", "say", "user::removal", "user::tasks", "monitor::words::count"];
    assert_eq!(paths_named(code), wanted);
}

#[test]
#[should_panic(expected = "without inner braces: removal, tasks::{Part}")]
fn imports_in_inner_braces_are_refused() {
    paths_named("use crate::user::{removal, tasks::{Part}};\n");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |(path, text): (PathBuf, String)| {
        (!text.starts_with("//!")).then(|| format!("{} does not open with //!", path.display()))
    };
    refuse(sources().into_iter().filter_map(silent).collect());
}

#[test]
fn no_file_is_too_long() {
    let long = |(path, text): (PathBuf, String)| {
        let lines = text.lines().count();
        (lines > MOST_LINES).then(|| format!("{} has {lines} lines", path.display()))
    };
    refuse(sources().into_iter().filter_map(long).collect());
}

/// The smallest Debian has no `ps` and no `kill`, and a container may not mount: a test that calls them fails there alone.
#[test]
fn no_program_is_called_that_a_small_system_lacks() {
    let missing = ["kill", "pkill", "pgrep", "ps", "mount", "unshare", "nsenter", "sudo", "ip"];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        // Command::new("…"), and the testkit's command("…") and root_command("…").
        for call in ["Command::new(\"", "command(\""] {
            for after in text.split(call).skip(1) {
                let program = after.split('"').next().unwrap_or_default();
                if missing.contains(&program.rsplit('/').next().unwrap_or_default()) {
                    wrong.push(format!("{} calls {program}", path.display()));
                }
            }
        }
    }
    refuse(wrong);
}

/// Things that need an installed Cyrus, or root.
#[test]
fn what_runs_anywhere_starts_no_cyrus() {
    let servers =
        ["Cyrus::", "Pair", "ensure_cyrus", "cyrus_user", "fill::", "PrivateServer::start"];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        if ["tests/embedded", "tests/running"].iter().any(|at| path.starts_with(root().join(at))) {
            seen += 1;
            let named = servers.iter().filter(|server| text.contains(**server));
            wrong.extend(named.map(|server| format!("{} names {server}", path.display())));
        }
    }
    assert!(seen > 5, "only {seen} files");
    refuse(wrong);
}

#[test]
fn nothing_is_left_undone() {
    // Written in two halves, so that this file does not find itself.
    let marks = [("to", "do!("), ("unimple", "mented!("), ("#[ig", "nore"), ("db", "g!(")];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (nr, line) in text.lines().enumerate() {
            for (head, tail) in marks {
                if line.contains(&format!("{head}{tail}")) {
                    wrong.push(format!("{}:{}: {head}{tail}", path.display(), nr + 1));
                }
            }
        }
    }
    refuse(wrong);
}

#[test]
fn dependencies_are_found_in_a_manifest() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.workspace = true\n\
                    [dev-dependencies]\nc = { path = \"c\" }\n[dependencies.d]\nversion = \"1\"\n";
    assert_eq!(dependencies(manifest), ["a", "b", "c", "d"]);
}
