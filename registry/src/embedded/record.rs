//! How a version of a key is written down: the one place that knows the format on disk. PURE.
//!
//! The revision is the key of the table; the value is a version byte, four numbers of 8 bytes (little endian),
//! the length of the key, the key, and unless the key was deleted a byte 1 and the value.

use super::mvcc::{KeyVersion, Revision, Version};
use super::range::Blob;

/// Of a version on disk; another one means that a newer fleet wrote it.
const FORMAT: u8 = 1;

/// Marks of the last part.
const DELETED: u8 = 0;
const VALUE: u8 = 1;

/// A version that cannot be read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Writes a version down.
pub(crate) fn encode(key: &Blob, version: &Version) -> Vec<u8> {
    let value_bytes = version.value.as_ref().map_or(0, |value| value.len());
    let mut bytes = Vec::with_capacity(1 + 3 * 8 + 4 + key.len() + 1 + value_bytes);
    bytes.push(FORMAT);
    bytes.extend_from_slice(&version.create_revision.to_le_bytes());
    bytes.extend_from_slice(&version.version.to_le_bytes());
    bytes.extend_from_slice(&version.lease.to_le_bytes());
    // A request is at most 1.5 MiB, so a key's length fits.
    bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(key);
    match &version.value {
        None => bytes.push(DELETED),
        Some(value) => {
            bytes.push(VALUE);
            bytes.extend_from_slice(value);
        }
    }
    bytes
}

/// Reads a version back.
pub(crate) fn decode(at: Revision, bytes: &[u8]) -> Result<KeyVersion, Malformed> {
    let (&[format], rest) = bytes.split_first_chunk::<1>().ok_or(Malformed)?;
    if format != FORMAT {
        return Err(Malformed);
    }
    let (create_revision, rest) = number(rest)?;
    let (version, rest) = number(rest)?;
    let (lease, rest) = number(rest)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Malformed)?;
    let (key, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    let value = match rest.split_first().ok_or(Malformed)? {
        (&DELETED, []) => None,
        (&VALUE, value) => Some(value.into()),
        (_, _) => return Err(Malformed),
    };
    let version = Version {
        at,
        create_revision,
        version,
        lease,
        value,
    };
    Ok(KeyVersion {
        key: key.into(),
        version,
    })
}

fn number(bytes: &[u8]) -> Result<(i64, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
    Ok((i64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            numbers in any::<(i64, i64, i64)>(),
        ) {
            let at = Revision { main: 7, sub: 3 };
            let key: Blob = key.into();
            let version = Version {
                at,
                create_revision: numbers.0,
                version: numbers.1,
                lease: numbers.2,
                value: value.map(Into::into),
            };
            let bytes = encode(&key, &version);
            prop_assert_eq!(decode(at, &bytes), Ok(KeyVersion { key, version }));
            for cut in 0..29.min(bytes.len()) {
                prop_assert_eq!(decode(at, bytes.get(..cut).unwrap_or_default()), Err(Malformed));
            }
        }
    }
}
