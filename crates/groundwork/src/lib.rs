//! What a test run needs first: Debian's Cyrus, and folders that are always removed, however the run ended.
//!
//! ```text
//!   cyrus    the packages that the tests know: looked for, installed     apt   how apt-get is run, and what it is asked
//!   folder   a temporary folder, and guard, which removes it when its process was killed
//! ```
//! It depends only on the standard library: it is compiled first, so that `cargo xtask` can say within a second what it is
//! going to do.
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
