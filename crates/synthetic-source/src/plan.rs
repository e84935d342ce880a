//! How many users there are, and what they have at the beginning.

/// How large messages are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// All the same.
    Fixed(u64),
    /// Any size from the first to the second is as likely.
    Between(u64, u64),
}

/// What users to make. The same plan gives the same users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The seed of everything random.
    pub seed: u64,
    /// How many users.
    pub users: usize,
    /// Mailboxes of each, including the INBOX.
    pub mailboxes: usize,
    /// Messages in each mailbox.
    pub messages: usize,
    /// How large they are.
    pub sizes: Sizes,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 1, users: 3, mailboxes: 4, messages: 25, sizes: Sizes::Fixed(2048) }
    }
}
