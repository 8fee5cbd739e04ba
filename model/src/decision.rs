//! What the engine decides, and why. Every decision carries its reason as a type; text is made from it at the edge.

use std::fmt;

use unitfile::{FileHash, UnitName};

use crate::machine::SHORT_ID_CHARS;
use crate::{Assignment, Brake, Change, MachineId};

/// How many machines a hold names, so that a record stays small in a cluster of 10,000; the rest are counted.
pub const HOLD_OBSTACLES_MAX: usize = 10;

/// How many characters an obstacle repeats of a text that users wrote: a term of `MachineMetadata=` may name thousands of
/// values, and a hold repeats it for each machine it names.
pub const OBSTACLE_CHARS_MAX: usize = 100;

/// The text as an obstacle repeats it: its beginning, if it is longer than [`OBSTACLE_CHARS_MAX`].
pub fn shortened(text: &str) -> String {
    if text.len() <= OBSTACLE_CHARS_MAX || text.chars().count() <= OBSTACLE_CHARS_MAX {
        return text.to_owned();
    }
    let kept = text.chars().take(OBSTACLE_CHARS_MAX - 1);
    kept.chain(['…']).collect()
}

/// Why one machine cannot take one unit: the first rule that fails. Texts in it are [`shortened`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Obstacle {
    /// `MachineID=` names another machine.
    MachineId {
        /// The id the unit asks for.
        wanted: String,
    },
    /// A `MachineMetadata=` term does not hold.
    Metadata {
        /// The term, as the user would write it.
        wanted: String,
        /// The machine's value of that key; none if it has no such key.
        actual: Option<String>,
    },
    /// A `MachineOf=` peer is not there.
    MachineOf {
        /// The peer.
        peer: UnitName,
    },
    /// `Conflicts=`, of this unit or of the one that is there.
    Conflict {
        /// The unit that is there.
        with: UnitName,
    },
    /// Less of a resource is left there than the unit reserves.
    NoRoom {
        /// The resource: `memory` (in bytes), `cpu` (in thousandths of a processor), or the name of a counted one.
        resource: String,
        /// How much the unit needs.
        needed: u64,
        /// How much is left; 0 also if the machine does not say what it has.
        left: u64,
    },
    /// `MaxPerMachine=`, of this unit or of one of its template that is there.
    MaxPerMachine {
        /// How many of the template may be there.
        limit: usize,
    },
    /// A unit that is there names it in `Replaces=`, and another machine can take it.
    Replaced {
        /// The unit that is there.
        by: UnitName,
    },
    /// An operator keeps new units away from the machine.
    Cordoned,
    /// The unit still runs on another machine, which has been told to stop it.
    Stopping {
        /// Where it still is.
        on: MachineId,
    },
}

impl Obstacle {
    /// True if both say the same, whatever is left of a resource.
    fn says_as(&self, other: &Obstacle) -> bool {
        if let (
            Obstacle::NoRoom {
                resource, needed, ..
            },
            Obstacle::NoRoom {
                resource: also,
                needed: as_much,
                ..
            },
        ) = (self, other)
        {
            return resource == also && needed == as_much;
        }
        self == other
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::MachineId { wanted } if wanted.len() < SHORT_ID_CHARS => write!(
                f,
                "is not the machine {wanted} that MachineID= asks for (it takes a whole id, or its first 8 characters)"
            ),
            Obstacle::MachineId { wanted } => {
                write!(f, "is not the machine {wanted} that MachineID= asks for")
            }
            Obstacle::Metadata {
                wanted,
                actual: Some(actual),
            } => {
                write!(f, "metadata {wanted} is wanted, it has {actual}")
            }
            Obstacle::Metadata {
                wanted,
                actual: None,
            } => {
                write!(f, "metadata {wanted} is wanted, it has no such key")
            }
            Obstacle::MachineOf { peer } => {
                write!(f, "{peer}, which MachineOf= names, is not there")
            }
            Obstacle::Conflict { with } => write!(f, "conflicts with {with}, which is there"),
            Obstacle::NoRoom {
                resource,
                needed,
                left,
            } => write!(f, "has {left} of {resource} left, {needed} is needed"),
            Obstacle::MaxPerMachine { limit } => {
                write!(
                    f,
                    "has {limit} of this template already, as many as MaxPerMachine= allows"
                )
            }
            Obstacle::Replaced { by } => write!(f, "is given up to {by}, which replaces it"),
            Obstacle::Cordoned => f.write_str("is cordoned"),
            Obstacle::Stopping { on } => {
                write!(f, "the unit is still being stopped on {}", on.short())
            }
        }
    }
}

