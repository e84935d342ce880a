//! The terminal of this process: lines that scroll, and below them a progress bar, if there is one.
//!
//! There is one terminal for the whole process, so there is one bar for it. Everything that writes to stdout or stderr does
//! it [`above`] the bar, which is taken away meanwhile.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use crate::monitor::plain;

/// The bar that is on the screen.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn bar() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows this bar below all lines from now on.
pub(crate) fn show(bar: ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
}

/// Takes the bar off the screen for good: before the last lines of the program.
pub fn remove_bar() {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Writes to stdout or stderr where the bar does not get in the way.
pub(crate) fn above(write: impl FnOnce()) {
    match bar() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes lines for the admin to stderr, each with the program's name in front.
pub fn notice(text: &str) {
    above(|| {
        // A closed stderr is not a reason to stop.
        let _ = io::stderr().lock().write_all(&noted(text));
    });
}

/// The bytes of such lines.
pub(crate) fn noted(text: &str) -> Vec<u8> {
    let lines = text.lines().map(|line| format!("sync_client: {}\n", plain::line(line)));
    lines.collect::<String>().into_bytes()
}
