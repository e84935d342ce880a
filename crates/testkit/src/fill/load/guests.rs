//! The guests of a load: which of them exist, which were deleted, and which are being changed right now.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

/// What guests' names begin with.
pub(super) const PREFIX: &str = "guest";

/// How old a guest must be before it may be deleted. If it were deleted twice within a second, its INBOX would get a name
/// below `DELETED` that it has already, and Cyrus refuses that.
const RIPE: Duration = Duration::from_millis(2100);

/// A guest is in `present` or `deleted`, or in neither while one client makes or deletes it.
#[derive(Debug)]
pub(super) struct Guests {
    most: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    next: usize,
    ever: Vec<String>,
    present: Vec<(String, Instant)>,
    deleted: Vec<String>,
}

impl Guests {
    /// No guests yet; the first gets the number `first`, and at most `most` exist at once.
    pub(super) fn new(first: usize, most: usize) -> Self {
        let books = Books { next: first, ..Books::default() };
        Self { most, books: Mutex::new(books) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that was never used.
    pub(super) fn fresh(&self) -> String {
        let mut books = self.books();
        books.next += 1;
        format!("{PREFIX}{}", books.next - 1)
    }

    /// Takes a guest that has existed for a while out of the other clients' reach, to delete it.
    pub(super) fn take_ripe(&self, rng: &mut StdRng) -> Option<String> {
        let mut books = self.books();
        let ripe: Vec<usize> = (0..books.present.len()).filter(|nr| books.is_ripe(*nr)).collect();
        let nr = ripe.get(rng.random_range(0..ripe.len().max(1)))?;
        Some(books.present.swap_remove(*nr).0)
    }

    /// Takes a deleted guest, to make it again.
    pub(super) fn take_deleted(&self, rng: &mut StdRng) -> Option<String> {
        let deleted = &mut self.books().deleted;
        if deleted.is_empty() {
            return None;
        }
        Some(deleted.swap_remove(rng.random_range(0..deleted.len())))
    }

    /// Takes this guest, if it was deleted and no other client took it.
    pub(super) fn take_this(&self, guest: &str) -> Option<String> {
        let deleted = &mut self.books().deleted;
        let nr = deleted.iter().position(|name| name == guest)?;
        Some(deleted.swap_remove(nr))
    }

    /// The guest exists.
    pub(super) fn is_present(&self, guest: String) {
        let mut books = self.books();
        if !books.ever.contains(&guest) {
            books.ever.push(guest.clone());
        }
        books.present.push((guest, Instant::now()));
    }

    /// The guest is deleted.
    pub(super) fn is_deleted(&self, guest: String) {
        self.books().deleted.push(guest);
    }

    /// The existing guests.
    pub(super) fn present(&self) -> Vec<String> {
        self.books().present.iter().map(|(guest, _)| guest.clone()).collect()
    }

    /// How many may be deleted, and how many were deleted.
    pub(super) fn counts(&self) -> (usize, usize) {
        let books = self.books();
        ((0..books.present.len()).filter(|nr| books.is_ripe(*nr)).count(), books.deleted.len())
    }

    /// Whether there are no guests.
    pub(super) fn is_empty(&self) -> bool {
        self.books().present.is_empty()
    }

    /// Whether the maximum exists.
    pub(super) fn is_full(&self) -> bool {
        self.books().present.len() >= self.most
    }

    /// All guests that ever existed.
    pub(super) fn all(&self) -> Vec<String> {
        self.books().ever.clone()
    }
}

impl Books {
    fn is_ripe(&self, nr: usize) -> bool {
        self.present.get(nr).is_some_and(|(_, since)| since.elapsed() >= RIPE)
    }
}
