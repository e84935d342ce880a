//! Makes sure, once per process, that Debian's Cyrus is installed; the crate groundwork does the work.
//!
//! A test that needs Cyrus fails loudly without it; it is never skipped.

use std::sync::OnceLock;

pub use groundwork::cyrus::{BIN, TESTED};
use groundwork::cyrus::{CyrusError, ensure};

use crate::error::Result;

/// Checks for the Cyrus programs and installs them if they are missing; reports on stderr what it does.
///
/// # Errors
/// [`Error::NoCyrus`](crate::Error::NoCyrus) when they are missing and can't be installed, or are of another version.
pub fn ensure_cyrus() -> Result<()> {
    static DONE: OnceLock<std::result::Result<(), CyrusError>> = OnceLock::new();
    Ok(DONE.get_or_init(|| ensure(&say)).clone()?)
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see that packages are being installed"
)]
pub(crate) fn say(text: &str) {
    eprintln!("testkit: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyrus_is_there_or_is_installed() {
        ensure_cyrus().unwrap();
        assert_eq!(groundwork::cyrus::first_missing(), None);
    }
}
