//! What the global flags and the environment ask for. The command line wins over `FLEETCTL_*`; an empty variable is unset.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use api::client::{Endpoint, TlsFiles};

use crate::account;
use crate::cli::{GlobalArgs, SshArgs, TlsArgs, boolean};
use crate::error::CommandError;
use crate::signals::Signals;
use crate::ssh::{Asking, Checking, Homeless, SshError, SshSettings};

/// Where fleetd listens on a machine of the cluster.
const ENDPOINT_DEFAULT: &str = "unix:///var/run/fleet.sock";

/// Limit for one request, in seconds: longer than fleetd waits for its store (2.5 s by default, more than once for a batch),
/// so that its answer says what is wrong.
const REQUEST_TIMEOUT_S_DEFAULT: f64 = 10.0;

/// Limit for one SSH connection, in seconds, as in fleet 1.0.
const SSH_TIMEOUT_S_DEFAULT: f64 = 10.0;

/// Where the keys of SSH hosts are kept, as in fleet 1.0.
const KNOWN_HOSTS_DEFAULT: &str = "~/.fleetctl/known_hosts";

/// The longest limit for one request that can be asked for, in seconds: a day, well within what timers take.
const REQUEST_TIMEOUT_S_MAX: f64 = 86_400.0;

/// Looks a variable of the environment up.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// What the global flags and the environment ask for.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// At least one.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Limit of one request.
    pub(crate) request_timeout: Duration,
    /// Say on stderr what is asked of which endpoint.
    pub(crate) debug: bool,
    /// What `https://` endpoints need.
    pub(crate) tls: TlsFiles,
    /// How to reach hosts by SSH.
    pub(crate) ssh: SshSettings,
}

impl Settings {
    /// Takes each value from the command line, else from the environment, else the default.
    pub(crate) fn resolve(
        global: &GlobalArgs,
        environment: &Environment<'_>,
    ) -> Result<Settings, CommandError> {
        let given = |flag: &str, value: &Option<String>| given(flag, value.as_ref(), environment);

        if let Some(driver) = given("driver", &global.driver)?
            && driver != "API"
        {
            let hint = "fleetctl talks to fleetd only: leave --driver and FLEETCTL_DRIVER out, and let --endpoint name a fleetd";
            let reason = format!("unrecognized driver \"{driver}\"");
            return Err(CommandError::client(&reason).with_hint(hint));
        }
        let endpoint = given("endpoint", &global.endpoint)?;
        let endpoints = endpoints(endpoint.as_deref().unwrap_or(ENDPOINT_DEFAULT))?;
        let request_timeout = match given("request-timeout", &global.request_timeout)? {
            Some(text) => seconds("request-timeout", &text)?,
            None => Duration::from_secs_f64(REQUEST_TIMEOUT_S_DEFAULT),
        };
        let debug = match given("debug", &global.debug)? {
            Some(text) => boolean(&text).map_err(|reason| invalid("debug", &text, &reason))?,
            None => false,
        };
        Ok(Settings {
            endpoints,
            request_timeout,
            debug,
            tls: tls(&global.tls, environment)?,
            ssh: ssh(&global.ssh, environment)?,
        })
    }
}

/// What is said of TLS. The older names count where the newer are not given.
fn tls(args: &TlsArgs, environment: &Environment<'_>) -> Result<TlsFiles, CommandError> {
    let file = |name: &str, value: &Option<String>, older: &str, of_older: &Option<String>| {
        let file = match given(name, value.as_ref(), environment)? {
            Some(file) => Some(file),
            None => given(older, of_older.as_ref(), environment)?,
        };
        Ok(file.filter(|file| !file.is_empty()).map(PathBuf::from))
    };
    Ok(TlsFiles {
        ca: file("ca-file", &args.ca_file, "etcd-cafile", &args.etcd_cafile)?,
        cert: file(
            "cert-file",
            &args.cert_file,
            "etcd-certfile",
            &args.etcd_certfile,
        )?,
        key: file(
            "key-file",
            &args.key_file,
            "etcd-keyfile",
            &args.etcd_keyfile,
        )?,
    })
}

