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
    /// Those of a release, made if they are not there; `None` for this machine's.
    ///
    /// # Errors
    /// They can't be made.
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

    /// The same as a line of cyrus.conf begins.
    #[must_use]
    pub fn line(&self, name: &str) -> String {
        self.words(name).join(" ")
    }

    /// Where SASL's mechanisms are, if not where this machine has them.
    #[must_use]
    pub fn sasl_path(&self) -> Option<PathBuf> {
        self.root.as_ref().map(Root::sasl_path)
    }
}
