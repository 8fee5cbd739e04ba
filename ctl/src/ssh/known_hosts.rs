//! What a known_hosts file says of a host's key. No I/O.
//!
//! Read as OpenSSH reads it: patterns with `*`, `?` and `!`, `[host]:port`, hashed names, several keys for a host, `@revoked`.
//! `@cert-authority` lines are passed over: host certificates are not asked for.

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

use super::spec::{PORT, host_and_port};

/// What the file says of a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The key is the host's.
    Known,
    /// There is no key of this host.
    Unknown,
    /// There are keys of this host, and this is none of them.
    Changed {
        /// Where the first of them is.
        line: usize,
    },
    /// The key must not be trusted, whatever else is said of it.
    Revoked {
        /// Where that is said.
        line: usize,
    },
}

/// A line that can be read and is about the host asked for.
struct Line {
    number: usize,
    entry: Entry,
}

/// Says what `text` has to say of `key`, offered by the host that goes by any of `names`.
pub(super) fn judge(text: &str, names: &[String], key: &PublicKey) -> Verdict {
    let (mut known, mut changed) = (false, None);
    for line in about(text, names) {
        let same = same_key(line.entry.public_key().key_data(), key.key_data());
        match line.entry.marker() {
            Some(Marker::Revoked) if same => return Verdict::Revoked { line: line.number },
            Some(Marker::Revoked | Marker::CertAuthority) => {}
            None if same => known = true,
            None => changed = changed.or(Some(line.number)),
        }
    }
    match (known, changed) {
        (true, _) => Verdict::Known,
        (false, Some(line)) => Verdict::Changed { line },
        (false, None) => Verdict::Unknown,
    }
}

/// The kinds of the keys that `text` has of this host: asked for first, so that a host with several keys shows one of these.
pub(super) fn algorithms(text: &str, names: &[String]) -> Vec<Algorithm> {
    about(text, names)
        .filter(|line| line.entry.marker().is_none())
        .map(|line| line.entry.public_key().algorithm())
        .collect()
}

/// The lines that cannot be understood, which count for nothing.
pub(super) fn unreadable(text: &str) -> Vec<usize> {
    text.lines()
        .zip(1..)
        .filter(|(line, _)| read(line).is_err())
        .map(|(_, number)| number)
        .collect()
}

/// The names by which known_hosts may know a host: those of fleet 1.0 first, which is what is learned.
pub(super) fn names(host: &str, address: Option<&str>, port: u16) -> Vec<String> {
    let mut names = Vec::new();
    for host in address.into_iter().chain([host]) {
        if port == PORT && host.contains(':') {
            // fleet 1.0 wrote brackets, OpenSSH does not.
            names.push(format!("[{host}]"));
        }
        names.push(host_and_port(host, port));
    }
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

/// Comments are part of a key for the library, and not for us.
fn same_key(one: &KeyData, other: &KeyData) -> bool {
    one == other
}

fn about<'a>(text: &'a str, names: &'a [String]) -> impl Iterator<Item = Line> + 'a {
    text.lines()
        .zip(1..)
        .filter_map(|(line, number)| match read(line) {
            Ok(Some(entry)) => Some(Line { number, entry }),
            // One bad line must not take the others away.
            Ok(None) | Err(Unreadable) => None,
        })
        .filter(|line| {
            names
                .iter()
                .any(|name| is_named(line.entry.host_patterns(), name))
        })
}

/// A line that cannot be understood.
struct Unreadable;

/// A line; none for blank ones and comments.
fn read(line: &str) -> Result<Option<Entry>, Unreadable> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next().filter(|word| !word.starts_with('#')) else {
        return Ok(None);
    };
    // The library takes single spaces only. A comment may hold anything and says nothing.
    let count = if first.starts_with('@') { 3 } else { 2 };
    let rest: Vec<&str> = words.take(count).collect();
    if rest.len() < count {
        return Err(Unreadable);
    }
    let parsed = format!("{first} {}", rest.join(" ")).parse();
    parsed.map(Some).map_err(|_| Unreadable)
}

fn is_named(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => is_hash(salt, hash, name),
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                match pattern.strip_prefix('!') {
                    Some(never) if matches(never, name) => return false,
                    Some(_) => {}
                    None => found |= matches(pattern, name),
                }
            }
            found
        }
    }
}

fn is_hash(salt: &[u8], hash: &[u8], name: &str) -> bool {
    let Ok(mut code) = Hmac::<Sha1>::new_from_slice(salt) else {
        return false;
    };
    // OpenSSH hashes names in small letters.
    code.update(name.to_ascii_lowercase().as_bytes());
    code.verify_slice(hash).is_ok()
}

/// Whether a pattern with `*` and `?` covers a name, whatever the case.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut at, mut of) = (0, 0);
    // Where to go on if what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, of));
            at += 1;
        } else if pattern.get(at).is_some_and(|&c| c == '?' || c == name[of]) {
            at += 1;
            of += 1;
        } else if let Some((back, from)) = star {
            star = Some((back, from + 1));
            at = back + 1;
            of = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests;
