//! Which keys a request names: etcd's `key` and `range_end` conventions as one type. PURE.

use std::ops::Bound;
use std::sync::Arc;

/// A key or a value. Shared, so that history, reads and watches all point at one copy.
pub(crate) type Blob = Arc<[u8]>;

/// The keys named by etcd's pair `key`, `range_end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyRange {
    /// Exactly this key: `range_end` is empty.
    One(Blob),
    /// Every key at or after this one: `range_end` is the single byte 0.
    From(Blob),
    /// Every key at or after the first and before the second.
    Between(Blob, Blob),
}

impl KeyRange {
    /// Reads etcd's convention.
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> KeyRange {
        match range_end {
            [] => KeyRange::One(key.into()),
            [0] => KeyRange::From(key.into()),
            end => KeyRange::Between(key.into(), end.into()),
        }
    }

    /// Whether `key` is one of the keys named.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(only) => **only == *key,
            KeyRange::From(first) => **first <= *key,
            KeyRange::Between(first, end) => **first <= *key && *key < **end,
        }
    }

    /// Whether no key can ever be in it (the end is not after the start).
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            KeyRange::One(_) | KeyRange::From(_) => false,
            KeyRange::Between(first, end) => end <= first,
        }
    }

    /// The range as bounds for an ordered map. Only for a range that is not empty: a map refuses
    /// a start after its end.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            KeyRange::One(only) => (Bound::Included(only), Bound::Included(only)),
            KeyRange::From(first) => (Bound::Included(first), Bound::Unbounded),
            KeyRange::Between(first, end) => (Bound::Included(first), Bound::Excluded(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_end_follows_etcd() {
        let one = KeyRange::new(b"b", b"");
        assert!(one.contains(b"b") && !one.contains(b"ba") && !one.contains(b"a"));
        let from = KeyRange::new(b"b", b"\0");
        assert!(from.contains(b"b") && from.contains(b"z") && !from.contains(b"a"));
        let between = KeyRange::new(b"b", b"d");
        assert!(between.contains(b"b") && between.contains(b"cz") && !between.contains(b"d"));
        assert!(KeyRange::new(b"d", b"b").is_empty());
        assert!(KeyRange::new(b"b", b"b").is_empty());
        assert!(!between.is_empty());
    }
}
