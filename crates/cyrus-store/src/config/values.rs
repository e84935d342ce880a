//! The values an option may have: switches, numbers, durations, sizes.
//!
//! Source: `config_parse_switch` and `config_parseduration` in `lib/libconfig.c` of cyrus-imapd 3.6.1; sizes with units are
//! those of 3.8 and later.

/// Only the first letter or two count, in lower case (`config_parse_switch`).
pub(crate) fn parse_switch(value: &str) -> Option<bool> {
    match value.as_bytes() {
        [b'0' | b'n' | b'f', ..] | [b'o', b'f', ..] => Some(false),
        [b'1' | b'y' | b't', ..] | [b'o', b'n', ..] => Some(true),
        _ => None,
    }
}

/// Decimal, `0x` hexadecimal or `0` octal, as strtol with base 0 reads them.
pub(crate) fn parse_int(value: &str) -> Option<i64> {
    let (negative, digits) = match value.as_bytes() {
        [b'-', ..] => (true, value.get(1..)?),
        [b'+', ..] => (false, value.get(1..)?),
        _ => (false, value),
    };
    // A second sign, also behind the 0x, would be taken by the parser below.
    if digits.contains(['+', '-']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let number = match lower.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None if lower.len() > 1 && lower.starts_with('0') => i64::from_str_radix(&lower, 8).ok()?,
        None if lower.bytes().all(|byte| byte.is_ascii_digit()) => lower.parse().ok()?,
        None => return None,
    };
    Some(if negative { -number } else { number })
}

/// `1d12h`, `90` (in `unit`), `-5m`, in seconds.
pub(crate) fn parse_duration(value: &str, unit: char) -> Option<i64> {
    let (negative, digits) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut text = digits.to_string();
    if text.ends_with(|c: char| c.is_ascii_digit()) {
        text.push(unit);
    }
    let mut total = 0i64;
    let mut number: Option<i64> = None;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        let factor = match c {
            'd' => 86400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(factor)?)?;
    }
    Some(if negative { -total } else { total })
}

/// `64K`, `1 G`, `512` (in `unit`), in bytes (powers of 1024; a trailing `B` or `iB` is allowed).
pub(crate) fn parse_bytesize(value: &str, unit: char) -> Option<i64> {
    let lower = value.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(lower.len());
    let (digits, suffix) = lower.split_at_checked(end)?;
    let number: i64 = digits.parse().ok()?;
    let suffix = suffix.trim();
    let letter = match suffix.chars().next() {
        None => unit.to_ascii_lowercase(),
        Some(letter) => letter,
    };
    if !matches!(suffix, "" | "b" | "k" | "kb" | "kib" | "m" | "mb" | "mib" | "g" | "gb" | "gib") {
        return None;
    }
    let factor = match letter {
        'b' => 1,
        'k' => 1 << 10,
        'm' => 1 << 20,
        'g' => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_units() {
        assert_eq!(parse_duration("1d12h", 's'), Some(129_600));
        assert_eq!(parse_duration("15", 'm'), Some(900));
        assert_eq!(parse_duration("-1", 's'), Some(-1));
        assert_eq!(parse_duration("h", 's'), None);
        assert_eq!(parse_duration("99999999999999999999d", 's'), None);
        assert_eq!(parse_bytesize("64K", 'B'), Some(65_536));
        assert_eq!(parse_bytesize("1 GiB", 'B'), Some(1 << 30));
        assert_eq!(parse_bytesize("3", 'K'), Some(3072));
        assert_eq!(parse_bytesize("x", 'K'), None);
        assert_eq!(parse_int("0x10"), Some(16));
        assert_eq!(parse_int("010"), Some(8));
        assert_eq!(parse_int("-3"), Some(-3));
        assert_eq!(parse_int("3x"), None);
    }
}
