//! Where a fleetd listens, as users write it (`--endpoint`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// How a TCP port is talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// In the open.
    Http,
    /// Within TLS.
    Https,
}

/// Where a fleetd listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// In the open or within TLS.
        scheme: Scheme,
        /// Name or address, without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
        /// What comes before `/fleet/v1`, without a `/` at its end; empty for a plain fleetd.
        path_prefix: String,
    },
}

/// Why a text is not an endpoint. The first two are in the ancestor's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is no `scheme://`.
    #[error("URL scheme undefined")]
    NoScheme,
    /// A unix socket has no host: there are two slashes where three are needed.
    #[error("unable to connect to host \"{host}\" with scheme \"{scheme}\"")]
    HostOfSocket {
        /// The host.
        host: String,
        /// The scheme.
        scheme: String,
    },
    /// A scheme that is not spoken here.
    #[error(
        "scheme \"{scheme}\" is not supported: use unix:///path/of/socket, http://host:port or https://host:port"
    )]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
    /// There is no path of a socket or no host.
    #[error(
        "\"{text}\" names nothing to connect to: use unix:///path/of/socket, http://host:port or https://host:port"
    )]
    Nowhere {
        /// The text.
        text: String,
    },
    /// The port is no number up to 65535.
    #[error("\"{port}\" is not a port")]
    Port {
        /// The text.
        port: String,
    },
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .ok_or(EndpointError::NoScheme)?;
        if scheme.is_empty() {
            return Err(EndpointError::NoScheme);
        }
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let nowhere = || EndpointError::Nowhere {
            text: text.to_owned(),
        };
        match scheme {
            "unix" | "file" if !host.is_empty() => Err(EndpointError::HostOfSocket {
                host: host.to_owned(),
                scheme: scheme.to_owned(),
            }),
            "unix" | "file" if path.len() > 1 => Ok(Endpoint::Unix(PathBuf::from(path))),
            "unix" | "file" => Err(nowhere()),
            "http" => tcp(Scheme::Http, host, path, nowhere),
            "https" => tcp(Scheme::Https, host, path, nowhere),
            other => Err(EndpointError::UnknownScheme {
                scheme: other.to_owned(),
            }),
        }
    }
}

fn tcp(
    scheme: Scheme,
    authority: &str,
    path: &str,
    nowhere: impl Fn() -> EndpointError,
) -> Result<Endpoint, EndpointError> {
    let (host, port) = host_and_port(authority)?;
    if host.is_empty() {
        return Err(nowhere());
    }
    let path = path.split(['?', '#']).next().unwrap_or("");
    Ok(Endpoint::Tcp {
        scheme,
        host,
        port: port.unwrap_or(scheme.port()),
        path_prefix: path.trim_end_matches('/').to_owned(),
    })
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), EndpointError> {
    // The colons within brackets belong to an IPv6 address.
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().map_err(|_| EndpointError::Port {
            port: port.to_owned(),
        })?),
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp {
                scheme,
                host,
                port,
                path_prefix,
            } => write!(
                f,
                "{}://{}{path_prefix}",
                scheme.name(),
                authority(host, *port)
            ),
        }
    }
}

/// `host:port`, with the brackets of IPv6.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL without one.
    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_users_write_them() {
        for (text, shown) in [
            ("unix:///var/run/fleet.sock", "unix:///var/run/fleet.sock"),
            ("file:///run/fleet.sock", "unix:///run/fleet.sock"),
            ("http://10.0.0.1:49153", "http://10.0.0.1:49153"),
            ("http://example.com/", "http://example.com:80"),
            (
                "http://example.com:8080/some/where/",
                "http://example.com:8080/some/where",
            ),
            ("http://[::1]:49153", "http://[::1]:49153"),
            ("http://[::1]", "http://[::1]:80"),
            ("https://example.com", "https://example.com:443"),
            ("https://[::1]:8443/fleet/", "https://[::1]:8443/fleet"),
        ] {
            let endpoint: Endpoint = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_in_the_ancestors_words() {
        for (text, error) in [
            ("", "URL scheme undefined"),
            ("/var/run/fleet.sock", "URL scheme undefined"),
            ("127.0.0.1:49153", "URL scheme undefined"),
            (
                "unix://var/run/x",
                "unable to connect to host \"var\" with scheme \"unix\"",
            ),
            (
                "file://h/x",
                "unable to connect to host \"h\" with scheme \"file\"",
            ),
            ("http://a:99999", "\"99999\" is not a port"),
        ] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap_err().to_string(),
                error,
                "{text}"
            );
        }
        for text in [
            "unix://",
            "unix:///",
            "http://",
            "http://:80/x",
            "https://:443",
            "ftp://a",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("use unix:///path"), "{text}: {error}");
        }
    }
}
