//! `fleetctl status`: what systemd says of units, on the machines that have them.

use api::types::UnitName;
use futures_util::StreamExt;
use serde_json::Value;

use crate::cli::{SshPortArgs, boolean};
use crate::commands::list_units::document;
use crate::commands::looking::{
    Answer, Found, Question, Wording, ask, failure, find, heading, pass_on, run_there, told,
};
use crate::error::{CommandError, chain};
use crate::format::{self, FormatArgs, Language};
use crate::output::Reader;
use crate::running::Said;
use crate::session::Session;
use crate::targets::Target;
use crate::tool::{self, status_exit};
use crate::why;

/// Output the status of one or more units in the cluster.
///
/// It is what "systemctl status" says on the machine that has the unit; of a global unit, on each machine that has it. Exits
/// with 3 if one of them does not run. A person is also told why it is there; "fleetctl explain" says more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all on machines that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    /// Of a global unit, only on this machine: its address, its id, or how that begins
    #[arg(long, short, value_name = "MACHINE")]
    machine: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    ssh: SshPortArgs,
    /// Nothing: scripts give it to every verb
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", action = clap::ArgAction::Set, value_parser = boolean)]
    no_block: bool,
}

/// Shows the status of each.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return Ok(());
    }
    let wording = Wording {
        retrieving: "Error retrieving unit".to_owned(),
        missing: "loaded",
    };
    let found = find(session, &args.units, args.machine.as_deref(), &wording).await?;
    let status = match args.format.format.language() {
        None => print(args, session, &found).await?,
        Some(language) => write(args, session, &found, language).await?,
    };
    match (found.complete, status) {
        (true, 0) => Ok(()),
        (true, status) => Err(CommandError::ended_with(status)),
        (false, _) => Err(CommandError::ended_with(1)),
    }
}

/// A unit's status: the text, and systemctl's exit status.
struct Told {
    text: Option<Vec<u8>>,
    status: u8,
}

/// Why units are where they are. Of a global unit it is asked once for all its machines, which follow each other.
#[derive(Default)]
struct Reasons {
    last: Option<(UnitName, Option<String>)>,
}

impl Reasons {
    async fn of(&mut self, session: &mut Session<'_>, target: &Target) -> Option<String> {
        match &self.last {
            Some((unit, why)) if *unit == target.unit => why.clone(),
            Some(_) | None => {
                let explanation = why::explanation(session, &target.unit).await;
                let why = explanation.map(|explanation| explanation.summary);
                self.last = Some((target.unit.clone(), why.clone()));
                why
            }
        }
    }
}

async fn print(args: &Args, session: &mut Session<'_>, found: &Found) -> Result<u8, CommandError> {
    let client = session.client.clone();
    let mut answers = ask(&client, &found.targets, Question::Status);
    let (mut first, mut worst) = (true, 0);
    let mut reasons = Reasons::default();
    for target in &found.targets {
        let told = next(args, session, found, target, answers.next().await).await?;
        worst = told.status.max(worst);
        let Some(text) = told.text else { continue };
        if !first {
            session.output.line("")?;
        }
        first = false;
        let why = match session.output.reader() {
            Reader::Person { .. } => reasons.of(session, target).await,
            Reader::Program => None,
        };
        if target.global {
            session.output.line(&heading(target, &found.addresses))?;
        }
        session.output.bytes(&text)?;
        if let Some(why) = why {
            session
                .output
                .line(&format!("Placement: {} {why}", target.unit))?;
        }
    }
    Ok(worst)
}

async fn write(
    args: &Args,
    session: &mut Session<'_>,
    found: &Found,
    language: Language,
) -> Result<u8, CommandError> {
    let client = session.client.clone();
    let mut answers = ask(&client, &found.targets, Question::Status);
    let (mut list, mut worst) = (Vec::new(), 0);
    let mut reasons = Reasons::default();
    for target in &found.targets {
        let told = next(args, session, found, target, answers.next().await).await?;
        worst = told.status.max(worst);
        // A machine that has the unit reports it, except just after it was lost.
        let Some(state) = &target.state else { continue };
        let mut object = document(state, &found.addresses);
        let text = told.text.map(|text| String::from_utf8_lossy(&text).into());
        object.insert("text".to_owned(), text.map_or(Value::Null, Value::String));
        let why = reasons.of(session, target).await;
        object.insert("why".to_owned(), why.map_or(Value::Null, Value::String));
        list.push(Value::Object(object));
    }
    format::write(&Value::Array(list), language, session.output)?;
    Ok(worst)
}

/// What is told of `target`; if fleetd cannot tell, by systemctl itself.
async fn next(
    args: &Args,
    session: &mut Session<'_>,
    found: &Found,
    target: &Target,
    answer: Option<Result<Answer, api::client::ClientError>>,
) -> Result<Told, CommandError> {
    let context = format!("Error retrieving status of unit {}", target.unit);
    let (unable, failed) = match answer {
        Some(Ok(Answer::Text(text))) => {
            let status = status_exit(&text);
            let text = Some(text.into_bytes());
            return Ok(Told { text, status });
        }
        Some(Ok(Answer::Unable(error))) => (chain(&error), failure(&error)),
        Some(Err(error)) => return Err(CommandError::request(context, error)),
        None => (String::new(), None),
    };
    session.debug(&format!("no status of {}: {unable}", target.unit));
    let tool = tool::status(&target.unit);
    let mut running = run_there(session, target, &found.addresses, &tool, args.ssh.ssh_port);
    let (mut text, mut status) = (Vec::new(), 0);
    while let Some(said) = running.next().await {
        match said {
            Ok(Said::Line(line)) => text.extend(line),
            other => match pass_on(session, "", other) {
                Ok(ended) => status = ended.unwrap_or(status),
                Err(error) => {
                    if let Some(reason) = failed {
                        session.output.note(&format!("{context}: {reason}"));
                    }
                    let status = told(session, "", error)?;
                    return Ok(Told { text: None, status });
                }
            },
        }
    }
    let text = Some(text);
    Ok(Told { text, status })
}
