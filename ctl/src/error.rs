//! What becomes of an error at the edge: its kind gives the exit code, its chain of causes is printed once, hints follow.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use api::client::{ClientError, Endpoint, TlsError};

use crate::output::Output;
use crate::ssh::SshError;
use crate::tls;

/// Ports on which etcd listens. fleet 1.0's documentation told people to put them into `--endpoint`.
const ETCD_PORTS: [u16; 2] = [2379, 4001];

/// The exit code of [`Kind::Withdrawn`].
const EXIT_WITHDRAWN: u8 = 2;

/// What an error means to whoever called fleetctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line cannot be understood.
    Usage,
    /// What was given (a name, a file) is not right. Nothing was done.
    Input,
    /// The cluster cannot be reached, or not well.
    Cluster,
    /// The cluster did not do what was asked.
    Outcome,
    /// The reader of our output has gone: all is well.
    ReaderGone,
    /// What was asked for is no longer part of fleet; exits with 2, as fleet 1.0 does.
    Withdrawn,
    /// A command that ran for the user ended with this status, which becomes ours. It has said why itself, so that the
    /// message may be empty.
    Exit(u8),
}

/// Why a verb did not succeed.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
}

impl CommandError {
    /// An error that `message` says all about.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> CommandError {
        CommandError {
            kind,
            message: message.into(),
            source: None,
            hints: Vec::new(),
        }
    }

    /// The command line cannot be understood.
    pub(crate) fn usage(message: &str) -> CommandError {
        CommandError::new(Kind::Usage, message).with_hint("Run 'fleetctl --help' for usage.")
    }

    /// The client cannot be set up; in fleet 1.0's words.
    pub(crate) fn client(reason: &str) -> CommandError {
        CommandError::new(
            Kind::Usage,
            format!("Unable to initialize client: {reason}"),
        )
    }

    /// The client cannot be set up, because of this.
    pub(crate) fn client_with(source: Box<dyn Error + Send + Sync>) -> CommandError {
        let mut error = CommandError::new(Kind::Usage, "Unable to initialize client");
        error.source = Some(source);
        error
    }

    /// A request failed while doing what `context` says.
    pub(crate) fn request(context: impl Into<String>, source: ClientError) -> CommandError {
        let mut error = CommandError::new(Kind::Cluster, context).with_hints_of(&source);
        error.source = Some(Box::new(source));
        error
    }

    /// SSH does not lead to where it should.
    pub(crate) fn ssh(context: &str, source: SshError) -> CommandError {
        let hint = source.hint();
        let mut error = CommandError::new(Kind::Cluster, context);
        error.source = Some(Box::new(source));
        match hint {
            Some(hint) => error.with_hint(&hint),
            None => error,
        }
    }

    /// What it means to the caller; an error that has been made for another one keeps its words.
    pub(crate) fn of_kind(mut self, kind: Kind) -> CommandError {
        self.kind = kind;
        self
    }

    /// The process cannot do asynchronous work.
    pub(crate) fn runtime(source: io::Error) -> CommandError {
        let mut error = CommandError::new(Kind::Cluster, "cannot set up timers and sockets");
        error.source = Some(Box::new(source));
        error
    }

    /// stdout cannot be written.
    pub(crate) fn stdout(source: io::Error) -> CommandError {
        let kind = match source.kind() {
            io::ErrorKind::BrokenPipe => Kind::ReaderGone,
            _other => Kind::Outcome,
        };
        let mut error = CommandError::new(kind, "cannot write to stdout");
        error.source = Some(Box::new(source));
        error
    }

    /// stdin cannot be read while doing what `context` says.
    pub(crate) fn stdin(context: &str, source: io::Error) -> CommandError {
        let mut error = CommandError::new(Kind::Outcome, format!("{context}: cannot read stdin"));
        error.source = Some(Box::new(source));
        error
    }

    /// A folder or file cannot be written.
    pub(crate) fn file(path: &Path, source: io::Error) -> CommandError {
        let text = format!("cannot write {}", path.display());
        let mut error = CommandError::new(Kind::Outcome, text);
        error.source = Some(Box::new(source));
        error
    }

    /// Signed units are no more; in fleet 1.0's words.
    pub(crate) fn signed_units() -> CommandError {
        CommandError::new(
            Kind::Withdrawn,
            "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.",
        )
    }

    /// What it means to the caller.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds a line that says what to do.
    pub(crate) fn with_hint(mut self, hint: &str) -> CommandError {
        self.hints.push(hint.to_owned());
        self
    }

    /// Adds the line that says what to do about a failed request, if there is something.
    pub(crate) fn with_hints_of(self, error: &ClientError) -> CommandError {
        match hint(error) {
            Some(hint) => self.with_hint(&hint),
            None => self,
        }
    }

    /// Prints the error on stderr and returns the exit code.
    pub(crate) fn report(&self, output: &mut Output) -> ExitCode {
        match self.kind {
            Kind::ReaderGone => ExitCode::SUCCESS,
            Kind::Usage | Kind::Input | Kind::Cluster | Kind::Outcome => {
                self.tell(output);
                ExitCode::FAILURE
            }
            Kind::Withdrawn => {
                self.tell(output);
                ExitCode::from(EXIT_WITHDRAWN)
            }
            Kind::Exit(status) => {
                if !self.message.is_empty() {
                    self.tell(output);
                }
                ExitCode::from(status)
            }
        }
    }

    /// A command that ran for the user ended with this status and has said why.
    pub(crate) fn ended_with(status: u8) -> CommandError {
        CommandError::new(Kind::Exit(status), "")
    }

    fn tell(&self, output: &mut Output) {
        output.note(&self.to_string());
        for hint in &self.hints {
            output.note(hint);
        }
    }
}

