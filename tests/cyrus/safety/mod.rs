//! The safety campaign: random pairs of servers, random damage, and what no run may ever do.
//!
//! ```text
//!  story     a seed makes a story: steps on both sides, damage, how the run is called     facts    what a server holds of a user
//!  world     the servers: a pair, and its twin for Cyrus' own client                      perform  does the steps
//!  damage    damages a master, and repairs it                                             judge    the runs, and the properties
//!  shrink    looks for the shortest story that breaks the same property
//! ```
//! ```sh
//! SAFETY_SEEDS=200 cargo test --test cyrus safety::        # more stories than the usual few
//! SAFETY_FIRST=1000 …                                   # other ones
//! SAFETY_SEED=17 cargo test --test cyrus safety::          # one story, printed whatever its result
//! SAFETY_SEED=17 SAFETY_STEPS=9 SAFETY_LEAVE_OUT=3,5,d0 # with its first steps only, and without some
//! SAFETY_SEED=17 SAFETY_SHRINK=1                        # looks for the shortest story by itself
//! SAFETY_SEED=17 SAFETY_SHRINK=1 SAFETY_PROPERTY='exit 0 is equality'     # that breaks this one
//! ```

mod damage;
mod facts;
mod judge;
mod perform;
mod shrink;
mod story;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;

use judge::{Verdict, judge};
use perform::{Told, perform};
use story::{Kind, Story};
use world::World;

/// The stories of a usual run of the tests: two worlds' worth.
const USUAL: [u64; 8] = [1, 18, 19, 33, 21, 22, 37, 55];

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// No run destroys, reports wrongly or hangs, whatever happened to the pair before it; and Cyrus' own client, on a copy of
/// the pair, does no better.
#[test]
fn nothing_is_lost_and_nothing_is_hidden() {
    let seeds: Vec<u64> = match number("SAFETY_SEED") {
        Some(seed) => vec![seed],
        None => {
            let first = number("SAFETY_FIRST").unwrap_or(0);
            number("SAFETY_SEEDS").map_or(USUAL.to_vec(), |seeds| (first..first + seeds).collect())
        }
    };
    let mut worlds: BTreeMap<Kind, Vec<Story>> = BTreeMap::new();
    for seed in &seeds {
        worlds.entry(Kind::of(*seed)).or_default().push(Story::of(*seed));
    }
    let mut failures = String::new();
    for (kind, stories) in worlds {
        let mut world = World::start(kind);
        for some in stories.chunks(10) {
            let some: Vec<Story> = some.iter().map(shrink::cut_by_hand).collect();
            for (told, verdict) in play(&mut world, &some) {
                let whole = number("SAFETY_SEED").is_some();
                if verdict.violations.is_empty() && !whole {
                    continue;
                }
                let text = tell(&told, &verdict, kind);
                eprintln!("{text}");
                if verdict.violations.is_empty() {
                    continue;
                }
                failures.push_str(&text);
                if number("SAFETY_SHRINK").is_some() {
                    let (told, verdict) = shrink::shrink(&mut world, told.story, &verdict);
                    let text = format!("SHRUNK {}", tell(&told, &verdict, kind));
                    eprintln!("{text}");
                    failures.push_str(&text);
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Makes all stories' users, copies the pair, and judges each story.
fn play(world: &mut World, stories: &[Story]) -> Vec<(Told, Verdict)> {
    let told: Vec<Told> = stories.iter().map(|story| perform(world, story)).collect();
    world.copy();
    told.into_iter()
        .map(|told| {
            let verdict = judge(world, &told);
            (told, verdict)
        })
        .collect()
}

/// A story, the result of each step, and what is wrong, for a person to read.
fn tell(told: &Told, verdict: &Verdict, kind: Kind) -> String {
    let mut text = format!("==== seed {} as user {} {kind:?}\n", told.story.seed, told.user);
    let mut results = told.results.iter();
    for line in told.story.to_string().lines() {
        let result = results.next().filter(|result| !result.is_empty());
        let result = result.map(|result| format!("   [{result}]")).unwrap_or_default();
        let _ = writeln!(text, "{line}{result}");
    }
    for violation in &verdict.violations {
        let _ = writeln!(text, "  VIOLATION {}: {}", violation.property, violation.text.trim_end());
    }
    text.push_str(&verdict.words);
    text
}
