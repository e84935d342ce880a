//! Shorter stories: by hand, from the environment, and by trying.

use std::collections::BTreeSet;

use super::judge::Verdict;
use super::perform::Told;
use super::play;
use super::story::{Mode, Story, Whom};
use super::world::World;

/// Leaves out the steps in `SAFETY_STEPS` and `SAFETY_LEAVE_OUT`.
pub(super) fn cut_by_hand(story: &Story) -> Story {
    let mut cut = story.clone();
    if let Some(steps) = super::number("SAFETY_STEPS") {
        cut.steps.truncate(usize::try_from(steps).unwrap());
    }
    if let Ok(list) = std::env::var("SAFETY_LEAVE_OUT") {
        let out: BTreeSet<&str> = list.split(',').map(str::trim).collect();
        let mut nr = 0..;
        cut.steps.retain(|_| nr.next().is_none_or(|nr| !out.contains(nr.to_string().as_str())));
        let mut nr = 0..;
        cut.damages.retain(|_| nr.next().is_none_or(|nr| !out.contains(format!("d{nr}").as_str())));
    }
    cut
}

/// Looks for the shortest story that still violates a property: that of `SAFETY_PROPERTY`, or the first one that `verdict`
/// names.
pub(super) fn shrink(world: &mut World, story: Story, verdict: &Verdict) -> (Told, Verdict) {
    let first = verdict.violations[0].property.to_owned();
    let wanted = &std::env::var("SAFETY_PROPERTY").unwrap_or(first);
    let mut best = story;
    let mut shorter = true;
    while std::mem::take(&mut shorter) {
        // From the end: the last steps matter least to those before them. The user stays.
        for nr in (1..best.steps.len() + best.damages.len()).rev() {
            let mut less = best.clone();
            match nr.checked_sub(less.steps.len()) {
                Some(damage) => drop(less.damages.remove(damage)),
                None => drop(less.steps.remove(nr)),
            }
            if breaks(world, &less, wanted) {
                (best, shorter) = (less, true);
            }
        }
    }
    for (mode, whom) in
        [(Mode::Plain, Whom::User), (best.mode, Whom::User), (Mode::Plain, best.whom)]
    {
        let simpler = Story { mode, whom, ..best.clone() };
        if simpler != best && breaks(world, &simpler, wanted) {
            best = simpler;
            break;
        }
    }
    play(world, std::slice::from_ref(&best)).remove(0)
}

fn breaks(world: &mut World, story: &Story, wanted: &str) -> bool {
    let played = play(world, std::slice::from_ref(story));
    played[0].1.violations.iter().any(|violation| violation.property == wanted)
}
