//! Where an instance's Cyrus programs are: this machine's 3.6.1, or those of another release of Debian.

use std::path::PathBuf;

use groundwork::roots::{self, Release, Root};

use crate::error::{Error, Result};
use crate::install::BIN;

/// The programs of one version.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    root: Option<Root>,
}

impl Programs {
    /// Those of a release, installed if they are missing; `None` for this machine's.
    ///
    /// # Errors
    /// They can't be installed.
    pub fn of(release: Option<Release>) -> Result<Programs> {
        let ensured = release.map(|release| roots::ensure(release, &crate::install::say));
        Ok(Programs { root: ensured.transpose().map_err(Error::NoRoot)? })
    }

    /// The words that start a program.
    #[must_use]
    pub fn words(&self, name: &str) -> Vec<String> {
        match &self.root {
            Some(root) => root.program(name),
            None => vec![format!("{BIN}/{name}")],
        }
    }

    /// The same, as the beginning of a line in cyrus.conf.
    #[must_use]
    pub fn line(&self, name: &str) -> String {
        self.words(name).join(" ")
    }

    /// The folder of SASL's mechanisms, if it is not this machine's default.
    #[must_use]
    pub fn sasl_path(&self) -> Option<PathBuf> {
        self.root.as_ref().map(Root::sasl_path)
    }
}
