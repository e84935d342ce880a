//! The protocol of Cyrus replication: values, commands, answers and the handshake. Sans-IO: no sockets, no clock, no
//! threads; bytes in, values out, and the other way round.
//!
//! ```text
//!  bytes -> Decoder (lex.rs cuts and bounds, decode.rs builds) -> Reply -> answer.rs -> ReplicaUser …
//!  command.rs, message.rs, mailbox.rs -> write.rs -> bytes, with the command's kind (kind.rs)
//!  bytes <-> Handshake -> Session
//! ```
//! Both forms of the protocol are here: the csync port (`sync_server`) and csync within IMAP (`imapd`), see [`Framing`]. It
//! agrees with cyrus-imapd 3.6.1's `imap/dlist.c`, `imap/sync_support.c`, `imap/sync_server.c` and `imap/imapd.c`.
#![forbid(unsafe_code)]

mod answer;
pub mod command;
mod decode;
mod fields;
mod handshake;
mod kind;
mod lex;
mod limits;
mod mailbox;
mod message;
mod status;
mod value;
mod write;

pub use answer::{
    FullMailbox, OwnedAnnotation, ReplicaMailbox, ReplicaQuota, ReplicaRecord, ReplicaSeen,
    ReplicaSieve, ReplicaUser, annotation, enabled, message, missing,
};
pub use command::{Command, Seen, Tags};
pub use decode::{Decoder, Framing, Item, Reply};
pub use fields::Fields;
pub use handshake::{
    Capabilities, CyrusVersion, Handshake, HandshakeError, HandshakeOptions, HandshakeStep,
    Session, Spoken, TlsWish,
};
pub use kind::CommandKind;
pub use limits::{AnswerError, Limits, WireError};
pub use mailbox::{
    Annotation, IntermediateHead, MailboxCommand, MailboxHead, Record, Since, apply_intermediate,
    intermediate_line, mailbox_line,
};
pub use message::MessageCommand;
pub use status::{Code, Status, StatusKind};
pub use value::{Value, ValueError};
pub use write::DlistWriter;
