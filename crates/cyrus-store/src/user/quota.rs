//! Quota roots: limits and usage.
//!
//! ```text
//! 2.5 and later   %(S (used limit) M (used limit) AS (used) NF (used) SCAN %(…) MODSEQ 12)     no limit: unlimited
//! before          used limit [M used limit] [AS used limit] …                                limit -1: unlimited
//! ```
//!
//! STORAGE and X-ANNOTATION-STORAGE limits are in KiB, their usage in bytes; the others are plain numbers. Source:
//! `imap/quota_db.c` and `imap/sync_support.c` (sync_encode_quota_limits) of cyrus-imapd 3.6.1. With
//! `quota_use_conversations` Cyrus reports other *used* numbers; the limits, which replication sends, are these.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_types::ModSeq;

use crate::config::Config;
use crate::databases;
use crate::db::{Database, quotalegacy};
use crate::dlist::Value;
use crate::error::StoreError;
use crate::paths;

/// How many resources there are.
pub const RESOURCES: usize = 4;
/// The resources' names, in the order of [`QuotaRoot::limits`], which is also that of replication.
pub const RESOURCE_NAMES: [&str; RESOURCES] =
    ["STORAGE", "MESSAGE", "X-ANNOTATION-STORAGE", "X-NUM-FOLDERS"];
/// Their names in the database.
const DB_NAMES: [&str; RESOURCES] = ["S", "M", "AS", "NF"];
/// The value that means no limit.
pub const UNLIMITED: i64 = -1;

/// A quota root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaRoot {
    /// The internal name of the mailbox at the top.
    pub root: String,
    /// Limits ([`UNLIMITED`] if there is none), in the order of [`RESOURCE_NAMES`].
    pub limits: [i64; RESOURCES],
    /// Usage, in the order of [`RESOURCE_NAMES`].
    pub used: [i64; RESOURCES],
    /// The modseq of the last change.
    pub modseq: ModSeq,
}

impl QuotaRoot {
    /// The limits as replication sends them: STORAGE first as `LIMIT`, always, with a very large number for no limit; then
    /// each limited resource by its name (`sync_encode_quota_limits`). All are cut to 32 bits on the wire.
    pub fn sync_limits(&self) -> Vec<(&'static str, u64)> {
        let on_wire = |limit: i64| u64::from(limit as u32);
        let storage = self.limits.first().copied().unwrap_or(UNLIMITED);
        let mut limits = vec![("LIMIT", on_wire(storage))];
        for (name, limit) in RESOURCE_NAMES.into_iter().zip(self.limits) {
            if limit >= 0 {
                limits.push((name, on_wire(limit)));
            }
        }
        limits
    }
}

/// The quota roots of a server, for reading.
#[derive(Debug, Clone)]
pub struct QuotaDb {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Files(Box<quotalegacy::Db>),
    Database(Database),
}

impl QuotaDb {
    /// Opens what `quota_db` and `quota_db_path` point to.
    ///
    /// # Errors
    /// The database is missing, damaged or in a format that we don't read.
    pub fn open(conf: &Arc<Config>) -> Result<QuotaDb, StoreError> {
        let path = conf.db_path("quota_db_path", "quotas.db");
        let kind = if conf.get("quota_db") == Some("quotalegacy") {
            // Only the folder of the configured path counts.
            let base = path.parent().unwrap_or(Path::new("/")).to_path_buf();
            Kind::Files(Box::new(quotalegacy::Db::new(conf, &base)))
        } else {
            match Database::open(&path) {
                Ok(db) => Kind::Database(db),
                Err(StoreError::MissingFile { .. }) => {
                    return Err(databases::missing(&path, "quota_db_path"));
                }
                Err(error) => return Err(error),
            }
        };
        Ok(QuotaDb { path, kind })
    }

    /// A quota root by its internal name.
    ///
    /// # Errors
    /// The database or the entry is damaged.
    pub fn quota(&self, root: &str) -> Result<Option<QuotaRoot>, StoreError> {
        let value = match &self.kind {
            Kind::Files(files) => files.fetch(root)?,
            Kind::Database(db) => db.fetch(root.as_bytes())?,
        };
        match value {
            Some(value) if !value.is_empty() => Ok(Some(parse(&self.path, root, &value)?)),
            _ => Ok(None),
        }
    }

