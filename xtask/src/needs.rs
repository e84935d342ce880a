//! What a command asks of the machine, checked before anything is built.

use groundwork::cyrus;

use crate::{Refusal, say};

/// Root, and Cyrus, which is installed where it is missing.
pub(crate) fn root_and_cyrus(command: &str) -> Result<(), Refusal> {
    if !groundwork::is_root() {
        return Err(Refusal::lacking(format!(
            "cargo xtask {command} wants root, as Cyrus changes to its own user, and Debian 12, for its Cyrus 3.6.1. \
             Run it as root, best in a container of its own; cargo xtask demo works without."
        )));
    }
    cyrus::ensure(&say).map_err(|err| Refusal::lacking(err.to_string()))
}
