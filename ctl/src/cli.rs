//! The command line: global flags, flags that several verbs share, and the list of verbs.
//!
//! Flags are fleet 1.0's. Booleans take a value (`--no-block=true`), because that release's did and scripts write it.

use std::collections::BTreeSet;

use clap::{ArgAction, Args, CommandFactory, Parser};

use crate::argv::Flags;
use crate::commands::Command;
use crate::error::CommandError;
use crate::format::FormatArgs;

/// A command-line interface to fleet, the cluster-wide service manager.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    bin_name = "fleetctl",
    version = crate::VERSION,
    disable_version_flag = true,
    disable_help_flag = true,
    infer_subcommands = true,
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// The verb; help is shown without one.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that every verb takes, before or after its name. `None` means "not given": the environment comes next.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Where fleetd listens: unix:///path/of/socket, http://host:port or https://host:port, or several of them separated
    /// by commas, of which the first that answers is used [default: unix:///var/run/fleet.sock]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Seconds to wait for the answer to one request [default: 10]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) request_timeout: Option<String>,
    /// Say on stderr what is asked of which endpoint
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) debug: Option<String>,
    /// Print help, of a command if one is named
    #[arg(long, short, alias = "h", global = true, action = ArgAction::Help)]
    help: Option<bool>,
    /// Only API; fleet 1.0 could also talk to etcd directly
    #[arg(long, global = true, hide = true)]
    pub(crate) driver: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
    /// Flags of fleet 1.0 that have no effect on the verbs there are; accepted so that scripts run.
    #[command(flatten)]
    pub(crate) ignored: IgnoredArgs,
}

/// What is spoken with `https://` endpoints. The hidden flags are fleet 1.0's older names.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// Authorities that may have signed the certificate of an https:// endpoint, in PEM [default: the system's]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<String>,
    /// Certificate to show to an https:// endpoint, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cert_file: Option<String>,
    /// Key of that certificate, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<String>,
    /// As --ca-file
    #[arg(long, global = true, hide = true)]
    pub(crate) etcd_cafile: Option<String>,
    /// As --cert-file
    #[arg(long, global = true, hide = true)]
    pub(crate) etcd_certfile: Option<String>,
    /// As --key-file
    #[arg(long, global = true, hide = true)]
    pub(crate) etcd_keyfile: Option<String>,
}

/// How to reach the cluster and its machines by SSH.
#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// Reach the cluster through this SSH host: [user@]host[:port], or an alias of ~/.ssh/config
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) tunnel: Option<String>,
    /// User to log in as by SSH [default: what ~/.ssh/config says, else core]
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) ssh_username: Option<String>,
    /// Seconds to wait for an SSH connection, and until one is given up that is lost [default: 10]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) ssh_timeout: Option<String>,
    /// Where the keys of SSH hosts are kept [default: ~/.fleetctl/known_hosts]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) known_hosts_file: Option<String>,
    /// Check the keys of SSH hosts [default: true]
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) strict_host_key_checking: Option<String>,
}

/// Flags of fleet 1.0 that have no effect (of the etcd driver).
#[derive(Debug, Args)]
pub(crate) struct IgnoredArgs {
    /// Prefix of etcd's keys; fleetd knows it
    #[arg(long, global = true, hide = true)]
    etcd_key_prefix: Option<String>,
    /// Deprecated in fleet 1.0 already
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    experimental_api: Option<String>,
    /// Only means something as the very first argument, see `argv`
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    version: Option<String>,
}

/// Whether and how long a verb waits for the machines.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Do not wait: return as soon as the cluster has accepted the request
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = ArgAction::Set, value_parser = boolean)]
    pub(crate) no_block: bool,
    /// Wait for at most N times 2 seconds; 0 waits until it is clear how it ends
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) block_attempts: i64,
}

/// What to do about a unit that the cluster has with another file.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// Take the local file if the cluster's differs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = ArgAction::Set, value_parser = boolean)]
    pub(crate) replace: bool,
    /// Deprecated in fleet 1.0 already; signed units are no more
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    sign: bool,
}

impl ReplaceArgs {
    /// # Errors
    /// If `--sign` is given.
    pub(crate) fn refuse_sign(&self) -> Result<(), CommandError> {
        if self.sign {
            return Err(CommandError::signed_units());
        }
        Ok(())
    }
}

/// Where machines listen for SSH, for verbs that may have to log in.
#[derive(Debug, Args)]
pub(crate) struct SshPortArgs {
    /// Port of the machines' SSH server, where SSH is needed
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub(crate) ssh_port: u16,
}

/// How a list is shown.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Do not shorten ids and hashes
    #[arg(long, short = 'l', alias = "l", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          action = ArgAction::Set, value_parser = boolean)]
    pub(crate) full: bool,
    /// Do not print the line of column names
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = ArgAction::Set, value_parser = boolean)]
    pub(crate) no_legend: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Nothing: fleet 1.0 took and ignored arguments here
    #[arg(hide = true)]
    pub(crate) ignored: Vec<String>,
}

/// Every flag there is, without dashes, so that `argv` knows what `-no-block` means.
pub(crate) fn flags() -> Flags {
    let command = Cli::command();
    let mut flags = Flags::default();
    for of in std::iter::once(&command).chain(command.get_subcommands()) {
        for argument in of.get_arguments() {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            let names = argument.get_long().into_iter().chain(aliases);
            let names: BTreeSet<String> = names.map(str::to_owned).collect();
            if argument.get_action().takes_values() && !argument.is_require_equals_set() {
                flags
                    .with_value
                    .extend(argument.get_short().map(String::from));
                flags.with_value.extend(names.iter().cloned());
            }
            flags.long.extend(names);
        }
    }
    flags
}

/// A boolean, in all the spellings that fleet 1.0 took.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn long_flags_of_all_verbs_are_known() {
        let Flags { long, with_value } = flags();
        let some = [
            "endpoint",
            "no-block",
            "block-attempts",
            "l",
            "full",
            "etcd-keyfile",
            "replace",
            "help",
        ];
        for flag in some {
            assert!(long.contains(flag), "{flag} is missing in {long:?}");
        }
        for flag in ["endpoint", "machine", "m", "u", "ssh-port", "lines"] {
            assert!(with_value.contains(flag), "{flag}: {with_value:?}");
        }
        for flag in ["no-block", "help", "A", "full"] {
            assert!(!with_value.contains(flag), "{flag}: {with_value:?}");
        }
    }
}
