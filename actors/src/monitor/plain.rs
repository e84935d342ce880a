//! Makes foreign text fit for a line: names, and what a peer sends, may contain anything.
//!
//! A control character could colour, move or erase on a terminal; a line end could start a line that looks like ours; a NUL
//! would end a line of syslog (libc accepts none); and nobody reads megabytes.

use std::borrow::Cow;
use std::fmt::Write;

/// The longest line, in bytes: longer than any of ours, shorter than syslog's datagrams.
pub const LINE_BYTES: usize = 8 * 1024;
/// The longest command line on stdout (-v), which names up to 500 mailboxes.
pub(crate) const ACTION_BYTES: usize = 256 * 1024;

/// One line: what can't be shown is written as `\x1b` or `\u{202e}`; a line that is too long is cut and says so.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    line_of(text, LINE_BYTES)
}

/// As [`line`], limited to about `most` bytes.
pub(crate) fn line_of(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for (at, letter) in text.char_indices() {
        if shown.len() >= most {
            // Writing to a String can't fail.
            let _ = write!(shown, "… ({} bytes more)", text.len() - at);
            break;
        }
        match letter {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            letter if is_hidden(letter) && u32::from(letter) < 0x100 => {
                let _ = write!(shown, "\\x{:02x}", u32::from(letter));
            }
            letter if is_hidden(letter) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that change the direction of the following text or have no width.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        for text in ["", "user anna: größer, 漢字", "a\\b"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn nothing_hidden_stays_hidden() {
        assert_eq!(line("a\x1b[2Jb\0c\u{9b}d"), "a\\x1b[2Jb\\x00c\\x9bd");
        assert_eq!(
            line("a\nsync_client: all is well\r\n\tb"),
            "a\\nsync_client: all is well\\r\\n\\tb"
        );
        assert_eq!(line("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn megabytes_are_cut() {
        let text = "é".repeat(5 << 20);
        let shown = line(&text);
        assert!(shown.len() < LINE_BYTES + 40, "{}", shown.len());
        assert!(shown.ends_with("… (10477568 bytes more)"), "{}", &shown[shown.len() - 40..]);
        let escapes = "\0".repeat(1 << 20);
        assert!(line(&escapes).len() < LINE_BYTES + 40);
    }
}
