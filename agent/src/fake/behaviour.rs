//! PURE. What a unit does on the fake, read from its own file: the commands `true`, `false`, `sleep`, and lists of them in
//! `sh -c`. So the same unit files run on the fake and on a real systemd.

use std::collections::BTreeSet;
use std::time::Duration;

use unitfile::{Requirements, UnitFile, UnitName, UnitType};

/// What systemd's `TimeoutStopSec=` is by default.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// What systemd's `RestartSec=` is by default.
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// systemd's `StartLimitBurst=` by default: after this many starts by itself in a row the fake's systemd gives up too.
pub(super) const RESTARTS_MAX: u32 = 5;

/// How a command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// With this status.
    Status(u8),
    /// It never does.
    Never,
}

/// A command of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Command {
    /// As written in the file.
    pub(super) text: String,
    /// How long it runs.
    pub(super) takes: Duration,
    pub(super) exit: Exit,
}

/// When the unit counts as started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StartType {
    /// As soon as its process runs, or for other types than services at once.
    Process,
    /// When all its commands have ended.
    Oneshot,
}

/// systemd's `Restart=`, as far as the fake has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Restart {
    No,
    OnFailure,
    Always,
}

/// What a unit does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Behaviour {
    pub(super) start_type: StartType,
    pub(super) pre: Vec<Command>,
    pub(super) main: Vec<Command>,
    pub(super) stop: Vec<Command>,
    pub(super) remains: bool,
    pub(super) restart: Restart,
    pub(super) restart_delay: Duration,
    pub(super) stop_limit: Duration,
    /// systemd cannot run the file.
    pub(super) is_bad: bool,
    /// `Exclusive=yes`: it never runs without a deadline.
    pub(super) is_exclusive: bool,
}

impl Behaviour {
    pub(super) fn of(name: &UnitName, file: &UnitFile) -> Behaviour {
        let last = |option: &str| file.get_all("Service", option).last().unwrap_or_default();
        let commands = |option: &str| -> Vec<Command> {
            let values = file
                .options()
                .iter()
                .filter(|o| o.section == "Service" && o.name == option);
            values
                .map(|option| command(&option.joined_value()))
                .collect()
        };
        let is_service = name.unit_type() == UnitType::Service;
        let main = commands("ExecStart");
        let start_type = if last("Type") == "oneshot" {
            StartType::Oneshot
        } else {
            StartType::Process
        };
        let is_bad = is_service
            && main.is_empty()
            && (start_type == StartType::Process || commands("ExecStop").is_empty());
        Behaviour {
            start_type,
            pre: commands("ExecStartPre"),
            main,
            stop: commands("ExecStop"),
            remains: matches!(last("RemainAfterExit"), "yes" | "true" | "1" | "on"),
            restart: match last("Restart") {
                "always" => Restart::Always,
                "on-failure" => Restart::OnFailure,
                _ => Restart::No,
            },
            restart_delay: seconds(last("RestartSec")).unwrap_or(RESTART_DELAY),
            stop_limit: match last("TimeoutStopSec") {
                "infinity" => Duration::MAX,
                limit => seconds(limit).unwrap_or(STOP_LIMIT),
            },
            is_bad,
            is_exclusive: Requirements::of_stored(name, file).0.exclusive,
        }
    }
}

/// All commands one after the other, up to the first that fails: those that end well, and how the whole ends.
pub(super) fn in_a_row(commands: &[Command]) -> (Duration, Exit) {
    let mut takes = Duration::ZERO;
    for command in commands {
        takes = takes.saturating_add(command.takes);
        if command.exit != Exit::Status(0) {
            return (takes, command.exit);
        }
    }
    (takes, Exit::Status(0))
}

fn command(text: &str) -> Command {
    let text = text.trim();
    let may_fail = text.starts_with('-');
    let line = text.trim_start_matches(['-', '+', '!', '@', ':']);
    let (takes, exit) = match line.split_once(" -c ") {
        Some((_, script)) => script_outcome(script.trim().trim_matches(['"', '\''])),
        None => outcome(line),
    };
    let exit = match exit {
        Exit::Status(_) if may_fail => Exit::Status(0),
        other => other,
    };
    Command {
        text: text.to_owned(),
        takes,
        exit,
    }
}

fn script_outcome(script: &str) -> (Duration, Exit) {
    let mut takes = Duration::ZERO;
    let mut exit = Exit::Status(0);
    for part in script
        .split([';', '&'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if let Some(status) = part.strip_prefix("exit ") {
            return (takes, Exit::Status(status.trim().parse().unwrap_or(1)));
        }
        let (longer, then) = outcome(part.trim_start_matches("exec "));
        takes = takes.saturating_add(longer);
        exit = then;
        if exit == Exit::Never {
            return (takes, exit);
        }
    }
    (takes, exit)
}

fn outcome(line: &str) -> (Duration, Exit) {
    let mut words = line.split_whitespace();
    let path = words.next().unwrap_or_default();
    match path.rsplit('/').next().unwrap_or(path) {
        "false" => (Duration::ZERO, Exit::Status(1)),
        "sleep" => match words.next() {
            Some("infinity") | None => (Duration::ZERO, Exit::Never),
            Some(time) => (seconds(time).unwrap_or_default(), Exit::Status(0)),
        },
        _ if path.starts_with("/nonexistent") => (Duration::ZERO, Exit::Status(203)),
        _ => (Duration::ZERO, Exit::Status(0)),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return milliseconds.parse().ok().map(Duration::from_millis);
    }
    let number: f64 = text.trim_end_matches('s').parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

/// How systemd tells of an exit.
pub(super) fn status(exit: Exit) -> String {
    match exit {
        Exit::Status(203) => ": status 203/EXEC".to_owned(),
        Exit::Status(1) => ": status 1/FAILURE".to_owned(),
        Exit::Status(status) => format!(": status {status}"),
        Exit::Never => String::new(),
    }
}

/// The names that these files refer to.
pub(super) fn referred<'a>(files: impl Iterator<Item = &'a UnitFile>) -> BTreeSet<String> {
    let of = |file: &UnitFile| -> Vec<String> {
        let values = ["After", "Before", "Wants", "Requires", "BindsTo"]
            .into_iter()
            .flat_map(|option| file.get_all("Unit", option));
        let names = values.flat_map(str::split_whitespace);
        names.map(str::to_owned).collect()
    };
    files.flat_map(of).collect()
}

/// The units without which systemd does not start the one of this file.
pub(super) fn required(file: Option<&UnitFile>) -> Vec<UnitName> {
    let of = |file| ["Requires", "BindsTo"].map(|option| UnitFile::get_all(file, "Unit", option));
    let values = file.into_iter().flat_map(of).flatten();
    let names = values.flat_map(str::split_whitespace);
    names
        .filter_map(|name| UnitName::parse(name).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let check = |text: &str, millis: u64, exit: Exit| {
            let command = command(text);
            assert_eq!(
                (command.takes, command.exit),
                (Duration::from_millis(millis), exit),
                "{text}"
            );
        };
        check("/bin/true", 0, Exit::Status(0));
        check("/bin/false", 0, Exit::Status(1));
        check("-/bin/false", 0, Exit::Status(0));
        check("/bin/sleep 0.2", 200, Exit::Status(0));
        check("/bin/sleep infinity", 0, Exit::Never);
        check(
            "/bin/sh -c 'sleep 0.1; touch /x/y; exit 3'",
            100,
            Exit::Status(3),
        );
        check(
            "/bin/sh -c \"touch /x && exec sleep infinity\"",
            0,
            Exit::Never,
        );
        check("/nonexistent/program", 0, Exit::Status(203));
    }
}
