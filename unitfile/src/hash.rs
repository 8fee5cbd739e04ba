//! The two hashes of a unit file: of its meaning (compatible with fleet 1.0) and of its bytes.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// SHA-1 of the canonical form: the hash that fleet has always shown to users and clients.
///
/// Files that differ only in comments and spacing have the same. It identifies; it does not protect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash([u8; 20]);

/// SHA-256 of the bytes of a file: its address in the store. Any changed byte changes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

/// The text is not a hash in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a hash: {digits} hexadecimal digits are needed")]
pub struct HashError {
    text: String,
    digits: usize,
}

impl UnitHash {
    /// The hash of `canonical`, the text that [`UnitFile::canonical`](crate::UnitFile::canonical) returns.
    pub fn of_canonical(canonical: &str) -> UnitHash {
        UnitHash(Sha1::digest(canonical.as_bytes()).into())
    }

    /// The first seven digits, as lists show it.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(7);
        text
    }

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> UnitHash {
        UnitHash(bytes)
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FileHash {
    /// The hash of `raw`.
    pub fn of_raw(raw: &[u8]) -> FileHash {
        FileHash(Sha256::digest(raw).into())
    }

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> FileHash {
        FileHash(bytes)
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for UnitHash {
    type Err = HashError;
    /// Reads 40 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<UnitHash, HashError> {
        read_hex(text).map(UnitHash)
    }
}

impl FromStr for FileHash {
    type Err = HashError;
    /// Reads 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<FileHash, HashError> {
        read_hex(text).map(FileHash)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], HashError> {
    let error = || HashError {
        text: text.chars().take(80).collect(),
        digits: 2 * BYTES,
    };
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()
        .ok_or_else(error)?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |sum, d| sum * 16 + d))
        .collect();
    if digits.len() == 2 * BYTES {
        bytes.try_into().map_err(|_| error())
    } else {
        Err(error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_shown_and_read_back() {
        let unit = UnitHash::of_canonical("abc");
        assert_eq!(unit.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(unit.short(), "a9993e3");
        assert_eq!(unit.to_string().to_uppercase().parse(), Ok(unit));
        let file = FileHash::of_raw(b"abc");
        assert_eq!(
            file.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(file.to_string().parse(), Ok(file));
    }

    #[test]
    fn a_bad_hash_is_refused() {
        for text in [
            "",
            "a",
            "zz",
            &"a".repeat(39),
            &"a".repeat(41),
            &"é".repeat(40),
        ] {
            let error = text.parse::<UnitHash>().unwrap_err();
            assert!(
                error.to_string().contains("40 hexadecimal digits"),
                "{error}"
            );
        }
    }
}
