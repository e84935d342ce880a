//! Who owns a mailbox, by its internal name.
//!
//! ```text
//!   user.anna            INBOX of anna         DELETED.user.anna.Sent.66F1A2B3   deleted, still anna's
//!   user.anna.Sent       below it              example.org!user.anna             of anna@example.org
//!   user.anna^smith      INBOX of anna.smith   archive.2026                      nobody's: shared
//! ```
//! Source: `imap/mboxname.c:mbname_from_intname` of cyrus-imapd 3.6.1.

use cyrus_types::MailboxName;

/// The user id that a mailbox, or a quota root, belongs to; none for a shared one.
pub(crate) fn owner(name: &str) -> Option<String> {
    let (domain, local) = match name.split_once('!') {
        Some((domain, local)) => (Some(domain), local),
        None => (None, name),
    };
    let local = local.strip_prefix("DELETED.").unwrap_or(local);
    let rest = local.strip_prefix("user.")?;
    let user = rest.split('.').next().filter(|user| !user.is_empty())?.replace('^', ".");
    Some(match domain {
        Some(domain) => format!("{user}@{domain}"),
        None => user,
    })
}

/// Whether this is a mailbox after its deletion. It has no conversations any more.
pub(crate) fn is_deleted(name: &MailboxName) -> bool {
    let name = name.as_str();
    name.split_once('!').map_or(name, |(_, local)| local).starts_with("DELETED.")
}

/// The sort key of mailboxes: a hierarchy separator sorts before all other characters.
pub(crate) fn sort_key(name: &str) -> String {
    name.replace('.', "\u{1f}")
}

/// Whether a mailbox is at a quota root or below it.
pub(crate) fn is_within(name: &MailboxName, root: &str) -> bool {
    match name.as_str().strip_prefix(root) {
        Some(rest) => rest.is_empty() || rest.starts_with('.') || root.ends_with('!'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_have_owners() {
        for (name, user) in [
            ("user.anna", Some("anna")),
            ("user.anna.a.b", Some("anna")),
            ("DELETED.user.anna.x.66F1A2B3", Some("anna")),
            ("user.anna^smith.x", Some("anna.smith")),
            ("example.org!user.anna", Some("anna@example.org")),
            ("archive.user.x", None),
            ("user", None),
        ] {
            assert_eq!(owner(name).as_deref(), user, "{name}");
        }
        assert!(
            is_within(&MailboxName::new("user.anna.x"), "user.anna")
                && !is_within(&MailboxName::new("user.annax"), "user.anna")
        );
        assert!(sort_key("user.a.b") < sort_key("user.a-b"));
    }
}
