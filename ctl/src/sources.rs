//! What the user's arguments name: units, and the local files that may stand behind them. All are read and checked before
//! anything is sent, so that one bad file means that nothing is created.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use unitfile::{
    ErrorKind, Errors, MAX_FILE_BYTES, NameError, UnitFile, UnitName, UnitType, check_submission,
};

use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::output::Output;

/// A unit the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its name.
    pub(crate) name: UnitName,
    /// What the user typed.
    pub(crate) argument: String,
    /// The same with the type that it leaves out: where a file of its own is, as fleet 1.0 names it.
    pub(crate) path: String,
    /// The file that was found for it.
    pub(crate) local: Local,
}

/// The file that was found for a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Local {
    /// None.
    Nothing,
    /// One of the unit's own name.
    Own(String),
    /// The template that the unit is an instance of.
    Template(String),
}

/// Names the units of `arguments` without looking for files. One that is given twice counts once.
///
/// # Errors
/// All names that are none, in one error.
pub(crate) fn names(arguments: &[String], output: &mut Output) -> Result<Vec<Asked>, CommandError> {
    let mut problems = Vec::new();
    let mut asked: Vec<Asked> = Vec::new();
    for argument in arguments {
        match UnitName::from_user(argument) {
            Ok(name) if asked.iter().any(|before| before.name == name) => {}
            Ok(name) => asked.push(Asked {
                path: path(argument, &name).display().to_string(),
                name,
                argument: argument.clone(),
                local: Local::Nothing,
            }),
            Err(error) => problems.push(bad_name(argument, &error)),
        }
    }
    refuse("Nothing was done", &problems, output)?;
    Ok(asked)
}

/// Names the units of `arguments` and reads their local files. One that is given twice counts once.
///
/// # Errors
/// Everything that is wrong with any of them: each is told on stderr, the error sums up.
pub(crate) fn read(arguments: &[String], output: &mut Output) -> Result<Vec<Asked>, CommandError> {
    let mut problems = Vec::new();
    let mut asked: BTreeMap<UnitName, usize> = BTreeMap::new();
    let mut in_order: Vec<Asked> = Vec::new();
    for argument in arguments {
        let unit = match read_one(argument) {
            Ok(unit) => unit,
            Err(wrong) => {
                problems.extend(
                    wrong
                        .into_iter()
                        .filter(|problem| !problems.contains(problem))
                        .collect::<Vec<_>>(),
                );
                continue;
            }
        };
        match asked.get(&unit.name).map(|index| &in_order[*index]) {
            None => {
                asked.insert(unit.name.clone(), in_order.len());
                in_order.push(unit);
            }
            Some(before) if before.local == unit.local => {}
            Some(before) => problems.push(format!(
                "{}: given twice with different files, as {} and {}; give one of them",
                unit.name, before.argument, unit.argument
            )),
        }
    }
    refuse(
        "Error creating units: nothing was created",
        &problems,
        output,
    )?;
    Ok(in_order)
}

/// The text for a unit that neither the cluster nor the file system has; in fleet 1.0's words.
pub(crate) fn not_found(asked: &Asked) -> String {
    let name = &asked.name;
    let text = match name.template() {
        Some(template) => format!(
            "failed getting Unit({}) from template: unable to find template Unit({template}) in Registry or on filesystem",
            asked.path
        ),
        None => format!("unable to find Unit({name}) in Registry or on filesystem"),
    };
    match not_a_unit(&asked.argument) {
        Some(why) => format!("{text}; there is a file {}, but {why}", asked.argument),
        None => text,
    }
}

/// Why a file that exists cannot be the file of a unit: its name does not end in a type of unit.
fn not_a_unit(argument: &str) -> Option<String> {
    let path = Path::new(argument);
    if !path.is_file() {
        return None;
    }
    let types = "service, socket, timer, path, device, mount or automount";
    let Some(suffix) = path.extension().and_then(|suffix| suffix.to_str()) else {
        return Some(format!(
            "its name does not end in a type of unit: .{}",
            types.replace(", ", ", .").replace("or ", "or .")
        ));
    };
    let recognized = UnitType::from_suffix(suffix).is_some_and(UnitType::is_recognized);
    (!recognized).then(|| format!("\"{suffix}\" is no type of unit that fleet runs: use {types}"))
}

fn refuse(summary: &str, problems: &[String], output: &mut Output) -> Result<(), CommandError> {
    if problems.is_empty() {
        return Ok(());
    }
    for problem in problems {
        output.note(problem);
    }
    let count = counted(problems.len(), "error");
    Err(CommandError::new(
        Kind::Input,
        format!("{summary} ({count})"),
    ))
}

fn bad_name(argument: &str, error: &NameError) -> String {
    let argument = if argument.is_empty() {
        "\"\""
    } else {
        argument
    };
    format!(
        "{argument}: {error}. A unit name is made of 0-9 A-Z a-z : - _ . \\ @ and ends in its type, such as .service"
    )
}

/// Where the file of the unit that `argument` names is, if there is one.
fn path(argument: &str, name: &UnitName) -> PathBuf {
    Path::new(argument).with_file_name(name.as_str())
}

fn read_one(argument: &str) -> Result<Asked, Vec<String>> {
    let name = UnitName::from_user(argument).map_err(|error| vec![bad_name(argument, &error)])?;
    let own = path(argument, &name);
    let asked = |local| Asked {
        name: name.clone(),
        argument: argument.to_owned(),
        path: own.display().to_string(),
        local,
    };
    if let Some(content) = content(&name, &own)? {
        return Ok(asked(Local::Own(content)));
    }
    let Some(template) = name.template() else {
        return Ok(asked(Local::Nothing));
    };
    match content(&name, &own.with_file_name(template.as_str()))? {
        Some(content) => Ok(asked(Local::Template(content))),
        None => Ok(asked(Local::Nothing)),
    }
}

