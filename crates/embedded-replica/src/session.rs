//! One connection until its end: commands in order. Its start is in `login.rs`.
//!
//! ```text
//!   NOOP, RESTART -> OK       GET … APPLY … -> * lines, OK or NO       what is no command -> BAD
//! ```
//! Source: `imap/sync_server.c` (`cmdloop`) and `imap/sync_support.c:sync_response` of cyrus-imapd 3.6.1.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use csync::Value;
use cyrus_types::Guid;
use sha1::{Digest, Sha1};

use crate::faults::Fault;
use crate::new_mailbox::NewMailbox;
use crate::parse::Parser;
use crate::refusal::Refusal;
use crate::staged::Staged;
use crate::wire::{End, Wire};
use crate::{Keep, Shared};

/// What follows OK.
const SUCCESS: &str = "success";

/// A larger message file is not kept: the replica lives in memory.
const MOST_BODY: u64 = 256 * 1024 * 1024;

/// A message file that arrived.
pub(crate) struct Received {
    pub(crate) partition: String,
    pub(crate) guid: Guid,
    pub(crate) body: Option<Arc<[u8]>>,
}

/// What a command results in.
pub(crate) enum Payload {
    Mailbox(Box<NewMailbox>),
    Messages(Vec<Received>),
    Value(Value),
}

/// One connection.
pub(crate) struct Session<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) wire: Wire,
    pub(crate) staged: Staged,
    /// SIEVE-MAILBOX was switched on.
    pub(crate) sieve_mailbox: bool,
    /// REPLICATION-ARCHIVE was switched on.
    pub(crate) archive: bool,
    pub(crate) logged_in: bool,
    pub(crate) compressed: bool,
    pub(crate) tls: bool,
    stopping: &'s AtomicBool,
}

/// Serves a connection to its end.
pub(crate) fn run(shared: &Shared, tcp: TcpStream, stopping: &AtomicBool) {
    // Without it answers wait for acknowledgements; a socket that can't do it is slow, not wrong.
    let _ = tcp.set_nodelay(true);
    let mut session = Session {
        shared,
        wire: Wire::new(tcp),
        staged: Staged::default(),
        sieve_mailbox: false,
        archive: false,
        logged_in: false,
        compressed: false,
        tls: false,
        stopping,
    };
    session.banner();
    let end = session.serve();
    if let Err(End::Nonsense(what)) = end {
        session.say(&format!("BAD IMAP_PROTOCOL_ERROR {what}"));
    }
    // The peer may have closed.
    let _ = session.wire.flush();
}

