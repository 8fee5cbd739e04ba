//! What fleetctl says when a command line cannot be understood, or asks for help.
//!
//! The texts of unknown commands and flags are fleet 1.0's.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::help;
use crate::output::Output;

/// How the parser's own help of its command `help` begins.
const HELP_OF_HELP: &str = "Print this message or the help of the given subcommand(s)";

/// What is said of a number that is none, and in which words it is clear what to write.
const NUMBERS: [(&str, &str); 4] = [
    ("invalid digit found in string", "expected a whole number"),
    (
        "cannot parse integer from empty string",
        "expected a whole number",
    ),
    (
        "number too large to fit in target type",
        "the number is too large",
    ),
    (
        "number too small to fit in target type",
        "the number is too small",
    ),
];

/// Prints help if that is what was asked for.
///
/// # Errors
/// Otherwise what is wrong with the command line.
#[expect(clippy::needless_pass_by_value, reason = "the error ends here")]
pub(crate) fn answer(error: Error, output: &mut Output) -> Result<(), CommandError> {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let text = error.render().to_string();
            if text.starts_with(HELP_OF_HELP) {
                return output.text(&help::of_help(&Cli::command(), output.columns()));
            }
            output.text(&text)
        }
        ErrorKind::InvalidSubcommand => Err(unknown_command(&error)),
        ErrorKind::UnknownArgument => Err(unknown_flag(&error)),
        _other => Err(CommandError::usage(&format!(
            "Error: {}",
            first_paragraph(&error)
        ))),
    }
}

fn unknown_command(error: &Error) -> CommandError {
    let name = text(error, ContextKind::InvalidSubcommand);
    let mut message = format!("Error: unknown command \"{name}\" for \"fleetctl\"");
    let names = meant(&name, error);
    if !names.is_empty() {
        message.push_str("\n\nDid you mean this?\n");
    }
    for command in names {
        message.push_str(&format!("\t{command}\n"));
    }
    CommandError::usage(&message)
}

/// Commands that begin so; only if there are none, those that look like it.
fn meant(name: &str, error: &Error) -> Vec<String> {
    let definition = Cli::command();
    let all = definition.get_subcommands().map(Command::get_name);
    let begin: Vec<String> = all
        .filter(|command| command.starts_with(name) && is_shown(command))
        .map(str::to_owned)
        .collect();
    match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(near)) if begin.is_empty() => {
            let near = near.iter().filter(|name| is_shown(name));
            near.cloned().collect()
        }
        Some(_) | None => begin,
    }
}

/// Whether this is a command that help names, and not a shortened one.
fn is_shown(name: &str) -> bool {
    let definition = Cli::command();
    let command = definition.find_subcommand(name);
    command.is_some_and(|command| command.get_name() == name && !command.is_hide_set())
}

fn unknown_flag(error: &Error) -> CommandError {
    let flag = text(error, ContextKind::InvalidArg);
    // What stands behind "=" is the flag's value.
    let name = flag.split_once('=').map_or(flag.as_str(), |(name, _)| name);
    let message = match name.strip_prefix('-') {
        Some(letter) if !letter.starts_with('-') => {
            format!("Error: unknown shorthand flag: '{letter}' in {name}")
        }
        Some(_) | None => format!("Error: unknown flag: {name}"),
    };
    CommandError::usage(&message)
}

fn text(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

fn first_paragraph(error: &Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or(&text);
    let text = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    NUMBERS
        .iter()
        .fold(text.trim_end().to_owned(), |text, (theirs, ours)| {
            text.replace(theirs, ours)
        })
}
