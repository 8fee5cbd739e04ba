//! PURE. One host on the way and how to log in there, read from what OpenSSH says of it (`ssh -G`).

use std::path::{Path, PathBuf};

use super::config_path::{Facts, PathError, Surroundings, expand};
use super::spec::{HostSpec, HostSpecError, PORT, jumps};

/// The user to log in as if nothing says otherwise, as in fleet 1.0.
pub(super) const USER_DEFAULT: &str = "core";

/// Keys that OpenSSH looks for by default, of the kinds that are still in use.
const KEY_FILES_DEFAULT: [&str; 3] = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/// One host on the way, and how to log in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// Whom to log in as.
    pub(super) user: String,
    /// Name or address.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The only name by which known_hosts knows it, if there is a special one.
    pub(super) key_alias: Option<String>,
    /// Files with keys; those that are not there are passed over.
    pub(super) key_files: Vec<PathBuf>,
    /// Which keys of the agent to use.
    pub(super) agent_keys: AgentKeys,
    /// Where ssh-agent listens, if it may be asked.
    pub(super) agent_socket: Option<PathBuf>,
}

/// Which keys of the agent to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgentKeys {
    /// All.
    All,
    /// Those that are in a key file, too (`IdentitiesOnly`).
    OfFiles,
}

impl Hop {
    /// How messages call it.
    pub(super) fn shown(&self) -> String {
        match self.port {
            PORT => format!("{}@{}", self.user, self.host),
            port if self.host.contains(':') => format!("{}@[{}]:{port}", self.user, self.host),
            port => format!("{}@{}:{port}", self.user, self.host),
        }
    }
}

/// What is known of a host before its configuration is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// As it was written.
    pub(super) spec: &'a HostSpec,
    /// Whom to log in as, if that was said.
    pub(super) username: Option<&'a str>,
    /// The person's home.
    pub(super) home: Option<&'a Path>,
    /// Where ssh-agent listens.
    pub(super) agent_socket: Option<&'a Path>,
    /// This machine.
    pub(super) here: &'a dyn Surroundings,
}

/// Why a host's configuration cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HopError {
    /// It wants a program to be run that leads there.
    ProxyCommand,
    /// It names something to jump from that is no host.
    Jump {
        /// All of `ProxyJump`.
        text: String,
        /// What is wrong with it.
        reason: HostSpecError,
    },
    /// It names a file in a way that means nothing.
    Path {
        /// As it is written.
        text: String,
        /// What is wrong with it.
        reason: PathError,
    },
}

/// What OpenSSH says without any configuration.
pub(super) fn defaults() -> String {
    KEY_FILES_DEFAULT
        .map(|file| format!("identityfile {file}\n"))
        .concat()
}

/// Reads the answer of `ssh -G`: the host, and those to jump from.
pub(super) fn read(asked: &Asked<'_>, text: &str) -> Result<(Hop, Vec<HostSpec>), HopError> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    if value("proxycommand").is_some_and(|command| command != "none") {
        return Err(HopError::ProxyCommand);
    }
    let spec = asked.spec;
    let given = spec.user.as_deref().or(asked.username);
    let user = given.or(value("user")).unwrap_or(USER_DEFAULT).to_owned();
    let host = value("hostname").unwrap_or(&spec.host).to_owned();
    let port = value("port").and_then(|port| port.parse().ok());
    let port = spec.port.or(port).unwrap_or(PORT);
    let key_alias = value("hostkeyalias");
    let list = value("proxyjump").unwrap_or("none");
    let facts = Facts {
        here: asked.here,
        home: asked.home,
        written: &spec.host,
        host: &host,
        port,
        user: &user,
        key_alias,
        jumps: if list == "none" { "" } else { list },
    };
    let key_files = key_files(text, &facts)?;
    let agent_socket = match value("identityagent") {
        None | Some("SSH_AUTH_SOCK") => asked.agent_socket.map(Path::to_path_buf),
        Some("none") => None,
        // `$NAME` is the whole of the socket's path; `${NAME}` may be a part of it.
        Some(socket) => match socket.strip_prefix('$') {
            Some(name) if !name.starts_with('{') => asked.here.variable(name).map(PathBuf::from),
            Some(_) | None => Some(path(socket, &facts)?),
        },
    };
    let jumps = jumps(list).map_err(|reason| HopError::Jump {
        text: list.to_owned(),
        reason,
    })?;
    let hop = Hop {
        port,
        key_alias: key_alias.map(str::to_owned),
        key_files,
        agent_keys: match value("identitiesonly") {
            Some("yes") => AgentKeys::OfFiles,
            Some(_) | None => AgentKeys::All,
        },
        agent_socket,
        user,
        host,
    };
    Ok((hop, jumps))
}

/// The files that `IdentityFile` names; those in a home that there is not are none.
fn key_files(text: &str, facts: &Facts<'_>) -> Result<Vec<PathBuf>, HopError> {
    let files = text
        .lines()
        .filter_map(|line| line.strip_prefix("identityfile "))
        .filter(|file| *file != "none")
        .filter(|file| facts.home.is_some() || !file.starts_with("~/"));
    files.map(|file| path(file, facts)).collect()
}

fn path(text: &str, facts: &Facts<'_>) -> Result<PathBuf, HopError> {
    expand(text, facts).map_err(|reason| HopError::Path {
        text: text.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of which nothing is known but variables.
    #[derive(Debug)]
    struct Nowhere;

    impl Surroundings for Nowhere {
        fn home_of(&self, _user: &str) -> Option<PathBuf> {
            None
        }
        fn variable(&self, name: &str) -> Option<String> {
            Some(format!("/of/{name}"))
        }
        fn user(&self) -> Option<String> {
            None
        }
        fn user_id(&self) -> u32 {
            0
        }
        fn host_name(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn without_openssh_there_are_defaults() {
        let spec = "a".parse().unwrap();
        let asked = Asked {
            spec: &spec,
            username: None,
            home: Some(Path::new("/h")),
            agent_socket: None,
            here: &Nowhere,
        };
        let (hop, jumps) = read(&asked, &defaults()).unwrap();
        assert_eq!(hop.shown(), "core@a");
        assert_eq!(hop.key_files[0], PathBuf::from("/h/.ssh/id_ed25519"));
        assert_eq!(jumps, []);
    }

    #[test]
    fn no_key_file_is_none() {
        let spec = "a".parse().unwrap();
        let asked = Asked {
            spec: &spec,
            username: None,
            home: None,
            agent_socket: Some(Path::new("/agent")),
            here: &Nowhere,
        };
        let (hop, _) = read(&asked, "identityfile none\nidentityagent SSH_AUTH_SOCK\n").unwrap();
        assert_eq!(hop.key_files, [] as [PathBuf; 0]);
        assert_eq!(hop.agent_socket, Some(PathBuf::from("/agent")));
        let error = read(&asked, "proxyjump a,b:c\n").unwrap_err();
        assert!(matches!(error, HopError::Jump { .. }), "{error:?}");
        let error = read(&asked, "identityfile /%z\n").unwrap_err();
        assert!(matches!(error, HopError::Path { .. }), "{error:?}");
        // Without a home there is nothing in it.
        let text = format!("{}identityfile /keys/%r_%n:%p\nport 33\n", defaults());
        let (hop, _) = read(&asked, &text).unwrap();
        assert_eq!(hop.key_files, [PathBuf::from("/keys/core_a:33")]);
        let (hop, _) = read(&asked, "identityagent $SOCKET\n").unwrap();
        assert_eq!(hop.agent_socket, Some(PathBuf::from("/of/SOCKET")));
    }
}
