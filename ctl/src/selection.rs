//! Patterns among the arguments: `'web@*'` stands for the names of the units in the cluster that it matches.
//!
//! A pattern is matched against whole names, with or without `.service`; see [`Glob`] for its signs. Arguments without
//! such a sign are passed on as they are, and cost no request.

use api::client::{OverviewQuery, Section};
use api::types::{TargetState, UnitName, UnitRow};
use unitfile::Glob;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// The signs that make a pattern of an argument. None of them can be in a unit's name.
const SIGNS: [char; 3] = ['*', '?', '['];

/// The ending that a pattern may leave out, as a name may.
const SUFFIX_DEFAULT: &str = ".service";

/// Which units a pattern can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All.
    All,
    /// Those that can run: all but templates.
    Runnable,
    /// Those that are wanted on machines: a verb that takes units down has nothing to do with the others.
    Wanted,
}

/// The arguments, patterns replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// What to do something about.
    pub(crate) arguments: Vec<String>,
    /// Names among them that come from patterns.
    pub(crate) matched: Vec<String>,
    /// Patterns that match nothing.
    pub(crate) unmatched: Vec<String>,
}

/// Replaces the patterns among `arguments`. `context` begins the message of an error.
///
/// # Errors
/// If a pattern is none, or the cluster cannot be asked for its units.
pub(crate) async fn expand(
    session: &mut Session<'_>,
    context: &str,
    arguments: &[String],
    scope: Scope,
) -> Result<Selection, CommandError> {
    let mut patterns = Vec::new();
    for argument in arguments.iter().filter(|argument| is_pattern(argument)) {
        patterns.push(parse(context, argument)?);
    }
    if patterns.is_empty() {
        return Ok(Selection {
            arguments: arguments.to_vec(),
            matched: Vec::new(),
            unmatched: Vec::new(),
        });
    }
    session.debug("units, to match patterns");
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![Section::Units],
    };
    let overview = session.client.overview(query).await;
    let overview = overview.map_err(|error| CommandError::request(context, error))?;
    let candidates: Vec<_> = overview
        .units
        .iter()
        .filter(|unit| scope.has(unit))
        .map(|unit| unit.name.clone())
        .collect();
    Ok(replace(arguments, &patterns, &candidates))
}

/// Replaces the patterns among `arguments`; one that matches nothing is an error, and then nothing is done.
///
/// # Errors
/// Also if a pattern is none, or the cluster cannot be asked for its units.
pub(crate) async fn expand_strictly(
    session: &mut Session<'_>,
    context: &str,
    arguments: &[String],
    scope: Scope,
) -> Result<Vec<String>, CommandError> {
    let selection = expand(session, context, arguments, scope).await?;
    let Some((last, others)) = selection.unmatched.split_last() else {
        return Ok(selection.arguments);
    };
    for other in others {
        session
            .output
            .note(&format!("{context}: {}", nothing_matches(other)));
    }
    let text = format!("{context}: {}", nothing_matches(last));
    Err(CommandError::new(Kind::Input, text))
}

/// The words for a pattern that matches nothing.
pub(crate) fn nothing_matches(pattern: &str) -> String {
    format!("no unit in the cluster matches \"{pattern}\"")
}

impl Scope {
    fn has(self, unit: &UnitRow) -> bool {
        match self {
            Scope::All => true,
            Scope::Runnable => !unit.name.is_template(),
            Scope::Wanted => unit.desired_state != TargetState::Inactive,
        }
    }
}

fn is_pattern(argument: &str) -> bool {
    argument.contains(SIGNS)
}

fn parse(context: &str, argument: &str) -> Result<Glob, CommandError> {
    // A shell leaves a pattern of files as it is if there is no such file.
    if argument.contains('/') {
        let text = format!("{context}: {argument}: no such file");
        return Err(CommandError::new(Kind::Input, text).with_hint(
            "A pattern with \"/\" is for the shell, which replaces it by the files there are. One of units in the cluster has no \"/\".",
        ));
    }
    Glob::parse(argument).map_err(|error| {
        let text = format!("{context}: {argument}: this is no pattern: {error}");
        CommandError::new(Kind::Input, text)
    })
}

/// `patterns` are those of the arguments that are patterns, in their order.
fn replace(arguments: &[String], patterns: &[Glob], candidates: &[UnitName]) -> Selection {
    let mut selection = Selection {
        arguments: Vec::new(),
        matched: Vec::new(),
        unmatched: Vec::new(),
    };
    let mut patterns = patterns.iter();
    for argument in arguments {
        let pattern = if is_pattern(argument) {
            patterns.next()
        } else {
            None
        };
        let Some(pattern) = pattern else {
            selection.arguments.push(argument.clone());
            continue;
        };
        let before = selection.matched.len();
        for name in candidates.iter().filter(|name| matches(pattern, name)) {
            selection.arguments.push(name.to_string());
            selection.matched.push(name.to_string());
        }
        if selection.matched.len() == before {
            selection.unmatched.push(argument.clone());
        }
    }
    selection.matched.sort();
    selection.matched.dedup();
    selection
}

fn matches(pattern: &Glob, name: &UnitName) -> bool {
    let short = name.as_str().strip_suffix(SUFFIX_DEFAULT);
    pattern.matches(name.as_str()) || short.is_some_and(|short| pattern.matches(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(line: &str) -> Selection {
        let names = [
            "db.socket",
            "web.service",
            "web@.service",
            "web@1.service",
            "web@2.service",
        ];
        let candidates: Vec<_> = names
            .iter()
            .map(|name| UnitName::parse(name).unwrap())
            .collect();
        let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let patterns: Vec<_> = arguments
            .iter()
            .filter(|argument| is_pattern(argument))
            .map(|argument| Glob::parse(argument).unwrap())
            .collect();
        replace(&arguments, &patterns, &candidates)
    }

    #[test]
    fn a_pattern_becomes_the_names_it_matches_where_it_stands() {
        assert_eq!(
            replaced("a web@? b").arguments,
            ["a", "web@1.service", "web@2.service", "b"]
        );
        assert_eq!(replaced("*.socket").arguments, ["db.socket"]);
        assert_eq!(replaced("web@[2-9].service").arguments, ["web@2.service"]);
        assert_eq!(replaced("web@[^2]").arguments, ["web@1.service"]);
        assert_eq!(replaced("?eb").arguments, ["web.service"]);
        assert_eq!(replaced("*").arguments.len(), 5);
    }

    #[test]
    fn what_matches_nothing_is_known_and_a_name_is_no_match() {
        let selection = replaced("web x* d*");
        assert_eq!(selection.unmatched, ["x*"]);
        assert_eq!(selection.matched, ["db.socket"]);
        assert_eq!(selection.arguments, ["web", "db.socket"]);
    }

    #[test]
    fn patterns_that_are_none_and_patterns_of_files() {
        let error = |text: &str| parse("Error", text).unwrap_err().to_string();
        assert_eq!(
            error("web@[1"),
            "Error: web@[1: this is no pattern: \"[\" without \"]\""
        );
        assert_eq!(
            error("units/*.service"),
            "Error: units/*.service: no such file"
        );
    }
}
