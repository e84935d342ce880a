//! What a run of the tests stands on: Debian's Cyrus, and folders that are gone in the end, however the run ended.
//!
//! ```text
//!   cyrus    the packages that the tests know: looked for, installed     apt   how apt-get is run, and what it is asked
//!   folder   a temporary folder, and guard, which removes it when its process was killed
//! ```
//! The standard library is all it needs: `cargo xtask` says what it is going to do a second after it was asked, and this is
//! compiled first.
#![forbid(unsafe_code)]

mod apt;
pub mod cyrus;
mod folder;
mod guard;
pub mod roots;

pub use folder::Folder;

/// Whether we are root (by the effective user id).
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
