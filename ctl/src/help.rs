//! PURE. The help of fleetctl and of each command, laid out as fleet 1.0's was, so that its readers find their way: headings,
//! and below each of them lines that begin with a tab.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

/// The width of a tab.
const TAB: usize = 8;

/// Wider lines are hard to read.
const COLUMNS_MAX: usize = 100;

/// Below this, explanations would be columns of single words.
const TEXT_COLUMNS_MIN: usize = 24;

/// What the command `help` is for.
const HELP: &str = "Show a list of commands or help for one command";

/// Said below the flags of the whole program.
const ROOT_END: &str = "\
Global options can also be configured via upper-case environment variables prefixed with \"FLEETCTL_\"
For example, \"some-flag\" => \"FLEETCTL_SOME_FLAG\"

Run \"fleetctl help <command>\" for more details on a specific command.
";

/// The definition with its help, and that of its commands, in our layout. `columns` is the width of the terminal.
pub(crate) fn laid_out(definition: Command, columns: usize) -> Command {
    let globals = definition.clone();
    let root = root(&definition, columns);
    definition
        .mut_subcommands(|command| {
            let help = command_help(&command, &globals, columns);
            command.override_help(help)
        })
        .override_help(root)
}

/// The help of the whole program.
pub(crate) fn root(definition: &Command, columns: usize) -> String {
    let mut page = Page::new(columns);
    let name = definition.get_name();
    page.section("NAME");
    page.text(&format!("{name} - {}", summary(definition)));
    page.section("USAGE");
    page.text(&format!(
        "{name} [global options] <command> [command options] [arguments...]"
    ));
    page.section("VERSION");
    page.text(definition.get_version().unwrap_or_default());
    page.section("COMMANDS");
    let commands = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| (command.get_name().to_owned(), summary(command)));
    let help = ("help".to_owned(), HELP.to_owned());
    page.list(commands.chain([help]).collect());
    page.section("GLOBAL OPTIONS");
    page.list(options(definition));
    format!("{}\n{ROOT_END}", page.written)
}

/// The help of `help`, which is a command of the parser's own.
pub(crate) fn of_help(globals: &Command, columns: usize) -> String {
    let command = Arg::new("COMMAND").help("The command; without it, all are listed");
    command_help(
        &Command::new("help").about(HELP).arg(command),
        globals,
        columns,
    )
}

fn command_help(command: &Command, globals: &Command, columns: usize) -> String {
    let mut page = Page::new(columns);
    let name = command.get_name();
    page.section("NAME");
    page.text(&format!("fleetctl {name} - {}", summary(command)));
    page.section("USAGE");
    let own = options(command);
    let optional = if own.is_empty() { "" } else { " [options]" };
    let mut usage = format!("fleetctl {name}{optional}");
    for argument in positionals(command) {
        usage.push(' ');
        usage.push_str(&placeholder(argument));
    }
    page.text(&usage);
    page.section("DESCRIPTION");
    page.text(&description(command));
    if positionals(command).next().is_some() {
        page.section("ARGUMENTS");
        let argument = |argument: &Arg| (placeholder(argument), explanation(argument));
        page.list(positionals(command).map(argument).collect());
    }
    if !own.is_empty() {
        page.section("OPTIONS");
        page.list(own);
    }
    page.section("GLOBAL OPTIONS");
    page.list(options(globals));
    page.written
}

/// One sentence on what it is for.
fn summary(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    about.unwrap_or_default().trim_end_matches('.').to_owned()
}

/// All there is to say; the sentence again if that is all.
fn description(command: &Command) -> String {
    match command.get_long_about().map(ToString::to_string) {
        Some(long) => match long.split_once("\n\n") {
            Some((_sentence, rest)) => rest.to_owned(),
            None => long,
        },
        None => format!("{}.", summary(command)),
    }
}

fn positionals(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_positionals()
        .filter(|argument| !argument.is_hide_set())
}

