//! The commands that fillers and tests use.
//!
//! Every method fails with the server's words when the server refuses, and when the connection breaks.
#![expect(clippy::missing_errors_doc, reason = "said once above, for all of them")]

use super::{Client, ImapError, Line, Untagged};

type Done = Result<(), ImapError>;

impl Client {
    /// `CREATE`.
    pub fn create(&mut self, mailbox: &str) -> Done {
        self.run(&Line::new("CREATE ").string(mailbox)).map(drop)
    }

    /// `CREATE` on a partition.
    pub fn create_on(&mut self, mailbox: &str, partition: &str) -> Done {
        self.run(&Line::new("CREATE ").string(mailbox).raw(" ").raw(partition)).map(drop)
    }

    /// `RENAME`.
    pub fn rename(&mut self, from: &str, to: &str) -> Done {
        self.run(&Line::new("RENAME ").string(from).raw(" ").string(to)).map(drop)
    }

    /// `RENAME` to the same name: moves a mailbox, and all of a user's with the INBOX, to a partition.
    pub fn move_to_partition(&mut self, mailbox: &str, partition: &str) -> Done {
        let line = Line::new("RENAME ").string(mailbox).raw(" ").string(mailbox).raw(" ");
        self.run(&line.raw(partition)).map(drop)
    }

    /// `DELETE`.
    pub fn delete(&mut self, mailbox: &str) -> Done {
        self.run(&Line::new("DELETE ").string(mailbox)).map(drop)
    }

    /// `APPEND`; `date` as in `"01-Feb-2024 10:00:00 +0000"`.
    pub fn append(
        &mut self,
        mailbox: &str,
        flags: &[&str],
        date: Option<&str>,
        bytes: &[u8],
    ) -> Done {
        self.run(&append_line(mailbox, flags, date, bytes)).map(drop)
    }

    /// `SELECT`; gives the number of messages.
    pub fn select(&mut self, mailbox: &str) -> Result<u32, ImapError> {
        self.open("SELECT ", mailbox)
    }

    /// `EXAMINE`; gives the number of messages.
    pub fn examine(&mut self, mailbox: &str) -> Result<u32, ImapError> {
        self.open("EXAMINE ", mailbox)
    }

    fn open(&mut self, verb: &str, mailbox: &str) -> Result<u32, ImapError> {
        let line = Line::new(verb).string(mailbox);
        let response = self.run(&line)?;
        for untagged in &response.untagged {
            if let Some(count) =
                untagged.lossy().strip_suffix(" EXISTS").and_then(|count| count.parse().ok())
            {
                return Ok(count);
            }
        }
        Err(ImapError::Protocol { command: line.summary(), answer: "no EXISTS".to_owned() })
    }

    /// `UNSELECT`.
    pub fn unselect(&mut self) -> Done {
        self.raw("UNSELECT").map(drop)
    }

    /// The UIDs of the selected mailbox (`UID SEARCH ALL`).
    pub fn uids(&mut self) -> Result<Vec<u32>, ImapError> {
        let response = self.raw("UID SEARCH ALL")?;
        let mut uids = Vec::new();
        for untagged in &response.untagged {
            if let Some(list) = untagged.lossy().strip_prefix("SEARCH") {
                uids.extend(list.split_whitespace().filter_map(|uid| uid.parse::<u32>().ok()));
            }
        }
        Ok(uids)
    }

    /// `UID STORE set how (flags)`, where `how` is `FLAGS`, `+FLAGS` or `-FLAGS`.
    pub fn store(&mut self, uids: &str, how: &str, flags: &[&str]) -> Done {
        self.raw(&format!("UID STORE {uids} {how} ({})", flags.join(" "))).map(drop)
    }

    /// `UID COPY`.
    pub fn copy(&mut self, uids: &str, to: &str) -> Done {
        self.run(&Line::new(&format!("UID COPY {uids} ")).string(to)).map(drop)
    }

    /// `UID MOVE`.
    pub fn move_to(&mut self, uids: &str, to: &str) -> Done {
        self.run(&Line::new(&format!("UID MOVE {uids} ")).string(to)).map(drop)
    }

    /// `EXPUNGE`.
    pub fn expunge(&mut self) -> Done {
        self.raw("EXPUNGE").map(drop)
    }

    /// Marks messages `\Deleted` and expunges just these.
    pub fn remove(&mut self, uids: &str) -> Done {
        self.store(uids, "+FLAGS.SILENT", &["\\Deleted"])?;
        self.raw(&format!("UID EXPUNGE {uids}")).map(drop)
    }

    /// `SETACL`.
    pub fn set_acl(&mut self, mailbox: &str, identifier: &str, rights: &str) -> Done {
        let line = Line::new("SETACL ")
            .string(mailbox)
            .raw(" ")
            .string(identifier)
            .raw(" ")
            .string(rights);
        self.run(&line).map(drop)
    }

    /// `DELETEACL`.
    pub fn delete_acl(&mut self, mailbox: &str, identifier: &str) -> Done {
        self.run(&Line::new("DELETEACL ").string(mailbox).raw(" ").string(identifier)).map(drop)
    }

