//! What the fake's systemd does not do, and what it says then; what it starts along with a unit.

use model::ServiceError;
use tokio::sync::oneshot;
use unitfile::{UnitFile, UnitName};

use super::behaviour::{Behaviour, required};
use super::world::{Now, Verb, World};

impl World {
    /// What the unit requires, by its file as it was read or else as it is.
    fn required(&self, name: &UnitName) -> Vec<UnitName> {
        let file = match self.memory.get(name) {
            Some(unit) => Some(&unit.file),
            None => self.files.get(name),
        };
        required(file)
    }

    /// True if systemd can start the unit, or has it in memory.
    fn has(&self, name: &UnitName) -> bool {
        let is_of_host = self.host.contains(name.as_str());
        is_of_host || self.files.contains_key(name) || self.memory.contains_key(name)
    }

    /// The start of a unit is the start of what it requires. That they also stop together is not in the fake.
    pub(super) fn start_required(&mut self, name: &UnitName, now: Now) {
        for required in self.required(name) {
            self.read(&required);
            self.enqueue(&required, Verb::Start, oneshot::channel().0, now);
        }
    }
}

/// A unit that is masked, that systemd cannot run, or that lacks something is not started.
pub(super) fn refuse_unstartable(world: &World, name: &UnitName) -> Result<(), ServiceError> {
    if world.masked.contains(name.as_str()) {
        return Err(ServiceError::Masked { unit: name.clone() });
    }
    let refused = |message: String| Err(ServiceError::Refused { message });
    match (world.memory.get(name), world.files.get(name)) {
        (Some(unit), _) if unit.behaviour.is_bad => {
            refused(format!("Unit {name} has a bad unit file setting."))
        }
        (None, Some(file)) if Behaviour::of(name, file).is_bad => {
            refused(format!("Unit {name} has a bad unit file setting."))
        }
        (None, None) => Err(not_found(name.as_str())),
        (Some(_) | None, _) => refuse_lacking(world, name),
    }
}

/// What a unit requires has to be there.
fn refuse_lacking(world: &World, name: &UnitName) -> Result<(), ServiceError> {
    match world.required(name).iter().find(|it| !world.has(it)) {
        Some(lacking) => Err(not_found(lacking.as_str())),
        None => Ok(()),
    }
}

fn not_found(name: &str) -> ServiceError {
    ServiceError::NotFound {
        message: format!("Unit {name} not found."),
    }
}

/// An exclusive unit needs a deadline that has not passed.
pub(super) fn refuse_unguarded(
    world: &World,
    name: &UnitName,
    now: Now,
) -> Result<(), ServiceError> {
    if world.is_exclusive(name) && world.term.is_none_or(|term| term.stop <= now.at) {
        return Err(ServiceError::Unreachable {
            message: format!("{name} is exclusive, and this machine's lease is not confirmed"),
        });
    }
    Ok(())
}

/// The host's own units come first, and `[Install]` must say something that systemd can do.
pub(super) fn refuse_unloadable(
    world: &World,
    name: &UnitName,
    file: &UnitFile,
) -> Result<(), ServiceError> {
    let template = name.template();
    let aliases = file
        .get_all("Install", "Alias")
        .flat_map(str::split_whitespace);
    let names = std::iter::once(name.as_str())
        .chain(template.as_ref().map(UnitName::as_str))
        .chain(aliases);
    for wanted in names {
        if world.masked.contains(wanted) {
            return Err(ServiceError::Masked { unit: name.clone() });
        }
        if world.host.contains(wanted) {
            let path = format!("/etc/systemd/system/{wanted}");
            return Err(ServiceError::Foreign {
                unit: name.clone(),
                path,
            });
        }
    }
    let mut rules = ["WantedBy", "RequiredBy", "Alias", "Also"].into_iter();
    if file.has_install() && !rules.any(|rule| file.get_all("Install", rule).next().is_some()) {
        let message = format!("{name} has an [Install] section that systemd cannot use");
        return Err(ServiceError::Refused { message });
    }
    Ok(())
}
