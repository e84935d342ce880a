//! How a connection begins: the banner, the login, TLS and compression.
//!
//! ```text
//!   * SASL PLAIN LOGIN   * STARTTLS   * COMPRESS DEFLATE   * SIEVE-MAILBOX   * REPLICATION-ARCHIVE
//!   * OK host Cyrus sync server 3.6.1-embedded
//!   AUTHENTICATE … -> OK      STARTTLS -> OK, TLS, the banner again      COMPRESS DEFLATE -> OK
//! ```
//! `version.rs` says which version offers what.
//!
//! Source: `imap/sync_server.c` (`dobanner`, `cmd_authenticate`, `cmd_starttls`, `cmd_compress`) of cyrus-imapd 3.6.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::parse::Parser;
use crate::session::Session;
use crate::wire::End;

impl Session<'_> {
    /// What is offered at this point.
    pub(crate) fn banner(&mut self) {
        let options = &self.shared.options;
        let mut lines = Vec::new();
        if self.tls || !options.starttls {
            lines.push("* SASL PLAIN LOGIN".to_string());
        }
        if options.starttls && !self.tls {
            lines.push("* STARTTLS".to_string());
        }
        if options.compress && !self.tls {
            lines.push("* COMPRESS DEFLATE".to_string());
        }
        lines.extend(options.capabilities().iter().map(|name| format!("* {name}")));
        let number = options.version.number();
        lines.push(format!("* OK localhost Cyrus sync server {number}-embedded"));
        for line in lines {
            self.say(&line);
        }
    }

    pub(crate) fn authenticate(&mut self) -> Result<(), End> {
        let mut parser = Parser::new(&mut self.wire);
        parser.expect(b' ')?;
        let mechanism = parser.word()?.to_ascii_uppercase();
        let first = if parser.accept(b' ')? { Some(parser.word()?) } else { None };
        parser.end_line()?;
        if self.logged_in {
            self.say("BAD Already authenticated");
            return Ok(());
        }
        if self.shared.options.starttls && !self.tls {
            self.say("NO no login in clear");
            return Ok(());
        }
        let given = match mechanism.as_slice() {
            b"PLAIN" => {
                let answer = match first {
                    Some(answer) => decoded(&answer),
                    None => self.challenge("")?,
                };
                plain(&answer)
            }
            b"LOGIN" => {
                let user = match first {
                    Some(answer) => decoded(&answer),
                    None => self.challenge("User Name")?,
                };
                Some((user, self.challenge("Password")?))
            }
            _ => None,
        };
        self.logged_in = match (&self.shared.options.login, given) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some((user, password)), Some(given)) => {
                given == (user.clone().into_bytes(), password.clone().into_bytes())
            }
        };
        self.say(if self.logged_in {
            "OK Success (no protection)"
        } else {
            "NO authentication failure"
        });
        Ok(())
    }

    fn challenge(&mut self, text: &str) -> Result<Vec<u8>, End> {
        self.say(&format!("+ {}", BASE64.encode(text)));
        let mut parser = Parser::new(&mut self.wire);
        let answer = parser.word()?;
        parser.end_line()?;
        Ok(decoded(&answer))
    }

    pub(crate) fn starttls(&mut self) -> Result<(), End> {
        self.rest_of_line()?;
        match &self.shared.tls {
            _ if self.logged_in => self.say("BAD Can't Starttls after authentication"),
            Some(config) if !self.tls => {
                self.say("OK Begin TLS negotiation now");
                self.wire.flush()?;
                self.wire.start_tls(config.clone())?;
                self.tls = true;
                self.banner();
            }
            _ => self.say("BAD Already did a successful Starttls"),
        }
        Ok(())
    }

    pub(crate) fn compress(&mut self) -> Result<(), End> {
        let algorithm = self.rest_of_line()?;
        let named = String::from_utf8_lossy(&algorithm).into_owned();
        if !self.shared.options.compress {
            self.say("NO ZLIB not available");
        } else if self.compressed {
            self.say(&format!("NO Compression already active: {named}"));
        } else if algorithm.eq_ignore_ascii_case(b"DEFLATE") {
            self.say(&format!("OK {named} active"));
            self.wire.flush()?;
            self.wire.start_deflate();
            self.compressed = true;
        } else {
            self.say(&format!("NO Unknown compression algorithm: {named}"));
        }
        Ok(())
    }
}

fn decoded(answer: &[u8]) -> Vec<u8> {
    BASE64.decode(answer).unwrap_or_default()
}

/// `authorization NUL user NUL password`.
fn plain(answer: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = answer.split(|b| *b == 0).skip(1);
    Some((parts.next()?.to_vec(), parts.next()?.to_vec()))
}
