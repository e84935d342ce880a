//! The numbers that Cyrus gives to messages and to their changes, each with a type of its own, so that they can't be mixed
//! up. They are made from plain numbers, and converted back, only where bytes are read or written.

use std::fmt;

/// A message's number in its mailbox, assigned once, ascending. Zero means none: Cyrus starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Uid(pub u32);

impl Uid {
    /// No message: the LAST_UID of a mailbox that never had one.
    pub const NONE: Uid = Uid(0);
    /// The highest possible UID.
    pub const MAX: Uid = Uid(u32::MAX);

    /// The next UID to be assigned. There is none after [`Uid::MAX`], which stays.
    #[must_use]
    pub fn next(self) -> Uid {
        Uid(self.0.saturating_add(1))
    }
}

/// The number of a change ("modification sequence"), ascending within a mailbox or, with conversations, a user. Zero means
/// "never" or "not known".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct ModSeq(pub u64);

impl ModSeq {
    /// Before any change, or not known.
    pub const ZERO: ModSeq = ModSeq(0);

    /// Is it before any change, or not known?
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == ModSeq::ZERO
    }

    /// The one before this. There is none before [`ModSeq::ZERO`], which stays.
    #[must_use]
    pub fn previous(self) -> ModSeq {
        ModSeq(self.0.saturating_sub(1))
    }
}

/// Identifies a series of UIDs of a mailbox: if it changes, clients must forget the UIDs that they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct UidValidity(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_and_print_as_numbers() {
        assert_eq!((Uid(7).next(), Uid::MAX.next()), (Uid(8), Uid::MAX));
        assert!(Uid::default() == Uid::NONE && Uid(1) > Uid::NONE);
        assert!(ModSeq::default().is_zero() && !ModSeq(1).is_zero());
        assert_eq!((ModSeq(8).previous(), ModSeq::ZERO.previous()), (ModSeq(7), ModSeq::ZERO));
        assert_eq!(format!("{} {:>3} {}", Uid(7), ModSeq(8), UidValidity(9)), "7   8 9");
    }
}
