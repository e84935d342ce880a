//! Invented handshakes: other servers, other options, and those that must fail. `tests/wire.rs` replays the real ones.

use super::*;

const CSYNC: &str = "* SASL PLAIN LOGIN\r\n* STARTTLS\r\n* COMPRESS DEFLATE\r\n* SIEVE-MAILBOX\r\n\
                     * OK host Cyrus sync server 3.6.1\r\n";
const IMAP: &str = "* OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN SASL-IR STARTTLS] host Cyrus IMAP 3.6.1 server ready\r\n";
const IMAP_IN: &str =
    "A01 OK [CAPABILITY IMAP4rev1 X-REPLICATION X-SIEVE-MAILBOX COMPRESS=DEFLATE] Success\r\n";
const PLAIN: &str = "AGN5cnVzAHNlY3JldA==";

fn options() -> HandshakeOptions {
    HandshakeOptions {
        authname: "cyrus".into(),
        password: "secret".into(),
        ..HandshakeOptions::default()
    }
}

/// Plays a handshake: every server text, and the step that is expected after it.
fn play(options: HandshakeOptions, turns: &[(&str, &str)]) -> Result<Session, HandshakeError> {
    let mut handshake = Handshake::new(options);
    let mut src = BytesMut::new();
    for (server, expected) in turns {
        src.extend_from_slice(server.as_bytes());
        let said = match handshake.handle(&mut src)? {
            HandshakeStep::NeedMore => "more".to_owned(),
            HandshakeStep::Send(spoken) => {
                let shown = String::from_utf8(spoken.shown()).unwrap();
                for secret in ["secret", PLAIN] {
                    assert!(!shown.contains(secret), "{shown}");
                }
                String::from_utf8(spoken.bytes().to_vec()).unwrap()
            }
            HandshakeStep::StartCompression => "deflate".to_owned(),
            HandshakeStep::StartTls => "tls".to_owned(),
            HandshakeStep::Early(session) => {
                assert!(session.capabilities.sieve_mailbox_enabled);
                "early".to_owned()
            }
            HandshakeStep::Ready(session) => {
                assert_eq!(*expected, "ready");
                assert!(src.is_empty());
                return Ok(session);
            }
        };
        assert_eq!(said, *expected, "after {server:?}");
    }
    panic!("the dialogue did not end");
}

fn fails(options: HandshakeOptions, turns: &[(&str, &str)]) -> HandshakeError {
    play(options, turns).unwrap_err()
}

fn csync_login() -> String {
    format!("AUTHENTICATE PLAIN {PLAIN}\r\n")
}

fn imap_login() -> String {
    format!("A01 AUTHENTICATE PLAIN {PLAIN}\r\n")
}

const ENABLE: &str = "APPLY CAPABILITIES (SIEVE-MAILBOX)\r\n";
const ENABLED: &str = "* ENABLED (SIEVE-MAILBOX)\r\nOK success\r\n";

#[test]
fn compression_on_the_csync_port_alone() {
    let options = HandshakeOptions { want_compress: true, ..options() };
    let login = csync_login();
    let session = play(
        options.clone(),
        &[
            (CSYNC, &login),
            ("OK Success (no protection)\r\n", &format!("{ENABLE}COMPRESS DEFLATE\r\n")),
            (ENABLED, "more"),
            ("OK DEFLATE active\r\n", "deflate"),
            ("", "ready"),
        ],
    );
    assert!(session.unwrap().capabilities.compress_active);

    let login = imap_login();
    let enable = format!("E01 SYNC{ENABLE}");
    let over_imap = [
        (IMAP, login.as_str()),
        (IMAP_IN, &enable),
        ("* ENABLED (SIEVE-MAILBOX)\r\nE01 OK success\r\n", "ready"),
    ];
    assert!(!play(options.clone(), &over_imap).unwrap().capabilities.compress_active);
    let required = HandshakeOptions { require_compress: true, ..options };
    assert!(matches!(fails(required, &over_imap), HandshakeError::CompressionRefused { .. }));
}

