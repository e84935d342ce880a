//! Every command's bytes, as `imap/sync_support.c` would send them.

use super::*;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_imap_form_differs_by_tag_sync_and_logout() {
    let both = |bytes: &[u8]| {
        let mut out = Vec::new();
        tag(&mut out, Framing::Imap, 12, bytes);
        out.extend_from_slice(bytes);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(both(b"GET USER anna\r\n"), "S12 SYNCGET USER anna\r\n");
    assert_eq!(both(b"APPLY MESSAGE ("), "S12 SYNCAPPLY MESSAGE (");
    assert_eq!(both(b"RESTART\r\n"), "S12 SYNCRESTART\r\n");
    assert_eq!(both(b"NOOP\r\n"), "S12 NOOP\r\n");
    assert_eq!(both(b"LOGOUT\r\n"), "S12 LOGOUT\r\n");
    assert_eq!(text(|out| tag(out, Framing::Csync, 12, b"GET ")), "");
    assert_eq!(text(|out| begin(out, Framing::Imap, 0, Verb::Get, "USER")), "S0 SYNCGET USER ");
    assert_eq!(text(|out| begin(out, Framing::Csync, 0, Verb::Apply, "SUB")), "APPLY SUB ");
    assert_eq!(text(|out| begin(out, Framing::Imap, 1, Verb::Exit, "")), "S1 LOGOUT");
    assert_eq!(text(|out| exit(out, Framing::Csync)), "EXIT\r\n");
}

#[test]
fn tags_count_up() {
    let mut tags = Tags::new();
    assert_eq!((tags.take(), tags.take(), tags.take()), (0, 1, 2));
    assert_eq!(Tags::text(2), "S2");
}

#[test]
fn one_line_commands() {
    let guid = Guid([0x11; 20]);
    let hex = "11".repeat(20);
    assert_eq!(text(|o| get_user(o, "anna b")), "GET USER \"anna b\"\r\n");
    assert_eq!(text(|o| get_annotation(o, "")), "GET ANNOTATION \"\"\r\n");
    assert_eq!(text(|o| get_mailboxes(o, ["a", "b c"])), "GET MAILBOXES (a \"b c\")\r\n");
    assert_eq!(
        text(|o| get_fetch(o, "user.a", "default", "id", &guid, 7)),
        format!("GET FETCH %(MBOXNAME user.a PARTITION default UNIQUEID id GUID {hex} UID 7)\r\n")
    );
    assert_eq!(
        text(|o| capabilities(o, ["SIEVE-MAILBOX"])),
        "APPLY CAPABILITIES (SIEVE-MAILBOX)\r\n"
    );
    assert_eq!(text(force), "APPLY FORCE %()\r\n");
    assert_eq!(
        text(|o| reserve(o, "default", ["user.a", "user.b"], [&guid, &guid])),
        format!(
            "APPLY RESERVE %(PARTITION default MBOXNAME (user.a user.b) GUID ({hex} {hex}))\r\n"
        )
    );
    assert_eq!(
        text(|o| rename(o, true, "a", "b", "p", 9)),
        "APPLY LOCAL_RENAME %(OLDMBOXNAME a NEWMBOXNAME b PARTITION p UIDVALIDITY 9)\r\n"
    );
    assert_eq!(
        text(|o| quota(o, "user.a", [("LIMIT", 4294967295), ("MESSAGE", 5)], 3)),
        "APPLY QUOTA %(ROOT user.a LIMIT 4294967295 MESSAGE 5 MODSEQ 3)\r\n"
    );
    assert_eq!(
        text(|o| subscription(o, false, "anna", "user.anna.X")),
        "APPLY UNSUB %(USERID anna MBOXNAME user.anna.X)\r\n"
    );
    assert_eq!(
        text(|o| sieve(o, "anna", "a.script", 5, b"keep;\r\n")),
        "APPLY SIEVE %(USERID anna FILENAME a.script LAST_UPDATE 5 CONTENT {7+}\r\nkeep;\r\n)\r\n"
    );
    assert_eq!(
        text(|o| expunge(o, "user.a", "id", [1, 2])),
        "APPLY EXPUNGE %(MBOXNAME user.a UNIQUEID id UID (1 2))\r\n"
    );
    assert_eq!(text(|o| unmailbox(o, false, "user.a")), "APPLY UNMAILBOX user.a\r\n");
}

#[test]
fn files_are_streamed_by_the_caller() {
    let zeros = "0".repeat(40);
    let mut out = Vec::new();
    message_begin(&mut out);
    message_file(&mut out, true, "default", &Guid::NULL, 2);
    let mut sent = std::mem::take(&mut out);
    sent.extend_from_slice(b"ab");
    message_file(&mut out, false, "default", &Guid::NULL, 1);
    sent.append(&mut out);
    sent.extend_from_slice(b"c");
    message_end(&mut sent);
    let expected =
        format!("APPLY MESSAGE (%{{default {zeros} 2}}\r\nab %{{default {zeros} 1}}\r\nc)\r\n");
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
}