impl Session<'_> {
    pub(crate) fn say(&mut self, line: &str) {
        self.wire.out.extend_from_slice(line.as_bytes());
        self.wire.out.extend_from_slice(b"\r\n");
    }

    fn serve(&mut self) -> Result<(), End> {
        loop {
            self.wire.flush_if_much()?;
            let verb = Parser::new(&mut self.wire).word()?.to_ascii_uppercase();
            match verb.as_slice() {
                b"AUTHENTICATE" => self.authenticate()?,
                b"STARTTLS" if self.shared.tls.is_some() => self.starttls()?,
                b"COMPRESS" => self.compress()?,
                b"EXIT" => {
                    self.say("OK Finished");
                    return Ok(());
                }
                b"NOOP" => {
                    self.rest_of_line()?;
                    self.say("OK Noop completed");
                }
                b"RESTART" => {
                    self.rest_of_line()?;
                    self.restart()?;
                }
                b"GET" | b"APPLY" | b"RESTORE" if !self.logged_in => {
                    self.eat_line()?;
                    self.say("NO Please authenticate first");
                }
                b"GET" | b"APPLY" | b"RESTORE" => {
                    let verb = String::from_utf8_lossy(&verb).into_owned();
                    self.command(&verb)?;
                }
                _ => {
                    self.eat_line()?;
                    self.say("BAD IMAP_PROTOCOL_ERROR Unrecognized command");
                }
            }
        }
    }

    pub(crate) fn rest_of_line(&mut self) -> Result<Vec<u8>, End> {
        let mut parser = Parser::new(&mut self.wire);
        let mut rest = Vec::new();
        while parser.accept(b' ')? {
            rest = parser.word()?;
        }
        parser.end_line()?;
        Ok(rest)
    }

    /// Skips the rest of a line.
    fn eat_line(&mut self) -> Result<(), End> {
        while self.wire.byte()? != b'\n' {}
        Ok(())
    }

    fn restart(&mut self) -> Result<(), End> {
        self.shared.stats.command("RESTART");
        let fault = self.before("RESTART")?;
        self.staged.clear();
        self.answer(fault, Ok("Restarting"))
    }

    /// GET and APPLY: the whole command is read, then either the planned fault happens or it is carried out.
    fn command(&mut self, verb: &str) -> Result<(), End> {
        let mut parser = Parser::new(&mut self.wire);
        parser.expect(b' ')?;
        let name = parser.word()?.to_ascii_uppercase();
        let name = format!("{verb} {}", String::from_utf8_lossy(&name));
        self.shared.stats.command(&name);
        let mut fault = self.before(&name)?;
        let mut parser = Parser::new(&mut self.wire);
        parser.expect(b' ')?;
        let payload = match name.as_str() {
            "APPLY MAILBOX" | "APPLY LOCAL_MAILBOX" => {
                Payload::Mailbox(Box::new(NewMailbox::read(&mut parser)?))
            }
            "APPLY MESSAGE" => Payload::Messages(self.messages()?),
            _ => Payload::Value(parser.value()?),
        };
        Parser::new(&mut self.wire).end_line()?;
        if let (None, Payload::Value(Value::Atom(about))) = (&fault, &payload)
            && let Some(always) = self.shared.faults.of(&name, &String::from_utf8_lossy(about))
        {
            fault = self.begin(Some(always))?;
        }
        if fault.as_ref().is_some_and(Fault::is_the_answer) {
            return self.answer(fault, Ok(SUCCESS));
        }
        let done = match payload {
            Payload::Value(value) if self.dies_of(&name, &value) => {
                self.wire.flush()?;
                return Err(End::Closed);
            }
            Payload::Value(value) if verb == "GET" => self.get(&name, &value),
            payload => self.apply(&name, payload),
        };
        self.answer(fault, done.map(|()| SUCCESS))
    }

    /// The fault planned for this command; delays and ends happen here at once.
    fn before(&mut self, name: &str) -> Result<Option<Fault>, End> {
        let fault = self.shared.faults.take(name);
        self.begin(fault)
    }

    /// A fault's delay or end.
    fn begin(&mut self, fault: Option<Fault>) -> Result<Option<Fault>, End> {
        match fault {
            Some(Fault::Delay(delay)) => {
                self.wire.flush()?;
                self.pause(delay)?;
                Ok(None)
            }
            Some(Fault::Drop) => {
                self.wire.flush()?;
                Err(End::Closed)
            }
            Some(Fault::Stall) => {
                self.wire.flush()?;
                while !self.stopping.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(End::Closed)
            }
            fault => Ok(fault),
        }
    }

    fn answer(
        &mut self,
        fault: Option<Fault>,
        done: Result<&'static str, Refusal>,
    ) -> Result<(), End> {
        match (fault, done) {
            (Some(Fault::DropAfter), _) => return Err(End::Closed),
            (Some(Fault::Refuse { code, text }), _) => self.say(&format!("NO {code} {text}")),
            (Some(Fault::Answer(bytes)), _) => self.wire.out.extend_from_slice(&bytes),
            (Some(Fault::Flood { piece, times }), _) => {
                for _ in 0..times {
                    self.wire.out.extend_from_slice(&piece);
                    self.wire.flush_if_much()?;
                }
                self.begin(Some(Fault::Stall))?;
            }
            (Some(Fault::Drip { bytes, pause }), _) => {
                for byte in bytes {
                    self.wire.out.push(byte);
                    self.wire.flush()?;
                    self.pause(pause)?;
                }
            }
            (Some(Fault::Then(bytes)), Ok(words)) => {
                self.say(&format!("OK {words}"));
                self.wire.out.extend_from_slice(&bytes);
            }
            (_, Ok(words)) => self.say(&format!("OK {words}")),
            (_, Err(refusal)) => self.say(&format!("NO {refusal}")),
        }
        Ok(())
    }

    /// Waits, but no longer than the server exists.
    fn pause(&self, pause: Duration) -> Result<(), End> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.stopping.load(Ordering::SeqCst) {
                return Err(End::Closed);
            }
            std::thread::sleep(Duration::from_millis(10).min(pause));
        }
        Ok(())
    }

    /// `(%{partition guid size} … )`: each file is stored or thrown away while it arrives.
    fn messages(&mut self) -> Result<Vec<Received>, End> {
        let keep = self.shared.options.keep;
        let mut received = Vec::new();
        let (stats, archive) = (&self.shared.stats, self.archive);
        Parser::new(&mut self.wire).list(|parser| {
            let head = parser.file_head()?;
            let body = match keep {
                Keep::Count => {
                    parser.wire.discard(head.size)?;
                    None
                }
                Keep::Bodies if head.size > MOST_BODY => {
                    return Err(End::Nonsense("the message is too large to be kept".into()));
                }
                Keep::Bodies => {
                    let mut body = Vec::with_capacity(head.size as usize);
                    parser.wire.pass(head.size, |bytes| body.extend_from_slice(bytes))?;
                    Some(body)
                }
            };
            stats.message(head.size, archive);
            if let Some(body) = &body
                && Guid(Sha1::digest(body).into()) != head.guid
            {
                // Cyrus notices when the message is parsed, and then aborts.
                return Err(End::Nonsense(format!("message {} is not what it says", head.guid)));
            }
            let body = body.map(Arc::from);
            received.push(Received { partition: head.partition, guid: head.guid, body });
            Ok(())
        })?;
        Ok(received)
    }
}
