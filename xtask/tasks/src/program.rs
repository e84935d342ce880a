//! The program to demonstrate or measure: `cargo xtask` has built it for release, together with us.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where `cargo xtask` says which sync_client it built.
const PROGRAM: &str = "XTASK_SYNC_CLIENT";

/// Cyrus' own client.
pub(crate) const C_CLIENT: &str = "/usr/lib/cyrus/bin/sync_client";

/// The path of `sync_client`.
///
/// # Errors
/// When it was not built for us.
pub(crate) fn build() -> Result<PathBuf> {
    let path =
        std::env::var_os(PROGRAM).context("run this as cargo xtask, which builds sync_client")?;
    Ok(PathBuf::from(path))
}

/// The root of this checkout.
pub(crate) fn checkout() -> PathBuf {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR"));
    tasks.ancestors().nth(2).unwrap_or(tasks).to_path_buf()
}