    /// The names of all quota roots, sorted.
    ///
    /// # Errors
    /// The database is damaged or a folder cannot be listed.
    pub fn roots(&self) -> Result<Vec<String>, StoreError> {
        let db = match &self.kind {
            Kind::Files(files) => return files.roots(),
            Kind::Database(db) => db,
        };
        let mut names = Vec::new();
        db.foreach(b"", |key, _| {
            let name =
                std::str::from_utf8(key).map_err(|_| StoreError::not_utf8(&self.path, key))?;
            names.push(name.to_string());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }
}

/// The file of a quota root, or that of all roots.
pub(crate) fn place(conf: &Config, root: &str) -> PathBuf {
    let path = conf.db_path("quota_db_path", "quotas.db");
    match path.parent() {
        Some(base) if conf.get("quota_db") == Some("quotalegacy") => {
            paths::quota_file(conf, base, root)
        }
        _ => path,
    }
}

fn parse(path: &Path, root: &str, value: &[u8]) -> Result<QuotaRoot, StoreError> {
    let damaged = |what: String| StoreError::damaged_entry(path, root.as_bytes(), what);
    let mut quota = QuotaRoot {
        root: root.to_string(),
        limits: [UNLIMITED; RESOURCES],
        used: [0; RESOURCES],
        modseq: ModSeq::ZERO,
    };
    if value.starts_with(b"%") {
        let map = Value::parse(value).map_err(|error| damaged(error.to_string()))?;
        let slots = DB_NAMES.iter().zip(&mut quota.used).zip(&mut quota.limits);
        for ((name, used), limit) in slots {
            let pair = map.get(name).and_then(Value::list).unwrap_or_default();
            for (slot, number) in [used, limit].into_iter().zip(pair) {
                *slot = signed(number)
                    .ok_or_else(|| damaged(format!("its '{name}' is not a number")))?;
            }
        }
        quota.modseq = map.get("MODSEQ").and_then(Value::number).map_or(ModSeq::ZERO, ModSeq);
        return Ok(quota);
    }
    let text = std::str::from_utf8(value).map_err(|_| StoreError::not_utf8(path, value))?;
    let mut words = text.split_whitespace().peekable();
    let mut resource = 0usize;
    loop {
        for slots in [&mut quota.used, &mut quota.limits] {
            let number = words.next().and_then(|word| word.parse().ok());
            match (number, slots.get_mut(resource)) {
                (Some(number), Some(slot)) => *slot = number,
                _ => return Err(damaged("a number is missing".to_string())),
            }
        }
        // A third number was left behind by an interrupted 'quota -f'.
        words.next_if(|word| word.parse::<i64>().is_ok());
        let Some(name) = words.next() else { return Ok(quota) };
        let known = DB_NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        resource = known.ok_or_else(|| damaged(format!("resource '{name}' is unknown")))?;
    }
}

/// Limits below zero were written as huge unsigned numbers by some versions.
fn signed(value: &Value) -> Option<i64> {
    let text = value.text()?;
    text.parse::<i64>().ok().or_else(|| text.parse::<u64>().ok().map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let path = Path::new("/q");
        let quota = parse(path, "user.anna", b"%(S (4096 1024) M (2) AS (0) NF (3 100) MODSEQ 17)")
            .unwrap();
        assert_eq!(quota.limits, [1024, -1, -1, 100]);
        assert_eq!(quota.used, [4096, 2, 0, 3]);
        assert_eq!(quota.modseq, ModSeq(17));
        let old = parse(path, "user.anna", b"4096 1024 7 M 2 50").unwrap();
        assert_eq!(old.limits, [1024, 50, -1, -1]);
        assert_eq!(old.used, [4096, 2, 0, 0]);
        assert_eq!(parse(path, "x", b"0 -1").unwrap().limits, [-1; 4]);
        for bad in ["", "1", "x y", "1 2 Q 3 4", "1 2 M 3", "%(S (a b))", "%(S"] {
            assert!(parse(path, "x", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
