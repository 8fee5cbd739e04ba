//! PURE. Everything that is checked when a unit is submitted, in one call for API and fleetctl alike.

use crate::error::{Error, ErrorKind, Errors};
use crate::{Requirements, UnitFile, UnitName};

/// Checks that a unit can be submitted under this name, and returns what it requires.
///
/// # Errors
/// Everything that is wrong: the type is none that fleet runs, the file is empty, or `[X-Fleet]` is wrong.
pub fn check_submission(name: &UnitName, file: &UnitFile) -> Result<Requirements, Errors> {
    let mut errors = Vec::new();
    if let Err(error) = name.check_runnable() {
        errors.push(Error::new(None, ErrorKind::Name(error), ""));
    }
    if file.is_empty() {
        let hint = "Add at least a section with one option, for example [Service] and ExecStart=";
        errors.push(Error::new(None, ErrorKind::NoOptions, hint));
    }
    let requirements = Requirements::of(name, file).unwrap_or_else(|wrong| {
        errors.extend(wrong);
        Requirements::default()
    });
    Errors::check(errors)?;
    Ok(requirements)
}
