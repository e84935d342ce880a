//! Reads quota roots that have a file each (`quota_db: quotalegacy`, the default).
//!
//! ```text
//! <config>/quota/a/user.anna                      the root's internal name is the file's; the letter is hashed
//! <config>/domain/e/ex.com/quota/a/user.anna      with virtdomains, for roots of other domains ("root" for a whole domain)
//! ```
//!
//! A file holds one value and a line feed; before 2.5 the value was two lines, used and limit. Writers replace whole files.
//! Source: `lib/cyrusdb_quotalegacy.c` of cyrus-imapd 3.6.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, VirtDomains};
use crate::error::StoreError;
use crate::paths;
use crate::regular;

/// Longer than any quota file.
const MAX_LEN: u64 = 64 << 10;

/// A tree of quota files, for reading.
#[derive(Debug, Clone)]
pub struct Db {
    conf: Arc<Config>,
    base: PathBuf,
}

impl Db {
    /// Reads below `base`, the folder that holds `quota` and `domain`.
    pub fn new(conf: &Arc<Config>, base: &Path) -> Db {
        Db { conf: conf.clone(), base: base.to_path_buf() }
    }

    /// The value of a root; empty if its file is empty. A line feed inside (the old form) becomes a space.
    ///
    /// # Errors
    /// The file cannot be read or does not end in a line feed.
    pub fn fetch(&self, root: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // A name that would leave the tree cannot be a root.
        if root.contains('/') || root.is_empty() {
            return Ok(None);
        }
        let path = paths::quota_file(&self.conf, &self.base, root);
        let mut text = match regular::read(&path, MAX_LEN) {
            Ok(text) => text,
            Err(StoreError::MissingFile { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if text.is_empty() {
            return Ok(Some(text));
        }
        if text.pop() != Some(b'\n') {
            return Err(StoreError::damaged(
                &path,
                "its last line has no end; run 'quota -f' for this root",
            ));
        }
        for byte in &mut text {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        Ok(Some(text))
    }

    /// All roots, sorted by name.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn roots(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        self.list(&self.base, "", &mut found)?;
        if self.conf.virtdomains() != VirtDomains::Off {
            for letter in names_in(&self.base.join("domain"))? {
                for domain in names_in(&self.base.join("domain").join(&letter))? {
                    let below = self.base.join("domain").join(&letter).join(&domain);
                    self.list(&below, &format!("{domain}!"), &mut found)?;
                    if below.join("quota/root").is_file() {
                        found.push(format!("{domain}!"));
                    }
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn list(&self, base: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), StoreError> {
        let tree = base.join("quota");
        for letter in names_in(&tree)? {
            // The hash letters; "root" is a domain's own quota.
            if letter.len() != 1 {
                continue;
            }
            for root in names_in(&tree.join(&letter))? {
                // A writer's unfinished file.
                if !root.ends_with(".NEW") {
                    found.push(format!("{prefix}{root}"));
                }
            }
        }
        Ok(())
    }
}

/// The names in a folder; empty if there is no such folder.
fn names_in(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", path, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("list", path, error))?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => return Err(StoreError::not_utf8(path, name.as_encoded_bytes())),
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_roots_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("configdirectory: {}\nvirtdomains: userid\n", dir.path().display());
        let conf = Config::parse(&text, "/t").unwrap();
        for (path, value) in [
            ("quota/a/user.anna", "%(S (1 2))\n"),
            ("quota/b/user.bert", "100\n200\n"),
            ("quota/b/user.bert.x.NEW", ""),
            ("domain/e/ex.com/quota/z/user.zoe", "1 2\n"),
            ("domain/e/ex.com/quota/root", "1 2\n"),
            ("quota/c/user.cut", "1 2"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let db = Db::new(&Arc::new(conf), dir.path());
        assert_eq!(
            db.roots().unwrap(),
            ["ex.com!", "ex.com!user.zoe", "user.anna", "user.bert", "user.cut"]
        );
        assert_eq!(db.fetch("user.anna").unwrap().unwrap(), b"%(S (1 2))");
        assert_eq!(db.fetch("user.bert").unwrap().unwrap(), b"100 200");
        assert_eq!(db.fetch("ex.com!").unwrap().unwrap(), b"1 2");
        assert_eq!(db.fetch("user.none").unwrap(), None);
        assert_eq!(db.fetch("../../etc/passwd").unwrap(), None);
        assert!(db.fetch("user.cut").is_err());
    }
}
