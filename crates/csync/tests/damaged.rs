//! Output of real servers, damaged: whole, cut at any place, or byte by byte, it gives the same result or the same error,
//! within bounds; and no answer makes its reader panic.
#![allow(clippy::unwrap_used)] // all of this file is a test, its helpers too

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use csync::{
    Decoder, Framing, FullMailbox, Handshake, HandshakeError, HandshakeOptions, HandshakeStep,
    Item, Limits, ReplicaMailbox, ReplicaRecord, ReplicaUser, Reply, Session, TlsWish, WireError,
    annotation, enabled, message, missing,
};
use hostile::{Check, Target};

/// Damaged inputs up to this many bytes are cut at every place, longer ones at this many places. Good ones are cut
/// everywhere.
const CUTS: usize = 24;

const TRANSCRIPTS: [&str; 5] = [
    include_str!("transcripts/csync-read.txt"),
    include_str!("transcripts/csync-write.txt"),
    include_str!("transcripts/csync-sieve.txt"),
    include_str!("transcripts/imap-read.txt"),
    include_str!("transcripts/imap-write.txt"),
];

/// A server's output: the whole dialogue in `openings` up to the first GET, otherwise answer by answer.
fn said(openings: bool) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in TRANSCRIPTS {
        let mut one = Vec::new();
        let mut opening = true;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let bytes = line.get(3..).unwrap_or_default().replace("<NUL>", "\0");
            if line.starts_with("S: ") || line == "S:" {
                if opening == openings {
                    one.extend_from_slice(bytes.as_bytes());
                    one.extend_from_slice(b"\r\n");
                }
                continue;
            }
            let opens = ["AUTHENTICATE", "CAPABILITIES", "FORCE", "COMPRESS"];
            opening = opening && opens.iter().any(|word| bytes.contains(word));
            if !openings && !one.is_empty() {
                all.push(std::mem::take(&mut one));
            }
        }
        all.push(one);
    }
    all.retain(|one| !one.is_empty());
    assert!(all.len() >= TRANSCRIPTS.len());
    all
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    hostile::files(&folder).into_iter().map(|(_, bytes)| bytes).collect()
}

/// Ways to cut an input in two, at most `most` places, and into single bytes.
fn cuts(bytes: &[u8], most: usize) -> Vec<Vec<&[u8]>> {
    let step = bytes.len() / most + 1;
    let mut all: Vec<Vec<&[u8]>> =
        (0..=bytes.len()).step_by(step).map(|at| vec![&bytes[..at], &bytes[at..]]).collect();
    all.push(bytes.chunks(1).collect());
    all
}

fn attack(name: &'static str, seeds: Vec<Vec<u8>>, check: impl Fn(&[u8]) + Send + Sync + 'static) {
    let check: Check = Arc::new(check);
    Target { name, seeds, repair: hostile::no_repair, check }.attack();
}

fn decode(framing: Framing, limits: Limits, pieces: &[&[u8]]) -> (Vec<Reply>, Option<WireError>) {
    let mut decoder = Decoder::new(framing, limits);
    let mut src = BytesMut::new();
    let mut replies = Vec::new();
    for piece in pieces {
        src.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut src) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut src), Err(WireError::AlreadyFailed));
                    return (replies, Some(error));
                }
            }
            assert!(decoder.memory_bytes() <= limits.memory_bytes + limits.token_bytes);
        }
    }
    (replies, None)
}

/// Reads an answer as every type that it could be.
fn read(item: &Item) {
    let _ = (ReplicaMailbox::decode(item), FullMailbox::decode(item), annotation(item));
    let _ = (missing(item), enabled(item), message(item.clone()));
    let mut user = ReplicaUser::default();
    let _ = user.push(item.clone());
}

/// An error's text without the bytes after the error, of which a cut leaves fewer. The same bytes may exceed a line's and a
/// value's limit: which one is noticed depends on how many bytes arrive at once.
fn kind(error: &WireError) -> String {
    match error {
        WireError::Malformed { what, .. } => format!("malformed: {what}"),
        WireError::UnexpectedLine { .. } => "unexpected".to_owned(),
        WireError::LineTooLong { .. } | WireError::ValueTooLong { .. } => "too long".to_owned(),
        other => format!("{other:?}"),
    }
}

