//! A path of `~/.ssh/config`: `~`, OpenSSH's tokens (`%h`) and variables (`${NAME}`), each replaced once, from left to right. No I/O.

use std::fmt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::account::expand_tilde;

/// What this machine is asked for while a path is read.
pub(super) trait Surroundings: fmt::Debug {
    /// The home of another user.
    fn home_of(&self, user: &str) -> Option<PathBuf>;
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// The name of whoever runs this.
    fn user(&self) -> Option<String>;
    /// The number of whoever runs this.
    fn user_id(&self) -> u32;
    /// What this machine is called.
    fn host_name(&self) -> String;
}

/// What tokens stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// This machine.
    pub(super) here: &'a dyn Surroundings,
    /// The person's home.
    pub(super) home: Option<&'a Path>,
    /// The host as it was written.
    pub(super) written: &'a str,
    /// The host's name or address.
    pub(super) host: &'a str,
    /// Its port.
    pub(super) port: u16,
    /// Whom to log in as there.
    pub(super) user: &'a str,
    /// By which name its key is known, if by a special one.
    pub(super) key_alias: Option<&'a str>,
    /// The hosts to jump from as they are written; empty without any.
    pub(super) jumps: &'a str,
}

/// Why a path cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathError {
    /// There is no home that `~` or `%d` could stand for.
    Home,
    /// This token does not exist; it may lack its letter.
    Token(String),
    /// This variable is not set, or is cut off.
    Variable(String),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Home => f.write_str("there is no home of that user"),
            PathError::Token(token) => write!(f, "there is no token {token}"),
            PathError::Variable(name) => write!(f, "the variable {name} is not set"),
        }
    }
}

/// The path that `text` stands for.
pub(super) fn expand(text: &str, facts: &Facts<'_>) -> Result<PathBuf, PathError> {
    let text = match text.starts_with('~') {
        true => expand_tilde(text, facts.home, |user| facts.here.home_of(user))
            .ok_or(PathError::Home)?
            .to_string_lossy()
            .into_owned(),
        false => text.to_owned(),
    };
    let mut path = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['%', '$']) {
        let (before, special) = rest.split_at(at);
        path.push_str(before);
        rest = match special.strip_prefix("${") {
            Some(name) => {
                let Some((name, behind)) = name.split_once('}') else {
                    return Err(PathError::Variable(special.to_owned()));
                };
                let value = facts.here.variable(name);
                path.push_str(&value.ok_or_else(|| PathError::Variable(name.to_owned()))?);
                behind
            }
            None if special.starts_with('$') => {
                path.push('$');
                &special[1..]
            }
            None => {
                let mut letters = special[1..].chars();
                let letter = letters.next();
                let letter = letter.ok_or_else(|| PathError::Token("%".to_owned()))?;
                path.push_str(&token(letter, facts)?);
                letters.as_str()
            }
        };
    }
    path.push_str(rest);
    Ok(PathBuf::from(path))
}

/// What `%letter` stands for.
fn token(letter: char, facts: &Facts<'_>) -> Result<String, PathError> {
    let here = facts.here;
    Ok(match letter {
        '%' => "%".to_owned(),
        'C' => hash_of_connection(facts),
        'd' => facts
            .home
            .ok_or(PathError::Home)?
            .to_string_lossy()
            .into_owned(),
        'h' => facts.host.to_owned(),
        'i' => here.user_id().to_string(),
        'j' => facts.jumps.to_owned(),
        'k' => facts.key_alias.unwrap_or(facts.written).to_owned(),
        'L' => {
            let name = here.host_name();
            name.split('.').next().unwrap_or_default().to_owned()
        }
        'l' => here.host_name(),
        'n' => facts.written.to_owned(),
        'p' => facts.port.to_string(),
        'r' => facts.user.to_owned(),
        'u' => here
            .user()
            .ok_or_else(|| PathError::Token("%u for a user without an account".to_owned()))?,
        other => return Err(PathError::Token(format!("%{other}"))),
    })
}

/// `%C`, which is short whatever the names are: the hash of `%l%h%p%r%j`.
fn hash_of_connection(facts: &Facts<'_>) -> String {
    let Facts {
        here,
        host,
        port,
        user,
        jumps,
        ..
    } = facts;
    let text = format!("{}{host}{port}{user}{jumps}", here.host_name());
    let hash = Sha1::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct There;

    impl Surroundings for There {
        fn home_of(&self, user: &str) -> Option<PathBuf> {
            (user == "you").then(|| "/home/you".into())
        }
        fn variable(&self, name: &str) -> Option<String> {
            (name == "KEYS").then(|| "/keys/%h".to_owned())
        }
        fn user(&self) -> Option<String> {
            Some("me".to_owned())
        }
        fn user_id(&self) -> u32 {
            1000
        }
        fn host_name(&self) -> String {
            "desk.example".to_owned()
        }
    }

    fn facts() -> Facts<'static> {
        Facts {
            here: &There,
            home: Some(Path::new("/h")),
            written: "way",
            // Like a token: what stands for one is not read again.
            host: "%r",
            port: 22,
            user: "core",
            key_alias: None,
            jumps: "",
        }
    }

    fn shown(text: &str, facts: &Facts<'_>) -> String {
        match expand(text, facts) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_are_read_as_openssh_reads_them() {
        for (text, path) in [
            ("~/.ssh/%r_%h_%p", "/h/.ssh/core_%r_22"),
            ("%%h", "%h"),
            ("%%%n", "%way"),
            (
                "%d/%i/%k/%L/%l/%u/%j.",
                "/h/1000/way/desk/desk.example/me/.",
            ),
            ("~you/id", "/home/you/id"),
            ("${KEYS}/$x", "/keys/%h/$x"),
            ("a~", "a~"),
            ("%z", "there is no token %z"),
            ("x%", "there is no token %"),
            ("${NO}", "the variable NO is not set"),
            ("${KEYS", "the variable ${KEYS is not set"),
            ("~nobody/id", "there is no home of that user"),
        ] {
            assert_eq!(shown(text, &facts()), path, "{text}");
        }
        let facts = Facts {
            home: None,
            key_alias: Some("alias"),
            ..facts()
        };
        assert_eq!(shown("%k", &facts), "alias");
        assert_eq!(expand("%d", &facts), Err(PathError::Home));
        assert_eq!(expand("~/id", &facts), Err(PathError::Home));
    }

    #[test]
    fn the_hash_of_a_connection_is_that_of_openssh() {
        // printf 'desk.example10.0.0.122core' | sha1sum
        let facts = Facts {
            host: "10.0.0.1",
            ..facts()
        };
        assert_eq!(
            shown("%C", &facts),
            "77c79ff2f89f8a73f37002d759f383dd81ae68cc"
        );
    }
}
