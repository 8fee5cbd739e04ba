//! What `fleetd hollow` was asked to do, in the same flag style as fleetd itself. PURE.

use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::ArgumentError;

/// Machines in one process: about 2 GiB of memory, and more than one etcd connection should carry.
const MACHINES_MAX: u32 = 20_000;

/// Units submitted by one process: twice what the largest cluster that fleet is made for has.
const UNITS_MAX: u32 = 200_000;

/// The longest time to watch an idle cluster: an hour.
const IDLE_S_MAX: u32 = 3600;

/// Where a hollow cluster lives in etcd: never where a real one does.
const KEY_PREFIX: &str = "/_fleet-hollow/";

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    /// `-machines`: how many machines to be.
    pub(crate) machines: u32,
    /// `-units`: how many units to submit, start and destroy; 0: none, others do that.
    pub(crate) units: u32,
    /// `-unit-file`: the template they are instances of; none: one that sleeps.
    pub(crate) unit_file: Option<PathBuf>,
    /// `-engines`: how many of the machines have an engine that stands for election.
    pub(crate) engines: u32,
    /// `-idle`: how long to watch the cluster while nothing happens, after machines and units are up.
    pub(crate) idle: Duration,
    /// `-listen`: the socket to serve the API on; none: it is not served.
    pub(crate) listen: Option<PathBuf>,
    /// `-key-prefix`: where the hollow cluster lives in etcd.
    pub(crate) key_prefix: String,
    /// `-config`: the configuration to take etcd's address and credentials from.
    pub(crate) config: Option<PathBuf>,
}

/// The usage text.
pub(crate) const USAGE: &str = "\
fleetd hollow runs many machines in one process, to see what an etcd can carry: fleet's own agents, with a systemd
that only pretends. It joins a cluster of its own in your etcd, apart from the real one, and takes it down at the end.

Usage: fleetd hollow -machines N [-units N] [-idle SECONDS] [-engines N] [-unit-file PATH] [-listen PATH]
                     [-key-prefix PREFIX] [-config PATH]

  -machines N         how many machines to be, up to 20000
  -units N            submit and start N units, wait until all are reported launched, say what that cost, and destroy
                      them at the end. Without it the machines stay until they are ended with Ctrl-C
  -idle SECONDS       then watch the cluster for so long while nothing happens, and say what that costs
  -engines N          how many of the machines have an engine that stands for election (1; 0: another process has it)
  -unit-file PATH     the template to make units of (one that sleeps)
  -listen PATH        serve the API on this unix socket, for fleetctl --endpoint unix://PATH, until ended with Ctrl-C
  -key-prefix PREFIX  where the hollow cluster lives in etcd (/_fleet-hollow/). Several processes may share one
  -config PATH        take etcd_servers and its credentials from PATH instead of /etc/fleet/fleet.conf
";

/// Returns what the arguments after `hollow` ask for; none if they ask for help.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = String>,
) -> Result<Option<Order>, ArgumentError> {
    let mut order = Order {
        machines: 0,
        units: 0,
        unit_file: None,
        engines: 1,
        idle: Duration::ZERO,
        listen: None,
        key_prefix: KEY_PREFIX.to_owned(),
        config: None,
    };
    let mut machines = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
        else {
            return Err(ArgumentError::Positional(argument));
        };
        if flag == "h" || flag == "help" {
            return Ok(None);
        }
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        let mut text = || {
            let given = value.clone().or_else(|| arguments.next());
            given.ok_or_else(|| ArgumentError::NoValue(flag.to_owned()))
        };
        match flag {
            "machines" => machines = Some(number(flag, &text()?, MACHINES_MAX)?),
            "units" => order.units = number(flag, &text()?, UNITS_MAX)?,
            "unit-file" => order.unit_file = Some(PathBuf::from(text()?)),
            "engines" => order.engines = number(flag, &text()?, MACHINES_MAX)?,
            "idle" => {
                let seconds = number(flag, &text()?, IDLE_S_MAX)?;
                order.idle = Duration::from_secs(u64::from(seconds));
            }
            "listen" => order.listen = Some(PathBuf::from(text()?)),
            "key-prefix" => order.key_prefix = text()?,
            "config" => order.config = Some(PathBuf::from(text()?)),
            unknown => return Err(ArgumentError::Unknown(unknown.to_owned())),
        }
    }
    order.machines = machines.ok_or(ArgumentError::Missing {
        flag: "machines",
        meaning: "how many machines to be",
    })?;
    Ok(Some(order))
}

fn number(flag: &str, text: &str, most: u32) -> Result<u32, ArgumentError> {
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        Ok(_) | Err(_) => Err(ArgumentError::NotInRange {
            flag: flag.to_owned(),
            value: text.to_owned(),
            most,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Order>, ArgumentError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_in_either_spelling() {
        let order = read("-machines 1000 --units=10000 -idle 60 -engines=0 -listen /tmp/s")
            .unwrap()
            .unwrap();
        assert_eq!(
            (order.machines, order.units, order.engines),
            (1000, 10_000, 0)
        );
        assert_eq!(order.idle, Duration::from_secs(60));
        assert_eq!(order.listen, Some(PathBuf::from("/tmp/s")));
        assert_eq!(order.key_prefix, "/_fleet-hollow/");
        assert_eq!(read("-machines 3 -help"), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (line, message) in [
            (
                "-units 3",
                "flag needed: -machines, how many machines to be",
            ),
            (
                "-machines many",
                "\"many\" is not a number from 0 to 20000, for flag -machines",
            ),
            (
                "-machines 20001",
                "\"20001\" is not a number from 0 to 20000, for flag -machines",
            ),
            ("-machines", "flag needs an argument: -machines"),
            ("-machine 3", "flag provided but not defined: -machine"),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), message, "{line}");
        }
    }
}
