//! Peers that are broken, slow or hostile: bounded, typed errors, never a panic; and everything that is written can be
//! read.

use bytes::{Bytes, BytesMut};
use csync::{Decoder, DlistWriter, Framing, Item, Limits, Reply, Value, WireError};
use cyrus_types::Guid;
use proptest::prelude::*;

const SMALL: Limits = Limits {
    line_bytes: 1000,
    token_bytes: 1000,
    memory_bytes: 100_000,
    literal_bytes: 500,
    depth: 4,
    items: 50,
    part_key: None,
};

fn decode(
    limits: Limits,
    pieces: impl IntoIterator<Item = Vec<u8>>,
) -> (Vec<Reply>, Option<WireError>) {
    let mut decoder = Decoder::new(Framing::Csync, limits);
    let mut src = BytesMut::new();
    let mut replies = Vec::new();
    for piece in pieces {
        src.extend_from_slice(&piece);
        loop {
            match decoder.decode(&mut src) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut src), Err(WireError::AlreadyFailed));
                    return (replies, Some(error));
                }
            }
        }
    }
    (replies, None)
}

fn error(text: impl AsRef<[u8]>) -> WireError {
    let (replies, error) = decode(SMALL, [text.as_ref().to_vec()]);
    assert!(replies.is_empty(), "{replies:?}");
    error.expect("this must be refused")
}

#[test]
fn lines_without_an_end_are_cut_off() {
    for start in
        ["OK ", "* X \"", "* X ", "* ", "* X (", "* X %(", "* X {5}\r\nabcde", "* OK ", "+ "]
    {
        for filling in ["a", " ", "()", "a "] {
            let endless = std::iter::once(start.as_bytes().to_vec())
                .chain(std::iter::repeat_n(filling.repeat(10).into_bytes(), 1000));
            let (_, error) = decode(SMALL, endless);
            assert!(error.is_some(), "{start}{filling}");
        }
    }
    let line = format!("OK {}", "x".repeat(2000));
    assert_eq!(error(line), WireError::LineTooLong { limit: 1000 });
}

#[test]
fn literals_are_refused_by_their_announcement() {
    assert_eq!(error("* X {501}\r\n"), WireError::LiteralTooLong { announced: 501, limit: 500 });
    assert_eq!(error("* X {501+}\r\n"), WireError::LiteralTooLong { announced: 501, limit: 500 });
    let many = format!("* X ({{300}}\r\n{}{{300}}\r\n", "x".repeat(300));
    assert_eq!(error(many), WireError::LiteralTooLong { announced: 600, limit: 500 });
    let file = format!("* X %{{default {} 18446744073709551615}}\r\n", "0".repeat(40));
    assert!(matches!(error(file), WireError::LiteralTooLong { .. }));
    for bad in [
        "{}",
        "{+}",
        "{-1}",
        "{1",
        "{1x}",
        "{18446744073709551616}",
        "{99999999999999999999999999999}",
    ] {
        let refused = error(format!("* X {bad}\r\n"));
        assert!(matches!(refused, WireError::Malformed { .. }), "{bad}: {refused:?}");
    }
}

#[test]
fn nesting_and_counts_are_bounded() {
    assert_eq!(error(format!("* X {}", "(".repeat(5))), WireError::TooDeep { limit: 4 });
    assert_eq!(error(format!("* X {}", "%(A ".repeat(5))), WireError::TooDeep { limit: 4 });
    assert_eq!(error(format!("* X ({}", "a ".repeat(51))), WireError::TooManyItems { limit: 50 });
}

#[test]
fn values_and_their_memory_are_bounded() {
    let limits = Limits { token_bytes: 100, memory_bytes: 20_000, ..Limits::ANSWERS };
    let refused = |text: String| decode(limits, [text.into_bytes()]).1.expect("must be refused");
    for text in [
        format!("* X {}", "x".repeat(101)),
        format!("* X \"{}", "x".repeat(101)),
        format!("* X {} ", "x".repeat(101)),
        "* X {101}\r\n".into(),
        format!("OK {}", "x".repeat(101)),
    ] {
        assert_eq!(refused(text.clone()), WireError::ValueTooLong { limit: 100 }, "{text}");
    }
    // Two bytes on the wire become a hundred in memory.
    for piece in ["a ", "() ", "NIL ", "%(a b) "] {
        let text = format!("* X ({}", piece.repeat(1000));
        assert_eq!(refused(text), WireError::TooMuchMemory { limit: 20_000 }, "{piece}");
    }
    let keys = format!("* X %({}", "a b ".repeat(1000));
    assert_eq!(refused(keys), WireError::TooMuchMemory { limit: 20_000 });
}

