//! Whose a mailbox or a piece of work is.

use std::fmt;
use std::sync::Arc;

/// Who owns mailboxes. The shared ones come first in order, as they have no name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Owner {
    /// No user: the shared mailboxes.
    #[default]
    Shared,
    /// The user of this id.
    User(Arc<str>),
}

impl Owner {
    /// The user's id; none for the shared mailboxes.
    #[must_use]
    pub fn userid(&self) -> Option<&str> {
        match self {
            Owner::Shared => None,
            Owner::User(userid) => Some(userid),
        }
    }

    /// The user's id, or what the shared mailboxes are called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.userid().unwrap_or("shared mailboxes")
    }

    /// Is it no user?
    #[must_use]
    pub fn is_shared(&self) -> bool {
        *self == Owner::Shared
    }
}

/// Its name.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The user of this id.
impl From<&str> for Owner {
    fn from(userid: &str) -> Owner {
        Owner::User(userid.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_mailboxes_are_nobodys_and_come_first() {
        let anna = Owner::from("anna");
        assert_eq!((anna.userid(), anna.is_shared()), (Some("anna"), false));
        assert_eq!((Owner::Shared.userid(), Owner::Shared.is_shared()), (None, true));
        assert_eq!(format!("{anna}, {}", Owner::Shared), "anna, shared mailboxes");
        assert!(Owner::Shared < anna && anna < Owner::from("bert"));
    }
}
