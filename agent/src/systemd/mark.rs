//! PURE. The text of a mark's file: three lines, `file=<hash>`, `start=<number>`, `restart=<number>`.

use model::{Generation, Mark};
use unitfile::FileHash;

/// The text that [`parse`] reads.
pub(super) fn print(mark: &Mark) -> String {
    format!(
        "file={}\nstart={}\nrestart={}\n",
        mark.file, mark.start, mark.restart
    )
}

/// The mark; none if this is not the whole text of one.
pub(super) fn parse(text: &str) -> Option<Mark> {
    let mut lines = text.lines();
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix('=');
    let mark = Mark {
        file: value("file")?.parse::<FileHash>().ok()?,
        start: Generation(value("start")?.parse().ok()?),
        restart: Generation(value("restart")?.parse().ok()?),
    };
    // A text that was cut within its last number would read as a smaller one.
    (print(&mark) == text).then_some(mark)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written_and_no_part_of_it_is(
            bytes in any::<[u8; 32]>(), start in any::<u64>(), restart in any::<u64>(), cut in 0usize..120,
        ) {
            let mark = Mark {
                file: FileHash::from_bytes(bytes),
                start: Generation(start),
                restart: Generation(restart),
            };
            let text = print(&mark);
            prop_assert_eq!(parse(&text), Some(mark));
            if cut < text.len() {
                prop_assert_eq!(parse(&text[..cut]), None);
            }
        }

        #[test]
        fn other_texts_are_no_marks(text in ".*") {
            prop_assert_eq!(parse(&text), None);
        }
    }
}
