//! Where stores are kept.

use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// The space that all stores of a test need, with a margin.
const ENOUGH_BYTES: u64 = 2 << 30;

/// In memory, or on disk if `/dev/shm` is small (containers have 64 MB). The path is short, so that sockets fit, and the
/// Cyrus user can reach it.
pub(crate) fn in_memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    let roomy = statfs(memory).is_ok_and(|fs| {
        let block = u64::try_from(fs.block_size()).unwrap_or(0);
        fs.filesystem_type() == TMPFS_MAGIC
            && fs.blocks_available().saturating_mul(block) > ENOUGH_BYTES
    });
    if roomy { memory } else { on_disk() }
}

/// On disk.
pub(crate) fn on_disk() -> &'static Path {
    Path::new("/tmp")
}
