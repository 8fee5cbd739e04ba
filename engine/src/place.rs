//! PURE. Finds machines for units that have none: global units on all that fit, every other group
//! of tied units on the one that is best by the stated order (`order.rs`).
//!
//! What goes back to where it was goes first, then groups with the fewest machines to choose from,
//! so that a unit that may go anywhere does not take the only place of one that may not. A unit
//! that is still seen where it was goes back there if it fits, and nowhere else before it has
//! stopped.

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::keep::Removed;
use crate::occupancy::{LeastLoaded, Occupancy};
use crate::order::{Merit, is_particular, keep_best};
use crate::replace::{is_replaced, prefer_calm, would_give_way};
use crate::ties::{Group, Knot, Ties, ties};
use model::mutation::{Mutation, is_made};

/// Why a unit is where it was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It was there before.
    Back,
    /// It was asked to move there.
    Moved,
    /// Of so many machines that could take it, this had the fewest units, namely so many.
    LeastLoaded { load: usize, candidates: usize },
    /// Of so many, this was the best, with so much load.
    Best {
        merit: Merit,
        load: usize,
        candidates: usize,
    },
    /// It is to be on every machine that fits.
    Everywhere,
}

/// One unit put on one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placement {
    pub(crate) unit: UnitIndex,
    pub(crate) machine: MachineIndex,
    pub(crate) why: Why,
}

/// Puts into the occupancy all of these units that can be placed now. Returns it in an order in
/// which every unit is after those it needs.
///
/// `open` are units that are to be placed, in order of their names, with all others that are to be
/// placed and that they are tied to.
pub(crate) fn place(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    removed: &Removed,
    open: &[UnitIndex],
) -> Vec<Placement> {
    let mut ties = ties(cluster, open);
    ties.groups
        .sort_by_cached_key(|group| (!is_somewhere(cluster, group), choice(cluster, group)));
    // Moving what was placed to where there is more room costs as much as placing some of it.
    let everywhere = ties.wide.len() * cluster.machines.live_count();
    let mut placer = Placer {
        cluster,
        occupancy,
        removed,
        placements: Vec::with_capacity(ties.groups.len() + everywhere),
        scratch: Bits::default(),
    };
    placer.place_all(&ties);
    let mut placed = placer.placements.len();
    // What was placed last may be what another waits for, across global units. Each round places at
    // least one unit.
    ties.wide.retain(|knot| has_peers(cluster, knot));
    ties.groups.retain(|group| match group {
        Group::Alone(_) => false,
        Group::Tied(knots) => knots.iter().any(|knot| has_peers(cluster, knot)),
    });
    while !ties.wide.is_empty() || !ties.groups.is_empty() {
        placer.place_all(&ties);
        if placer.placements.len() == placed {
            break;
        }
        placed = placer.placements.len();
    }
    placer.place_movers(open);
    placer.placements
}

/// True if a unit of the group is or was on a live machine.
fn is_somewhere(cluster: &Cluster, group: &Group) -> bool {
    group.units().any(|unit| {
        let node = cluster.node(unit);
        let mut machines = node.scheduled.iter().chain(&node.statuses);
        machines.any(|machine| cluster.is_live(*machine))
    })
}

/// How many machines the most particular unit of the group can choose from.
fn choice(cluster: &Cluster, group: &Group) -> usize {
    let count = |unit: UnitIndex| {
        let class = cluster.node(unit).rules.class;
        cluster.machines.fitting_open_count(class)
    };
    group.units().map(count).min().unwrap_or(0)
}

fn has_peers(cluster: &Cluster, knot: &Knot) -> bool {
    knot.iter()
        .any(|unit| !cluster.node(*unit).peers.is_empty())
}

struct Placer<'p> {
    cluster: &'p Cluster,
    occupancy: &'p mut Occupancy,
    removed: &'p Removed,
    placements: Vec<Placement>,
    /// A set for whoever needs one for a moment.
    scratch: Bits,
}