/// Why a unit waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HoldReason {
    /// The cluster has no machine at all.
    NoMachines,
    /// No machine can take it; see the obstacles.
    NothingFits,
    /// It is still being stopped where it was, and must not run twice.
    Stopping {
        /// The machine that stops it.
        on: MachineId,
    },
    /// It moves, as was asked, and is still being stopped where it was.
    Moving {
        /// The machine that stops it.
        from: MachineId,
        /// The machine that is to have it.
        to: MachineId,
    },
    /// Its machine is gone and it is `Sticky=`: it waits for that machine.
    AwaitsMachine {
        /// Its machine.
        machine: MachineId,
    },
    /// Its machine was lost together with many others (see [`Brake`]): it stays there for now.
    MassLoss {
        /// Its machine.
        machine: MachineId,
    },
    /// Its file is missing from the store.
    FileMissing {
        /// The file's content address.
        file: FileHash,
    },
    /// Its `[X-Fleet]` section cannot be understood.
    Invalid {
        /// What is wrong with it.
        message: String,
    },
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldReason::NoMachines => f.write_str("there is no machine in the cluster"),
            HoldReason::NothingFits => f.write_str("no machine can run it"),
            HoldReason::Stopping { on } => write!(f, "it is still being stopped on {}", on.short()),
            HoldReason::Moving { from, to } => {
                let (from, to) = (from.short(), to.short());
                write!(f, "it moves to {to} and is still being stopped on {from}")
            }
            HoldReason::AwaitsMachine { machine } => {
                write!(
                    f,
                    "its machine {} is gone and it is sticky: it waits for it",
                    machine.short()
                )
            }
            HoldReason::MassLoss { machine } => {
                write!(
                    f,
                    "its machine {} was lost together with many others: it waits until that machine is back or given up",
                    machine.short()
                )
            }
            HoldReason::FileMissing { file } => {
                write!(
                    f,
                    "its file {file} is missing from the store: submit it again"
                )
            }
            HoldReason::Invalid { message } => f.write_str(message),
        }
    }
}

/// A unit that is to run and has no machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Why it waits.
    pub reason: HoldReason,
    /// The first rule each machine fails; at most [`HOLD_OBSTACLES_MAX`], those that come nearest first.
    pub obstacles: Vec<(MachineId, Obstacle)>,
    /// How many machines there were when this was written; it is not written anew when only that changes.
    pub machines: usize,
}

/// What has to happen until a unit that waits has a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing but time: what keeps it waiting is on its way, and ends by itself.
    Time,
    /// Somebody has to change something: the unit, other units, or the machines.
    Change,
}

impl HoldReason {
    /// What has to happen until the unit has a machine, if these are what keeps it from machines.
    pub fn needs<'o>(&self, obstacles: impl IntoIterator<Item = &'o Obstacle>) -> Needs {
        let stops = |obstacle: &Obstacle| match obstacle {
            Obstacle::Stopping { .. } => true,
            Obstacle::MachineId { .. }
            | Obstacle::Metadata { .. }
            | Obstacle::MachineOf { .. }
            | Obstacle::Conflict { .. }
            | Obstacle::NoRoom { .. }
            | Obstacle::MaxPerMachine { .. }
            | Obstacle::Replaced { .. }
            | Obstacle::Cordoned => false,
        };
        match self {
            HoldReason::Stopping { .. }
            | HoldReason::Moving { .. }
            | HoldReason::MassLoss { .. } => Needs::Time,
            HoldReason::NothingFits if obstacles.into_iter().any(stops) => Needs::Time,
            HoldReason::NothingFits
            | HoldReason::NoMachines
            | HoldReason::AwaitsMachine { .. }
            | HoldReason::FileMissing { .. }
            | HoldReason::Invalid { .. } => Needs::Change,
        }
    }
}

impl Hold {
    /// What has to happen until the unit has a machine.
    pub fn needs(&self) -> Needs {
        self.reason
            .needs(self.obstacles.iter().map(|(_, obstacle)| obstacle))
    }

