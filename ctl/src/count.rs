//! PURE. How many of something, in words.

/// "1 unit", "2 units"; "1 more unit" if the noun is "more unit".
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
