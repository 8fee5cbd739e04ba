//! Why SSH does not lead to where it should. Each error names the host; [`SshError::hint`] says what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::spec::HostSpecError;

/// Why SSH does not lead to where it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    /// What names the host cannot be read.
    #[error("\"{text}\" is no SSH host: {reason}")]
    Spec { text: String, reason: HostSpecError },
    /// OpenSSH cannot read its configuration.
    #[error("ssh cannot say how to reach {host}: {reason}")]
    Configuration { host: String, reason: String },
    /// The configuration wants what is not done here.
    #[error(
        "~/.ssh/config wants {host} to be reached by a ProxyCommand, which fleetctl does not run"
    )]
    ProxyCommand { host: String },
    /// Each jump host is reached through another, without end.
    #[error("{host} is to be reached through more than {limit} hosts")]
    Jumps { host: String, limit: usize },
    /// No connection.
    #[error("cannot connect to {host}")]
    Unreachable {
        host: String,
        #[source]
        source: io::Error,
    },
    /// Neither connected nor refused.
    #[error("timed out while initiating SSH connection to {host}: nothing within {seconds} s")]
    TimedOut { host: String, seconds: f64 },
    /// What answers is no SSH server, or one with which no common ground is found.
    #[error("{host} does not talk SSH as it should")]
    Protocol {
        host: String,
        #[source]
        source: russh::Error,
    },
    /// The file of known hosts cannot be read.
    #[error("cannot read the list of known hosts {}", path.display())]
    KnownHosts {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file of known hosts is in a home that there is not.
    #[error(
        "there is no home in which {file} could be: neither HOME nor the machine's accounts name one"
    )]
    NoHome { file: String },
    /// Nobody vouches for an unknown host.
    #[error("unauthorized host: {host} is not known and was not accepted ({key})")]
    Unauthorized {
        host: String,
        name: String,
        key: String,
        file: PathBuf,
    },
    /// The host has another key than before.
    #[error("host key mismatch: {host} has another key than before, {key} (known keys: {}:{line})", file.display())]
    Changed {
        host: String,
        key: String,
        file: PathBuf,
        line: usize,
    },
    /// The host has a key that must not be trusted.
    #[error("the key of {host}, {key}, is revoked ({}:{line})", file.display())]
    Revoked {
        host: String,
        key: String,
        file: PathBuf,
        line: usize,
    },
    /// There is nothing to log in with.
    #[error("{}, and there is no key file to log in to {host} with", without(agent.as_ref()))]
    NoKeys {
        host: String,
        agent: Option<PathBuf>,
    },
    /// The agent does not answer as it should.
    #[error("ssh-agent at {} does not answer: {reason}", socket.display())]
    Agent { socket: PathBuf, reason: String },
    /// A key file cannot be used.
    #[error("key file {}: {reason}", path.display())]
    KeyFile { path: PathBuf, reason: String },
    /// None of the keys is accepted.
    #[error("{host} accepts none of the keys: {tried}")]
    Refused { host: String, tried: String },
    /// A connection that was there is gone.
    #[error("lost the SSH connection to {host}: {reason}")]
    Lost { host: String, reason: String },
    /// The host does not open the way further.
    #[error("{host} opens no way to {target}: {reason}")]
    Channel {
        host: String,
        target: String,
        reason: String,
    },
    /// Neither sshd nor fleetctl on the host leads to the socket.
    #[error("cannot reach {} on {host}: {reason}", socket.display())]
    FarSide {
        host: String,
        socket: PathBuf,
        reason: String,
    },
}

/// Why there is no key of an agent; in fleet 1.0's words if there is no agent.
fn without(agent: Option<&PathBuf>) -> String {
    match agent {
        None => "SSH_AUTH_SOCK environment variable is not set".to_owned(),
        Some(socket) => format!("ssh-agent at {} has no key", socket.display()),
    }
}

impl SshError {
    /// What to do about it, if there is something to say.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            SshError::Spec { .. } => "Write host, host:port, user@host or user@[IPv6]:port.".to_owned(),
            SshError::ProxyCommand { .. } => "Use ProxyJump there.".to_owned(),
            SshError::Unreachable { host, .. } => {
                format!("Is {host} up, and does sshd listen there?")
            }
            SshError::TimedOut { .. } => "--ssh-timeout=SECONDS waits longer.".to_owned(),
            SshError::Unauthorized { name, file, .. } => format!(
                "Compare that fingerprint with the host's, then answer yes on a terminal or add a line \"{name} KEY\" to {}.",
                file.display()
            ),
            SshError::Changed { file, line, .. } => format!(
                "Somebody may be in between, or the host was installed anew. If its administrator confirms this fingerprint, delete line {line} of {} and connect again.",
                file.display()
            ),
            SshError::Revoked { file, line, .. } => format!(
                "The host needs another key: this one was declared unsafe by line {line} of {}.",
                file.display()
            ),
            SshError::NoHome { .. } => {
                "Set HOME, or give --known-hosts-file=/an/absolute/path.".to_owned()
            }
            SshError::NoKeys { .. } => {
                "Start ssh-agent and add a key (eval $(ssh-agent); ssh-add), or name a key file with IdentityFile in ~/.ssh/config.".to_owned()
            }
            SshError::Agent { .. } => {
                "Verify that ssh-agent is running (ssh-add -l), or unset SSH_AUTH_SOCK to do without.".to_owned()
            }
            SshError::Refused { .. } => {
                "Add the right key to ssh-agent (ssh-add), or name the right user with --ssh-username or user@host.".to_owned()
            }
            SshError::FarSide { host, .. } => format!(
                "Is fleetd running on {host}, and may you open its socket? sshd there must allow AllowStreamLocalForwarding, or have fleetctl in its PATH."
            ),
            SshError::Configuration { .. }
            | SshError::Jumps { .. }
            | SshError::Protocol { .. }
            | SshError::KnownHosts { .. }
            | SshError::KeyFile { .. }
            | SshError::Lost { .. }
            | SshError::Channel { .. } => return None,
        };
        Some(hint)
    }

    /// The error of SSH that is behind another one: an API request through a tunnel fails as the tunnel does.
    pub(crate) fn behind<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e SshError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<SshError>() {
                return Some(found);
            }
            // An I/O error hides what it was made of from `source`.
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}