#[test]
fn questions_may_go_ahead_of_the_last_answers() {
    let options = HandshakeOptions { want_compress: true, early: true, force: true, ..options() };
    let login = csync_login();
    let both = format!("{ENABLE}APPLY FORCE %()\r\n");
    let opening = [(CSYNC, login.as_str()), ("OK Success\r\n", both.as_str()), ("", "early")];
    let kept = [&opening[..], &[(ENABLED, "more"), ("OK success\r\n", "ready")]].concat();
    let session = play(options.clone(), &kept).unwrap();
    assert!(session.capabilities.sieve_mailbox_enabled && session.force_active);
    assert!(session.capabilities.compress_later && !session.capabilities.compress_active);
    // The expected session need not be the result.
    let broken = [&opening[..], &[("NO what\r\nOK success\r\n", "ready")]].concat();
    assert!(!play(options.clone(), &broken).unwrap().capabilities.sieve_mailbox_enabled);
    let denied = [&opening[..], &[("NO Permission denied\r\n", "")]].concat();
    assert!(matches!(fails(options.clone(), &denied), HandshakeError::NotAdmin { .. }));

    // If there is nothing to enable there is no early step; an imapd gets no early questions.
    let plain = HandshakeOptions { want_sieve_mailbox: false, force: false, ..options.clone() };
    let nothing = [(CSYNC, login.as_str()), ("OK Success\r\n", "ready")];
    assert!(play(plain, &nothing).unwrap().capabilities.compress_later);
    // A Unix socket's peer has none either: it offers nothing to rely on.
    let options = HandshakeOptions { force: false, ..options };
    let socket = HandshakeOptions { already_authenticated: true, ..options.clone() };
    let banner = "* OK host Cyrus sync server 3.6.1\r\n";
    assert!(play(socket, &[(banner, ENABLE), (ENABLED, "ready")]).is_ok());
    let login = imap_login();
    let enable = format!("E01 SYNC{ENABLE}");
    let over_imap = [
        (IMAP, login.as_str()),
        (IMAP_IN, &enable),
        ("* ENABLED (SIEVE-MAILBOX)\r\nE01 OK success\r\n", "ready"),
    ];
    assert!(!play(options, &over_imap).unwrap().capabilities.compress_later);
}

#[test]
fn compression_that_cannot_be_had() {
    let wanted = HandshakeOptions { want_compress: true, want_sieve_mailbox: false, ..options() };
    let required = HandshakeOptions { require_compress: true, ..wanted.clone() };
    let login = csync_login();
    let refused = [
        (CSYNC, login.as_str()),
        ("OK Success\r\n", "COMPRESS DEFLATE\r\n"),
        ("NO ZLIB not available\r\n", "ready"),
    ];
    assert!(!play(wanted.clone(), &refused).unwrap().capabilities.compress_active);
    let error = fails(required.clone(), &refused);
    assert_eq!(error, HandshakeError::CompressionRefused { text: "ZLIB not available".into() });
    assert!(error.is_fatal());

    let old = CSYNC.replace("* COMPRESS DEFLATE\r\n", "");
    let not_offered = [(old.as_str(), login.as_str()), ("OK Success\r\n", "ready")];
    assert!(play(wanted, &not_offered).is_ok());
    assert!(matches!(fails(required, &not_offered), HandshakeError::CompressionRefused { .. }));
}

#[test]
fn a_unix_socket_needs_no_login() {
    let options =
        HandshakeOptions { already_authenticated: true, want_compress: true, ..options() };
    let banner = "* OK host Cyrus sync server 3.6.1\r\n";
    let session = play(options.clone(), &[(banner, ENABLE), (ENABLED, "ready")]).unwrap();
    assert!(session.capabilities.sieve_mailbox_enabled);
    assert_eq!(session.capabilities.software, "host Cyrus sync server 3.6.1");
    // No version before 3.6 knew CAPABILITIES.
    let old = [(banner, ENABLE), ("NO IMAP_PROTOCOL_ERROR Protocol error\r\n", "ready")];
    assert!(!play(options, &old).unwrap().capabilities.sieve_mailbox_enabled);
}

