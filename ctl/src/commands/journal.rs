//! `fleetctl journal`: the last lines that units wrote, on the machines that have them, and what they write from now on.

use api::client::ClientError;
use api::types::JournalForm;
use futures_util::{Stream, StreamExt, stream};

use crate::cli::{SshPortArgs, boolean};
use crate::commands::looking::{
    API_CANNOT, Answer, Found, QUESTIONS_MAX, Question, Wording, ask, failure, find, heading,
    pass_on, run_there, told,
};
use crate::error::{CommandError, Kind, chain};
use crate::output;
use crate::running::{Running, Said};
use crate::session::Session;
use crate::targets::Target;
use crate::tool::{self, Following, Rights, Tool};

/// The form of lines if none is asked for.
const MODE_DEFAULT: &str = "short";

/// Lines that fleetd gives at most; for more the journal is read on its machine.
const API_LINES_MAX: usize = 1000;

/// Outputs the journal of units in the cluster.
///
/// It is what "journalctl --unit" says on the machine that has the unit; of a global unit, on each machine that has it. With
/// --follow, lines of several have the unit's name in front.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all on machines that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    /// How many of the last lines
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value_t = 10,
        allow_negative_numbers = true
    )]
    lines: usize,
    /// Go on with what the units write from now on
    #[arg(long, short = 'f', alias = "f", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          action = clap::ArgAction::Set, value_parser = boolean)]
    follow: bool,
    /// The form of the lines, one of journalctl's: short, cat, json, ...
    #[arg(long, short, value_name = "MODE", default_value = MODE_DEFAULT)]
    output: String,
    /// Of a global unit, only on this machine: its address, its id, or how that begins
    #[arg(long, short, value_name = "MACHINE")]
    machine: Option<String>,
    /// Run journalctl through sudo, where it has to be run on the machine itself
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = clap::ArgAction::Set, value_parser = boolean)]
    sudo: bool,
    #[command(flatten)]
    ssh: SshPortArgs,
}

/// Shows the journal of each.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let retrieving = match args.units.as_slice() {
        [] => {
            return Err(CommandError::new(
                Kind::Usage,
                "One unit file must be provided.",
            ));
        }
        [one] => format!("Error retrieving unit {one}"),
        [_, _, ..] => "Error retrieving units".to_owned(),
    };
    let wording = Wording {
        retrieving,
        missing: "running",
    };
    let found = find(session, &args.units, args.machine.as_deref(), &wording).await?;
    let status = if args.follow {
        follow(args, session, &found).await?
    } else {
        print(args, session, &found).await?
    };
    match (found.complete, status) {
        (true, 0) => Ok(()),
        (true, status) => Err(CommandError::ended_with(status)),
        (false, _) => Err(CommandError::ended_with(1)),
    }
}

impl Args {
    fn tool(&self, target: &Target) -> Tool {
        let following = if self.follow {
            Following::Yes
        } else {
            Following::No
        };
        let rights = if self.sudo { Rights::Sudo } else { Rights::Own };
        tool::journal(&target.unit, self.lines, &self.output, following, rights)
    }

    /// The form in which fleetd can be asked; none if it cannot.
    fn form(&self) -> Option<JournalForm> {
        let fewest = usize::from(!self.follow);
        let known = JournalForm::from_word(&self.output);
        known.filter(|_| !self.sudo && (fewest..=API_LINES_MAX).contains(&self.lines))
    }

    fn run(&self, session: &Session<'_>, found: &Found, target: &Target) -> Running {
        let tool = self.tool(target);
        run_there(session, target, &found.addresses, &tool, self.ssh.ssh_port)
    }
}

async fn print(args: &Args, session: &mut Session<'_>, found: &Found) -> Result<u8, CommandError> {
    let client = session.client.clone();
    let (asked, form) = match args.form() {
        Some(form) => (found.targets.as_slice(), form),
        None => (&[][..], JournalForm::default()),
    };
    let mut answers = ask(&client, asked, Question::Journal(args.lines, form));
    let mut worst = 0;
    for (index, target) in found.targets.iter().enumerate() {
        let answer = answers.next().await;
        if found.targets.len() > 1 {
            if index > 0 {
                session.output.line("")?;
            }
            session.output.line(&heading(target, &found.addresses))?;
        }
        worst = print_one(args, session, found, target, answer)
            .await?
            .max(worst);
    }
    Ok(worst)
}

