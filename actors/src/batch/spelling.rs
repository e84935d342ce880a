//! Mailboxes as an admin spells them on the command line (-m).
//!
//! ```text
//!   user/anna/Sent, user/anna/Sent@example.com    as cyradm shows them, and as Cyrus' client takes them
//!   user.anna.Sent, example.com!user.anna.Sent    as the sync log, syslog and our own messages show them
//! ```
//! A text that could be both is what exists here; if neither does, it is what Cyrus' client takes it for, unless only the
//! internal spelling looks so. Without unixhierarchysep both are alike. `altnamespace` does not matter: an admin never sees
//! names in that form.

use cyrus_store::StoreError;
use cyrus_types::{MailboxName, NameRules};

use crate::master::source::Source;

/// The mailbox of this name; `None` if no mailbox could have it.
///
/// # Errors
/// The list of mailboxes can't be read.
pub(crate) fn spelt(
    source: &dyn Source,
    rules: &NameRules,
    text: &str,
) -> Result<Option<MailboxName>, StoreError> {
    let external = rules.parse_external(text).map(|name| rules.internal(&name));
    let internal = internal(rules, text);
    for name in external.iter().chain(&internal) {
        if source.is_listed(name)? {
            return Ok(Some(name.clone()));
        }
    }
    let looks_internal = internal.filter(|name| {
        let parsed = rules.parse(name);
        parsed.localpart.is_some() || parsed.deleted != 0
    });
    let looks_external = |name: &MailboxName| rules.parse(name).localpart.is_some();
    Ok(match (external, looks_internal) {
        (Some(external), Some(_)) if looks_external(&external) => Some(external),
        (_, Some(internal)) => Some(internal),
        (external, None) => external,
    })
}

/// The text as an internal name, in Cyrus' own spelling.
fn internal(rules: &NameRules, text: &str) -> Option<MailboxName> {
    // Between levels of an internal name there is no slash.
    let name = (!text.contains('/')).then(|| rules.parse(&MailboxName::new(text)))?;
    (name.localpart.is_some() || !name.boxes.is_empty()).then(|| rules.internal(&name))
}

#[cfg(test)]
mod tests {
    use testkit::store::Plan;

    use super::*;
    use crate::master::testing::Master;

    #[test]
    fn both_spellings_name_a_mailbox() {
        let master = Master::of(&Plan { users: 1, mailboxes: 2, ..Plan::default() });
        let rules = master.store.config().names();
        let user = &master.disk.model().users[0].userid;
        let inbox = rules.user_inbox(user);
        let spelt = |text: &str| spelt(&*master.store, rules, text).unwrap();
        for text in [inbox.as_str(), &rules.external(&rules.parse(&inbox))] {
            assert_eq!(spelt(text).as_ref(), Some(&inbox), "{text}");
        }
    }

    #[test]
    fn what_exists_nowhere_is_what_it_looks_like() {
        let master = Master::of(&Plan { users: 0, ..Plan::default() });
        let slashes = NameRules::default();
        let dots = NameRules::new("DELETED", None, false, false);
        let domains = NameRules::new("DELETED", Some("here.example"), true, true);
        for (rules, text, name) in [
            (&slashes, "user/a.b/Sent Mail", Some("user.a^b.Sent Mail")),
            (&slashes, "/user//anna/", Some("user.anna")),
            (&slashes, "user.a^b.Sent", Some("user.a^b.Sent")),
            (&slashes, "DELETED.user.anna.x.5F3759DF", Some("DELETED.user.anna.x.5F3759DF")),
            (&slashes, "ex.com!user.anna", Some("ex.com!user.anna")),
            // As Cyrus' client takes it.
            (&slashes, "lists.old", Some("lists^old")),
            (&slashes, "news", Some("news")),
            (&dots, "user.a^b.Sent", Some("user.a^b.Sent")),
            (&dots, "ex.com!user.anna", Some("ex.com!user.anna")),
            (&domains, "user/anna/x@ex.com", Some("ex.com!user.anna.x")),
            (&domains, "user/anna@here.example", Some("user.anna")),
            (&domains, "here.example!user.anna", Some("user.anna")),
            (&slashes, "a/b^c", None),
            (&slashes, "/", None),
            (&dots, ".", None),
        ] {
            let found = spelt(&*master.store, rules, text).unwrap();
            assert_eq!(found.as_ref().map(MailboxName::as_str), name, "{text}");
        }
    }
}
