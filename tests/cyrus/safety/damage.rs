//! Damages a master, and repairs it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::Cyrus;

use super::facts::{Facts, place_of};
use super::story::{Damage, How, Target, Which};

/// A damage in a user's files.
#[derive(Debug, Clone)]
pub(super) struct Wound {
    pub(super) damage: Damage,
    /// Below the server's folder: the same in its copy.
    path: PathBuf,
    /// The unique id of the mailbox that can't be read any more.
    pub(super) mailbox: Option<String>,
    /// The message that can't be read any more.
    pub(super) uid: Option<u32>,
}

/// A damage that can be undone.
#[derive(Debug)]
pub(super) struct Undo {
    path: PathBuf,
    kept: PathBuf,
    mode: Option<u32>,
}

/// Finds the target of a damage, in words of the user's facts on the undamaged master; `None` if there is nothing to
/// damage.
pub(super) fn aim(cyrus: &Cyrus, user: &str, facts: &Facts, damage: Damage) -> Option<Wound> {
    let find = |folder: &str| {
        let name = format!("user.{user}{}", folder.trim_start_matches("INBOX").replace('/', "."));
        facts.find(&name)
    };
    let of_user = |file: &str| {
        let (id, _) = find("INBOX")?;
        Some(
            cyrus.config_dir().join("user/uuid").join(&id[..1]).join(&id[1..2]).join(id).join(file),
        )
    };
    // Folders are on the default partition in all stories.
    let place = |id: &str| place_of(cyrus, "default", id);
    let (path, mailbox, uid) = match damage.target {
        Target::Index(folder) => {
            let (id, _) = find(folder)?;
            (place(id).join("cyrus.index"), Some(id.clone()), None)
        }
        Target::Header(folder) => {
            let (id, _) = find(folder)?;
            (place(id).join("cyrus.header"), Some(id.clone()), None)
        }
        Target::Annotations(folder) => {
            let (id, _) = find(folder)?;
            (place(id).join("cyrus.annotations"), Some(id.clone()), None)
        }
        Target::Place(folder) => {
            let (id, _) = find(folder)?;
            (place(id), Some(id.clone()), None)
        }
        Target::Message(folder, which) => {
            let (id, mailbox) = find(folder)?;
            let uid = match which {
                Which::First => mailbox.live.keys().next(),
                Which::Last | Which::All => mailbox.live.keys().next_back(),
            };
            let uid = *uid?;
            (place(id).join(format!("{uid}.")), Some(id.clone()), Some(uid))
        }
        Target::Subscriptions => (of_user("sub.db")?, None, None),
        Target::Seen => (of_user("seen.db")?, None, None),
        Target::Counters => (of_user("counters.db")?, None, None),
        Target::QuotaRoot(folder) => {
            let (_, mailbox) = find(folder)?;
            let letter = user.get(..1)?;
            (cyrus.config_dir().join("quota").join(letter).join(&mailbox.name), None, None)
        }
        Target::Mboxlist => (cyrus.config_dir().join("mailboxes.db"), None, None),
    };
    if !path.exists() {
        return None;
    }
    let path = path.strip_prefix(cyrus.dir()).ok()?.to_path_buf();
    Some(Wound { damage, path, mailbox, uid })
}

impl Wound {
    /// Damages a server's file.
    pub(super) fn inflict(&self, cyrus: &Cyrus, nr: usize) -> Undo {
        let path = cyrus.dir().join(&self.path);
        let kept = cyrus.dir().join(format!("kept{nr}"));
        let meta = path.metadata().unwrap();
        if self.damage.how == How::Closed {
            let mode = meta.permissions().mode();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
            return Undo { path, kept, mode: Some(mode) };
        }
        let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        std::fs::rename(&path, &kept).unwrap();
        let damaged = match self.damage.how {
            How::Missing | How::Closed => None,
            How::Empty => Some(Vec::new()),
            How::Half => {
                // In the middle of a line, if it has lines.
                let half = (bytes.len() / 2..).find(|end| !bytes[..*end].ends_with(b"\n")).unwrap();
                Some(bytes[..half].to_vec())
            }
            How::Garbage => Some(vec![0xA5; bytes.len()]),
        };
        if let Some(damaged) = damaged {
            std::fs::write(&path, damaged).unwrap();
            testkit::process::give_to_cyrus(&path).unwrap();
        }
        Undo { path, kept, mode: None }
    }

    /// Whether another damage hits the same file.
    pub(super) fn same_file(&self, other: &Wound) -> bool {
        self.path == other.path
    }

    /// Whether the damage makes a whole mailbox or database unreadable, so that every run must notice it.
    pub(super) fn is_deep(&self) -> bool {
        let Damage { target, how } = self.damage;
        match target {
            Target::Seen | Target::Counters | Target::Annotations(_) | Target::Message(..) => false,
            // An empty list of lines is a valid list.
            Target::Subscriptions => how != How::Empty,
            Target::Index(_)
            | Target::Header(_)
            | Target::Place(_)
            | Target::QuotaRoot(_)
            | Target::Mboxlist => true,
        }
    }
}

impl Undo {
    /// Repairs it.
    pub(super) fn mend(self) {
        if let Some(mode) = self.mode {
            std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode)).unwrap();
            return;
        }
        if self.path.is_dir() {
            std::fs::remove_dir_all(&self.path).unwrap();
        }
        std::fs::rename(&self.kept, &self.path).unwrap();
    }
}
