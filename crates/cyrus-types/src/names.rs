//! Mailbox names in their four spellings, and user ids. The internal one has a type, [`MailboxName`].
//!
//! ```text
//! internal   example.com!user.anna^b.Odd^name     '.' between levels, '^' for a dot inside one, domain before '!'
//! deleted    example.com!DELETED.user.anna.Old.5F3759DF       the time of deletion, in hexadecimal, comes last
//! external   user/anna.b/Odd.name@example.com     as an admin sees it (with unixhierarchysep)
//! database   example.com GS user US anna.b US Odd.name        GS = 0x1d, US = 0x1f: no escaping at all
//! user id    anna.b@example.com
//! ```
//!
//! A domain equal to `defaultdomain` is never written. Source: `imap/mboxname.c` (mbname_*) and `imap/mboxlist.c`
//! (mbname_dbname) of cyrus-imapd 3.6.1. Of external forms only the admin's exists here: replication shows no other.

use crate::mailbox_name::MailboxName;
use crate::owner::Owner;

/// Separates the domain from the rest in a database key.
const DB_DOMAIN_SEPARATOR: char = '\u{1d}';
/// Separates the levels in a database key.
const DB_LEVEL_SEPARATOR: char = '\u{1f}';

/// The settings in `imapd.conf` for the spelling of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRules {
    deleted_prefix: String,
    default_domain: Option<String>,
    unix_hierarchy: bool,
    virtdomains: bool,
}

impl Default for NameRules {
    fn default() -> NameRules {
        NameRules {
            deleted_prefix: "DELETED".to_string(),
            default_domain: Some("internal".to_string()),
            unix_hierarchy: true,
            virtdomains: false,
        }
    }
}

/// A mailbox's name, parsed. Equal values name the same mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameParts {
    /// Domain, if it is not the default one.
    pub domain: Option<String>,
    /// The owner's user id without the domain; `None` for shared mailboxes.
    pub localpart: Option<String>,
    /// The levels below the owner, dots unescaped.
    pub boxes: Vec<String>,
    /// When the mailbox was moved below the deleted prefix (seconds since 1970); 0 if it was not.
    pub deleted: u32,
}

impl NameRules {
    /// Made from the options `deletedprefix`, `defaultdomain`, `unixhierarchysep` and (if not off) `virtdomains`.
    pub fn new(
        deleted_prefix: &str,
        default_domain: Option<&str>,
        unix_hierarchy: bool,
        virtdomains: bool,
    ) -> NameRules {
        NameRules {
            deleted_prefix: deleted_prefix.to_string(),
            default_domain: default_domain.map(str::to_string),
            unix_hierarchy,
            virtdomains,
        }
    }

    /// `deletedprefix`.
    pub fn deleted_prefix(&self) -> &str {
        &self.deleted_prefix
    }

    /// Parses an internal name.
    pub fn parse(&self, name: &MailboxName) -> NameParts {
        self.parse_internal(name.as_str())
    }

    /// Parses text that looks like an internal name, but names no mailbox: a quota root, or a name's beginning.
    pub fn parse_internal(&self, internal: &str) -> NameParts {
        let (domain, rest) = match internal.split_once('!') {
            Some((domain, rest)) => (self.foreign(domain), rest),
            None => (None, internal),
        };
        let levels = rest.split('.').filter(|level| !level.is_empty());
        self.assemble(domain, levels.map(|level| level.replace('^', ".")).collect())
    }

    /// Parses a database key (without its leading `N`).
    pub fn parse_db(&self, key: &str) -> NameParts {
        let (domain, rest) = match key.split_once(DB_DOMAIN_SEPARATOR) {
            // Written by Cyrus itself, so it is never the default domain.
            Some((domain, rest)) => (Some(domain.to_string()), rest),
            None => (None, key),
        };
        let levels = rest.split(DB_LEVEL_SEPARATOR).filter(|level| !level.is_empty());
        self.assemble(domain, levels.map(str::to_string).collect())
    }

    /// Parses a user id: the result is the name of that user's INBOX.
    pub fn parse_userid(&self, userid: &str) -> NameParts {
        if userid.is_empty() {
            return NameParts::default();
        }
        let (localpart, domain) = match userid.rsplit_once('@') {
            Some((localpart, domain)) => (localpart, self.foreign(domain)),
            None => (userid, None),
        };
        NameParts { domain, localpart: Some(localpart.to_string()), ..NameParts::default() }
    }

