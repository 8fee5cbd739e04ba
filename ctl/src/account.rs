//! The accounts of this machine: what they are called and where their homes are. `/etc/passwd` is read, and where an account is kept
//! elsewhere (LDAP, systemd-homed) `getent` is asked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a machine keeps its accounts.
const PASSWD: &str = "/etc/passwd";

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user's name.
    pub(crate) name: String,
    /// The home, an absolute path.
    pub(crate) home: PathBuf,
}

/// The account that this process runs as; none if the machine does not know it.
pub(crate) fn mine() -> Option<Account> {
    find(&user_id().to_string())
}

/// The number of the account that this process runs as.
pub(crate) fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The account of that name.
pub(crate) fn named(name: &str) -> Option<Account> {
    find(name).filter(|account| account.name == name)
}

/// A path with `~` and `~user` replaced by the homes that they stand for; none if there is none.
pub(crate) fn expand_tilde(
    path: &str,
    home: Option<&Path>,
    home_of: impl FnOnce(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let Some(behind) = path.strip_prefix('~') else {
        return Some(PathBuf::from(path));
    };
    let (user, rest) = behind.split_once('/').unwrap_or((behind, ""));
    let home = match user {
        "" => home.map(Path::to_path_buf),
        user => home_of(user),
    }?;
    Some(if rest.is_empty() {
        home
    } else {
        home.join(rest)
    })
}

/// `key` is a name or a number.
fn find(key: &str) -> Option<Account> {
    let known = match std::fs::read_to_string(PASSWD) {
        Ok(text) => in_passwd(&text, key),
        // Without the file `getent` is the one to know.
        Err(_) => None,
    };
    known.or_else(|| {
        let asked = Command::new("getent")
            .args(["passwd", "--", key])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let said = asked.ok().filter(|said| said.status.success())?;
        in_passwd(&String::from_utf8_lossy(&said.stdout), key)
    })
}

fn in_passwd(text: &str, key: &str) -> Option<Account> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [name, _, id, _, _, home, ..]
                if (name == key || id == key) && home.starts_with('/') =>
            {
                Some(Account {
                    name: name.to_owned(),
                    home: PathBuf::from(home),
                })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "root:x:0:0:root:/root:/bin/bash\nodd\nhomeless:x:7:7::nowhere:\nme:x:1000:1000:Me,,:/home/me:/bin/sh\n";

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let home = |key| in_passwd(TEXT, key).map(|account| account.home);
        assert_eq!(home("0"), Some(PathBuf::from("/root")));
        assert_eq!(home("me"), Some(PathBuf::from("/home/me")));
        assert_eq!(in_passwd(TEXT, "1000").unwrap().name, "me");
        assert_eq!(home("homeless"), None);
        assert_eq!(home("nobody"), None);
    }

    #[test]
    fn a_tilde_stands_for_a_home_that_is_known_or_for_none() {
        let expand = |path: &str, home: Option<&str>| {
            let home_of = |user: &str| in_passwd(TEXT, user).map(|account| account.home);
            expand_tilde(path, home.map(Path::new), home_of)
        };
        let is = |path: &str| Some(PathBuf::from(path));
        assert_eq!(expand("~/a/b", Some("/h")), is("/h/a/b"));
        assert_eq!(expand("~", Some("/h")), is("/h"));
        assert_eq!(expand("~/a", None), None);
        assert_eq!(expand("~me/a", None), is("/home/me/a"));
        assert_eq!(expand("~nobody/a", Some("/h")), None);
        assert_eq!(expand("a/~/b", None), is("a/~/b"));
    }

    #[test]
    fn whoever_runs_this_has_an_account() {
        // A container may run as a number that nobody knows: then there is nothing to see.
        if let Some(account) = mine() {
            assert_eq!(named(&account.name), Some(account));
        }
        assert_eq!(named("no such user"), None);
    }
}
