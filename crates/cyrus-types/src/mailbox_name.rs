//! The internal name of a mailbox: the spelling that the server, its logs and the replication protocol use.
//!
//! Source: `imap/mboxname.c` (mbname_intname) of cyrus-imapd 3.6.1.

use std::fmt;
use std::sync::Arc;

/// A mailbox's internal name. It is made only where one is read or spelt, so that it can't be mixed up with other text: a
/// partition, a user id, a unique id.
///
/// ```text
/// user.anna                         a user's INBOX
/// user.anna^b.Odd^name              below it; '.' between levels, '^' for a dot inside one
/// example.com!user.anna.Sent        in a domain that is not the default one
/// DELETED.user.anna.Old.5F3759DF    deleted; the time of deletion, in hexadecimal, comes last
/// shared.news                       nobody's
/// ```
/// Two names are equal, and stand in order, as their bytes do. One mailbox may still have two of them, with and without the
/// default domain; [`NameRules`](crate::NameRules) reads the levels and knows.
///
/// ```
/// # use cyrus_types::{MailboxName, UniqueId};
/// fn lookup(name: &MailboxName, id: &UniqueId) {}
/// lookup(&MailboxName::new("user.anna"), &UniqueId::new("f0c1"));
/// ```
/// A unique id is no name, nor is plain text:
/// ```compile_fail,E0308
/// # use cyrus_types::{MailboxName, UniqueId};
/// fn lookup(name: &MailboxName, id: &UniqueId) {}
/// lookup(&UniqueId::new("f0c1"), &MailboxName::new("user.anna"));
/// ```
/// ```compile_fail,E0308
/// # use cyrus_types::MailboxName;
/// fn lookup(name: &MailboxName) {}
/// lookup("user.anna");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct MailboxName(Arc<str>);

impl MailboxName {
    /// From the internal name that was read; empty means none.
    pub fn new(internal: impl Into<Arc<str>>) -> MailboxName {
        MailboxName(internal.into())
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it below this one, in the same spelling of the domain?
    #[must_use]
    pub fn is_below(&self, other: &MailboxName) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Is there none? The server's own annotations belong to no mailbox, for example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Its text.
impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

/// Its text in quotes, as messages show it.
impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Is this its text?
impl PartialEq<str> for MailboxName {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text
    }
}

/// Is this its text?
impl PartialEq<&str> for MailboxName {
    fn eq(&self, text: &&str) -> bool {
        *self.0 == **text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_text() {
        let name = MailboxName::new("user.anna");
        assert_eq!((name.as_str(), name.is_empty()), ("user.anna", false));
        assert!(name == "user.anna" && name == *"user.anna" && name != "user.bert");
        assert!(MailboxName::default().is_empty());
    }

    #[test]
    fn what_is_below_has_more_levels() {
        let name = MailboxName::new;
        assert!(name("user.a.b.c").is_below(&name("user.a")));
        assert!(!name("user.a").is_below(&name("user.a")));
        assert!(!name("user.ab").is_below(&name("user.a")));
    }

    #[test]
    fn it_prints_as_text_does() {
        let name = MailboxName::new("a\"b");
        assert_eq!(format!("{name}|{name:>5}|{name:?}"), "a\"b|  a\"b|\"a\\\"b\"");
    }

    #[test]
    fn names_stand_in_the_order_of_their_bytes() {
        let sorted = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.into_iter().map(MailboxName::new).collect::<Vec<_>>()
        };
        let mut names = ["user.ä", "user.a.b", "user.a", "user.a^b", "DELETED.a", "user.A"];
        let expected = sorted(names.to_vec());
        names.reverse();
        let mut names = names.map(MailboxName::new);
        names.sort();
        assert_eq!(names.as_slice(), expected);
    }
}
