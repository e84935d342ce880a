//! Banners and capability lists: what the peer offers.
//!
//! Source: `imap/sync_server.c:dobanner`, `imap/imapd.c` (`base_capabilities`, `capa_response`) of
//! cyrus-imapd 3.6.1.

/// What the peer offers at this point of the handshake.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// A line of a sync server's banner was read.
    pub(crate) seen: bool,
    pub(crate) mechanisms: Vec<String>,
    pub(crate) starttls: bool,
    pub(crate) compress: bool,
    pub(crate) sieve_mailbox: bool,
    pub(crate) archive: bool,
    pub(crate) unmailbox_id: bool,
    pub(crate) replication: bool,
    pub(crate) initial_response: bool,
    pub(crate) login_disabled: bool,
    literal_plus: bool,
}

impl Offer {
    /// Takes a sync server's banner line, without its `* `.
    pub(crate) fn csync_line(&mut self, text: &[u8]) {
        self.seen = true;
        let text = String::from_utf8_lossy(text);
        let mut words = text.split_ascii_whitespace();
        match words.next().map(str::to_ascii_uppercase).as_deref() {
            Some("SASL") => self.mechanisms.extend(words.map(str::to_ascii_uppercase)),
            Some("STARTTLS") => self.starttls = true,
            Some("COMPRESS") => {
                self.compress |= words.any(|word| word.eq_ignore_ascii_case("DEFLATE"))
            }
            Some("SIEVE-MAILBOX") => self.sieve_mailbox = true,
            Some("REPLICATION-ARCHIVE") => self.archive = true,
            Some("UNMAILBOX-ID") => self.unmailbox_id = true,
            _ => {}
        }
    }

    /// Takes an imapd's capability words.
    pub(crate) fn imap_words(&mut self, words: &str) {
        for word in words.split_ascii_whitespace().map(str::to_ascii_uppercase) {
            match word.as_str() {
                "STARTTLS" => self.starttls = true,
                "COMPRESS=DEFLATE" => self.compress = true,
                "SASL-IR" => self.initial_response = true,
                "LOGINDISABLED" => self.login_disabled = true,
                "LITERAL+" => self.literal_plus = true,
                "X-REPLICATION" => self.replication = true,
                "X-SIEVE-MAILBOX" => self.sieve_mailbox = true,
                "X-REPLICATION-ARCHIVE" => self.archive = true,
                "X-UNMAILBOX-ID" => self.unmailbox_id = true,
                _ => {
                    if let Some(mechanism) = word.strip_prefix("AUTH=") {
                        self.mechanisms.push(mechanism.to_owned());
                    }
                }
            }
        }
    }

    pub(crate) fn has_plain(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| mechanism == "PLAIN")
    }

    /// Whether LOGIN can carry this without waiting for a `+`: as an atom or quoted, or by LITERAL+.
    pub(crate) fn can_send(&self, text: &str) -> bool {
        let mut out = Vec::new();
        crate::write::put_string(&mut out, text.as_bytes(), crate::write::Literals::Client);
        self.literal_plus || !out.starts_with(b"{")
    }
}

/// The text of a line by which the peer ends the connection.
pub(crate) fn bye(line: &[u8]) -> Option<String> {
    let text = line.strip_prefix(b"* ").unwrap_or(line);
    let text = if text.starts_with(b"Fatal error:") { text } else { text.strip_prefix(b"BYE")? };
    if text.first().is_some_and(|b| b.is_ascii_alphanumeric()) && !text.starts_with(b"Fatal") {
        return None;
    }
    Some(String::from_utf8_lossy(text).trim().to_owned())
}

/// The words in `[CAPABILITY …]` at the beginning of a greeting or of an OK.
pub(crate) fn capability_code(text: &str) -> Option<&str> {
    let (words, _) = text.strip_prefix("[CAPABILITY ")?.split_once(']')?;
    Some(words)
}

/// A greeting without its response code.
pub(crate) fn software(text: &str) -> String {
    let plain = match text.strip_prefix('[') {
        Some(code) => code.split_once(']').map_or(text, |(_, rest)| rest),
        None => text,
    };
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_end_the_connection() {
        assert_eq!(bye(b"BYE shutting down").unwrap(), "shutting down");
        assert_eq!(bye(b"* BYE LOGOUT received").unwrap(), "LOGOUT received");
        assert_eq!(bye(b"* Fatal error: word too long").unwrap(), "Fatal error: word too long");
        assert_eq!(bye(b"BYE").unwrap(), "");
        assert_eq!(bye(b"* OK BYE"), None);
        assert_eq!(bye(b"BYEBYE"), None);
    }

    #[test]
    fn greetings_lose_their_code() {
        let greeting = "[CAPABILITY IMAP4rev1 SASL-IR] host Cyrus IMAP 3.6.1 server ready";
        assert_eq!(capability_code(greeting), Some("IMAP4rev1 SASL-IR"));
        assert_eq!(software(greeting), "host Cyrus IMAP 3.6.1 server ready");
        assert_eq!(software("host Cyrus sync server 3.6.1"), "host Cyrus sync server 3.6.1");
        assert_eq!(software("[broken"), "[broken");
        assert_eq!(capability_code("host"), None);
    }
}
