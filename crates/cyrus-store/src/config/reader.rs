//! Turns the text of `imapd.conf` into a [`Config`]: includes, prefixes, repeated and renamed options, defaults.
//!
//! [`crate::config`] describes the format.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use cyrus_types::NameRules;

use crate::config::file::{Config, Origin, PROGRAM, VirtDomains};
use crate::config::options;
use crate::config::values::{parse_bytesize, parse_duration, parse_int, parse_switch};
use crate::error::StoreError;

/// How deep files may include one another.
const MAX_INCLUDE_DEPTH: u32 = 32;
/// The longest file, in bytes; a longer one (a device, for example) is not read to its end.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    Duration,
    Text,
}

/// Collects options while files are read.
pub(crate) struct Reader {
    prefix: String,
    values: HashMap<String, String>,
    set: HashMap<String, Origin>,
    kinds: HashMap<&'static str, Kind>,
    included: HashSet<PathBuf>,
}

impl Reader {
    pub(crate) fn new(program: &str) -> Reader {
        let mut kinds = HashMap::new();
        for name in options::SWITCHES_ON.iter().chain(options::SWITCHES_OFF) {
            kinds.insert(*name, Kind::Switch);
        }
        for (name, _) in options::NUMBERS {
            kinds.insert(*name, Kind::Number);
        }
        for (name, _) in options::DURATIONS {
            kinds.insert(*name, Kind::Duration);
        }
        for name in options::STRINGS_UNSET {
            kinds.insert(*name, Kind::Text);
        }
        for (name, _) in options::STRINGS {
            kinds.insert(*name, Kind::Text);
        }
        Reader {
            prefix: format!("{}_", program.to_ascii_lowercase()),
            values: HashMap::new(),
            set: HashMap::new(),
            kinds,
            included: HashSet::new(),
        }
    }

    pub(crate) fn file(&mut self, path: &Path) -> Result<(), StoreError> {
        self.read(path, 0, "; -C names another")
    }

