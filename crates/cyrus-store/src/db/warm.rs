//! The remembered parts of a large twoskip file that is queried again and again.
//!
//! ```text
//!   question --> the file, open already --lock--> its header --the same?--> blocks and high records of before
//!                                                    '--another--> nothing of before
//! ```
//! A search begins with the records that are on many lists: one in 32 is on six or more, and they are all over the file,
//! each in a block of its own. So these are remembered one by one, and blocks only for records that are close together.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::db::blocks::Slots;
use crate::db::twoskip_record::{HEADER_LEN, Node};
use crate::error::StoreError;
use crate::lock::{FileLock, Mode};

/// How many views' blocks are kept for later queries: usually as many as threads query at once.
const WARM_VIEWS: usize = 4;

/// The open file, and blocks that were read from it: valid as long as its header, which every commit changes, is the same.
#[derive(Debug, Default)]
pub(crate) struct Warm(Mutex<Vec<WarmView>>);

#[derive(Debug)]
pub(super) struct WarmView {
    pub(super) file: Arc<File>,
    pub(super) stamp: Stamp,
    pub(super) read: Read,
}

/// What was read of one state of the file: blocks, and the records that are on many lists, by their offsets.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) slots: Slots,
    pub(super) high: HashMap<u64, Arc<Node>>,
}

impl Read {
    fn forget(&mut self) {
        self.slots.forget();
        self.high.clear();
    }
}

/// Distinguishes one state of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    len: u64,
    header: [u8; HEADER_LEN as usize],
}

impl Warm {
    pub(super) fn all(&self) -> MutexGuard<'_, Vec<WarmView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file at this path, locked, with the mark of its state, and its blocks or room for some.
    pub(super) fn take(&self, path: &Path) -> Result<(FileLock, Option<Stamp>, Read), StoreError> {
        let taken = self.all().pop();
        let (again, known) = match taken {
            Some(WarmView { file, stamp, read }) => {
                (FileLock::again(file, path)?, Some((stamp, read)))
            }
            None => (None, None),
        };
        let lock = match again {
            Some(lock) => lock,
            None => FileLock::on_existing(path, Mode::Shared, true)?,
        };
        let stamp = if lock.file_len() < HEADER_LEN { None } else { Some(stamp_of(&lock)?) };
        let read = match known {
            Some((known, read)) if Some(known) == stamp => read,
            Some((_, mut read)) => {
                read.forget();
                read
            }
            None => Read { slots: Slots::many(), high: HashMap::new() },
        };
        Ok((lock, stamp, read))
    }

    pub(super) fn put(&self, view: WarmView) {
        let mut all = self.all();
        // Nothing of a replaced file is kept open.
        all.retain(|other| other.stamp.file == view.stamp.file);
        if all.len() < WARM_VIEWS {
            all.push(view);
        }
    }
}

fn stamp_of(lock: &FileLock) -> Result<Stamp, StoreError> {
    let mut header = [0; HEADER_LEN as usize];
    let read = lock.file().read_exact_at(&mut header, 0);
    read.map_err(|error| StoreError::io("read", lock.path(), error))?;
    Ok(Stamp { file: lock.id(), len: lock.file_len(), header })
}