async fn print_one(
    args: &Args,
    session: &mut Session<'_>,
    found: &Found,
    target: &Target,
    answer: Option<Result<Answer, ClientError>>,
) -> Result<u8, CommandError> {
    let context = format!("Error retrieving journal of unit {}", target.unit);
    let mut failed = None;
    match answer {
        Some(Ok(Answer::Text(text))) => {
            session.output.text(&text)?;
            return Ok(0);
        }
        Some(Err(error)) => return Err(CommandError::request(context, error)),
        Some(Ok(Answer::Unable(error))) => {
            let reason = chain(&error);
            session.debug(&format!("no journal of {}: {reason}", target.unit));
            failed = failure(&error);
        }
        None => {}
    }
    let mut running = args.run(session, found, target);
    let mut status = 0;
    while let Some(said) = running.next().await {
        match pass_on(session, "", said) {
            Ok(ended) => status = ended.unwrap_or(status),
            Err(error) => {
                if let Some(reason) = failed.take() {
                    session.output.note(&format!("{context}: {reason}"));
                }
                status = told(session, "", error)?;
            }
        }
    }
    Ok(status)
}

/// All at once, until the last has ended.
async fn follow(args: &Args, session: &mut Session<'_>, found: &Found) -> Result<u8, CommandError> {
    let mut worst = 0;
    let prefixes: Vec<String> = found
        .targets
        .iter()
        .map(|target| match found.targets.len() {
            1 => String::new(),
            _ if target.global => format!("{} on {}: ", target.unit, target.machine.short()),
            _ => format!("{}: ", target.unit),
        })
        .collect();
    let all: Vec<Running> = stream::iter(&found.targets)
        .map(|target| follow_one(args, session, found, target))
        .buffered(QUESTIONS_MAX)
        .collect()
        .await;
    let mut all = stream::select_all(
        all.into_iter()
            .enumerate()
            .map(|(index, running)| running.map(move |said| (index, said))),
    );
    let gone = output::reader_gone();
    tokio::pin!(gone);
    loop {
        // A unit may say nothing for a long time: `journal -f web | grep -m1 ready` ends as soon as it has been said.
        let next = tokio::select! {
            next = all.next() => next,
            () = &mut gone => return Ok(worst),
        };
        let Some((index, said)) = next else {
            return Ok(worst);
        };
        let prefix = &prefixes[index];
        let status = match pass_on(session, prefix, said) {
            Ok(ended) => ended.unwrap_or(0),
            Err(error) => told(session, prefix, error)?,
        };
        worst = status.max(worst);
    }
}

/// What `target` writes, as fleetd tells it; where it cannot, as journalctl does.
async fn follow_one(args: &Args, session: &Session<'_>, found: &Found, target: &Target) -> Running {
    let Some(form) = args.form() else {
        return args.run(session, found, target);
    };
    let machine = Some(&target.machine);
    let told = session
        .client
        .follow_journal(&target.unit, machine, args.lines, form);
    match told.await {
        Ok(pieces) => said_by_fleetd(target, pieces),
        Err(error @ ClientError::Api { code, .. }) if API_CANNOT.contains(&code) => {
            // Before what the other way leads to, as that has no end.
            let failed = failure(&error).map(|reason| {
                let text = format!("Error following journal of unit {}: {reason}", target.unit);
                Ok(Said::Talk(text.into_bytes()))
            });
            Box::pin(stream::iter(failed).chain(args.run(session, found, target)))
        }
        Err(error) => {
            let error = not_followed(target, &chain(&error));
            Box::pin(stream::once(async move { Err(error) }))
        }
    }
}

/// The lines of pieces, and an error at the end: a journal has none.
fn said_by_fleetd(
    target: &Target,
    pieces: impl Stream<Item = Result<String, ClientError>> + 'static,
) -> Running {
    let (target, ended) = (target.clone(), target.clone());
    let end = stream::once(async move { Err(not_followed(&ended, "fleetd has ended it")) });
    let lines = pieces.flat_map(move |piece| {
        let said: Vec<_> = match piece {
            Ok(text) => text
                .split_inclusive('\n')
                .map(|line| Ok(Said::Line(line.as_bytes().to_vec())))
                .collect(),
            Err(error) => vec![Err(not_followed(&target, &chain(&error)))],
        };
        stream::iter(said)
    });
    // Why it ended is said once.
    let mut over = false;
    Box::pin(lines.chain(end).take_while(move |said| {
        let go_on = !over;
        over = said.is_err();
        std::future::ready(go_on)
    }))
}

fn not_followed(target: &Target, reason: &str) -> CommandError {
    let unit = &target.unit;
    let text = format!("Error following journal of unit {unit}: {reason}");
    CommandError::new(Kind::Exit(1), text)
}