fn placeholder(argument: &Arg) -> String {
    let several = match argument.get_action() {
        ArgAction::Append => "...",
        _one => "",
    };
    format!("{}{several}", value_name(argument))
}

fn value_name(argument: &Arg) -> String {
    match argument.get_value_names().and_then(|names| names.first()) {
        Some(name) => name.to_string(),
        None => argument.get_id().as_str().to_uppercase(),
    }
}

/// The flags, each with what it takes.
fn options(command: &Command) -> Vec<(String, String)> {
    let shown = command.get_arguments().filter(|argument| {
        !argument.is_positional() && !argument.is_hide_set() && argument.get_long().is_some()
    });
    let mut options: Vec<_> = shown
        .map(|argument| {
            let long = argument.get_long().unwrap_or_default();
            let short = match argument.get_short() {
                Some(short) => format!("-{short}, "),
                None => "    ".to_owned(),
            };
            let value = if takes_value(argument) {
                format!("={}", value_name(argument))
            } else {
                String::new()
            };
            (
                long,
                (format!("{short}--{long}{value}"), explanation(argument)),
            )
        })
        .collect();
    options.sort();
    options.into_iter().map(|(_, option)| option).collect()
}

/// Whether it makes no sense without a value. Booleans take one for scripts' sake; people leave it out.
fn takes_value(argument: &Arg) -> bool {
    let needs = argument
        .get_num_args()
        .is_none_or(|range| range.min_values() > 0);
    needs && argument.get_action().takes_values()
}

fn explanation(argument: &Arg) -> String {
    let mut text = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let values: Vec<_> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    if !values.is_empty() && takes_value(argument) {
        // Writing to a string cannot fail.
        write!(text, ": {}", values.join(", ")).unwrap_or_default();
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && !argument.is_hide_default_value_set() && takes_value(argument) {
        write!(text, " [default: {}]", defaults.join(",")).unwrap_or_default();
    }
    text
}

/// What is written so far.
struct Page {
    columns: usize,
    written: String,
}

impl Page {
    fn new(columns: usize) -> Page {
        Page {
            columns: columns.min(COLUMNS_MAX).saturating_sub(TAB),
            written: String::new(),
        }
    }

    fn section(&mut self, name: &str) {
        let gap = if self.written.is_empty() { "" } else { "\n" };
        self.written.push_str(&format!("{gap}{name}:\n"));
    }

    fn text(&mut self, text: &str) {
        for paragraph in text.split("\n\n") {
            for line in wrapped(paragraph, self.columns) {
                self.written.push_str(&format!("\t{line}\n"));
            }
        }
    }

    /// Names and their explanations, in two columns.
    fn list(&mut self, entries: Vec<(String, String)>) {
        let names = entries.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or_default() + 2;
        let room = self.columns.saturating_sub(width).max(TEXT_COLUMNS_MIN);
        for (name, explanation) in entries {
            let mut before = name;
            for line in wrapped(&explanation, room) {
                self.written.push_str(&format!("\t{before:width$}{line}\n"));
                before = String::new();
            }
        }
    }
}

/// The words in lines of at most `columns`, if no single one is longer. At least one line.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_line_fits_and_begins_with_a_tab_or_is_a_heading() {
        for columns in [40, 80, 100, 300] {
            let definition = laid_out(Cli::command(), columns);
            let all = std::iter::once(&definition).chain(definition.get_subcommands());
            for command in all.filter(|command| !command.is_hide_set()) {
                let help = command.clone().render_help().to_string();
                let body = help.strip_suffix(ROOT_END).unwrap_or(&help);
                for line in body.lines().filter(|line| !line.is_empty()) {
                    let heading = line.ends_with(':') && line.to_uppercase() == line;
                    assert!(heading || line.starts_with('\t'), "{line:?} in {help}");
                    let width = line.chars().count() - 1 + TAB;
                    let limit = columns.clamp(80, COLUMNS_MAX);
                    assert!(width <= limit, "{columns}: {width}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("a bb  ccc dddd", 4), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrapped("much-too-long b", 4), ["much-too-long", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