    /// `SETQUOTA`, with limits such as `("STORAGE", 1000)` (kibibytes) and `("MESSAGE", 100)`; none removes them.
    pub fn set_quota(&mut self, root: &str, limits: &[(&str, u64)]) -> Done {
        let list: Vec<String> =
            limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
        self.run(&Line::new("SETQUOTA ").string(root).raw(&format!(" ({})", list.join(" "))))
            .map(drop)
    }

    /// `SUBSCRIBE`.
    pub fn subscribe(&mut self, mailbox: &str) -> Done {
        self.run(&Line::new("SUBSCRIBE ").string(mailbox)).map(drop)
    }

    /// `UNSUBSCRIBE`.
    pub fn unsubscribe(&mut self, mailbox: &str) -> Done {
        self.run(&Line::new("UNSUBSCRIBE ").string(mailbox)).map(drop)
    }

    /// `SETMETADATA` (RFC 5464), entry as `/private/comment`; `None` removes it. The mailbox `""` is the server.
    pub fn set_metadata(&mut self, mailbox: &str, entry: &str, value: Option<&str>) -> Done {
        let line = Line::new("SETMETADATA ").string(mailbox).raw(&format!(" ({entry} "));
        let line = match value {
            Some(value) => line.string(value),
            None => line.raw("NIL"),
        };
        self.run(&line.raw(")")).map(drop)
    }

    /// `SETANNOTATION` (the old draft), entry as `/comment`, attribute as `value.priv`.
    pub fn set_annotation(
        &mut self,
        mailbox: &str,
        entry: &str,
        attribute: &str,
        value: Option<&str>,
    ) -> Done {
        let line = Line::new("SETANNOTATION ")
            .string(mailbox)
            .raw(" ")
            .string(entry)
            .raw(" (")
            .string(attribute)
            .raw(" ");
        let line = match value {
            Some(value) => line.string(value),
            None => line.raw("NIL"),
        };
        self.run(&line.raw(")")).map(drop)
    }

    /// `UID STORE … ANNOTATION` (RFC 5257), entry as `/comment`, attribute as `value.priv`.
    pub fn annotate(
        &mut self,
        uids: &str,
        entry: &str,
        attribute: &str,
        value: Option<&str>,
    ) -> Done {
        let line = Line::new(&format!("UID STORE {uids} ANNOTATION ({entry} ({attribute} "));
        let line = match value {
            Some(value) => line.string(value),
            None => line.raw("NIL"),
        };
        self.run(&line.raw("))")).map(drop)
    }

    /// `LIST`; gives the mailboxes' names.
    pub fn list(&mut self, reference: &str, pattern: &str) -> Result<Vec<String>, ImapError> {
        let response = self.run(&Line::new("LIST ").string(reference).raw(" ").string(pattern))?;
        Ok(response.untagged.iter().filter_map(listed_name).collect())
    }

    /// Fetches whole messages of the selected mailbox without setting `\Seen`: (UID, bytes).
    pub fn fetch_bodies(&mut self, uids: &str) -> Result<Vec<(u32, Vec<u8>)>, ImapError> {
        let response = self.raw(&format!("UID FETCH {uids} (UID BODY.PEEK[])"))?;
        let mut bodies = Vec::new();
        for untagged in response.untagged {
            let text = untagged.lossy();
            let uid = text
                .split_once("UID ")
                .and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse().ok());
            if let (Some(uid), Some(body)) = (uid, untagged.literals.into_iter().next()) {
                bodies.push((uid, body));
            }
        }
        Ok(bodies)
    }
}

/// An `APPEND` command.
pub(super) fn append_line(mailbox: &str, flags: &[&str], date: Option<&str>, bytes: &[u8]) -> Line {
    let mut line = Line::new("APPEND ").string(mailbox).raw(" ");
    if !flags.is_empty() {
        line = line.raw(&format!("({}) ", flags.join(" ")));
    }
    if let Some(date) = date {
        line = line.raw(&format!("\"{date}\" "));
    }
    line.literal(bytes)
}

/// The mailbox of a `LIST (flags) "sep" name` line; name is an atom, quoted or a literal.
fn listed_name(untagged: &Untagged) -> Option<String> {
    let text = untagged.lossy();
    let rest = text.strip_prefix("LIST (")?.split_once(") ")?.1;
    let name = rest.split_once(' ')?.1;
    if let Some(literal) = untagged.literals.first() {
        return Some(String::from_utf8_lossy(literal).into_owned());
    }
    let Some(quoted) = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(name.to_owned());
    };
    let mut plain = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next()? } else { letter });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_list_lines() {
        let line = |text: &str| Untagged { text: text.as_bytes().to_vec(), literals: Vec::new() };
        assert_eq!(
            listed_name(&line(r#"LIST (\HasNoChildren) "/" INBOX/Sent"#)).unwrap(),
            "INBOX/Sent"
        );
        assert_eq!(
            listed_name(&line(r#"LIST (\X) "/" "INBOX/a \"q\"""#)).unwrap(),
            "INBOX/a \"q\""
        );
        assert_eq!(listed_name(&line("OK")), None);
    }

    #[test]
    fn append_lines() {
        let line =
            append_line("INBOX", &["\\Seen", "$x"], Some("01-Feb-2024 10:00:00 +0000"), b"hi");
        assert_eq!(
            line.0,
            b"APPEND \"INBOX\" (\\Seen $x) \"01-Feb-2024 10:00:00 +0000\" {2+}\r\nhi"
        );
    }
}