    /// Parses a name as an admin types it; `None` if it is not valid (a `/` or `^` inside a level).
    pub fn parse_external(&self, external: &str) -> Option<NameParts> {
        let (rest, domain) = match external.rsplit_once('@') {
            Some((rest, domain)) if self.virtdomains => (rest, self.foreign(domain)),
            _ => (external, None),
        };
        let separator = if self.unix_hierarchy { '/' } else { '.' };
        let mut levels = Vec::new();
        for level in rest.split(separator).filter(|level| !level.is_empty()) {
            let forbidden = if self.unix_hierarchy { '^' } else { '/' };
            if level.contains(forbidden) {
                return None;
            }
            levels.push(if self.unix_hierarchy {
                level.to_string()
            } else {
                level.replace('^', ".")
            });
        }
        let name = self.assemble(domain, levels);
        if name.localpart.is_none() && name.boxes.is_empty() { None } else { Some(name) }
    }

    /// The internal name of a user's INBOX: `user.anna`.
    pub fn user_inbox(&self, userid: &str) -> MailboxName {
        self.internal(&self.parse_userid(userid))
    }

    /// Spells a name internally.
    pub fn internal(&self, name: &NameParts) -> MailboxName {
        let mut text = String::new();
        if let Some(domain) = &name.domain {
            text.push_str(domain);
            text.push('!');
        }
        text.push_str(
            &self.levels(name).map(|level| level.replace('.', "^")).collect::<Vec<_>>().join("."),
        );
        MailboxName::new(text)
    }

    /// Spells a name as a database key (without the leading `N`).
    pub fn db_key(&self, name: &NameParts) -> String {
        let mut text = String::new();
        if let Some(domain) = &name.domain {
            text.push_str(domain);
            text.push(DB_DOMAIN_SEPARATOR);
        }
        text.push_str(&self.levels(name).collect::<Vec<_>>().join("\u{1f}"));
        text
    }

    /// Spells a name as an admin sees it.
    pub fn external(&self, name: &NameParts) -> String {
        let mut text = if self.unix_hierarchy {
            self.levels(name).collect::<Vec<_>>().join("/")
        } else {
            self.levels(name).map(|level| level.replace('.', "^")).collect::<Vec<_>>().join(".")
        };
        if let (true, Some(domain)) = (self.virtdomains, &name.domain) {
            text.push('@');
            text.push_str(domain);
        }
        text
    }

    /// All levels of a name, from the top: deleted prefix, `user`, owner, boxes, time of deletion.
    pub fn levels<'a>(&'a self, name: &'a NameParts) -> impl Iterator<Item = String> + 'a {
        let deleted = name.deleted != 0;
        let prefix = deleted.then(|| self.deleted_prefix.clone());
        let user =
            name.localpart.iter().flat_map(|localpart| ["user".to_string(), localpart.clone()]);
        let time = deleted.then(|| format!("{:X}", name.deleted));
        prefix.into_iter().chain(user).chain(name.boxes.iter().cloned()).chain(time)
    }

    /// A domain that is written: not the default one.
    fn foreign(&self, domain: &str) -> Option<String> {
        if self.default_domain.as_deref() == Some(domain) { None } else { Some(domain.to_string()) }
    }

    fn assemble(&self, domain: Option<String>, mut levels: Vec<String>) -> NameParts {
        let mut deleted = 0;
        if levels.len() > 2 && levels.first() == Some(&self.deleted_prefix) {
            levels.remove(0);
            deleted = levels.pop().map_or(0, |time| parse_hex_prefix(&time));
        }
        let mut localpart = None;
        if levels.len() > 1 && levels.first().is_some_and(|level| level == "user") {
            levels.remove(0);
            localpart = Some(levels.remove(0));
        }
        NameParts { domain, localpart, boxes: levels, deleted }
    }
}

/// What the rules tell about a name.
impl MailboxName {
    /// The user id of [`MailboxName::owner`]; `None` for shared mailboxes.
    pub fn userid(&self, rules: &NameRules) -> Option<String> {
        rules.parse(self).userid()
    }

    /// The mailbox's owner, also if it is deleted.
    pub fn owner(&self, rules: &NameRules) -> Owner {
        rules.parse(self).owner()
    }

    /// The names above it, the nearest first: up to the owner's INBOX, or the top. A deleted mailbox has none.
    pub fn above(&self, rules: &NameRules) -> Vec<MailboxName> {
        let mut parts = rules.parse(self);
        let mut above = Vec::new();
        while parts.deleted == 0 && parts.boxes.pop().is_some() {
            if parts.localpart.is_some() || !parts.boxes.is_empty() {
                above.push(rules.internal(&parts));
            }
        }
        above
    }

