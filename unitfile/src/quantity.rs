//! PURE. How much of something: texts such as `512M`, `0.5` and `250m` as numbers.

/// Bytes from `1024`, `64K`, `512M`, `4G` or `1T` (powers of 1024, as in systemd); none if it is no such text or too much.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        (at, 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    parse_count(digits)?.checked_mul(1 << shift)
}

/// Thousandths of a processor from `2`, `0.5` or `250m`; none if it is no such text or too much.
pub(crate) fn parse_milli(text: &str) -> Option<u64> {
    if let Some(milli) = text.strip_suffix('m') {
        return parse_count(milli);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let fraction = parse_count(&format!("{fraction:0<3}"))?;
    parse_count(whole)?.checked_mul(1000)?.checked_add(fraction)
}

/// A whole number, digits only; none if it is none or too large.
pub(crate) fn parse_count(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly_or_not_at_all() {
        assert_eq!(parse_bytes("1024"), Some(1024));
        assert_eq!(parse_bytes("512M"), Some(512 << 20));
        assert_eq!(parse_bytes("4G"), Some(4 << 30));
        for text in [
            "",
            "M",
            "-1",
            "1.5G",
            "1k",
            "1 G",
            "99999999999999999999",
            "18446744073709551615T",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(parse_milli("2"), Some(2000));
        assert_eq!(parse_milli("0.5"), Some(500));
        assert_eq!(parse_milli("1.25"), Some(1250));
        assert_eq!(parse_milli("250m"), Some(250));
        for text in ["", "m", ".5", "1.", "0.0005", "50%", "-1", "1e3"] {
            assert_eq!(parse_milli(text), None, "{text}");
        }
    }
}
