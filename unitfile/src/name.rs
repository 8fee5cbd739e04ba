//! PURE. Unit names: which are valid, and their parts (prefix, instance, type, template).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{MAX_NAME_BYTES, MAX_RUNNABLE_NAME_BYTES};

/// A valid unit name, for example `web@1.service`. Cloning is cheap.
///
/// The type is what follows the last dot. The prefix ends before the first `@`, or before the last dot
/// if there is none. The instance is what lies between that `@` and the last dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// Checks `name`.
    ///
    /// # Errors
    /// The first rule that `name` breaks, in the ancestor's order and words.
    pub fn parse(name: &str) -> Result<UnitName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let Some((stem, suffix)) = name.rsplit_once('.') else {
            return Err(NameError::NoDot);
        };
        if suffix.is_empty() {
            return Err(NameError::EndsInDot);
        }
        let Some(unit_type) = UnitType::from_suffix(suffix) else {
            return Err(NameError::UnknownType {
                suffix: suffix.to_owned(),
            });
        };
        if stem.contains('@') && !unit_type.may_be_template() {
            return Err(NameError::TypeWithoutTemplates { unit_type });
        }
        if let Some(character) = stem.chars().find(|c| !is_name_char(*c)) {
            return Err(NameError::InvalidCharacter { character });
        }
        if stem.starts_with('@') {
            return Err(NameError::StartsWithAt);
        }
        Ok(UnitName(name.into()))
    }

    /// The name that a user means by what he typed: the directory part is dropped, and `.service` is
    /// appended unless the text ends in one of the seven runnable types (see [`UnitType::is_recognized`]).
    ///
    /// So `hello` and `units/hello.service` are `hello.service`, and `foo.1` is `foo.1.service`.
    ///
    /// # Errors
    /// As for [`UnitName::parse`].
    pub fn from_user(text: &str) -> Result<UnitName, NameError> {
        let base = text.rsplit_once('/').map_or(text, |(_, base)| base);
        if base.is_empty() {
            return Err(NameError::Empty);
        }
        let recognized = base
            .rsplit_once('.')
            .and_then(|(_, suffix)| UnitType::from_suffix(suffix))
            .is_some_and(UnitType::is_recognized);
        if recognized {
            UnitName::parse(base)
        } else {
            UnitName::parse(&format!("{base}.service"))
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type, from the suffix.
    pub fn unit_type(&self) -> UnitType {
        // The suffix was checked in `parse`; the type that needs least is the answer that cannot occur.
        UnitType::from_suffix(self.parts().1).unwrap_or(UnitType::Service)
    }

    /// The name without its suffix: `web@1` of `web@1.service`.
    pub fn without_suffix(&self) -> &str {
        self.parts().0
    }

    /// What stands before the first `@`, or the name without its suffix if there is none.
    pub fn prefix(&self) -> &str {
        let stem = self.without_suffix();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// The instance: `1` of `web@1.service`; `None` for a template and for a plain unit.
    pub fn instance(&self) -> Option<&str> {
        let (_, instance) = self.without_suffix().split_once('@')?;
        if instance.is_empty() {
            None
        } else {
            Some(instance)
        }
    }

    /// Whether this is a template such as `web@.service`. A template itself never runs.
    pub fn is_template(&self) -> bool {
        self.without_suffix().contains('@') && self.instance().is_none()
    }

    /// Whether this is an instance such as `web@1.service`.
    pub fn is_instance(&self) -> bool {
        self.instance().is_some()
    }

    /// Whether this is an instance of this template: what [`UnitName::template`] would say, without making it.
    pub fn is_instance_of(&self, template: &UnitName) -> bool {
        template.0.split_once('@').is_some_and(|(prefix, suffix)| {
            let rest = self.0.strip_prefix(prefix);
            let rest = rest.and_then(|rest| rest.strip_prefix('@'));
            rest.and_then(|rest| rest.strip_suffix(suffix))
                .is_some_and(|instance| !instance.is_empty() && suffix.starts_with('.'))
        })
    }

    /// The template that an instance is made from; `None` unless this is an instance.
    pub fn template(&self) -> Option<UnitName> {
        self.instance()?;
        Some(UnitName(
            format!("{}@.{}", self.prefix(), self.parts().1).into(),
        ))
    }

    /// The instance of this template that is called `instance`.
    ///
    /// # Errors
    /// The result may be too long or hold an invalid character, and only a template has instances.
    pub fn with_instance(&self, instance: &str) -> Result<UnitName, NameError> {
        if !self.is_template() || instance.is_empty() {
            return Err(NameError::NotATemplate {
                name: self.0.as_ref().into(),
            });
        }
        UnitName::parse(&format!("{}@{instance}.{}", self.prefix(), self.parts().1))
    }

    /// Checks what a name must be beyond [`UnitName::parse`] so that a machine can run it.
    ///
    /// The ancestor accepted every type and then failed, or rewrote the file every 5 s, on the machine.
    ///
    /// # Errors
    /// The type is not one of the seven, the name is longer than systemd allows, or nothing stands before the dot.
    pub fn check_runnable(&self) -> Result<(), NameError> {
        let unit_type = self.unit_type();
        if !unit_type.is_recognized() {
            return Err(NameError::NotRunnable { unit_type });
        }
        if self.0.len() > MAX_RUNNABLE_NAME_BYTES {
            return Err(NameError::TooLongToRun {
                bytes: self.0.len(),
            });
        }
        if self.without_suffix().is_empty() {
            return Err(NameError::NothingBeforeDot);
        }
        Ok(())
    }

    fn parts(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or((&self.0, ""))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for UnitName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<UnitName, NameError> {
        UnitName::parse(name)
    }
}

impl TryFrom<&str> for UnitName {
    type Error = NameError;
    fn try_from(name: &str) -> Result<UnitName, NameError> {
        UnitName::parse(name)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The types of unit that systemd has or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitType {
    /// `.automount`
    Automount,
    /// `.busname` (gone from systemd since 230)
    Busname,
    /// `.device`
    Device,
    /// `.mount`
    Mount,
    /// `.path`
    Path,
    /// `.scope`
    Scope,
    /// `.service`
    Service,
    /// `.slice`
    Slice,
    /// `.snapshot` (gone from systemd since 228)
    Snapshot,
    /// `.socket`
    Socket,
    /// `.swap`
    Swap,
    /// `.target`
    Target,
    /// `.timer`
    Timer,
}

impl UnitType {
    /// Every type, in alphabetical order.
    pub const ALL: [UnitType; 13] = [
        UnitType::Automount,
        UnitType::Busname,
        UnitType::Device,
        UnitType::Mount,
        UnitType::Path,
        UnitType::Scope,
        UnitType::Service,
        UnitType::Slice,
        UnitType::Snapshot,
        UnitType::Socket,
        UnitType::Swap,
        UnitType::Target,
        UnitType::Timer,
    ];

    /// The suffix of names of this type, without the dot.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitType::Automount => "automount",
            UnitType::Busname => "busname",
            UnitType::Device => "device",
            UnitType::Mount => "mount",
            UnitType::Path => "path",
            UnitType::Scope => "scope",
            UnitType::Service => "service",
            UnitType::Slice => "slice",
            UnitType::Snapshot => "snapshot",
            UnitType::Socket => "socket",
            UnitType::Swap => "swap",
            UnitType::Target => "target",
            UnitType::Timer => "timer",
        }
    }

    /// The type whose suffix (without the dot, case-sensitive) this is.
    pub fn from_suffix(suffix: &str) -> Option<UnitType> {
        UnitType::ALL
            .into_iter()
            .find(|unit_type| unit_type.as_str() == suffix)
    }

    /// Whether fleet runs units of this type: service, socket, timer, path, device, mount, automount.
    pub fn is_recognized(self) -> bool {
        match self {
            UnitType::Automount
            | UnitType::Device
            | UnitType::Mount
            | UnitType::Path
            | UnitType::Service
            | UnitType::Socket
            | UnitType::Timer => true,
            UnitType::Busname
            | UnitType::Scope
            | UnitType::Slice
            | UnitType::Snapshot
            | UnitType::Swap
            | UnitType::Target => false,
        }
    }

    /// Whether there can be templates of this type: path, service, socket, target, timer.
    pub fn may_be_template(self) -> bool {
        match self {
            UnitType::Path
            | UnitType::Service
            | UnitType::Socket
            | UnitType::Target
            | UnitType::Timer => true,
            UnitType::Automount
            | UnitType::Busname
            | UnitType::Device
            | UnitType::Mount
            | UnitType::Scope
            | UnitType::Slice
            | UnitType::Snapshot
            | UnitType::Swap => false,
        }
    }
}

impl fmt::Display for UnitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not the name of a unit, or not of one that can be submitted.
///
/// The texts of the first eight are the ancestor's; clients show and compare them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no text.
    #[error("unit name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("unit name exceeds maximum length ({MAX_NAME_BYTES})")]
    TooLong,
    /// No dot, so no type.
    #[error("unit name must contain \".\"")]
    NoDot,
    /// Nothing after the last dot.
    #[error("unit name cannot end in \".\"")]
    EndsInDot,
    /// What follows the last dot is none of the 13 types.
    #[error("invalid unit type: \"{suffix}\"")]
    UnknownType {
        /// The text after the last dot.
        suffix: String,
    },
    /// An `@` in the name of a type that has no templates.
    #[error("invalid unit type for template: \"{unit_type}\"")]
    TypeWithoutTemplates {
        /// The type of the name.
        unit_type: UnitType,
    },
    /// A character before the last dot that is not one of `0-9A-Za-z:-_.\@`.
    #[error("invalid character '{character}' in unit name")]
    InvalidCharacter {
        /// The first such character.
        character: char,
    },
    /// The prefix is missing.
    #[error("unit name cannot start in \"@\"")]
    StartsWithAt,
    /// An instance was asked of something that is not a template, or without a name for it.
    #[error("\"{name}\" cannot be instantiated: it is not a template, or the instance has no name")]
    NotATemplate {
        /// What was to be instantiated.
        name: String,
    },
    /// A valid name of a type that fleet does not run.
    #[error(
        "units of type \"{unit_type}\" cannot be run by fleet; \
         use service, socket, timer, path, device, mount or automount"
    )]
    NotRunnable {
        /// The type of the name.
        unit_type: UnitType,
    },
    /// A valid name that is longer than systemd and file systems allow.
    #[error(
        "unit name is {bytes} bytes long, and systemd runs none longer than \
         {MAX_RUNNABLE_NAME_BYTES}; shorten it"
    )]
    TooLongToRun {
        /// The length of the name.
        bytes: usize,
    },
    /// A name such as `.service`, which systemd does not accept.
    #[error("unit name has nothing before the type; put a name before the dot")]
    NothingBeforeDot,
}

/// Whether `character` may stand before the last dot of a unit name.
pub(crate) fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, ':' | '-' | '_' | '.' | '\\' | '@')
}
