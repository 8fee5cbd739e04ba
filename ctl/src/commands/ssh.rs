//! `fleetctl ssh`: a shell or a command on a machine of the cluster, or on the one that has a unit.

use api::client::{OverviewQuery, Section};

use crate::cli::{SshPortArgs, boolean};
use crate::error::{CommandError, Kind};
use crate::session::Session;
use crate::ssh::AgentForwarding;
use crate::ssh_target::{Wanted, find};

/// The status if a command could not be run, as in fleet 1.0.
const EXIT_NOT_RUN: u8 = 255;

/// Open interactive shell on a machine in the cluster.
///
/// The machine is named by the beginning of its id, or by a unit that it has. With a command that is run instead of a shell, and
/// its status is that of fleetctl. All that follows the machine belongs to the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Open the shell on this machine
    #[arg(long, short, value_name = "MACHINE")]
    machine: Option<String>,
    /// Open the shell on the machine that has this unit
    #[arg(long, short, value_name = "UNIT")]
    unit: Option<String>,
    /// Let the machine use your ssh-agent
    #[arg(long, short = 'A', alias = "A", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          action = clap::ArgAction::Set, value_parser = boolean)]
    forward_agent: bool,
    #[command(flatten)]
    ssh: SshPortArgs,
    /// Machine or unit, unless a flag names it, and the command
    #[arg(
        value_names = ["MACHINE|UNIT", "COMMAND"],
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Opens the shell or runs the command.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (wanted, words) = wanted(args)?;
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![Section::Units, Section::Machines],
    };
    session.debug("units and machines");
    let overview = session.client.overview(query).await;
    let overview = overview.map_err(|error| CommandError::request("Unable to proceed", error))?;
    let machine = find(&overview, &wanted)
        .map_err(|error| CommandError::new(Kind::Input, format!("Unable to proceed: {error}")))?;
    let Some(address) = machine.filter(|row| !row.primary_ip.is_empty()) else {
        let text = "Could not determine address of machine.";
        return Err(CommandError::new(Kind::Outcome, text));
    };
    let forwarding = if args.forward_agent {
        AgentForwarding::On
    } else {
        AgentForwarding::Off
    };
    let command = (!words.is_empty()).then(|| words.join(" "));
    let remote = session.remote.clone();
    let address = &address.primary_ip;
    let ended = remote
        .shell(address, args.ssh.ssh_port, command.as_deref(), forwarding)
        .await;
    match (ended, command) {
        // A shell ends with what was typed last, which nobody means to be the end of a script.
        (Ok(0), _) | (Ok(_), None) => Ok(()),
        (Ok(status), Some(_)) => Err(CommandError::ended_with(status)),
        (Err(error), Some(_)) => {
            let context = "Failed running command over SSH";
            Err(CommandError::ssh(context, error).of_kind(Kind::Exit(EXIT_NOT_RUN)))
        }
        (Err(error), None) => Err(CommandError::ssh("Failed opening shell over SSH", error)),
    }
}

/// What is looked for, and the words of the command.
fn wanted(args: &Args) -> Result<(Wanted, &[String]), CommandError> {
    let words = match args.words.split_first() {
        Some((first, rest)) if first == "--" => rest,
        Some(_) | None => &args.words,
    };
    // An empty name is none, as in fleet 1.0.
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    match (given(&args.machine), given(&args.unit)) {
        (Some(_), Some(_)) => Err(CommandError::new(
            Kind::Usage,
            "Both machine and unit flags provided, please specify only one.",
        )),
        (Some(machine), None) => Ok((Wanted::Machine(machine), words)),
        (None, Some(unit)) => Ok((Wanted::Unit(unit), words)),
        (None, None) => {
            let Some((either, rest)) = words.split_first().filter(|(name, _)| !name.is_empty())
            else {
                let text = "Unable to proceed: one machine or unit must be provided";
                return Err(CommandError::new(Kind::Usage, text));
            };
            let rest = match rest.split_first() {
                Some((first, rest)) if first == "--" => rest,
                Some(_) | None => rest,
            };
            Ok((Wanted::Either(either.clone()), rest))
        }
    }
}
