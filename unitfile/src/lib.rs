//! A unit file as a value: parse, print, hash, names, specifiers and [X-Fleet] requirements.

mod error;
mod file;
mod glob;
mod hash;
mod limits;
mod name;
mod parse;
mod requirements;
mod specifier;
mod submit;
mod x_fleet;

pub use error::{Error, ErrorKind, Errors};
pub use file::{UnitFile, UnitOption};
pub use glob::{Glob, GlobError};
pub use hash::{FileHash, HashError, UnitHash};
pub use limits::*;
pub use name::{NameError, UnitName, UnitType};
pub use requirements::{MetadataTerm, Requirements};
pub use specifier::expand_specifiers;
pub use submit::check_submission;
pub use x_fleet::{X_FLEET, X_FLEET_OPTIONS, XFleetKey, XFleetOption};
