//! What `status` and `journal` have in common: they find out where units are, then ask fleetd what systemd says of each there, and
//! run systemd's own tools where fleetd cannot tell.

use api::client::{Client, ClientError, OverviewQuery};
use api::types::{Hold, JournalForm, UnitName};
use futures_util::{Stream, StreamExt, stream};

use crate::count::counted;
use crate::error::{CommandError, Kind, chain};
use crate::machine_choice::choose;
use crate::machine_label::{Addresses, IdForm};
use crate::output::Reader;
use crate::running::{Place, Running, Said, run_at};
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources;
use crate::targets::{Target, Whereabouts, locate};
use crate::tint::Colour;
use crate::tool::Tool;
use crate::why;

/// Questions asked at once: a global unit may be on every machine, and each machine has to run a tool for the answer.
pub(crate) const QUESTIONS_MAX: usize = 8;

/// Lines of the journal below a status: systemctl's own number.
const STATUS_LINES: usize = 10;

/// What the API answers if another way may lead to what was asked for: not here, busy, failed, not supported, not reached, not in
/// time.
pub(crate) const API_CANNOT: [u16; 6] = [404, 429, FAILED, 501, 502, 504];

/// What it answers if it should have been able to: whoever finds no other way either has to be told why.
const FAILED: u16 = 500;

/// The words in which a verb says what is wrong with a unit.
pub(crate) struct Wording {
    /// Before the cause, if the cluster cannot be asked.
    pub(crate) retrieving: String,
    /// What a unit that is on no machine does not appear to be.
    pub(crate) missing: &'static str,
}

/// Where the units are.
pub(crate) struct Found {
    /// In the order of the arguments.
    pub(crate) targets: Vec<Target>,
    /// Of all machines.
    pub(crate) addresses: Addresses,
    /// Whether something was said on stderr of a unit that is not there.
    pub(crate) complete: bool,
}

/// What is asked of a unit on its machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    /// What systemd says of it.
    Status,
    /// The last lines of its journal, this many, in this form.
    Journal(usize, JournalForm),
}

/// What fleetd says to a [`Question`].
pub(crate) enum Answer {
    /// This.
    Text(String),
    /// That it cannot tell.
    Unable(ClientError),
}

/// Why fleetd failed to tell; none if it was not its to tell.
pub(crate) fn failure(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Api { code: FAILED, .. } => Some(chain(error)),
        ClientError::Api { .. }
        | ClientError::Foreign { .. }
        | ClientError::Unreachable { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Broken { .. }
        | ClientError::Malformed { .. } => None,
    }
}

/// Finds the units, on the machine that `machine` names if there is one. Says on stderr which are not there.
///
/// # Errors
/// If a name is none, a pattern matches nothing, there is no such machine, or the cluster cannot be asked.
pub(crate) async fn find(
    session: &mut Session<'_>,
    units: &[String],
    machine: Option<&str>,
    wording: &Wording,
) -> Result<Found, CommandError> {
    let context = &wording.retrieving;
    let units = expand_strictly(session, context, units, Scope::Wanted).await?;
    let names: Vec<UnitName> = sources::names(&units, session.output)?
        .into_iter()
        .map(|asked| asked.name)
        .collect();
    session.debug(&format!("where to find {}", counted(names.len(), "unit")));
    let query = OverviewQuery {
        units: names.clone(),
        sections: Vec::new(),
    };
    let overview = session.client.overview(query).await;
    let overview = overview.map_err(|error| CommandError::request(context.clone(), error))?;
    let only = match machine {
        None => None,
        Some(wanted) => match choose(wanted, &overview.machines) {
            Ok(machine) => Some(&machine.id),
            Err(reason) => {
                let text = format!("Unable to proceed: --machine {wanted}: {reason}");
                return Err(CommandError::new(Kind::Input, text));
            }
        },
    };
    let mut found = Found {
        targets: Vec::new(),
        addresses: overview.machines.iter().collect(),
        complete: true,
    };
    for name in &names {
        match locate(&overview, name, only) {
            Whereabouts::On(targets) => found.targets.extend(targets),
            other => {
                found.complete = false;
                let mut text = absence(name, &other, wording);
                if let Whereabouts::Nowhere(Some(hold)) = &other {
                    let why = why::explanation(session, name).await;
                    text.push_str(&why::lines(hold, why.as_ref(), &found.addresses));
                }
                session.output.note(&text);
            }
        }
    }
    Ok(found)
}