#[test]
fn force_is_remembered_only_when_granted() {
    let options = HandshakeOptions { force: true, ..options() };
    let login = csync_login();
    let both = format!("{ENABLE}APPLY FORCE %()\r\n");
    let opening = [(CSYNC, login.as_str()), ("OK Success\r\n", both.as_str())];
    let granted = [&opening[..], &[(ENABLED, "more"), ("OK success\r\n", "ready")]].concat();
    assert!(play(options.clone(), &granted).unwrap().force_active);
    let unknown =
        [&opening[..], &[(ENABLED, "more"), ("NO IMAP_PROTOCOL_ERROR x\r\n", "ready")]].concat();
    let session = play(options.clone(), &unknown).unwrap();
    assert!(!session.force_active && session.capabilities.sieve_mailbox_enabled);
    let old = CSYNC.replace("* SIEVE-MAILBOX\r\n", "");
    let alone = [
        (old.as_str(), login.as_str()),
        ("OK Success\r\n", "APPLY FORCE %()\r\n"),
        ("BAD IMAP_PROTOCOL_ERROR x\r\n", "ready"),
    ];
    assert!(!play(options, &alone).unwrap().force_active);
}

#[test]
fn imap_without_capabilities_in_its_greeting_or_its_ok() {
    let login = imap_login();
    let session = play(
        options(),
        &[
            ("* OK host ready\r\n", "C01 CAPABILITY\r\n"),
            (
                "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n* OK hello\r\nC01 OK done\r\n",
                "A01 AUTHENTICATE PLAIN\r\n",
            ),
            ("+ \r\n", &format!("{PLAIN}\r\n")),
            ("A01 OK done\r\n", "C01 CAPABILITY\r\n"),
            ("* CAPABILITY IMAP4rev1 X-REPLICATION\r\nC01 OK done\r\n", "ready"),
        ],
    );
    let session = session.unwrap();
    assert_eq!(
        (session.framing, session.capabilities.software.as_str()),
        (Framing::Imap, "host ready")
    );

    let preauth = [
        ("* PREAUTH host ready\r\n", "C01 CAPABILITY\r\n"),
        ("* CAPABILITY X-REPLICATION\r\nC01 OK done\r\n", "ready"),
    ];
    assert!(play(options(), &preauth).is_ok());

    let plain_imapd = [(IMAP, login.as_str()), ("A01 OK [CAPABILITY IMAP4rev1] Success\r\n", "")];
    let error = fails(options(), &plain_imapd);
    assert_eq!(
        error,
        HandshakeError::NotReplication { banner: "host Cyrus IMAP 3.6.1 server ready".into() }
    );
}

#[test]
fn login_stands_in_for_plain() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 LITERAL+] host ready\r\n";
    let options =
        HandshakeOptions { password: "pa\"ss \\ü".into(), authname: "a b".into(), ..options() };
    let turns = [
        (greeting, "A01 LOGIN \"a b\" {9+}\r\npa\"ss \\ü\r\n"),
        ("A01 OK [CAPABILITY X-REPLICATION] in\r\n", "ready"),
    ];
    assert!(play(options.clone(), &turns).is_ok());
    // Without LITERAL+ such a password would have to wait for a continuation.
    let error = fails(options, &[("* OK [CAPABILITY IMAP4rev1] host ready\r\n", "")]);
    assert!(matches!(error, HandshakeError::NoUsableMechanism { .. }));
}