    /// Is it below the deleted prefix?
    pub fn is_deleted(&self, rules: &NameRules) -> bool {
        rules.parse(self).deleted != 0
    }
}

impl NameParts {
    /// The mailbox's owner.
    pub fn owner(&self) -> Owner {
        self.userid().as_deref().map_or(Owner::Shared, Owner::from)
    }

    /// The owner's user id; `None` for shared mailboxes.
    pub fn userid(&self) -> Option<String> {
        let localpart = self.localpart.as_ref()?;
        match &self.domain {
            Some(domain) => Some(format!("{localpart}@{domain}")),
            None => Some(localpart.clone()),
        }
    }

    /// Is this a user's INBOX (and not a deleted one)?
    pub fn is_inbox(&self) -> bool {
        self.localpart.is_some() && self.boxes.is_empty() && self.deleted == 0
    }
}

/// Reads the leading hexadecimal digits, as strtoul does; 0 if there are none.
fn parse_hex_prefix(text: &str) -> u32 {
    let mut value = 0u32;
    for digit in text.chars().map_while(|c| c.to_digit(16)) {
        value = (value << 4) | digit;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name() {
        let rules = NameRules { virtdomains: true, ..NameRules::default() };
        let cases = [
            ("user.anna", "user\u{1f}anna", "user/anna", Some("anna")),
            (
                "user.anna^b.Odd^name",
                "user\u{1f}anna.b\u{1f}Odd.name",
                "user/anna.b/Odd.name",
                Some("anna.b"),
            ),
            (
                "ex.com!user.a.S",
                "ex.com\u{1d}user\u{1f}a\u{1f}S",
                "user/a/S@ex.com",
                Some("a@ex.com"),
            ),
            (
                "DELETED.user.anna.Old.5F3759DF",
                "DELETED\u{1f}user\u{1f}anna\u{1f}Old\u{1f}5F3759DF",
                "DELETED/user/anna/Old/5F3759DF",
                Some("anna"),
            ),
            ("shared.x", "shared\u{1f}x", "shared/x", None),
        ];
        for (internal, db, external, userid) in cases {
            let name = rules.parse(&MailboxName::new(internal));
            assert_eq!(rules.internal(&name), internal);
            assert_eq!(rules.db_key(&name), db);
            assert_eq!(rules.external(&name), external);
            assert_eq!(name.userid().as_deref(), userid);
            assert_eq!(rules.parse_db(db), name);
            assert_eq!(rules.parse_external(external).as_ref(), Some(&name));
        }
    }

    #[test]
    fn user_ids_and_the_default_domain() {
        let rules = NameRules::default();
        assert_eq!(rules.user_inbox("a.b"), "user.a^b");
        assert_eq!(rules.user_inbox("a@internal"), "user.a");
        assert_eq!(rules.user_inbox("a@ex.com"), "ex.com!user.a");
        assert_eq!(MailboxName::new("internal!user.a.b").userid(&rules), Some("a".to_string()));
        assert!(rules.parse(&MailboxName::new("user.a")).is_inbox());
        assert!(!rules.parse(&MailboxName::new("DELETED.user.a.4D")).is_inbox());
        assert!(MailboxName::new("DELETED.user.a.4D").is_deleted(&rules));
        assert!(!MailboxName::new("DELETED.user").is_deleted(&rules));
    }

    #[test]
    fn owners_and_the_names_above() {
        let rules = NameRules::default();
        let name = MailboxName::new;
        assert_eq!(name("ex.com!user.a^b.S").owner(&rules), Owner::from("a.b@ex.com"));
        assert_eq!(name("DELETED.user.a.S.4D").owner(&rules), Owner::from("a"));
        assert_eq!(name("shared.x").owner(&rules), Owner::Shared);
        assert_eq!(name("user.a.b.c^d").above(&rules), ["user.a.b", "user.a"]);
        assert_eq!(name("shared.x.y").above(&rules), ["shared.x", "shared"]);
        assert!(name("user.a").above(&rules).is_empty());
        assert!(name("DELETED.user.a.b.4D").above(&rules).is_empty());
    }

    #[test]
    fn the_old_separator() {
        let rules = NameRules { unix_hierarchy: false, ..NameRules::default() };
        let name = rules.parse_external("user.anna.Odd^name").unwrap();
        assert_eq!(name.boxes, ["Odd.name"]);
        assert_eq!(rules.external(&name), "user.anna.Odd^name");
        assert!(rules.parse_external("a/b").is_none());
        assert!(NameRules::default().parse_external("a^b").is_none());
        assert!(rules.parse_external("").is_none());
    }
}
