//! `imapd.conf` (being written).

/// A parsed `imapd.conf`.
#[derive(Debug, Clone, Default)]
pub struct Config {}
