//! The id that a mailbox keeps for life, whatever its name.
//!
//! Source: `imap/mailbox.c` (mailbox_create, mailbox_make_uniqueid) of cyrus-imapd 3.6.1: any short text without blanks,
//! made when the mailbox is created.

use std::fmt;

/// A mailbox's unique id. It is made only where one is read, so that it can't be mixed up with a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct UniqueId(Box<str>);

impl UniqueId {
    /// From the text that was read; empty means none.
    pub fn new(text: impl Into<Box<str>>) -> UniqueId {
        UniqueId(text.into())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is there none? Some old entries of the mailbox list lack it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_text() {
        let id = UniqueId::new("f0c1");
        assert_eq!((id.as_str(), id.to_string(), id.is_empty()), ("f0c1", "f0c1".into(), false));
        assert!(UniqueId::default().is_empty());
    }
}
