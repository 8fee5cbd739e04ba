//! PURE. Why a unit that is to run has no machine, with the machines that come nearest.
//!
//! Nearest here is what can be said without asking all machines, as this is asked of every unit that
//! waits and after every plan: where its peers are, then where nothing but who is there speaks
//! against it. `explain` asks all.

use model::{HOLD_OBSTACLES_MAX, Hold, HoldReason};

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::fit::obstacle;
use crate::occupancy::Occupancy;

/// Why a unit waits, and how far one had to look to see it.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) hold: Hold,
    /// How far that was; none if it does not depend on machines. While no machine that was asked
    /// changes, and there are any machines, the unit waits for the same reason.
    pub(crate) last: Option<Last>,
}

/// How far one had to look. None of this holds any longer once a machine came, went or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// Of the open machines of the unit's class up to this one, and at no other.
    OfClass(MachineIndex),
    /// At all open machines of the unit's class, and at the others up to this one.
    Of(MachineIndex),
    /// At all, or not in an order that can be told by one machine.
    OfAll,
}

impl Last {
    /// True if the reason may be another now that occupants came to or went from these machines.
    pub(crate) fn depends_on(self, cluster: &Cluster, unit: UnitIndex, touched: &Bits) -> bool {
        let machines = &cluster.machines;
        let in_class = || machines.fitting_open(cluster.node(unit).rules.class);
        let is_before = |first: Option<MachineIndex>, last: MachineIndex| {
            first.is_some_and(|first| machines.order(first, last).is_le())
        };
        match self {
            Last::OfClass(last) => is_before(machines.first_common(touched, in_class()), last),
            Last::Of(last) => {
                touched.meets(in_class()) || is_before(machines.in_order(touched).next(), last)
            }
            Last::OfAll => !touched.is_empty(),
        }
    }
}

impl Looked {
    /// Why the unit waits; none if it does not.
    pub(crate) fn at(cluster: &Cluster, occupancy: &Occupancy, unit: UnitIndex) -> Option<Looked> {
        let node = cluster.node(unit);
        if !occupancy.machines_of(unit).is_empty() {
            return None;
        }
        let bare = |reason| Looked {
            hold: Hold {
                reason,
                obstacles: Vec::new(),
                machines: cluster.machines.live_count(),
            },
            last: None,
        };
        match &node.want {
            Want::Inactive | Want::Destroyed | Want::Untouched | Want::Trace => None,
            Want::Frozen(reason) => Some(bare((**reason).clone())),
            // It may well run there.
            Want::One
                if cluster
                    .awaited(unit)
                    .is_some_and(|machine| cluster.machines.is_unreadable(machine)) =>
            {
                None
            }
            Want::One if let Some(machine) = cluster.awaited(unit) => {
                let sticky = node.rules.requirements.sticky;
                let machine = cluster.machine(machine).clone();
                Some(bare(match sticky {
                    true => HoldReason::AwaitsMachine { machine },
                    false => HoldReason::MassLoss { machine },
                }))
            }
            Want::One => {
                let seen = node.statuses.iter();
                match seen.map(|machine| cluster.machine(*machine)).min() {
                    Some(on) => Some(bare(match cluster.destination(unit) {
                        Some(to) => HoldReason::Moving {
                            from: on.clone(),
                            to: cluster.machine(to).clone(),
                        },
                        None => HoldReason::Stopping { on: on.clone() },
                    })),
                    None => Some(nowhere(cluster, occupancy, unit, bare)),
                }
            }
            Want::Everywhere => Some(nowhere(cluster, occupancy, unit, bare)),
        }
    }
}

fn nowhere(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    bare: impl Fn(HoldReason) -> Looked,
) -> Looked {
    if cluster.machines.live_count() == 0 {
        return bare(HoldReason::NoMachines);
    }
    let mut looked = bare(HoldReason::NothingFits);
    let node = cluster.node(unit);
    let near = with_peers(cluster, occupancy, unit).filter(|near| !near.is_empty());
    let in_class = cluster.machines.fitting_open(node.rules.class);
    for (place, machine) in nearest_first(cluster, near.as_ref(), in_class) {
        if let Some(failed) = obstacle(cluster, occupancy, unit, machine) {
            let named = (cluster.machine(machine).clone(), failed);
            looked.hold.obstacles.push(named);
        }
        if looked.hold.obstacles.len() == HOLD_OBSTACLES_MAX {
            // Where the peers are changes what is near.
            looked.last = Some(match place {
                _ if near.is_some() => Last::OfAll,
                Place::Class => Last::OfClass(machine),
                Place::Near | Place::Elsewhere => Last::Of(machine),
            });
            return looked;
        }
    }
    looked.last = Some(Last::OfAll);
    looked
}

/// Why a machine is asked when it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// All peers of the unit are there.
    Near,
    /// It is open, and of the unit's class.
    Class,
    /// It is neither.
    Elsewhere,
}

/// All live machines: a few are named, and the first are those that a user would look at first.
/// In each of the three parts they are in order of their ids, so that the same ones are named again.
fn nearest_first<'c>(
    cluster: &'c Cluster,
    near: Option<&'c Bits>,
    in_class: &'c Bits,
) -> impl Iterator<Item = (Place, MachineIndex)> + 'c {
    let machines = &cluster.machines;
    let is_near = move |machine: &MachineIndex| near.is_some_and(|near| near.contains(machine.0));
    let first = near.into_iter().flat_map(|near| machines.in_order(near));
    let class = machines.in_order(in_class).filter(move |it| !is_near(it));
    let others = machines.in_order(machines.live());
    let others = others.filter(move |it| !is_near(it) && !in_class.contains(it.0));
    first
        .map(|it| (Place::Near, it))
        .chain(class.map(|it| (Place::Class, it)))
        .chain(others.map(|it| (Place::Elsewhere, it)))
}

/// The live machines where all peers of the unit are; none if it has none.
fn with_peers(cluster: &Cluster, occupancy: &Occupancy, unit: UnitIndex) -> Option<Bits> {
    let (first, others) = cluster.node(unit).peers.split_first()?;
    let mut near = Bits::empty(cluster.machines.slots());
    let places = occupancy.machines_of(*first).iter();
    places
        .filter(|machine| cluster.is_live(**machine))
        .filter(|machine| {
            others
                .iter()
                .all(|it| occupancy.is_scheduled(*it, **machine))
        })
        .for_each(|machine| near.insert(machine.0));
    Some(near)
}