// However long the list is, only one of its values is in memory.
#[test]
fn records_are_handed_out_one_by_one() {
    let limits = Limits { memory_bytes: 4_000, part_key: Some("RECORD"), ..Limits::ANSWERS };
    let record = "%(UID 7 FLAGS (\\Seen) RECORD (x y))";
    let many = 5_000;
    let line = format!(
        "* MAILBOX %(MBOXNAME m OTHER (a b) RECORD ({}) LAST_UID 9)\r\nOK success\r\n",
        format!("{record} ").repeat(many)
    );
    for size in [1, 7, 100_000] {
        let (mut replies, error) = decode(limits, line.as_bytes().chunks(size).map(<[u8]>::to_vec));
        assert_eq!(error, None);
        let end = replies.split_off(many);
        let part = Value::Map(vec![
            ("UID".into(), Value::atom("7")),
            ("FLAGS".into(), Value::List(vec![Value::atom("\\Seen")])),
            ("RECORD".into(), Value::List(vec![Value::atom("x"), Value::atom("y")])),
        ]);
        assert!(replies.iter().all(|reply| *reply == Reply::Part(part.clone())));
        let Reply::Untagged(item) = &end[0] else { panic!("{end:?}") };
        assert_eq!(item.value.get("RECORD"), Some(&Value::List(Vec::new())));
        assert_eq!(item.value.get("LAST_UID"), Some(&Value::atom("9")));
        assert!(matches!(&end[1], Reply::Done(status) if status.is_ok()));
    }
    let big = format!("* MAILBOX %(RECORD (%(FLAGS ({})))", "x ".repeat(100));
    let (_, error) = decode(limits, [big.into_bytes()]);
    assert_eq!(error, Some(WireError::TooMuchMemory { limit: 4_000 }));
}

#[test]
fn malformed_lines_are_named() {
    let zeros = "0".repeat(40);
    for bad in [
        "* \r\n".to_owned(),
        "* X\r\n".into(),
        "* X \r\n".into(),
        "* X a b\r\n".into(),
        "* X ()\t()\r\n".into(),
        "* X (\r\n".into(),
        "* X %(A)\r\n".into(),
        "* X %(A 1 B)\r\n".into(),
        "* X %((a) b)\r\n".into(),
        "* X %(%() b)\r\n".into(),
        "* X )\r\n".into(),
        "* X %a\r\n".into(),
        "* X \"a\r\n".into(),
        "* X \"a\\\"\r\n".into(),
        "* X a\rb\r\n".into(),
        "* X %(A \"\" {1}\r\n\u{7f}".into(),
        format!("* X %{{default {zeros} x}}\r\n"),
        format!("* X %{{default {zeros}1 3}}\r\nabc\r\n"),
        format!("* X %{{default {zeros} (3)}}\r\nabc\r\n"),
        format!("* X %{{(default) {zeros} 3}}\r\nabc\r\n"),
        format!("* X %{{default ) {zeros} 3}}\r\nabc\r\n"),
    ] {
        let (replies, error) = decode(SMALL, [bad.clone().into_bytes(), b"\r\n".to_vec()]);
        assert!(error.is_some() && replies.is_empty(), "{bad:?} gave {replies:?}");
    }
    for bad in ["\r\n", "HELLO\r\n", "*\r\n", "*X\r\n", "ok fine\r\n", "S1 OK fine\r\n"] {
        assert!(matches!(error(bad), WireError::UnexpectedLine { .. }), "{bad:?}");
    }
    let bytes = decode(SMALL, [b"* X %(\xff 1)\r\n".to_vec()]).1.unwrap();
    assert!(bytes.to_string().contains("not UTF-8"), "{bytes}");
}

#[test]
fn unusual_but_good_lines_are_read() {
    let zeros = "0".repeat(40);
    let lines: [(String, Value); 8] = [
        ("* X NIL\r\n".into(), Value::Nil),
        ("* X \"NIL\"\n".into(), Value::atom("NIL")),
        ("* X  (  a(b)\"c\" )  \r\n".into(), {
            Value::List(vec![
                Value::atom("a"),
                Value::List(vec![Value::atom("b")]),
                Value::atom("c"),
            ])
        }),
        ("* X \"a\\\\b\\\"c\"\r\n".into(), Value::atom("a\\b\"c")),
        ("* X {2+}\r\n\r\n\r\n".into(), Value::atom("\r\n")),
        ("* X {0}\r\n\r\n".into(), Value::atom("")),
        ("* \"X\" %({1}\r\nK v)\r\n".into(), Value::Map(vec![("K".into(), Value::atom("v"))])),
        (
            format!("* X %{{{{3}}\r\na b {zeros} 2}}\r\n)(\r\n"),
            Value::File {
                partition: "a b".into(),
                guid: Guid::NULL,
                data: Bytes::from_static(b")("),
            },
        ),
    ];
    for (line, value) in lines {
        let (replies, error) = decode(SMALL, [line.clone().into_bytes()]);
        assert_eq!(error, None, "{line:?}");
        assert_eq!(replies, [Reply::Untagged(Item { name: "X".into(), value })], "{line:?}");
    }
}