impl Placer<'_> {
    fn place_all(&mut self, ties: &Ties) {
        for knot in &ties.wide {
            self.place_everywhere(knot);
        }
        for group in &ties.groups {
            match group {
                Group::Alone(unit) => self.place_alone(*unit),
                Group::Tied(knots) => self.place_group(knots),
            }
        }
    }

    /// Units that were to move, or to give way, and whose place was taken meanwhile are put back where
    /// they still are, or wherever they fit.
    fn place_movers(&mut self, open: &[UnitIndex]) {
        let (cluster, occupancy) = (self.cluster, &*self.occupancy);
        let moves = |unit: &UnitIndex| {
            let is_seen = !cluster.node(*unit).statuses.is_empty();
            let gives_way = is_seen && occupancy.machines_of(*unit).is_empty();
            cluster.destination(*unit).is_some()
                || gives_way && is_replaced(cluster, occupancy, *unit)
        };
        let movers: Vec<UnitIndex> = open.iter().copied().filter(moves).collect();
        let mut placed = usize::MAX;
        while placed != self.placements.len() {
            placed = self.placements.len();
            for unit in &movers {
                self.place_alone(*unit);
            }
        }
    }

    /// Puts a knot of global units on every machine that can take all of them.
    fn place_everywhere(&mut self, knot: &Knot) {
        let Some(mut machines) = self.joined(None, knot, &[]) else {
            return;
        };
        if let [unit] = knot[..] {
            machines.subtract(&self.places(unit));
        }
        for machine in self.cluster.machines.in_order(&machines) {
            for unit in knot {
                self.put(*unit, machine, Why::Everywhere);
            }
        }
    }

    /// Places a unit that nothing ties to another.
    fn place_alone(&mut self, unit: UnitIndex) {
        let node = self.cluster.node(unit);
        let is_new = node.peers.is_empty()
            && node.statuses.is_empty()
            && node.scheduled.is_empty()
            && node.traces.is_empty()
            && self.cluster.destination(unit).is_none();
        if !is_new {
            return self.place_group(&[vec![unit]]);
        }
        if node.want != Want::One || !self.occupancy.machines_of(unit).is_empty() {
            return;
        }
        let is_particular = is_particular(self.cluster, unit);
        if self.cluster.is_peaceful(unit) && !node.rules.has_demand() && !is_particular {
            self.place_simple(unit);
        } else {
            self.place_new(unit);
        }
    }

    fn place_group(&mut self, group: &[Knot]) {
        let mut rest: Vec<&Knot> = group.iter().filter(|knot| self.is_unplaced(knot)).collect();
        while !rest.is_empty() {
            // As many as can be together, leaders first; then the others by themselves.
            let mut machines: Option<Bits> = None;
            let mut together: Vec<UnitIndex> = Vec::new();
            let (mut joined, mut left) = (Vec::new(), Vec::new());
            for knot in rest {
                match self.joined(machines.as_ref(), knot, &together) {
                    Some(both) => {
                        machines = Some(both);
                        together.extend(knot);
                        joined.push(knot);
                    }
                    None => left.push(knot),
                }
            }
            let Some(machines) = machines else { return };
            self.put_together(&joined, &machines);
            rest = left;
        }
    }

    fn is_unplaced(&self, knot: &Knot) -> bool {
        knot.iter().any(|unit| {
            self.cluster.node(*unit).want == Want::One
                && self.occupancy.machines_of(*unit).is_empty()
        })
    }

    /// Places a unit that no rule concerns but those about the machine alone.
    fn place_simple(&mut self, unit: UnitIndex) {
        let class = self.cluster.node(unit).rules.class;
        let Some(chosen) = self
            .occupancy
            .least_loaded(self.cluster, self.cluster.machines.fitting_open(class))
        else {
            return;
        };
        let candidates = self.cluster.machines.fitting_open_count(class);
        self.put(
            unit,
            chosen.machine,
            Why::LeastLoaded {
                load: chosen.load,
                candidates,
            },
        );
    }

    /// Places a unit that is and was nowhere: as a group of its own would be, with less to ask.
    fn place_new(&mut self, unit: UnitIndex) {
        let cluster = self.cluster;
        let class = cluster.node(unit).rules.class;
        let mut machines = std::mem::take(&mut self.scratch);
        machines.copy_from(cluster.machines.fitting_open(class));
        self.occupancy
            .without_conflicts(cluster, unit, &mut machines);
        self.occupancy.without_full(cluster, unit, &mut machines);
        prefer_calm(cluster, self.occupancy, unit, None, &mut machines);
        let candidates = machines.count();
        let merit = is_particular(cluster, unit)
            .then(|| keep_best(cluster, self.occupancy, unit, &mut machines));
        let chosen = self.occupancy.least_loaded(cluster, &machines);
        self.scratch = machines;
        let Some(LeastLoaded { machine, load }) = chosen else {
            return;
        };
        let why = match merit {
            Some(merit) => Why::Best {
                merit,
                load,
                candidates,
            },
            None => Why::LeastLoaded { load, candidates },
        };
        self.put(unit, machine, why);
    }

    /// Of `machines` (none: of all) those that can take the knot beside `together`; none if there
    /// is none.
    fn joined(
        &mut self,
        machines: Option<&Bits>,
        knot: &Knot,
        together: &[UnitIndex],
    ) -> Option<Bits> {
        let cluster = self.cluster;
        for (at, unit) in knot.iter().enumerate() {
            let beside = together.iter().chain(&knot[..at]);
            if beside
                .into_iter()
                .any(|other| cluster.conflict(*unit, *other))
            {
                return None;
            }
        }
        let mut both: Option<Bits> = None;
        for unit in knot {
            let fitting = self.fitting(*unit, |peer| {
                together.contains(&peer) || knot.contains(&peer)
            });
            match &mut both {
                Some(both) => both.intersect(&fitting),
                None => both = Some(fitting),
            }
        }
        let mut both = both?;
        for unit in knot {
            prefer_calm(cluster, self.occupancy, *unit, machines, &mut both);
        }
        let mut both = self.former(knot, both);
        if let Some(machines) = machines {
            both.intersect(machines);
        }
        self.without_crammed(knot, together, &mut both);
        (!both.is_empty()).then_some(both)
    }

    /// Takes out machines on which each unit could be but not all of them.
    fn without_crammed(&mut self, knot: &Knot, together: &[UnitIndex], machines: &mut Bits) {
        let cluster = self.cluster;
        let takes_room = |unit: &&UnitIndex| {
            let node = cluster.node(**unit);
            node.rules.has_demand() || node.template.is_some()
        };
        let units: Vec<UnitIndex> = knot
            .iter()
            .chain(together)
            .filter(takes_room)
            .copied()
            .collect();
        if units.len() < 2 {
            return;
        }
        let lifted: Vec<_> = units
            .iter()
            .flat_map(|unit| self.occupancy.lift(cluster, *unit))
            .collect();
        let crammed: Vec<usize> = machines
            .iter()
            .filter(|machine| {
                !self
                    .occupancy
                    .holds_all(cluster, &units, MachineIndex(*machine))
            })
            .collect();
        crammed
            .into_iter()
            .for_each(|machine| machines.remove(machine));
        self.occupancy.restore(cluster, lifted);
    }

    /// Of these machines those where units of the knot have an entry still, else those where they
    /// are seen, else all. A unit that can stay where it was does so, whatever those that follow it
    /// would like better.
    fn former(&self, knot: &Knot, machines: Bits) -> Bits {
        let singles = || {
            let units = knot.iter().copied();
            units.filter(|unit| self.cluster.node(*unit).want == Want::One)
        };
        let had_entry = |unit: UnitIndex| {
            let scheduled = self.cluster.node(unit).scheduled.iter();
            scheduled.filter(move |machine| self.removed.contains_key(&(unit, **machine)))
        };
        for former in [
            self.live(singles().flat_map(had_entry)),
            self.live(singles().flat_map(|unit| &self.cluster.node(unit).statuses)),
        ] {
            let mut former = former;
            former.intersect(&machines);
            if !former.is_empty() {
                return former;
            }
        }
        machines
    }

    fn live<'m>(&self, machines: impl Iterator<Item = &'m MachineIndex>) -> Bits {
        let mut live = Bits::empty(self.cluster.machines.slots());
        machines
            .filter(|machine| self.cluster.is_live(**machine))
            .for_each(|machine| live.insert(machine.0));
        live
    }

    /// The machines that can take the unit, or, if it is global, have it already.
    fn fitting(&mut self, unit: UnitIndex, comes_along: impl Fn(UnitIndex) -> bool) -> Bits {
        let cluster = self.cluster;
        let node = cluster.node(unit);
        let mut machines = cluster.machines.fitting_open(node.rules.class).clone();
        let lifted = self.occupancy.lift(cluster, unit);
        self.occupancy
            .without_conflicts(cluster, unit, &mut machines);
        self.occupancy.without_full(cluster, unit, &mut machines);
        self.occupancy.restore(cluster, lifted);
        for peer in &node.peers {
            if !comes_along(*peer) {
                machines.intersect(&self.places(*peer));
            }
        }
        if let Some(to) = cluster.destination(unit)
            && machines.contains(to.0)
            && !would_give_way(cluster, self.occupancy, unit, to)
        {
            machines.clear();
            machines.insert(to.0);
        }
        if node.want == Want::Everywhere {
            machines.unite(&self.places(unit));
        }
        machines
    }

    fn places(&self, unit: UnitIndex) -> Bits {
        let mut machines = Bits::empty(self.cluster.machines.slots());
        self.occupancy
            .machines_of(unit)
            .iter()
            .for_each(|machine| machines.insert(machine.0));
        machines
    }

    /// Puts knots that can be together on one of the machines; those that must stop elsewhere first
    /// are left for later.
    fn put_together(&mut self, knots: &[&Knot], machines: &Bits) {
        let mut best = machines.clone();
        let mut merits: Vec<(UnitIndex, Merit)> = Vec::new();
        for unit in knots.iter().flat_map(|knot| knot.iter().copied()) {
            if self.cluster.node(unit).want == Want::One && is_particular(self.cluster, unit) {
                let lifted = self.occupancy.lift(self.cluster, unit);
                let merit = keep_best(self.cluster, self.occupancy, unit, &mut best);
                self.occupancy.restore(self.cluster, lifted);
                merits.push((unit, merit));
            }
        }
        let Some(chosen) = self.occupancy.least_loaded(self.cluster, &best) else {
            return;
        };
        let machine = chosen.machine;
        let candidates = machines.count();
        for knot in knots {
            if !knot.iter().all(|unit| self.may_go(*unit, machine, knot)) {
                continue;
            }
            for unit in knot.iter().copied() {
                let why = match self.cluster.node(unit).want {
                    Want::Everywhere => Why::Everywhere,
                    Want::One
                    | Want::Frozen(_)
                    | Want::Untouched
                    | Want::Inactive
                    | Want::Destroyed
                    | Want::Trace => {
                        let load = self.occupancy.load(machine);
                        match merits.iter().find(|(of, _)| *of == unit) {
                            Some((_, merit)) => Why::Best {
                                merit: *merit,
                                load,
                                candidates,
                            },
                            None => Why::LeastLoaded { load, candidates },
                        }
                    }
                };
                self.put(unit, machine, why);
            }
        }
    }

    fn was_there(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        self.cluster.is_live(machine)
            && (self.cluster.node(unit).statuses.contains(&machine)
                || self.removed.contains_key(&(unit, machine)))
    }

    /// True if the unit has its entry there still or is seen on no other machine, and the units it
    /// needs are there.
    fn may_go(&self, unit: UnitIndex, machine: MachineIndex, knot: &Knot) -> bool {
        let node = self.cluster.node(unit);
        let stopped = node.want == Want::Everywhere
            || self.removed.contains_key(&(unit, machine))
            || node.statuses.iter().all(|where_seen| {
                let is_mistaken = match self.cluster.is_live(*where_seen) {
                    true => is_made(Mutation::StartedBeforeTheStop),
                    false => is_made(Mutation::LeavingMachineIgnored),
                };
                *where_seen == machine || is_mistaken
            });
        stopped
            && node
                .peers
                .iter()
                .all(|peer| knot.contains(peer) || self.occupancy.is_scheduled(*peer, machine))
    }

    fn put(&mut self, unit: UnitIndex, machine: MachineIndex, why: Why) {
        if self.occupancy.is_scheduled(unit, machine) {
            return;
        }
        let why = if self.was_there(unit, machine) {
            Why::Back
        } else if self.cluster.destination(unit) == Some(machine) {
            Why::Moved
        } else {
            why
        };
        self.occupancy.schedule(self.cluster, unit, machine);
        self.placements.push(Placement { unit, machine, why });
    }
}