/// The checked content of the file at `path`; none if there is no file. A directory is no file.
fn content(name: &UnitName, path: &Path) -> Result<Option<String>, Vec<String>> {
    let bytes = match read_limited(path) {
        Ok(Some(Content::Whole(bytes))) => bytes,
        Ok(Some(Content::TooLong { bytes })) => {
            let kind = ErrorKind::FileTooLarge { bytes };
            return Err(vec![format!(
                "{}: {kind}. Move scripts and data out of the unit into files of their own",
                path.display()
            )]);
        }
        Ok(None) => return Ok(None),
        Err(error) => {
            return Err(vec![format!(
                "{}: cannot be read: {error}. Check that it is a file and that you may read it",
                path.display()
            )]);
        }
    };
    let checked =
        UnitFile::from_bytes(&bytes).and_then(|file| check_submission(name, &file).map(|_| file));
    match checked {
        Ok(file) => Ok(Some(file.raw().to_owned())),
        Err(errors) => Err(located(path, &errors)),
    }
}

enum Content {
    Whole(Vec<u8>),
    TooLong { bytes: usize },
}

fn read_limited(path: &Path) -> io::Result<Option<Content>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
            _other => return Err(error),
        },
    };
    if metadata.is_dir() {
        return Ok(None);
    }
    // A pipe that nobody writes to would be waited for without end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is a pipe, a socket or a device"));
    }
    let mut file = File::open(path)?;
    // Larger files are never read: one could be a disk image.
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    (&mut file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        return Ok(Some(Content::TooLong {
            bytes: length.max(bytes.len()),
        }));
    }
    Ok(Some(Content::Whole(bytes)))
}

/// Each error as `file:line: what is wrong. What to do`.
fn located(path: &Path, errors: &Errors) -> Vec<String> {
    let file = PathBuf::from(path);
    let text = |error: &unitfile::Error| {
        let place = match error.line {
            Some(line) => format!("{}:{line}", file.display()),
            None => file.display().to_string(),
        };
        let what = error.kind.to_string();
        match error.hint.as_str() {
            "" => format!("{place}: {what}"),
            hint if what.ends_with('?') => format!("{place}: {what} {hint}"),
            hint => format!("{place}: {what}. {hint}"),
        }
    };
    errors.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "[Service]\nExecStart=/bin/true\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn one(folder: &tempfile::TempDir, argument: &str) -> Result<(String, Local), Vec<String>> {
        let path = format!("{}/{argument}", folder.path().display());
        let strip = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        match read_one(&path) {
            Ok(asked) => Ok((asked.name.to_string(), asked.local)),
            Err(problems) => Err(problems.into_iter().map(strip).collect()),
        }
    }

    #[test]
    fn a_local_file_is_found_with_and_without_its_suffix() {
        let folder = folder(&[
            ("web.service", GOOD),
            ("db@.service", GOOD),
            ("db@2.service", "[Service]\nExecStart=/bin/two\n"),
        ]);
        let own = ("web.service".to_owned(), Local::Own(GOOD.to_owned()));
        assert_eq!(one(&folder, "web").unwrap(), own);
        assert_eq!(one(&folder, "web.service").unwrap(), own);
        assert_eq!(
            one(&folder, "db@1").unwrap(),
            ("db@1.service".to_owned(), Local::Template(GOOD.to_owned()))
        );
        assert!(
            matches!(one(&folder, "db@2").unwrap().1, Local::Own(text) if text.contains("/bin/two"))
        );
        assert_eq!(
            one(&folder, "none").unwrap(),
            ("none.service".to_owned(), Local::Nothing)
        );
        assert_eq!(
            one(&folder, "nowhere/none").unwrap(),
            ("none.service".to_owned(), Local::Nothing)
        );
    }

    #[test]
    fn errors_name_file_line_and_remedy() {
        let folder = folder(&[(
            "web.service",
            "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineOff=db.service\nGlobal=12\n",
        )]);
        let problems = one(&folder, "web").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("web.service:4: unknown option \"MachineOff\" in [X-Fleet]; did you mean \"MachineOf\"?"), "{problems:?}");
        assert!(
            problems[1].starts_with("web.service:5: Global \"12\" is neither true nor false"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_file_of_64_kib_is_read_and_one_over_is_refused() {
        let filled = |bytes: usize| format!("{GOOD}#{}\n", "x".repeat(bytes - GOOD.len() - 2));
        let folder = folder(&[
            ("fits.service", &filled(MAX_FILE_BYTES)),
            ("over.service", &filled(MAX_FILE_BYTES + 1)),
        ]);
        assert!(one(&folder, "fits").is_ok());
        let problems = one(&folder, "over").unwrap_err();
        assert!(
            problems[0].starts_with(
                "over.service: unit file is 65537 bytes long, and the limit is 65536 bytes"
            ),
            "{problems:?}"
        );
    }

    #[test]
    fn a_directory_of_that_name_is_no_file() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("web.service")).unwrap();
        assert_eq!(one(&folder, "web").unwrap().1, Local::Nothing);
    }

    #[test]
    fn names_that_are_none_say_why() {
        let problems = read_one("foo%.service").unwrap_err();
        assert!(
            problems[0].starts_with("foo%.service: invalid character '%' in unit name."),
            "{problems:?}"
        );
    }
}