/// What is said of SSH.
fn ssh(args: &SshArgs, environment: &Environment<'_>) -> Result<SshSettings, CommandError> {
    let given = |flag: &str, value: &Option<String>| given(flag, value.as_ref(), environment);
    let path = |name: &str| {
        environment(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };

    let tunnel = match given("tunnel", &args.tunnel)? {
        None => None,
        Some(text) => Some(text.parse().map_err(|reason| {
            CommandError::ssh(
                "Unable to initialize client: failed initializing SSH client",
                SshError::Spec { text, reason },
            )
        })?),
    };
    let timeout = match given("ssh-timeout", &args.ssh_timeout)? {
        Some(text) => seconds("ssh-timeout", &text)?,
        None => Duration::from_secs_f64(SSH_TIMEOUT_S_DEFAULT),
    };
    let strict = match given("strict-host-key-checking", &args.strict_host_key_checking)? {
        Some(text) => {
            boolean(&text).map_err(|reason| invalid("strict-host-key-checking", &text, &reason))?
        }
        None => true,
    };
    let home = path("HOME").or_else(|| account::mine().map(|account| account.home));
    let file = given("known-hosts-file", &args.known_hosts_file)?;
    let file = file.unwrap_or_else(|| KNOWN_HOSTS_DEFAULT.to_owned());
    let home_of = |user: &str| account::named(user).map(|account| account.home);
    // Only who needs SSH needs the file.
    let known_hosts_file =
        account::expand_tilde(&file, home.as_deref(), home_of).ok_or(Homeless { written: file });
    Ok(SshSettings {
        tunnel,
        username: given("ssh-username", &args.ssh_username)?,
        timeout,
        known_hosts_file,
        checking: if strict {
            Checking::Strict
        } else {
            Checking::Off
        },
        asking: Asking::Person,
        home,
        agent_socket: path("SSH_AUTH_SOCK"),
        signals: Signals::default(),
    })
}

fn given(
    flag: &str,
    value: Option<&String>,
    environment: &Environment<'_>,
) -> Result<Option<String>, CommandError> {
    if let Some(value) = value {
        return Ok(Some(value.clone()));
    }
    let variable = variable(flag);
    let Some(value) = environment(&variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.into_string() {
        Ok(text) => Ok(Some(text)),
        Err(_bytes) => Err(CommandError::usage(&format!(
            "Error: {variable} is not valid UTF-8"
        ))),
    }
}

fn variable(flag: &str) -> String {
    format!("FLEETCTL_{}", flag.replace('-', "_").to_uppercase())
}

fn endpoints(text: &str) -> Result<Vec<Endpoint>, CommandError> {
    let mut endpoints = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let endpoint = part.parse().map_err(|error| {
            let hint = format!(
                "\"{part}\" is not an endpoint: write unix:///path/of/socket, http://host:port or https://host:port"
            );
            CommandError::client(&format!("{error}")).with_hint(&hint)
        })?;
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err(CommandError::client("no endpoint given").with_hint(
            "write --endpoint=unix:///path/of/socket, http://host:port or https://host:port",
        ));
    }
    Ok(endpoints)
}

fn seconds(flag: &str, text: &str) -> Result<Duration, CommandError> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= REQUEST_TIMEOUT_S_MAX => {
            Ok(Duration::from_secs_f64(seconds))
        }
        Ok(_) | Err(_) => {
            let reason =
                format!("expected seconds, more than 0 and at most {REQUEST_TIMEOUT_S_MAX}");
            Err(invalid(flag, text, &reason))
        }
    }
}