impl fmt::Display for CommandError {
    /// The message and its causes on one line, each once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {}", chain(source.as_ref())),
            None => Ok(()),
        }
    }
}

/// An error and its causes on one line. A cause that repeats the end of what was said already is left out.
///
/// An error of SSH behind it says all: that a request could not be made because of it is no news.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let error: &dyn Error = match SshError::behind(error) {
        Some(ssh) => ssh,
        None => error,
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    text
}

/// What to do about a request that failed.
fn hint(error: &ClientError) -> Option<String> {
    if let Some(ssh) = SshError::behind(error) {
        return ssh.hint();
    }
    if TlsError::behind(error).is_some() {
        return tls::hint(error);
    }
    match error {
        ClientError::Unreachable { endpoint, source } => Some(unreachable_hint(endpoint, source)),
        ClientError::Malformed { endpoint, .. } | ClientError::Broken { endpoint, .. } => {
            etcd_hint(endpoint).or_else(|| tls::hint(error))
        }
        ClientError::Foreign { endpoint, code } => {
            Some(etcd_hint(endpoint).unwrap_or_else(|| foreign_hint(*code)))
        }
        ClientError::TimedOut { .. } => Some(
            "It is safe to repeat the command, whether the request was carried out or not. --request-timeout=SECONDS waits longer."
                .to_owned(),
        ),
        ClientError::Api { code: 503, .. } => Some(
            "The cluster's store (etcd) is not at work. Running units are not touched. What is wrong with it: fleetctl doctor"
                .to_owned(),
        ),
        ClientError::Api { code: 504, .. } => Some(
            "It is safe to repeat the command, whether the request was carried out or not. If etcd does not answer: fleetctl doctor"
                .to_owned(),
        ),
        ClientError::Api { .. } => None,
    }
}

fn unreachable_hint(endpoint: &Endpoint, source: &io::Error) -> String {
    if let Some(hint) = etcd_hint(endpoint) {
        return hint;
    }
    match endpoint {
        Endpoint::Unix(path) if source.kind() == io::ErrorKind::PermissionDenied => format!(
            "You may not open {}: run fleetctl as root or as a member of the group that owns the socket.",
            path.display()
        ),
        Endpoint::Unix(_) => {
            "Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT."
                .to_owned()
        }
        Endpoint::Tcp { host, port, .. } => format!(
            "Is fleetd running on {host}, and does it listen on port {port}? --endpoint or FLEETCTL_ENDPOINT names another."
        ),
    }
}

/// What to do about something that speaks HTTP and is not fleetd.
fn foreign_hint(code: u16) -> String {
    match code {
        400..=403 => "If a proxy stands before fleetd, it does not let you through: it may want a client certificate (--cert-file, --key-file).".to_owned(),
        502..=504 => "A proxy stands there, and it does not reach fleetd. It is safe to repeat the command.".to_owned(),
        _other => "--endpoint or FLEETCTL_ENDPOINT names another.".to_owned(),
    }
}

fn etcd_hint(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Tcp { port, .. } if ETCD_PORTS.contains(port) => Some(format!(
            "Port {port} is etcd's. fleetctl talks to fleetd: give --endpoint=unix:///var/run/fleet.sock on a machine of the cluster, or the address of a fleetd that listens on TCP."
        )),
        Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_printed_once() {
        let source = ClientError::Unreachable {
            endpoint: Endpoint::Unix("/run/x.sock".into()),
            source: io::Error::new(io::ErrorKind::NotFound, "no such file"),
        };
        let error = CommandError::request("Error creating units", source);
        assert_eq!(
            error.to_string(),
            "Error creating units: cannot reach fleetd at unix:///run/x.sock: no such file"
        );
        assert!(error.hints[0].contains("Is fleetd running"));
    }

    #[test]
    fn etcds_port_is_pointed_out() {
        let source = ClientError::Malformed {
            endpoint: "http://10.0.0.1:2379".parse().unwrap(),
            reason: "expected value".to_owned(),
        };
        let error = CommandError::request("Error", source);
        assert!(
            error.hints[0].contains("2379 is etcd's"),
            "{:?}",
            error.hints
        );
    }
}
