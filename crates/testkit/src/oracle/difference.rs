//! Differences between master and replica, printed so that a person sees them at a glance.

use std::fmt;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The user.
    pub user: String,
    /// The mailbox's internal name, or the quota root, if the difference is about one.
    pub mailbox: Option<String>,
    /// The message, if it is about one.
    pub uid: Option<u32>,
    /// The key of the protocol (`FLAGS`, `HIGHESTMODSEQ` …), `MAILBOX` or `RECORD` for a whole one.
    pub key: String,
    /// The master's value; `None` if it has none.
    pub master: Option<String>,
    /// The replica's value; `None` if it has none.
    pub replica: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.user)?;
        if let Some(mailbox) = &self.mailbox {
            write!(out, " {mailbox}")?;
        }
        if let Some(uid) = self.uid {
            write!(out, " uid {uid}")?;
        }
        let or_nothing =
            |value: &Option<String>| value.as_deref().unwrap_or("(nothing)").to_owned();
        write!(
            out,
            " {}: master {} replica {}",
            self.key,
            or_nothing(&self.master),
            or_nothing(&self.replica)
        )
    }
}

/// Differences as a text of one line each, at most 50, for a test's message: `assert!(report.is_empty(), "{report}")`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Difference>);

impl Report {
    /// Whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many differences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} differences between master and replica", self.0.len())?;
        for difference in self.0.iter().take(50) {
            writeln!(out, "  {difference}")?;
        }
        if self.0.len() > 50 {
            writeln!(out, "  … and {} more", self.0.len() - 50)?;
        }
        Ok(())
    }
}
