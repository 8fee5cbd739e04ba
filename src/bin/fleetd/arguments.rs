//! The command line, in Go's flag style: `-config`, `--config`, `-config=PATH` and `-config PATH` are one. PURE.

use std::path::PathBuf;

use agent::guard::{GuardFiles, Manager};

use crate::guard::GuardCommand;
use crate::hollow::{self, Order};

/// What fleetd was asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Serve.
    Run {
        /// `-config`.
        config: Option<PathBuf>,
        /// `-standalone`.
        standalone: bool,
    },
    /// Be the guard of exclusive units; systemd runs it, nobody else.
    Guard(GuardCommand, GuardFiles),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
    /// Be many machines, for planning.
    Hollow(Order),
    /// Print the usage of that.
    HollowHelp,
}

/// What cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ArgumentError {
    /// A positional argument.
    #[error(
        "fleetd takes no arguments, but was given {0:?}. Did you mean to invoke fleetctl instead?"
    )]
    Positional(String),
    /// The arguments of `fleetd guard` are not those that fleetd wrote into the guard's unit.
    #[error("fleetd guard is run by fleet-guard.service only")]
    Guard,
    /// A flag without its value.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// A flag that does not exist.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// A flag that is on or off, with another value.
    #[error("{value:?} is neither true nor false, for flag -{flag}")]
    NotBoolean {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
    },
    /// A flag that takes a number, with something else or a number that is too large.
    #[error("{value:?} is not a number from 0 to {most}, for flag -{flag}")]
    NotInRange {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// The largest number it takes.
        most: u32,
    },
    /// A flag that must be given.
    #[error("flag needed: -{flag}, {meaning}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What it says.
        meaning: &'static str,
    },
}

/// The usage text.
pub(crate) const USAGE: &str = "\
fleetd is the server component of fleet, a simple orchestration system for scheduling systemd units in a cluster.

Usage: fleetd [-config PATH] [-standalone] [-version]
       fleetd hollow -machines N [-units N] ...

  -config PATH   read the configuration from PATH instead of /etc/fleet/fleet.conf
  -standalone    keep the cluster's store in this process: a complete fleet on one machine, which others may join
  -version       print the version and exit
  hollow         be many machines with a pretended systemd, to see what an etcd can carry; see fleetd hollow -help

Every key of the configuration file can be set in the environment too, as FLEET_<KEY>, which wins.
To work with the cluster, use fleetctl.
";

/// Returns what the arguments (without the program's name) ask for.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, ArgumentError> {
    let mut config = None;
    let mut standalone = false;
    let mut version = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
        else {
            if argument == "version" {
                return Ok(Command::Version);
            }
            if argument == "hollow" {
                let order = hollow::parse(arguments)?;
                return Ok(order.map_or(Command::HollowHelp, Command::Hollow));
            }
            if argument == "guard" {
                return guard(&arguments.collect::<Vec<_>>());
            }
            return Err(ArgumentError::Positional(argument));
        };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        match flag {
            "config" => {
                let path = value.or_else(|| arguments.next());
                config = Some(PathBuf::from(
                    path.ok_or(ArgumentError::NoValue(flag.to_owned()))?,
                ));
            }
            "standalone" => standalone = boolean(flag, value.as_deref())?,
            "version" => version = boolean(flag, value.as_deref())?,
            "h" | "help" => return Ok(Command::Help),
            unknown => return Err(ArgumentError::Unknown(unknown.to_owned())),
        }
    }
    Ok(if version {
        Command::Version
    } else {
        Command::Run { config, standalone }
    })
}

fn guard(arguments: &[String]) -> Result<Command, ArgumentError> {
    let [verb, directory, links, manager] = arguments else {
        return Err(ArgumentError::Guard);
    };
    let command = match verb.as_str() {
        "wait" => GuardCommand::Wait,
        "end" => GuardCommand::End,
        _ => return Err(ArgumentError::Guard),
    };
    let manager = match manager.as_str() {
        "--system" => Manager::System,
        "--user" => Manager::User,
        _ => return Err(ArgumentError::Guard),
    };
    let files = GuardFiles {
        directory: directory.into(),
        link_directory: links.into(),
        program: PathBuf::new(),
        manager,
    };
    Ok(Command::Guard(command, files))
}

fn boolean(flag: &str, value: Option<&str>) -> Result<bool, ArgumentError> {
    match value {
        None | Some("true" | "1" | "t") => Ok(true),
        Some("false" | "0" | "f") => Ok(false),
        Some(other) => Err(ArgumentError::NotBoolean {
            flag: flag.to_owned(),
            value: other.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, ArgumentError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_config_flag_has_four_spellings() {
        for line in ["-config /a", "--config /a", "-config=/a", "--config=/a"] {
            let expected = Command::Run {
                config: Some("/a".into()),
                standalone: false,
            };
            assert_eq!(read(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn version_and_help_are_found() {
        for line in ["-version", "--version=true", "version"] {
            assert_eq!(read(line), Ok(Command::Version), "{line}");
        }
        assert_eq!(read("-h"), Ok(Command::Help));
        assert_eq!(read("hollow -h"), Ok(Command::HollowHelp));
        assert_eq!(
            read("-standalone"),
            Ok(Command::Run {
                config: None,
                standalone: true
            })
        );
    }

    #[test]
    fn the_guard_is_told_where_its_files_are() {
        let line = "guard end /run/fleet/guard /run/systemd/system --system";
        let Ok(Command::Guard(GuardCommand::End, files)) = read(line) else {
            panic!("{:?}", read(line));
        };
        assert_eq!(files.directory, PathBuf::from("/run/fleet/guard"));
        assert_eq!(files.manager, Manager::System);
        for line in ["guard", "guard end /a /b", "guard start /a /b --system"] {
            assert_eq!(read(line), Err(ArgumentError::Guard), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert_eq!(
            read("start"),
            Err(ArgumentError::Positional("start".into()))
        );
        assert_eq!(
            read("-config"),
            Err(ArgumentError::NoValue("config".into()))
        );
        assert_eq!(read("--nope"), Err(ArgumentError::Unknown("nope".into())));
        assert!(read("-standalone=maybe").is_err());
    }
}