fn invalid(flag: &str, value: &str, reason: &str) -> CommandError {
    CommandError::usage(&format!(
        "Error: invalid value '{value}' for '--{flag}' ({}): {reason}",
        variable(flag)
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn resolve(line: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let environment = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Settings::resolve(&cli.global, &environment).map_err(|error| error.to_string())
    }

    fn endpoints_of(line: &str, variables: &[(&str, &str)]) -> String {
        let endpoints = resolve(line, variables).unwrap().endpoints;
        endpoints
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_empty_is_unset() {
        let set = [("FLEETCTL_ENDPOINT", "http://a:1")];
        assert_eq!(
            endpoints_of("fleetctl list-units", &[]),
            "unix:///var/run/fleet.sock"
        );
        assert_eq!(
            endpoints_of("fleetctl list-units", &[("FLEETCTL_ENDPOINT", "")]),
            "unix:///var/run/fleet.sock"
        );
        assert_eq!(endpoints_of("fleetctl list-units", &set), "http://a:1");
        assert_eq!(
            endpoints_of("fleetctl --endpoint http://b:2 list-units", &set),
            "http://b:2"
        );
        assert_eq!(
            endpoints_of("fleetctl list-units --endpoint=http://b:2,http://c:3", &set),
            "http://b:2 http://c:3"
        );
    }

    #[test]
    fn files_of_tls_have_old_and_new_names() {
        let files = |line: &str, variables: &[(&str, &str)]| {
            let TlsFiles { ca, cert, key } = resolve(line, variables).unwrap().tls;
            [ca, cert, key].map(|file| file.map(|file| file.display().to_string()))
        };
        let all = ["a", "b", "c"].map(|name| Some(name.to_owned()));
        for (line, variables) in [
            (
                "fleetctl --ca-file=a --cert-file b list-units --key-file=c",
                [("", ""); 3],
            ),
            (
                "fleetctl --etcd-cafile=a --etcd-certfile=b --etcd-keyfile=c list-units",
                [("", ""); 3],
            ),
            (
                "fleetctl list-units",
                [
                    ("FLEETCTL_CA_FILE", "a"),
                    ("FLEETCTL_CERT_FILE", "b"),
                    ("FLEETCTL_KEY_FILE", "c"),
                ],
            ),
            (
                "fleetctl --key-file=c list-units",
                [
                    ("FLEETCTL_ETCD_CAFILE", "a"),
                    ("FLEETCTL_ETCD_CERTFILE", "b"),
                    ("FLEETCTL_ETCD_KEYFILE", "d"),
                ],
            ),
        ] {
            assert_eq!(files(line, &variables), all, "{line}");
        }
        assert_eq!(
            files("fleetctl --ca-file= list-units", &[]),
            [None, None, None]
        );
    }

    #[test]
    fn ssh_is_set_up_as_in_fleet_1_0() {
        let set = [
            ("HOME", "/h"),
            ("SSH_AUTH_SOCK", "/a"),
            ("FLEETCTL_TUNNEL", "host:22"),
            ("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false"),
        ];
        let ssh = resolve("fleetctl list-units --ssh-timeout=2.5", &set)
            .unwrap()
            .ssh;
        assert!(ssh.tunnel.is_some());
        assert_eq!(ssh.timeout, Duration::from_secs_f64(2.5));
        assert_eq!(ssh.checking, Checking::Off);
        assert_eq!(
            ssh.known_hosts_file,
            Ok(PathBuf::from("/h/.fleetctl/known_hosts"))
        );
        assert_eq!(ssh.agent_socket, Some(PathBuf::from("/a")));
        // Without HOME the account has one; of the current directory nothing is trusted.
        let ssh = resolve("fleetctl list-units", &[]).unwrap().ssh;
        let home = account::mine().map(|account| account.home);
        assert_eq!(
            ssh.known_hosts_file.ok(),
            home.map(|home| home.join(".fleetctl/known_hosts"))
        );
        let ssh = resolve(
            "fleetctl --known-hosts-file=~no:user/k list-units",
            &[("HOME", "/h")],
        )
        .unwrap()
        .ssh;
        let written = "~no:user/k".to_owned();
        assert_eq!(ssh.known_hosts_file, Err(Homeless { written }));
        let ssh = resolve("fleetctl list-units", &[]).unwrap().ssh;
        assert_eq!(
            (ssh.timeout, ssh.checking),
            (Duration::from_secs(10), Checking::Strict)
        );
        assert_eq!(
            resolve("fleetctl --tunnel=me@:22 list-units", &[]).unwrap_err(),
            "Unable to initialize client: failed initializing SSH client: \"me@:22\" is no SSH host: it names no host"
        );
    }

    #[test]
    fn nonsense_is_an_error_that_names_flag_and_variable() {
        let error = resolve(
            "fleetctl list-units",
            &[("FLEETCTL_REQUEST_TIMEOUT", "soon")],
        )
        .unwrap_err();
        assert_eq!(
            error,
            "Error: invalid value 'soon' for '--request-timeout' (FLEETCTL_REQUEST_TIMEOUT): expected seconds, more than 0 and at most 86400"
        );
        assert!(resolve("fleetctl --request-timeout=0 list-units", &[]).is_err());
        assert!(resolve("fleetctl --debug=perhaps list-units", &[]).is_err());
        assert!(
            resolve("fleetctl --driver=etcd list-units", &[])
                .unwrap_err()
                .contains("unrecognized driver \"etcd\"")
        );
        assert!(resolve("fleetctl --driver=API list-units", &[]).is_ok());
    }
}
