//! Message files on their way to a connection.

use std::collections::VecDeque;
use std::fs;

use csync::CommandKind;
use sha1::{Digest, Sha1};

use crate::error::{MasterError, UserError};
use crate::master::testing::{Master, file, messages};
use crate::master::upload::Uploader;
use crate::monitor::report::Sent as Counted;
use crate::replica::frames::{FRAME_BYTES, FRAMES_WAITING};
use crate::replica::testing::frames::{Sent, client};

/// How many bytes are before a message in a frame, beside those collected.
const HEAD_BYTES: usize = 4096;

/// Uploads all good messages of the INBOX; returns what was sent, what counts once it is accepted, and the bad ones.
fn upload_all(master: &Master) -> (VecDeque<Sent>, Vec<Counted>, Vec<UserError>) {
    let (client, frames) = client();
    std::thread::scope(|threads| {
        let receiving = threads.spawn(|| frames.commands());
        let mut mailbox = master.inbox();
        let messages = messages(&*mailbox);
        let mut uploader = Uploader::new(&mut *mailbox, "default", &client);
        let mut bad = Vec::new();
        for message in messages {
            bad.extend(uploader.send(&message).err());
        }
        uploader.finish().unwrap();
        assert!(uploader.is_good());
        let counted = uploader.in_flight.iter().map(|sent| sent.brings).collect();
        drop(uploader);
        drop(client);
        (receiving.join().unwrap(), counted, bad)
    })
}

/// The messages in a command: partition, GUID as announced, and content.
fn messages_in(command: &Sent) -> Vec<(String, String, Vec<u8>)> {
    assert!(command.kind == CommandKind::Message && command.closed);
    let bytes = command.bytes();
    let mut rest = bytes.strip_prefix(b"APPLY MESSAGE (").unwrap();
    let mut found = Vec::new();
    while let Some(head) = rest.strip_prefix(b"%{") {
        let end = head.windows(3).position(|w| w == b"}\r\n").unwrap();
        let words = String::from_utf8(head[..end].to_vec()).unwrap();
        let [partition, guid, size] = words.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (content, behind) = head[end + 3..].split_at(size.parse().unwrap());
        found.push((partition.to_string(), guid.to_string(), content.to_vec()));
        rest = behind.strip_prefix(b" ").unwrap_or(behind);
    }
    assert_eq!(rest, b")\r\n");
    found
}

fn counts(commands: &VecDeque<Sent>) -> Vec<usize> {
    commands.iter().map(|command| messages_in(command).len()).collect()
}

#[test]
fn messages_of_any_size_arrive_whole_in_frames_of_64_kib() {
    for bytes in [2_000, FRAME_BYTES - 10, FRAME_BYTES + 10, 300_000, 1_500_000] {
        let master = Master::with_messages(5, bytes);
        let (commands, ..) = upload_all(&master);
        let sent: Vec<_> = commands.iter().flat_map(messages_in).collect();
        let wanted = &master.disk.model().users[0].mailboxes[0].messages;
        assert_eq!(sent.len(), wanted.len());
        for ((partition, guid, content), wanted) in sent.iter().zip(wanted) {
            assert!(*content == wanted.text(), "{bytes} bytes");
            let hash: String = Sha1::digest(content).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!((partition.as_str(), guid), ("default", &hash));
        }
        for piece in commands.iter().flat_map(|command| &command.pieces) {
            assert!(piece.len() <= FRAME_BYTES + HEAD_BYTES, "{bytes}: {}", piece.len());
        }
    }
}

#[test]
fn a_command_brings_1024_messages_at_most() {
    let (commands, counted, bad) = upload_all(&Master::with_messages(1030, 600));
    assert_eq!(counts(&commands), [1024, 6]);
    assert_eq!(counted.iter().map(|sent| sent.messages).collect::<Vec<_>>(), [1024, 6]);
    assert!(bad.is_empty());
}