    /// True if both say the same, whatever the number of machines, and whatever is left there of a resource of which too
    /// little is left: that changes with every unit that is placed, and who waits would be written anew each time.
    pub fn says_as(&self, other: &Hold) -> bool {
        let mut pairs = self.obstacles.iter().zip(&other.obstacles);
        self.reason == other.reason
            && self.obstacles.len() == other.obstacles.len()
            && pairs.all(|(one, other)| one.0 == other.0 && one.1.says_as(&other.1))
    }
}

/// Why a unit is put on a machine, or its entry there is renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AssignReason {
    /// Among the machines that can run it, this one has the smallest load.
    LeastLoaded {
        /// Weight of the units on it before.
        load: usize,
        /// Machines that could have run it.
        candidates: usize,
    },
    /// Among the machines that can run it, the best by what spreads it: `Spread=`, then fewest units of its template,
    /// then `Prefers=`, then load.
    Spread {
        /// With `Spread=`: how many units of its template the machine's zone (or what else the key is) had; else none.
        in_domain: Option<usize>,
        /// Units of its template that the machine had.
        siblings: usize,
        /// What `Prefers=` gave the machine.
        preference: u64,
        /// Load of it before.
        load: usize,
        /// Machines that could have run it.
        candidates: usize,
    },
    /// A global unit runs on every machine that fits.
    Global,
    /// It is there already; its users asked for something else of it.
    Requested,
    /// It was asked to move there.
    Moved,
}

/// Why a unit is taken from a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnassignReason {
    /// Its users want it inactive.
    Inactive,
    /// It was destroyed.
    Destroyed,
    /// The machine is gone.
    MachineGone,
    /// A rule no longer holds there.
    NoLongerFits(Obstacle),
    /// It is to move there, as was asked.
    Moved {
        /// Where to.
        to: MachineId,
    },
    /// It has another machine too; only global units run on several.
    Duplicate {
        /// The machine that keeps it.
        kept: MachineId,
    },
    /// Its entry there is damaged, the machine reports nothing of it, and another machine gets it.
    Unreadable,
}

/// One thing the engine wants written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Put the unit into the machine's schedule, or renew its entry there.
    Assign {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// The entry.
        assignment: Assignment,
        /// Why there.
        reason: AssignReason,
    },
    /// Take the unit from the machine's schedule.
    Unassign {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
        /// Why.
        reason: UnassignReason,
    },
    /// Say why the unit waits.
    Hold {
        /// The unit.
        unit: UnitName,
        /// Why.
        hold: Hold,
    },
    /// The unit no longer waits, or is gone: forget its hold.
    Release {
        /// The unit.
        unit: UnitName,
    },
    /// Hold units of machines that were lost together, hold fewer, or none any more.
    Brake(Option<Brake>),
}

impl Decision {
    /// The unit it is about; none if it is about machines.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Decision::Assign { unit, .. }
            | Decision::Unassign { unit, .. }
            | Decision::Hold { unit, .. }
            | Decision::Release { unit } => Some(unit),
            Decision::Brake(_) => None,
        }
    }

    /// What changes in the records when it is carried out.
    pub fn into_change(self) -> Change {
        match self {
            Decision::Assign {
                unit,
                machine,
                assignment,
                ..
            } => Change::Assignment(machine, unit, Some(assignment)),
            Decision::Unassign { unit, machine, .. } => Change::Assignment(machine, unit, None),
            Decision::Hold { unit, hold } => Change::Hold(unit, Some(hold)),
            Decision::Release { unit } => Change::Hold(unit, None),
            Decision::Brake(brake) => Change::Brake(brake),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_needs_only_time() {
        let machine = || MachineId::parse("0123456789abcdef0123456789abcdef").unwrap();
        let needs = |reason, obstacles: &[Obstacle]| {
            let obstacles = obstacles.iter().map(|it| (machine(), it.clone())).collect();
            let machines = 2;
            Hold {
                reason,
                obstacles,
                machines,
            }
            .needs()
        };
        let stopping = Obstacle::Stopping { on: machine() };
        let fits = HoldReason::NothingFits;
        assert_eq!(needs(fits.clone(), &[Obstacle::Cordoned]), Needs::Change);
        assert_eq!(needs(fits, &[Obstacle::Cordoned, stopping]), Needs::Time);
        assert_eq!(
            needs(HoldReason::Stopping { on: machine() }, &[]),
            Needs::Time
        );
        assert_eq!(needs(HoldReason::NoMachines, &[]), Needs::Change);
        let lost = HoldReason::AwaitsMachine { machine: machine() };
        assert_eq!(needs(lost, &[]), Needs::Change);
    }
}
