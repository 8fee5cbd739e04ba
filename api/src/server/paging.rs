//! PURE. Pages of a list, numbered in a token of the ancestor's form: four bytes in URL-safe base64, first how many
//! entries a page has, then the page's number, each 16 bits, low byte first.

use std::num::NonZeroU16;
use std::ops::Range;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes in a token before it is written as text.
const TOKEN_BYTES: usize = 4;

/// One page of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    limit: NonZeroU16,
    /// Counted from 1.
    number: NonZeroU16,
}

/// Why a token is not one of ours; the texts are the ancestor's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("too many values for page token")]
    TooMany,
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("EOF")]
    Empty,
    #[error("unexpected EOF")]
    Short,
    #[error("token limit must be {0}")]
    Limit(NonZeroU16),
    #[error("token page must be greater than zero")]
    Zero,
}

impl Page {
    /// The page that the values of `nextPageToken` ask for; the first if there are none.
    pub(super) fn asked<'a>(
        mut tokens: impl Iterator<Item = &'a str>,
        limit: NonZeroU16,
    ) -> Result<Page, PageError> {
        let Some(token) = tokens.next() else {
            return Ok(Page {
                limit,
                number: NonZeroU16::MIN,
            });
        };
        if tokens.next().is_some() {
            return Err(PageError::TooMany);
        }
        let (asked_limit, number) = match decode(token)?[..] {
            [] => return Err(PageError::Empty),
            [a, b, c, d, ..] => (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            _ => return Err(PageError::Short),
        };
        if asked_limit != limit.get() {
            return Err(PageError::Limit(limit));
        }
        let number = NonZeroU16::new(number).ok_or(PageError::Zero)?;
        Ok(Page { limit, number })
    }

    /// The entries of a list of `total` that are on this page; empty if the page is beyond the end.
    ///
    /// The last page that a token can name holds all that is left, so that no list is too long.
    pub(super) fn range(self, total: usize) -> Range<usize> {
        let limit = usize::from(self.limit.get());
        let start = (usize::from(self.number.get()) - 1) * limit;
        let end = if self.number == NonZeroU16::MAX {
            total
        } else {
            start + limit
        };
        start.min(total)..end.min(total)
    }

    /// The token of the next page; none if this is the last of a list of `total`.
    pub(super) fn next_token(self, total: usize) -> Option<String> {
        if self.range(total).end >= total {
            return None;
        }
        let number = self.number.checked_add(1)?;
        Some(Page { number, ..self }.token())
    }

    fn token(self) -> String {
        let [a, b] = self.limit.get().to_le_bytes();
        let [c, d] = self.number.get().to_le_bytes();
        encode([a, b, c, d])
    }
}

fn encode(bytes: [u8; TOKEN_BYTES]) -> String {
    let [a, b, c, d] = bytes.map(u32::from);
    let bits = [a << 16 | b << 8 | c, d << 16];
    let digit = |index: usize| {
        let value = bits[index / 4] >> (18 - 6 * (index % 4)) & 63;
        char::from(ALPHABET[value as usize])
    };
    (0..6).map(digit).chain(['=', '=']).collect()
}

/// Base64 with padding; line ends are skipped, as Go does.
fn decode(text: &str) -> Result<Vec<u8>, PageError> {
    let digits: Vec<(usize, u8)> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let mut bytes = Vec::new();
    let mut ended = false;
    for group in digits.chunks(4) {
        let (at, _) = group[0];
        if ended {
            return Err(PageError::Base64(at));
        }
        let mut bits = 0u32;
        let mut count = 0;
        for &(at, digit) in group {
            let value = ALPHABET.iter().position(|known| *known == digit);
            match value {
                Some(value) if !ended => {
                    bits = bits << 6 | value as u32;
                    count += 1;
                }
                None if digit == b'=' && count >= 2 => ended = true,
                Some(_) | None => return Err(PageError::Base64(at)),
            }
        }
        if group.len() < 4 {
            // The ancestor's decoder names the place where the missing text begins.
            return Err(PageError::Base64(at + group.len()));
        }
        let [_, first, second, third] = (bits << (6 * (4 - count))).to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..count - 1]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(limit: u16) -> NonZeroU16 {
        NonZeroU16::new(limit).unwrap()
    }

    fn page(limit_: u16, number: u16) -> Page {
        Page {
            limit: limit(limit_),
            number: limit(number),
        }
    }

    #[test]
    fn tokens_are_the_ancestors() {
        for (token, limit_, number) in [
            ("EwBMLg==", 19, 11852),
            ("LQAJAA==", 45, 9),
            ("_wMAAA==", 1023, 0),
            ("ZAACAA==", 100, 2),
        ] {
            let read = Page::asked([token].into_iter(), limit(limit_));
            if number == 0 {
                assert_eq!(read, Err(PageError::Zero), "{token}");
            } else {
                assert_eq!(read, Ok(page(limit_, number)), "{token}");
                assert_eq!(page(limit_, number).token(), token);
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused_in_the_ancestors_words() {
        for (tokens, message) in [
            (&["wjAAAA=="][..], "token limit must be 100"),
            (&["ZAAAAA=="], "token page must be greater than zero"),
            (&["ZAABAA==", "ZAABAA=="], "too many values for page token"),
            (&[""], "EOF"),
            (&["ZAAB"], "unexpected EOF"),
            (&["*"], "illegal base64 data at input byte 0"),
            (&["ZAA*"], "illegal base64 data at input byte 3"),
            (&["ZAABAA==ZAAB"], "illegal base64 data at input byte 8"),
        ] {
            let error = Page::asked(tokens.iter().copied(), limit(100)).unwrap_err();
            assert_eq!(error.to_string(), message, "{tokens:?}");
        }
    }

    #[test]
    fn a_list_that_fills_its_pages_exactly_has_no_empty_page() {
        assert_eq!(page(100, 1).range(100), 0..100);
        assert_eq!(page(100, 1).next_token(100), None);
        assert_eq!(page(100, 1).next_token(101).as_deref(), Some("ZAACAA=="));
        assert_eq!(page(100, 2).range(101), 100..101);
        assert_eq!(page(100, 3).range(101), 101..101);
        assert_eq!(page(100, 3).next_token(101), None);
    }

    proptest! {
        #[test]
        fn following_the_tokens_gives_every_entry_once(total in 0usize..200_000, size in 1u16..2000) {
            let mut seen = 0;
            let mut token = None;
            loop {
                let page = Page::asked(token.as_deref().into_iter(), limit(size)).unwrap();
                let range = page.range(total);
                prop_assert_eq!(range.start, seen);
                seen = range.end;
                token = page.next_token(total);
                if token.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, total);
        }

        #[test]
        fn any_text_is_a_page_or_an_error(token in "\\PC{0,12}") {
            let read = Page::asked([token.as_str()].into_iter(), limit(100));
            if let Ok(page) = read {
                prop_assert_eq!(page.limit, limit(100));
            }
        }
    }

    #[test]
    fn the_last_page_a_token_can_name_holds_the_rest() {
        assert_eq!(page(1, u16::MAX).range(100_000), 65_534..100_000);
        assert_eq!(page(1, u16::MAX).next_token(100_000), None);
    }
}