#[test]
fn tls_when_wished() {
    let wish = |tls| HandshakeOptions { tls, want_sieve_mailbox: false, ..options() };
    let login = csync_login();
    let clear = "* SASL LOGIN\r\n* STARTTLS\r\n* OK host Cyrus sync server 3.6.1\r\n";
    let session = play(
        wish(TlsWish::IfOffered),
        &[
            (clear, "STARTTLS\r\n"),
            ("OK Begin TLS negotiation now\r\n", "tls"),
            ("", "more"),
            ("* SASL PLAIN\r\n* OK host Cyrus sync server 3.6.1\r\n", &login),
            ("OK Success (tls protection)\r\n", "ready"),
        ],
    );
    assert!(session.unwrap().capabilities.tls_active);

    let login = imap_login();
    let session = play(
        wish(TlsWish::Required),
        &[
            (IMAP, "S01 STARTTLS\r\n"),
            ("S01 OK Begin\r\n", "tls"),
            ("", "C01 CAPABILITY\r\n"),
            ("* CAPABILITY AUTH=PLAIN SASL-IR STARTTLS\r\nC01 OK done\r\n", &login),
            (IMAP_IN, "ready"),
        ],
    );
    assert!(session.unwrap().capabilities.tls_active);

    // Unencrypted bytes after the OK would be treated as encrypted ones.
    let injected = [(IMAP, "S01 STARTTLS\r\n"), ("S01 OK Begin\r\n* CAPABILITY AUTH=EVIL\r\n", "")];
    let error = fails(wish(TlsWish::Required), &injected);
    assert!(matches!(error, HandshakeError::UnexpectedAnswer { command: "STARTTLS", .. }));

    let none = "* SASL PLAIN\r\n* OK host Cyrus sync server 3.6.1\r\n";
    assert_eq!(fails(wish(TlsWish::Required), &[(none, "")]), HandshakeError::TlsNotOffered);
    assert_eq!(fails(wish(TlsWish::Never), &[(clear, "")]), HandshakeError::TlsRequired);
    let disabled = "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] host ready\r\n";
    assert_eq!(fails(wish(TlsWish::Never), &[(disabled, "")]), HandshakeError::TlsRequired);
    let gssapi = "* SASL GSSAPI\r\n* OK host Cyrus sync server 3.6.1\r\n";
    let error = fails(wish(TlsWish::Never), &[(gssapi, "")]);
    assert_eq!(error, HandshakeError::NoUsableMechanism { offered: "GSSAPI".into() });
}

#[test]
fn refused_logins_and_mere_users() {
    let login = csync_login();
    let error = fails(options(), &[(CSYNC, &login), ("NO authentication failure\r\n", "")]);
    assert_eq!(
        error,
        HandshakeError::LoginRefused {
            user: "cyrus".into(),
            text: "authentication failure".into()
        }
    );
    assert!(error.is_fatal());
    let user =
        [(CSYNC, login.as_str()), ("OK Success\r\n", ENABLE), ("NO Permission denied\r\n", "")];
    assert!(matches!(fails(options(), &user), HandshakeError::NotAdmin { .. }));
    let login = imap_login();
    let error = fails(options(), &[(IMAP, &login), ("A01 NO [AUTHENTICATIONFAILED] no\r\n", "")]);
    assert!(matches!(error, HandshakeError::LoginRefused { .. }));
    let enable = format!("E01 SYNC{ENABLE}");
    let user = [
        (IMAP, login.as_str()),
        (IMAP_IN, enable.as_str()),
        ("E01 BAD Unrecognized command\r\n", ""),
    ];
    assert!(matches!(fails(options(), &user), HandshakeError::NotAdmin { .. }));
}

#[test]
fn strangers_and_interruptions() {
    for banner in ["220 host ESMTP\r\n", "+OK POP3 ready\r\n", "SSH-2.0-x\r\n", "\r\n"] {
        let error = fails(options(), &[(banner, "")]);
        assert!(matches!(error, HandshakeError::NotReplication { .. }), "{banner}: {error}");
    }
    let off = HandshakeOptions { try_imap: false, ..options() };
    assert!(matches!(fails(off, &[(IMAP, "")]), HandshakeError::ImapNotWanted { .. }));
    for bye in
        ["* BYE too many connections\r\n", "BYE shutting down\r\n", "* Fatal error: no memory\r\n"]
    {
        let error = fails(options(), &[(bye, "")]);
        assert!(matches!(error, HandshakeError::Bye { .. }) && !error.is_fatal());
        let login = csync_login();
        assert!(matches!(
            fails(options(), &[(CSYNC, &login), (bye, "")]),
            HandshakeError::Bye { .. }
        ));
    }
    let login = csync_login();
    let error = fails(options(), &[(CSYNC, &login), ("+ more?\r\n", "")]);
    assert!(matches!(error, HandshakeError::UnexpectedAnswer { command: "AUTHENTICATE", .. }));
    let login = imap_login();
    let error = fails(options(), &[(IMAP, &login), ("X99 OK fine\r\n", "")]);
    assert!(matches!(error, HandshakeError::UnexpectedAnswer { .. }));
}

