//! PURE. An SSH host as people write it: `[user@]host[:port]`, with IPv6 in brackets where there is a port.

use std::fmt;
use std::str::FromStr;

/// SSH's own port.
pub(super) const PORT: u16 = 22;

/// An SSH host as it was written. What is left out, `~/.ssh/config` may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostSpec {
    /// The user to log in as.
    pub(super) user: Option<String>,
    /// Name or address, without brackets, or an alias of `~/.ssh/config`.
    pub(super) host: String,
    /// The port.
    pub(super) port: Option<u16>,
}

/// Why a text is no SSH host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostSpecError {
    /// There is no host, or one that looks like an option.
    Host,
    /// What stands before `@` is no user.
    User,
    /// The port is no number from 1 to 65535.
    Port(String),
}

impl fmt::Display for HostSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostSpecError::Host => f.write_str("it names no host"),
            HostSpecError::User => f.write_str("there is no user before the @"),
            HostSpecError::Port(port) => write!(f, "\"{port}\" is no port"),
        }
    }
}

impl FromStr for HostSpec {
    type Err = HostSpecError;

    fn from_str(text: &str) -> Result<HostSpec, HostSpecError> {
        let text = text.trim();
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        // OpenSSH is given both: neither may be taken for one of its options. What shows as nothing or moves the cursor is no name.
        let unseen = |c: char| c.is_whitespace() || c.is_control();
        let no_name =
            |user: &str| user.is_empty() || user.starts_with('-') || user.contains(unseen);
        if user.is_some_and(no_name) {
            return Err(HostSpecError::User);
        }
        let (host, port) = split_port(rest);
        let odd = |c: char| unseen(c) || "[]".contains(c);
        // A single colon is in no IPv6 address, and what is shown of such a host would be read as a port.
        let half = host.matches(':').count() == 1;
        if host.is_empty() || host.starts_with('-') || host.contains(odd) || half {
            return Err(HostSpecError::Host);
        }
        let port = match port {
            None => None,
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => return Err(HostSpecError::Port(text.to_owned())),
                Ok(port) => Some(port),
            },
        };
        Ok(HostSpec {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        })
    }
}

/// Host and port. Several colons without brackets are an IPv6 address without a port.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        match after.strip_prefix(':') {
            Some(port) => return (host, Some(port)),
            None if after.is_empty() => return (host, None),
            None => {}
        }
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        Some(_) | None => (text, None),
    }
}

/// The list behind `ProxyJump`.
pub(super) fn jumps(text: &str) -> Result<Vec<HostSpec>, HostSpecError> {
    match text.trim() {
        "" | "none" => Ok(Vec::new()),
        list => list.split(',').map(str::parse).collect(),
    }
}

/// Host and port as known_hosts and messages show them: the port only if it is not SSH's own.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    match port {
        PORT => host.to_owned(),
        _ => format!("[{host}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> String {
        match text.parse::<HostSpec>() {
            Ok(spec) => format!("{:?} {} {:?}", spec.user, spec.host, spec.port),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn hosts_are_read_as_people_write_them() {
        for (text, read) in [
            ("bastion", "None bastion None"),
            ("bastion:2222", "None bastion Some(2222)"),
            ("me@bastion:2222", "Some(\"me\") bastion Some(2222)"),
            ("a@b@c", "Some(\"a@b\") c None"),
            ("[fe80::1]:2222", "None fe80::1 Some(2222)"),
            ("root@[::1]", "Some(\"root\") ::1 None"),
            ("::1", "None ::1 None"),
            ("fe80::1:22", "None fe80::1:22 None"),
            ("ssh://me@h:1", "Some(\"me\") h Some(1)"),
            ("", "it names no host"),
            ("me@", "it names no host"),
            ("-oProxyCommand=x", "it names no host"),
            ("@h", "there is no user before the @"),
            ("ssh:// @x", "there is no user before the @"),
            ("a b@x", "there is no user before the @"),
            ("a\u{7}@x", "there is no user before the @"),
            ("a\n@x", "there is no user before the @"),
            ("-l@x", "there is no user before the @"),
            ("h:", "\"\" is no port"),
            ("h:0", "\"0\" is no port"),
            ("h:99999", "\"99999\" is no port"),
            ("h i", "it names no host"),
            ("[::1]22", "it names no host"),
            ("[fe8:1]:22", "it names no host"),
        ] {
            assert_eq!(spec(text), read, "{text}");
        }
    }

    #[test]
    fn jumps_are_a_list() {
        assert_eq!(jumps("none").unwrap(), []);
        let hosts: Vec<_> = jumps("a,me@b:33").unwrap();
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts[1].port, Some(33));
        assert!(jumps("a,,b").is_err());
    }
}