fn absence(name: &UnitName, whereabouts: &Whereabouts, wording: &Wording) -> String {
    let missing = wording.missing;
    match whereabouts {
        Whereabouts::Unknown => format!("Unit {name} does not exist."),
        Whereabouts::NotThere => format!("Unit {name} is not on that machine."),
        Whereabouts::Nowhere(Some(Hold { reason, .. })) => {
            format!("Unit {name} does not appear to be {missing}.\nIt waits: {reason}")
        }
        Whereabouts::Nowhere(None) | Whereabouts::On(_) => {
            format!("Unit {name} does not appear to be {missing}.")
        }
    }
}

/// Asks fleetd about all `targets`, several at once. Answers come in their order.
pub(crate) fn ask<'t>(
    client: &'t Client,
    targets: &'t [Target],
    question: Question,
) -> impl Stream<Item = Result<Answer, ClientError>> + 't {
    stream::iter(targets)
        .map(move |target| ask_one(client, target, question))
        .buffered(QUESTIONS_MAX)
}

async fn ask_one(
    client: &Client,
    target: &Target,
    question: Question,
) -> Result<Answer, ClientError> {
    let machine = Some(&target.machine);
    let told = match question {
        Question::Status => client.status(&target.unit, machine, STATUS_LINES).await,
        Question::Journal(lines, form) => client.journal(&target.unit, machine, lines, form).await,
    };
    match told {
        Ok(text) => Ok(Answer::Text(text)),
        Err(ClientError::Api { code, message }) if API_CANNOT.contains(&code) => {
            Ok(Answer::Unable(ClientError::Api { code, message }))
        }
        Err(error) => Err(error),
    }
}

/// Runs `tool` where the unit is.
pub(crate) fn run_there(
    session: &Session<'_>,
    target: &Target,
    addresses: &Addresses,
    tool: &Tool,
    ssh_port: u16,
) -> Running {
    let place = Place {
        machine: target.machine.clone(),
        address: addresses.address(&target.machine).map(str::to_owned),
        ssh_port,
    };
    let colour = match session.output.reader() {
        Reader::Program => Colour::Hidden,
        Reader::Person { colour, .. } => colour,
    };
    run_at(&session.remote, &place, tool, colour)
}

/// Passes on what a tool says, `prefix` before each line, and returns its status.
///
/// # Errors
/// If it cannot be run, or stdout not be written.
pub(crate) fn pass_on(
    session: &mut Session<'_>,
    prefix: &str,
    said: Result<Said, CommandError>,
) -> Result<Option<u8>, CommandError> {
    match said? {
        Said::Line(line) => {
            let mut bytes = prefix.as_bytes().to_vec();
            bytes.extend(line);
            if !prefix.is_empty() && !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            session.output.bytes(&bytes)?;
            Ok(None)
        }
        Said::Talk(line) => {
            let line = String::from_utf8_lossy(&line);
            session.output.note(&format!("{prefix}{line}"));
            Ok(None)
        }
        Said::End(status) => Ok(Some(status)),
    }
}

/// The line above what is said of one unit on one of several machines.
pub(crate) fn heading(target: &Target, addresses: &Addresses) -> String {
    let machine = addresses.label(&target.machine, IdForm::Short);
    format!("# {} on {machine}", target.unit)
}

/// Tells an error that is about one unit, and returns its status. Any other ends the command.
///
/// # Errors
/// Those others.
pub(crate) fn told(
    session: &mut Session<'_>,
    prefix: &str,
    error: CommandError,
) -> Result<u8, CommandError> {
    match error.kind() {
        Kind::Exit(status) => {
            session.output.note(&format!("{prefix}{error}"));
            Ok(status)
        }
        Kind::Usage
        | Kind::Input
        | Kind::Cluster
        | Kind::Outcome
        | Kind::ReaderGone
        | Kind::Withdrawn => Err(error),
    }
}