#[test]
fn endless_banners_are_cut_off() {
    let mut handshake = Handshake::new(options());
    let mut src = BytesMut::new();
    let error = loop {
        src.extend_from_slice(&[b'x'; 1000]);
        assert!(src.len() < 100_000);
        match handshake.handle(&mut src) {
            Ok(step) => assert_eq!(step, HandshakeStep::NeedMore),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, HandshakeError::Wire(WireError::LineTooLong { .. })));
    assert_eq!(handshake.handle(&mut src), Err(HandshakeError::Wire(WireError::AlreadyFailed)));
    let lines = "* X\r\n".repeat(100);
    assert!(matches!(fails(options(), &[(&lines, "")]), HandshakeError::NotReplication { .. }));
}

#[test]
fn passwords_are_not_shown() {
    assert!(!format!("{:?}", Handshake::new(options())).contains("secret"));
}

#[test]
fn only_what_is_offered_is_asked_for() {
    let login = csync_login();
    let offering = |names: &str| CSYNC.replace("* SIEVE-MAILBOX\r\n", names);
    let archive = HandshakeOptions { want_archive: true, ..options() };
    let both = "APPLY CAPABILITIES (SIEVE-MAILBOX REPLICATION-ARCHIVE)\r\n";
    let enabled = "* ENABLED (SIEVE-MAILBOX REPLICATION-ARCHIVE)\r\nOK success\r\n";
    let banner = offering("* SIEVE-MAILBOX\r\n* REPLICATION-ARCHIVE\r\n");
    let turns = [(banner.as_str(), login.as_str()), ("OK Success\r\n", both), (enabled, "ready")];
    let session = play(archive.clone(), &turns).unwrap();
    assert!(session.capabilities.replication_archive);
    assert!(session.capabilities.has_enabled("REPLICATION-ARCHIVE"));
    // Offered, requested, and not switched on.
    let turns = [(banner.as_str(), login.as_str()), ("OK Success\r\n", both), (ENABLED, "ready")];
    let session = play(archive.clone(), &turns).unwrap();
    assert!(!session.capabilities.has_enabled("REPLICATION-ARCHIVE"));
    // Not wanted, or not offered.
    for (options, banner) in [(options(), banner.as_str()), (archive, CSYNC)] {
        let turns = [(banner, login.as_str()), ("OK Success\r\n", ENABLE), (ENABLED, "ready")];
        let session = play(options, &turns).unwrap();
        assert!(!session.capabilities.has_enabled("REPLICATION-ARCHIVE"));
    }
    let newest = offering("* SIEVE-MAILBOX\r\n* UNMAILBOX-ID\r\n");
    let asked = "APPLY CAPABILITIES (SIEVE-MAILBOX UNMAILBOX-ID)\r\n";
    let turns = [(newest.as_str(), login.as_str()), ("OK Success\r\n", asked), (ENABLED, "ready")];
    assert!(play(options(), &turns).is_ok());
}

#[test]
fn nobody_before_3_6_is_asked_for_force() {
    let options = HandshakeOptions { force: true, ..options() };
    let login = csync_login();
    let of = |version: &str| CSYNC.replace("* SIEVE-MAILBOX\r\n", "").replace("3.6.1", version);
    let old = of("3.4.4-Debian");
    let turns = [(old.as_str(), login.as_str()), ("OK Success\r\n", "ready")];
    let session = play(options.clone(), &turns).unwrap();
    assert!(!session.force_active && session.version() == Some(CyrusVersion::new(3, 4)));
    let socket = HandshakeOptions { already_authenticated: true, ..options.clone() };
    let banner = "* OK host Cyrus sync server 3.2.6\r\n";
    assert!(!play(socket, &[(banner, "ready")]).unwrap().force_active);
    // A peer that does not report its version may know it.
    let silent = of("");
    let turns = [
        (silent.as_str(), login.as_str()),
        ("OK Success\r\n", "APPLY FORCE %()\r\n"),
        ("OK success\r\n", "ready"),
    ];
    assert!(play(options, &turns).unwrap().force_active);
}
