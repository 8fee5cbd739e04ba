//! Whether the host has a unit of a name already: fleet never shadows a unit of the vendor or the administrator.

use std::fs;
use std::path::{Path, PathBuf};

use model::ServiceError;
use unitfile::{UnitFile, UnitName, expand_specifiers};

use super::files::Files;

/// What stands under a unit's name in one directory of systemd's unit path.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Nothing,
    Ours,
    Masked,
    Foreign,
}

/// Looks for units of the host that a unit file would shadow: under its own name, as the template of an instance, or under
/// a name that it takes as an alias.
///
/// # Errors
/// [`ServiceError::Foreign`] or [`ServiceError::Masked`].
pub(super) fn check(
    unit_path: &[PathBuf],
    files: &Files,
    name: &UnitName,
    file: &UnitFile,
) -> Result<(), ServiceError> {
    if !unit_path.iter().any(|directory| directory == files.links()) {
        return Err(ServiceError::File {
            path: files.links().display().to_string(),
            message: "systemd does not look for units here: set the link directory to one of its unit path".into(),
        });
    }
    let template = name.template();
    let aliases = aliases(name, file);
    let names = std::iter::once(name.as_str())
        .chain(template.as_ref().map(UnitName::as_str))
        .chain(aliases.iter().map(String::as_str));
    for wanted in names {
        for directory in unit_path {
            let path = directory.join(wanted);
            match standing(files, &path) {
                Standing::Nothing | Standing::Ours => {}
                Standing::Masked => return Err(ServiceError::Masked { unit: name.clone() }),
                Standing::Foreign => {
                    return Err(ServiceError::Foreign {
                        unit: name.clone(),
                        path: path.display().to_string(),
                    });
                }
            }
        }
    }
    Ok(())
}

fn standing(files: &Files, path: &Path) -> Standing {
    let Ok(metadata) = path.symlink_metadata() else {
        return Standing::Nothing;
    };
    if files.leads_to_ours(path) {
        return Standing::Ours;
    }
    // systemd takes a link to /dev/null and an empty file alike.
    let leads_nowhere = fs::canonicalize(path).is_ok_and(|target| target == Path::new("/dev/null"));
    if leads_nowhere || (metadata.is_file() && metadata.len() == 0) {
        return Standing::Masked;
    }
    Standing::Foreign
}

/// The names that enabling the unit gives it besides its own.
fn aliases(name: &UnitName, file: &UnitFile) -> Vec<String> {
    let values = file
        .options()
        .iter()
        .filter(|option| option.section == "Install" && option.name == "Alias");
    values
        .flat_map(|option| {
            option
                .joined_value()
                .split_whitespace()
                .map(|alias| expand_specifiers(alias, name))
                .collect::<Vec<_>>()
        })
        .filter(|alias| alias != name.as_str() && !alias.contains('/'))
        .collect()
}