#[test]
fn a_command_that_has_16_mib_takes_no_more() {
    let master = Master::with_messages(12, 1_800_000);
    let (commands, counted, _) = upload_all(&master);
    assert_eq!(counts(&commands), [10, 2]);
    let size = u64::from(master.disk.model().users[0].mailboxes[0].messages[0].size);
    assert_eq!(counted.iter().map(|sent| sent.bytes).collect::<Vec<_>>(), [10 * size, 2 * size]);
}

/// The error of each bad message, by UID.
fn problems(bad: &[UserError]) -> Vec<(u32, bool, &str)> {
    let problem = |e| match e {
        &UserError::Master(MasterError::MessageFile { uid, missing, ref problem, .. }) => {
            (uid.0, missing, problem.as_str())
        }
        other => panic!("{other}"),
    };
    bad.iter().map(problem).collect()
}

#[test]
fn a_bad_file_costs_its_message_alone_and_closes_the_command_in_good_order() {
    let master = Master::with_messages(7, 2_000);
    let inbox = master.inbox();
    let text = master.disk.model().users[0].mailboxes[0].messages[0].text();
    // The files are links to one: each is written separately, or the others would change with it.
    let write = |uid, content: &[u8]| {
        fs::remove_file(file(&*inbox, uid)).unwrap();
        fs::write(file(&*inbox, uid), content).unwrap();
    };
    fs::remove_file(file(&*inbox, 2)).unwrap();
    write(4, &text[1..]);
    write(6, &[&b"X"[..], &text[1..]].concat());
    let (commands, counted, bad) = upload_all(&master);
    assert_eq!(counts(&commands), [1, 1, 1, 1]);
    assert_eq!(counted.iter().map(|sent| sent.messages).collect::<Vec<_>>(), [1, 1, 1, 1]);
    let problems = problems(&bad);
    assert_eq!(problems[0], (2, true, "the message file is missing"));
    let (uid, missing, short) = problems[1];
    assert!(uid == 4 && !missing && short.starts_with("the file has "), "{short}");
    let (uid, missing, damaged) = problems[2];
    assert!(uid == 6 && !missing && damaged.ends_with("the message is damaged"), "{damaged}");
}

#[test]
fn a_file_that_shrinks_while_it_is_streamed_breaks_the_command_off() {
    let master = Master::with_messages(1, 3_000_000);
    let (client, frames) = client();
    std::thread::scope(|threads| {
        let (inbox, master) = (master.inbox(), &master);
        let sending = threads.spawn(move || {
            let mut mailbox = master.inbox();
            let message = messages(&*mailbox)[0];
            let mut uploader = Uploader::new(&mut *mailbox, "default", &client);
            let bad = uploader.send(&message).unwrap_err();
            (bad, uploader.is_good())
        });
        // It waits for the connection in the middle of the file.
        while frames.waiting() < FRAMES_WAITING {
            std::thread::yield_now();
        }
        let shrinking = fs::OpenOptions::new().write(true).open(file(&*inbox, 1)).unwrap();
        shrinking.set_len(100).unwrap();
        let receiving = threads.spawn(|| frames.commands());
        let (bad, good) = sending.join().unwrap();
        assert!(!good, "the connection must be given up");
        let bad = [bad];
        let [(1, false, problem)] = problems(&bad)[..] else { panic!("{bad:?}") };
        assert!(problem.starts_with("it changed while it was read"), "{problem}");
        let commands = receiving.join().unwrap();
        assert!(commands.len() == 1 && !commands[0].closed);
    });
}

#[test]
fn whoever_uploads_to_a_lost_connection_is_told() {
    let master = Master::with_messages(1, 2_000);
    let (client, frames) = client();
    drop(frames);
    let mut mailbox = master.inbox();
    let message = messages(&*mailbox)[0];
    let mut uploader = Uploader::new(&mut *mailbox, "default", &client);
    uploader.send(&message).unwrap();
    let lost = UserError::from(uploader.finish().unwrap_err());
    assert!(lost.is_lost(), "{lost}");
}