fn answers_are_the_same(bytes: &[u8], most_cuts: usize) {
    let small = Limits {
        line_bytes: 3000,
        token_bytes: 300,
        memory_bytes: 20_000,
        literal_bytes: 400,
        depth: 6,
        items: 100,
        part_key: None,
    };
    let parts = Limits { part_key: Some("RECORD"), ..small };
    for (framing, limits) in
        [(Framing::Csync, Limits::ANSWERS), (Framing::Csync, parts), (Framing::Imap, small)]
    {
        let (whole, error) = decode(framing, limits, &[bytes]);
        for pieces in cuts(bytes, most_cuts) {
            let (cut, same) = decode(framing, limits, &pieces);
            let at = pieces.first().map_or(0, |first| first.len());
            assert!(cut == whole, "cut at {at}: {cut:?}\nwhole: {whole:?}");
            assert_eq!(same.as_ref().map(kind), error.as_ref().map(kind), "cut at {at}");
        }
        for reply in &whole {
            match reply {
                Reply::Untagged(item) => read(item),
                Reply::Part(value) => drop(ReplicaRecord::decode(value)),
                _ => {}
            }
        }
    }
}

#[test]
fn answers_say_the_same_however_they_are_cut() {
    let seeds = [said(false), corpus("decoder")].concat();
    for seed in seeds.iter().filter(|seed| seed.len() < 4000) {
        answers_are_the_same(seed, seed.len());
    }
    attack("decoder", seeds, |bytes| answers_are_the_same(bytes, CUTS));
}

/// The result of a dialogue: what we sent, the session that was expected early, the end, and the bytes left for the
/// decoder.
#[derive(Debug, PartialEq)]
struct Dialogue {
    sent: Vec<Vec<u8>>,
    early: Option<Session>,
    end: Option<Result<Session, HandshakeError>>,
    left: Vec<u8>,
}

fn talk(options: &HandshakeOptions, pieces: &[&[u8]]) -> Dialogue {
    let mut handshake = Handshake::new(options.clone());
    let mut talk = Dialogue { sent: Vec::new(), early: None, end: None, left: Vec::new() };
    let mut src = BytesMut::new();
    for (number, piece) in pieces.iter().enumerate() {
        src.extend_from_slice(piece);
        // A dialogue has about a dozen steps, however much there is to read.
        for step in 0.. {
            assert!(step < 20, "{:?}", talk.sent);
            match handshake.handle(&mut src) {
                Ok(HandshakeStep::NeedMore) if !matches!(talk.sent.last(), Some(last) if last == b"TLS") =>
                {
                    break;
                }
                Ok(HandshakeStep::NeedMore) => talk.sent.push(b"after TLS".to_vec()),
                Ok(HandshakeStep::Send(spoken)) => talk.sent.push(spoken.bytes().to_vec()),
                Ok(HandshakeStep::StartCompression) => talk.sent.push(b"deflate".to_vec()),
                Ok(HandshakeStep::StartTls) => talk.sent.push(b"TLS".to_vec()),
                Ok(HandshakeStep::Early(session)) => talk.early = Some(session),
                Ok(HandshakeStep::Ready(session)) => talk.end = Some(Ok(session)),
                Err(error) => talk.end = Some(Err(error)),
            }
            if talk.end.is_some() {
                if matches!(talk.end, Some(Ok(_))) {
                    talk.left = [&src[..], &pieces[number + 1..].concat()].concat();
                }
                return talk;
            }
        }
    }
    talk
}

fn openings_are_the_same(bytes: &[u8], most_cuts: usize) {
    let plain = HandshakeOptions {
        authname: "cyrus".into(),
        password: "secret".into(),
        force: true,
        ..HandshakeOptions::default()
    };
    let compressed = HandshakeOptions { want_compress: true, ..plain.clone() };
    let early = HandshakeOptions { early: true, ..plain.clone() };
    let tls = HandshakeOptions { tls: TlsWish::IfOffered, ..plain.clone() };
    for options in [&plain, &compressed, &early] {
        let whole = talk(options, &[bytes]);
        for pieces in cuts(bytes, most_cuts) {
            assert_eq!(
                talk(options, &pieces),
                whole,
                "cut at {}",
                pieces.first().map_or(0, |first| first.len())
            );
        }
    }
    // Where TLS begins, bytes that arrive together with the line before make a difference, and must.
    for pieces in cuts(bytes, most_cuts) {
        talk(&tls, &pieces);
    }
}

#[test]
fn openings_say_the_same_however_they_are_cut() {
    let seeds = [said(true), corpus("handshake")].concat();
    for seed in &seeds {
        openings_are_the_same(seed, seed.len());
    }
    attack("handshake", seeds, |bytes| openings_are_the_same(bytes, CUTS));
}
