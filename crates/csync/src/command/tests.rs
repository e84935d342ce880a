//! Every command's bytes, as `imap/sync_support.c` would send them.

use super::*;

fn text(command: Command) -> String {
    String::from_utf8(command.bytes).unwrap()
}

#[test]
fn the_imap_form_differs_by_tag_sync_and_logout() {
    let both = |command: Command| {
        let mut out = Vec::new();
        tag(&mut out, Framing::Imap, 12, command.kind);
        out.extend_from_slice(&command.bytes);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(both(get_user("anna")), "S12 SYNCGET USER anna\r\n");
    assert_eq!(both(unuser(true, "anna")), "S12 SYNCAPPLY LOCAL_UNUSER anna\r\n");
    assert_eq!(both(restart()), "S12 SYNCRESTART\r\n");
    assert_eq!(both(noop()), "S12 NOOP\r\n");
    assert_eq!(both(compress()), "S12 COMPRESS DEFLATE\r\n");
    assert_eq!(both(exit(Framing::Imap)), "S12 LOGOUT\r\n");
    let mut nothing = Vec::new();
    tag(&mut nothing, Framing::Csync, 12, CommandKind::GetUser);
    assert_eq!(nothing, b"");
    assert_eq!(text(exit(Framing::Csync)), "EXIT\r\n");
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
    assert_eq!(text(get_user("anna b")), "GET USER \"anna b\"\r\n");
    assert_eq!(text(get_annotation(&MailboxName::new(""))), "GET ANNOTATION \"\"\r\n");
    assert_eq!(
        text(get_mailboxes(&["a", "b c"].map(MailboxName::new))),
        "GET MAILBOXES (a \"b c\")\r\n"
    );
    assert_eq!(
        text(get_fetch(
            &MailboxName::new("user.a"),
            "default",
            &UniqueId::new("id"),
            &guid,
            Uid(7)
        )),
        format!("GET FETCH %(MBOXNAME user.a PARTITION default UNIQUEID id GUID {hex} UID 7)\r\n")
    );
    assert_eq!(text(capabilities(["SIEVE-MAILBOX"])), "APPLY CAPABILITIES (SIEVE-MAILBOX)\r\n");
    assert_eq!(text(force()), "APPLY FORCE %()\r\n");
    assert_eq!(
        text(reserve("default", &["user.a", "user.b"].map(MailboxName::new), [&guid, &guid])),
        format!(
            "APPLY RESERVE %(PARTITION default MBOXNAME (user.a user.b) GUID ({hex} {hex}))\r\n"
        )
    );
    assert_eq!(
        text(rename(true, &MailboxName::new("a"), &MailboxName::new("b"), "p", UidValidity(9))),
        "APPLY LOCAL_RENAME %(OLDMBOXNAME a NEWMBOXNAME b PARTITION p UIDVALIDITY 9)\r\n"
    );
    assert_eq!(
        text(quota("user.a", [("LIMIT", 4294967295), ("MESSAGE", 5)], ModSeq(3))),
        "APPLY QUOTA %(ROOT user.a LIMIT 4294967295 MESSAGE 5 MODSEQ 3)\r\n"
    );
    assert_eq!(
        text(subscription(false, "anna", &MailboxName::new("user.anna.X"))),
        "APPLY UNSUB %(USERID anna MBOXNAME user.anna.X)\r\n"
    );
    assert_eq!(
        text(sieve("anna", "a.script", 5, b"keep;\r\n")),
        "APPLY SIEVE %(USERID anna FILENAME a.script LAST_UPDATE 5 CONTENT {7+}\r\nkeep;\r\n)\r\n"
    );
    assert_eq!(
        text(expunge(&MailboxName::new("user.a"), &UniqueId::new("id"), [Uid(1), Uid(2)])),
        "APPLY EXPUNGE %(MBOXNAME user.a UNIQUEID id UID (1 2))\r\n"
    );
    assert_eq!(text(unmailbox(false, &MailboxName::new("user.a"))), "APPLY UNMAILBOX user.a\r\n");
    assert_eq!(
        text(unmailbox_id(
            true,
            &MailboxName::new("user.a b"),
            &UniqueId::new("u1"),
            UidValidity(7)
        )),
        "APPLY LOCAL_UNMAILBOX %(MBOXNAME \"user.a b\" UNIQUEID u1 UIDVALIDITY 7)\r\n"
    );
}
