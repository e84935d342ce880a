//! Other people's crates: used at all, with licences we may ship, only from crates.io, and in one version each. `deny.toml`
//! has the rules.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn refuse(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The quoted strings in a list of deny.toml.
fn allowed(list: &str) -> BTreeSet<String> {
    let text = read("deny.toml");
    let (_, after) = text.split_once(&format!("\n{list} = [")).unwrap();
    let (inside, _) = after.split_once("\n]").unwrap();
    let lines = inside.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned);
    let found: BTreeSet<String> = words.collect();
    assert!(!found.is_empty(), "no {list} in deny.toml");
    found
}

/// Lines of `cargo tree` for all of the workspace, as it is locked.
fn tree(args: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--workspace", "--edges", "normal,build,dev"]);
    let run = cargo.args(["--prefix", "none"]).args(args).current_dir(root()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `A OR B`, `A/B`, `(A OR B) AND C`: whether one alternative of each part is allowed. For `A OR B AND C` this demands more
/// than necessary.
fn may_ship(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let alternatives = |part: &str| {
        let part = part.replace('/', " OR ");
        let mut names = part.split(" OR ").map(|name| name.trim_matches(['(', ')', ' ']));
        names.any(|name| allowed.contains(name))
    };
    licence.split(" AND ").all(alternatives)
}

#[test]
fn licences_let_us_ship() {
    let allowed = allowed("allow");
    for (licence, may) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 AND GPL-3.0-only", false),
        ("GPL-3.0-only", false),
        ("", false),
    ] {
        assert_eq!(may_ship(licence, &allowed), may, "{licence}");
    }
    let crates: BTreeSet<String> =
        tree(&["--no-dedupe", "--format", "{p}|{l}"]).into_iter().collect();
    assert!(crates.len() > 50, "only {} crates", crates.len());
    let wrong = crates.iter().filter_map(|line| {
        let (name, licence) = line.split_once('|').unwrap();
        (!may_ship(licence, &allowed)).then(|| format!("{name} has the licence {licence:?}"))
    });
    refuse(wrong.collect());
}

#[test]
fn everything_comes_from_crates_io() {
    let lock = read("Cargo.lock");
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let other =
        |source: &&str| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"";
    let (wrong, right): (Vec<&str>, Vec<&str>) = sources.partition(other);
    assert!(right.len() > 50, "only {} crates", right.len());
    refuse(wrong.into_iter().map(str::to_owned).collect());
}

#[test]
fn no_crate_is_there_twice() {
    let skipped = allowed("skip");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in tree(&["--format", "{p}"]) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        versions.entry(name.into()).or_default().insert(version.trim_start_matches('v').into());
    }
    let mut wrong = Vec::new();
    for (name, found) in &versions {
        let is_skipped = |version: &&String| {
            let skips = |skip: &String| {
                skip.split_once('@').is_some_and(|(skip, start)| {
                    skip == name && version.starts_with(&format!("{start}."))
                })
            };
            skipped.iter().any(skips)
        };
        let (known, others): (Vec<_>, Vec<_>) = found.iter().partition(is_skipped);
        if others.len() > 1 {
            wrong.push(format!("{name} is there as {others:?}"));
        }
        if !known.is_empty() && others.is_empty() {
            wrong.push(format!("{name} is there once: take it out of deny.toml"));
        }
    }
    refuse(wrong);
}

/// The Rust files below a folder, except those of crates in it.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target")
                && !path.join("Cargo.toml").exists()
            {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The names in a manifest's tables of dependencies, except those that only enable features of others: the line before them
/// says `# Not used by name`, and why.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut within = false;
    let mut excused = false;
    for line in manifest.lines().map(str::trim) {
        let was_excused = std::mem::replace(&mut excused, line.starts_with("# Not used by name"));
        if line.starts_with('[') {
            within =
                matches!(line, "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]");
        } else if within
            && !was_excused
            && let Some((name, _)) = line.split_once('=')
        {
            names.push(name.trim());
        }
    }
    names
}

/// Whether code names this crate: at the start of a path (`name::`), or as a whole (`use name;`, `use name as …`). Its name in
/// a comment, or of a variable, a method or a module, does not count.
fn is_used(name: &str, text: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let is_path = |start: usize| {
        let (before, after) = (&code[..start], &code[start + name.len()..]);
        let starts = |before: &str| {
            !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '>'))
        };
        let imported =
            before.ends_with("use ") && [";", " as "].iter().any(|end| after.starts_with(end));
        let first = starts(before.strip_suffix("::").unwrap_or(before));
        imported || (first && after.starts_with("::"))
    };
    code.match_indices(name).any(|(start, _)| is_path(start))
}

#[test]
fn only_a_path_uses_a_crate() {
    let used = [
        "use dice::Rng;",
        "use dice;",
        "pub(crate) use dice as random;",
        "let one = dice::random();",
        "let one = ::dice::random();",
        "#[dice::test]",
        "vec![dice::random()]",
    ];
    for code in used {
        assert!(is_used("dice", code), "{code}");
    }
    let unused = [
        "// use dice::Rng;",
        "    /// See [`dice::Rng`].",
        "let dice = 3;",
        "use crate::dice::Rng;",
        "use super::dice;",
        "self.dice::<u8>()",
        "twodice::new()",
        "dice_six::new()",
        "mod dice;",
        "\"dice\"",
        "",
    ];
    for code in unused {
        assert!(!is_used("dice", code), "{code}");
    }
}

#[test]
fn no_dependency_is_unused() {
    let manifest = read("Cargo.toml");
    let (_, after) = manifest.split_once("members = [").unwrap();
    let members = after.split(']').next().unwrap().split('"').skip(1).step_by(2);
    let folders: Vec<PathBuf> =
        members.map(|member| root().join(member)).chain([root().to_path_buf()]).collect();
    assert!(folders.len() > 5);
    let mut wrong = Vec::new();
    let mut known = 0;
    for folder in folders {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let mut text = String::new();
        sources(&folder, &mut text);
        for name in dependencies(&manifest) {
            known += 1;
            if !is_used(&name.replace('-', "_"), &text) {
                wrong.push(format!("{} does not use {name}", folder.display()));
            }
        }
    }
    // Entries of the workspace's own table that no member names.
    let shared = manifest.split_once("[workspace.dependencies]").unwrap().1;
    let shared = shared.split("\n[").next().unwrap();
    let shared = shared.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let mut all = String::new();
    for entry in ["", "actors", "xtask", "xtask/tasks"] {
        all.push_str(&read(&Path::new(entry).join("Cargo.toml").display().to_string()));
    }
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        all.push_str(&fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap());
    }
    for name in shared.filter(|name| !name.starts_with('#')) {
        let asked = [format!("\n{name} = {{ workspace = true"), format!("\n{name}.workspace")];
        if !asked.iter().any(|asked| all.contains(asked)) {
            wrong.push(format!("nobody uses {name} of [workspace.dependencies]"));
        }
    }
    assert!(known > 30, "only {known} dependencies");
    refuse(wrong);
}