    /// Reads a file; `missing` is the hint for the error if it does not exist, or the line that includes it.
    fn read(&mut self, path: &Path, depth: u32, missing: &str) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|source| {
            let included = depth > 0;
            let hint = if included || source.kind() == ErrorKind::NotFound { missing } else { "" };
            StoreError::ConfigFile { path: path.to_path_buf(), source, hint: hint.to_string() }
        })?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let what = format!("has more than {MAX_FILE_BYTES} bytes");
            return Err(StoreError::Config { path: path.to_path_buf(), line: 0, what });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            StoreError::not_utf8(path, error.as_bytes().get(..40).unwrap_or_default())
        })?;
        self.text(&text, path, depth)
    }

    pub(crate) fn text(&mut self, text: &str, path: &Path, depth: u32) -> Result<(), StoreError> {
        let fail =
            |line: u32, what: String| StoreError::Config { path: path.to_path_buf(), line, what };
        if depth > MAX_INCLUDE_DEPTH {
            return Err(fail(0, "is included too deeply".to_string()));
        }
        if !self.included.insert(path.to_path_buf()) {
            return Err(fail(0, "is included twice".to_string()));
        }
        let mut line = 0u32;
        let mut joined = String::new();
        for raw in text.split('\n') {
            line += 1;
            if let Some(start) = raw.strip_suffix('\\') {
                joined.push_str(start);
                continue;
            }
            joined.push_str(raw);
            let whole = std::mem::take(&mut joined);
            let trimmed = whole.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (name, value) = split_option(trimmed).map_err(|what| fail(line, what))?;
            if name == "@include" {
                let from = format!("; line {line} of {} includes it", path.display());
                self.read(Path::new(value), depth + 1, &from)?;
            } else if name.starts_with('@') {
                return Err(fail(line, format!("unknown directive '{name}'")));
            } else {
                self.option(
                    &name,
                    value,
                    Origin { path: path.to_path_buf(), line, prefixed: false },
                )?;
            }
        }
        Ok(())
    }

    fn option(
        &mut self,
        full_name: &str,
        value: &str,
        mut origin: Origin,
    ) -> Result<(), StoreError> {
        let fail = |origin: &Origin, what: String| StoreError::Config {
            path: origin.path.clone(),
            line: origin.line,
            what,
        };
        let mut name = full_name;
        // The prefix counts only in front of an option that 3.6.1 knows; otherwise it would catch options of other
        // programs.
        if let Some(own) = full_name.strip_prefix(&self.prefix)
            && self.kinds.contains_key(own)
        {
            name = own;
            origin.prefixed = true;
        }
        if let Some(earlier) = self.set.get(name) {
            if earlier.prefixed && !origin.prefixed {
                return Ok(());
            }
            if earlier.prefixed == origin.prefixed {
                let what = format!(
                    "option {full_name} was already set on line {} of {}",
                    earlier.line,
                    earlier.path.display()
                );
                return Err(fail(&origin, what));
            }
        }
        let fits = match self.kinds.get(name) {
            Some(Kind::Switch) => parse_switch(value).is_some(),
            Some(Kind::Number) => {
                parse_int(value).is_some()
                    || parse_bytesize(value, 'B').is_some()
                    || parse_duration(value, 's').is_some()
            }
            Some(Kind::Duration) => parse_duration(value, 's').is_some(),
            Some(Kind::Text) | None => true,
        };
        if !fits {
            let wanted = match self.kinds.get(name) {
                Some(Kind::Switch) => "a switch: use yes or no",
                Some(Kind::Duration) => "a duration such as 90s, 2h or 1d12h",
                _ => "a whole number",
            };
            return Err(fail(&origin, format!("option {full_name}: '{value}' is not {wanted}")));
        }
        if let Some(choices) = checked_choices(name) {
            let unknown = value.split_whitespace().find(|word| !choices.contains(word));
            if let Some(word) =
                unknown.filter(|word| !(name == "virtdomains" && parse_switch(word).is_some()))
            {
                return Err(fail(
                    &origin,
                    format!("option {full_name}: '{word}' is not one of: {}", choices.join(" ")),
                ));
            }
        }
        self.values.insert(name.to_string(), value.to_string());
        self.set.insert(name.to_string(), origin);
        Ok(())
    }

    pub(crate) fn finish(mut self, path: &Path) -> Result<Config, StoreError> {
        for (old, new) in options::RENAMED {
            if let (Some(value), false) =
                (self.values.get(*old).cloned(), self.set.contains_key(*new))
            {
                if let Some(origin) = self.set.get(*old).cloned() {
                    self.set.insert((*new).to_string(), origin);
                }
                self.values.insert((*new).to_string(), value);
            }
        }
        for name in options::SWITCHES_ON {
            self.values.entry((*name).to_string()).or_insert_with(|| "on".to_string());
        }
        for name in options::SWITCHES_OFF {
            self.values.entry((*name).to_string()).or_insert_with(|| "off".to_string());
        }
        for (name, default) in options::NUMBERS.iter().chain(options::STRINGS) {
            self.values.entry((*name).to_string()).or_insert_with(|| (*default).to_string());
        }
        for (name, default) in options::DURATIONS.iter().filter(|(_, default)| !default.is_empty())
        {
            self.values.entry((*name).to_string()).or_insert_with(|| (*default).to_string());
        }
        let Some(config_dir) = self.values.get("configdirectory").cloned() else {
            return Err(StoreError::Config {
                path: path.to_path_buf(),
                line: 0,
                what: "option configdirectory is not set".to_string(),
            });
        };
        self.resolve_config_dir(&config_dir);
        if let Some(partition) = self.values.get_mut("defaultpartition") {
            partition.make_ascii_lowercase();
            if !partition.chars().all(|c| c.is_ascii_alphanumeric()) {
                let what = format!(
                    "option defaultpartition: '{partition}' may hold letters and digits only"
                );
                let origin = self.set.get("defaultpartition");
                return Err(StoreError::Config {
                    path: origin.map_or(path, |origin| &origin.path).to_path_buf(),
                    line: origin.map_or(0, |origin| origin.line),
                    what,
                });
            }
        }
        let mut config = Config {
            path: path.to_path_buf(),
            values: self.values,
            set: self.set,
            config_dir: PathBuf::from(config_dir),
            names: NameRules::default(),
        };
        config.names = NameRules::new(
            config.get("deletedprefix").unwrap_or("DELETED"),
            config.get("defaultdomain"),
            config.is_on("unixhierarchysep"),
            config.virtdomains() != VirtDomains::Off,
        );
        Ok(config)
    }

    /// Replaces a leading `{configdirectory}` in the known texts (and, as Cyrus does, in no others).
    fn resolve_config_dir(&mut self, config_dir: &str) {
        const MARK: &str = "{configdirectory}";
        for (name, value) in &mut self.values {
            if self.kinds.get(name.as_str()) != Some(&Kind::Text) || name == "configdirectory" {
                continue;
            }
            let marked =
                value.get(..MARK.len()).is_some_and(|start| start.eq_ignore_ascii_case(MARK));
            if marked {
                value.replace_range(..MARK.len(), config_dir);
            }
        }
    }
}

/// Splits `Name: value` and checks both halves.
fn split_option(line: &str) -> Result<(String, &str), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!("'{line}' has no ':' between option and value"));
    };
    let bare = name.strip_prefix('@').unwrap_or(name);
    if !bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(format!("'{name}' is not an option's name"));
    }
    let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    if value.is_empty() {
        return Err(format!("option {name} has no value: give it one or remove the line"));
    }
    Ok((name.to_ascii_lowercase(), value))
}

/// The words that this option allows; `None` if any value is taken as it is. Only options that this crate uses are here.
fn checked_choices(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "virtdomains" => Some(&["off", "userid", "on"]),
        "delete_mode" => Some(&["immediate", "delayed"]),
        "metapartition_files" => Some(&[
            "header",
            "index",
            "cache",
            "expunge",
            "squat",
            "annotations",
            "lock",
            "dav",
            "archivecache",
        ]),
        _ => None,
    }
}

impl Config {
    /// Reads a file, as the program `sync_client`.
    ///
    /// # Errors
    /// [`StoreError::Config`] names the file and line of whatever cannot be understood.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, StoreError> {
        Config::load_as(path, PROGRAM)
    }

    /// Reads a file as the named program, so that its prefix (`program_option`) counts.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_as(path: impl AsRef<Path>, program: &str) -> Result<Config, StoreError> {
        let mut reader = Reader::new(program);
        reader.file(path.as_ref())?;
        reader.finish(path.as_ref())
    }

    /// Reads text as if it were in a file of that name.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Config, StoreError> {
        let mut reader = Reader::new(PROGRAM);
        reader.text(text, path.as_ref(), 0)?;
        reader.finish(path.as_ref())
    }
}
