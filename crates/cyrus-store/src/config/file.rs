//! The contents of a parsed `imapd.conf`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use cyrus_types::NameRules;

use crate::config::values::{parse_bytesize, parse_duration, parse_int, parse_switch};
use crate::error::StoreError;

/// The program name with which `sync_client` reads its own (prefixed) options.
pub(super) const PROGRAM: &str = "sync_client";

/// How user ids and domains relate (option `virtdomains`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtDomains {
    /// No virtual domains.
    Off,
    /// The domain comes from the user id only.
    UserId,
    /// The domain may also come from the client's address.
    On,
}

/// A parsed `imapd.conf`.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) path: PathBuf,
    /// Every option that was set or has a default, with `{configdirectory}` resolved.
    pub(crate) values: HashMap<String, String>,
    /// Where an option was set; absent for defaults.
    pub(crate) set: HashMap<String, Origin>,
    pub(crate) config_dir: PathBuf,
    pub(crate) names: NameRules,
}

/// Where an option was set.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) path: PathBuf,
    pub(crate) line: u32,
    /// Set through a name with the program's prefix.
    pub(crate) prefixed: bool,
}

impl Config {
    /// The path of this file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An option's value as it was written, or its default in 3.6.1; `None` if it has neither.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether an option with this prefix is set; upper and lower case are equal.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        let prefix = prefix.to_ascii_lowercase();
        self.set.keys().any(|name| name.starts_with(&prefix))
    }

    /// Was the option set in the file (rather than left to its default)?
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// An option of a replication channel, or the plain one where the channel has none of its own.
    pub fn channel(&self, channel: Option<&str>, name: &str) -> Option<&str> {
        self.get(&self.channel_key(channel, name))
    }

    /// The name with which the file sets an option of a channel: `sync_client_<channel>_<name>`, `<channel>_<name>`, or
    /// `name` if neither is set (`sync_get_config` of `imap/sync_support.c`, `config_getoverflowstring` of
    /// `lib/libconfig.c`). Cyrus does not find the second one if the channel's name has capital letters; here case does not
    /// matter.
    pub fn channel_key(&self, channel: Option<&str>, name: &str) -> String {
        let Some(channel) = channel else { return name.to_string() };
        let own = format!("{channel}_{name}").to_ascii_lowercase();
        let keys = [format!("{PROGRAM}_{own}"), own];
        keys.into_iter().find(|key| self.is_set(key)).unwrap_or_else(|| name.to_string())
    }

    /// A switch; `false` if the option is neither set nor known.
    ///
    /// # Errors
    /// The value is neither on nor off (only possible for options that 3.6.1 does not know).
    pub fn switch(&self, name: &str) -> Result<bool, StoreError> {
        match self.get(name) {
            None => Ok(false),
            Some(value) => {
                parse_switch(value).ok_or_else(|| self.bad(name, "a switch: use yes or no"))
            }
        }
    }

    /// A whole number; `None` if the option is neither set nor known.
    ///
    /// # Errors
    /// The value is not a whole number.
    pub fn int(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match parse_int(value) {
            Some(number) => Ok(Some(number)),
            None => Err(self.bad(name, "a whole number")),
        }
    }

    /// A duration in seconds; `unit` ('d', 'h', 'm' or 's') is the unit of a bare number. `None` if the option has no
    /// value.
    ///
    /// # Errors
    /// The value is not a duration such as `90`, `2h` or `1d12h`.
    pub fn duration(&self, name: &str, unit: char) -> Result<Option<i64>, StoreError> {
        let Some(value) = self.get(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match parse_duration(value, unit) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(self.bad(name, "a duration such as 90s, 2h or 1d12h")),
        }
    }

    /// As [`Config::duration`], of a channel: `<channel>_<name>` if there is a channel and it is set, else `<name>`.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn channel_duration(
        &self,
        channel: Option<&str>,
        name: &str,
        unit: char,
    ) -> Result<Option<i64>, StoreError> {
        self.duration(&self.channel_key(channel, name), unit)
    }

    /// A size in bytes; `unit` ('B', 'K', 'M' or 'G') is the unit of a bare number. `None` if the option has no value.
    ///
    /// # Errors
    /// The value is not a size such as `512`, `64K` or `1G`.
    pub fn bytesize(&self, name: &str, unit: char) -> Result<Option<i64>, StoreError> {
        let Some(value) = self.get(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match parse_bytesize(value, unit) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.bad(name, "a size such as 512, 64K or 1G")),
        }
    }

    /// An error about an option's value, with the file and line where it was set. `wanted` says what the value should be.
    pub fn bad(&self, name: &str, wanted: &str) -> StoreError {
        let value = self.get(name).unwrap_or_default();
        let what = format!("option {name}: '{value}' is not {wanted}");
        match self.set.get(name) {
            Some(origin) => {
                StoreError::Config { path: origin.path.clone(), line: origin.line, what }
            }
            None => StoreError::option(name, format!("'{value}' is not {wanted}")),
        }
    }

    /// `configdirectory`.
    pub fn config_dir(&self) -> &Path {
        &self.config_dir
    }

    /// How names are spelt here (separators, prefixes, default domain).
    pub fn names(&self) -> &NameRules {
        &self.names
    }

    /// `defaultpartition`, lower-cased.
    pub fn default_partition(&self) -> Option<&str> {
        self.get("defaultpartition")
    }

    /// All `partition-NAME` options: name and folder.
    pub fn partitions(&self) -> BTreeMap<&str, &Path> {
        let mut all = BTreeMap::new();
        for (key, value) in &self.values {
            if let Some(name) = key.strip_prefix("partition-") {
                all.insert(name, Path::new(value.as_str()));
            }
        }
        all
    }

    /// The folder of a partition.
    ///
    /// # Errors
    /// `partition-NAME` is not set.
    pub fn partition_dir(&self, partition: &str) -> Result<&Path, StoreError> {
        let name = format!("partition-{partition}");
        match self.get(&name) {
            Some(path) => Ok(Path::new(path)),
            None => {
                Err(StoreError::option(&name, "is not set, but a mailbox is on this partition"))
            }
        }
    }

    /// The folder of a partition's metadata (`metapartition-NAME`), if it has its own.
    pub fn metapartition_dir(&self, partition: &str) -> Option<&Path> {
        self.get(&format!("metapartition-{partition}")).map(Path::new)
    }

    /// The folder of a partition's archive (`archivepartition-NAME`), if there is one and `archive_enabled` is on.
    pub fn archivepartition_dir(&self, partition: &str) -> Option<&Path> {
        if !self.is_on("archive_enabled") {
            return None;
        }
        self.get(&format!("archivepartition-{partition}")).map(Path::new)
    }

    /// Is a kind of file (`header`, `index`, `cache`, `annotations` …) kept on the metadata partition?
    pub fn is_meta_file(&self, kind: &str) -> bool {
        self.get("metapartition_files")
            .is_some_and(|list| list.split_whitespace().any(|word| word == kind))
    }

    /// A switch that 3.6.1 knows; its value was checked when the file was read.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).and_then(parse_switch).unwrap_or(false)
    }

    /// `hashimapspool`: folders named after mailboxes are spread over 26 (or 23) letters.
    pub fn hashimapspool(&self) -> bool {
        self.is_on("hashimapspool")
    }

    /// `fulldirhash`: those letters come from a hash of the name instead of its first letter.
    pub fn fulldirhash(&self) -> bool {
        self.is_on("fulldirhash")
    }

    /// Where lock files live: `mboxname_lockpath`, else `lock` below the configuration directory.
    pub fn lock_root(&self) -> PathBuf {
        self.get("mboxname_lockpath").map_or_else(|| self.config_dir.join("lock"), PathBuf::from)
    }

    /// `virtdomains`.
    pub fn virtdomains(&self) -> VirtDomains {
        match self.get("virtdomains") {
            Some("userid") => VirtDomains::UserId,
            Some(value) if parse_switch(value) == Some(true) => VirtDomains::On,
            _ => VirtDomains::Off,
        }
    }

    /// `conversations`.
    pub fn conversations(&self) -> bool {
        self.is_on("conversations")
    }

    /// `reverseacls`.
    pub fn reverseacls(&self) -> bool {
        self.is_on("reverseacls")
    }

    /// `delete_mode: delayed`: deleted mailboxes are renamed below `deletedprefix`.
    pub fn delayed_delete(&self) -> bool {
        self.get("delete_mode") == Some("delayed")
    }

    /// The path of a global database: `<option>` if set, else `file` below the configuration directory.
    pub fn db_path(&self, option: &str, file: &str) -> PathBuf {
        self.get(option).map_or_else(|| self.config_dir.join(file), PathBuf::from)
    }

    /// `admins`, split into words.
    pub fn admins(&self) -> Vec<&str> {
        self.get("admins").unwrap_or_default().split_whitespace().collect()
    }

    /// The system account Cyrus runs as (`cyrus_user`, else `cyrus`).
    pub fn cyrus_user(&self) -> &str {
        self.get("cyrus_user").unwrap_or("cyrus")
    }

    /// `syslog_prefix`, if set.
    pub fn syslog_prefix(&self) -> Option<&str> {
        self.get("syslog_prefix")
    }

    /// `sievedir`: where Sieve scripts live unless `sieveusehomedir` is on.
    pub fn sieve_dir(&self) -> Option<&Path> {
        self.get("sievedir").map(Path::new)
    }
}