#[test]
fn endings_and_chatter() {
    let text = "* OK [ALERT] it's \"unbalanced\r\n* 5 EXISTS\r\n* CAPABILITY (((\r\n+ go ahead\r\n+\r\n\
                BYE shutting down\r\n* BYE LOGOUT received\r\n* Fatal error: word too long\r\n";
    let (replies, error) = decode(SMALL, text.bytes().map(|byte| vec![byte]));
    assert_eq!(error, None);
    let texts: Vec<String> = replies
        .into_iter()
        .map(|reply| match reply {
            Reply::Continuation(text) => format!("+{}", String::from_utf8(text).unwrap()),
            Reply::Done(status) => format!("{:?} {}", status.kind, status.text),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "+go ahead",
            "+",
            "Bye shutting down",
            "Bye LOGOUT received",
            "Bye Fatal error: word too long"
        ]
    );
}

/// No byte may be examined twice: otherwise 4 MB of each kind in 4,000 pieces would take minutes.
#[test]
fn slow_peers_cost_no_more_than_fast_ones() {
    let limits = Limits {
        line_bytes: 8 << 20,
        token_bytes: 8 << 20,
        literal_bytes: 8 << 20,
        depth: 4,
        items: 8,
        ..Limits::ANSWERS
    };
    let begin = std::time::Instant::now();
    for (head, tail) in
        [("* X \"", "\"\r\n"), ("* X ", "\r\n"), ("OK ", "\r\n"), ("* X {4096000}\r\n", "\r\n")]
    {
        let pieces = std::iter::once(head.as_bytes().to_vec())
            .chain(std::iter::repeat_n(vec![b'x'; 1024], 4000))
            .chain(std::iter::once(tail.as_bytes().to_vec()));
        let (replies, error) = decode(limits, pieces);
        assert_eq!((replies.len(), error), (1, None), "{head}");
    }
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

fn any_value() -> impl Strategy<Value = Value> {
    let special: [&[u8]; 6] = [b"NIL", b"", b"\\Seen", b"{5}", b"a\r\nb", b"\x1f"];
    let special = special.map(<[u8]>::to_vec);
    let leaf = prop_oneof![
        Just(Value::Nil),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::Atom),
        "[ -~]{0,12}".prop_map(Value::atom),
        proptest::sample::select(special.to_vec()).prop_map(Value::Atom),
        (1000usize..1100).prop_map(|size| Value::Atom(vec![b'x'; size])),
        ("[ -~]{1,8}", any::<[u8; 20]>(), proptest::collection::vec(any::<u8>(), 0..30)).prop_map(
            |(partition, guid, data)| Value::File {
                partition,
                guid: Guid(guid),
                data: data.into()
            }
        ),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::vec(("\\PC{0,6}", inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    pieces
}

/// Building blocks for invalid input.
const PIECES: [&[u8]; 20] = [
    b"* ",
    b"X ",
    b"%(",
    b"(",
    b")",
    b"%{",
    b"{3}\r\n",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\r\n",
    b" ",
    b"abc",
    b"7",
    b"0000000000000000000000000000000000000000 ",
    b"OK",
    b"BYE",
    b"\r",
    b"\xff",
];

proptest! {
    #[test]
    fn whatever_is_written_is_read_however_it_is_cut(
        value in any_value(),
        sizes in proptest::collection::vec(1usize..50, 1..10),
        server in any::<bool>(),
    ) {
        let mut out = b"* ".to_vec();
        let mut writer = DlistWriter::new(&mut out);
        if server {
            writer = writer.as_server();
        }
        writer.key("X").value(&value).end_line();
        let (replies, error) = decode(Limits::default(), cut(&out, &sizes));
        prop_assert_eq!(error, None);
        prop_assert_eq!(replies, [Reply::Untagged(Item { name: "X".into(), value })]);
    }

    #[test]
    fn rubbish_never_panics_and_cuts_change_nothing(
        text in proptest::collection::vec(
            proptest::sample::select(PIECES.to_vec()),
            0..40,
        ),
        sizes in proptest::collection::vec(1usize..9, 1..10),
    ) {
        let bytes = [b"* X ".to_vec(), text.concat()].concat();
        let (whole, error) = decode(SMALL, [bytes.clone()]);
        let (pieces, same) = decode(SMALL, cut(&bytes, &sizes));
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(error.is_some(), same.is_some());
    }
}
