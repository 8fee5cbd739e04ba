//! PURE. Which machines each rule leaves for one unit, rule by rule: what placement asks at once.

use std::collections::BTreeMap;

use model::{Nearest, Rule, RuleEffect};
use unitfile::Demand;

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::fit::obstacle;
use crate::occupancy::Occupancy;
use crate::replace::{is_replaced, replaced};
use crate::rules::{ClassIndex, ClassKey, DemandIndex};

/// What was found for one unit and is the same for all that ask the same.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The machines that the terms of a class leave.
    classes: BTreeMap<ClassIndex, Vec<(Rule, Bits)>>,
    /// The machines that have enough of each resource.
    rooms: BTreeMap<DemandIndex, Vec<Reserved>>,
}

/// One resource of a demand.
#[derive(Debug)]
struct Reserved {
    rule: Rule,
    demand: Demand,
    enough: Bits,
}

impl Known {
    /// Finds what is not known yet of what the unit asks, while everybody is where it is.
    pub(crate) fn learn(&mut self, cluster: &Cluster, occupancy: &Occupancy, unit: UnitIndex) {
        let rules = &cluster.node(unit).rules;
        self.classes
            .entry(rules.class)
            .or_insert_with(|| class_terms(cluster, rules.class));
        self.rooms.entry(rules.demand).or_insert_with(|| {
            let demands = by_resource(&rules.requirements.demand);
            let reserved = demands.into_iter().map(|(resource, demand)| {
                let mut enough = Bits::empty(cluster.machines.slots());
                for machine in cluster.machines.live().iter() {
                    if has_room(cluster, occupancy, MachineIndex(machine), &demand) {
                        enough.insert(machine);
                    }
                }
                Reserved {
                    rule: Rule::Room { resource },
                    demand,
                    enough,
                }
            });
            reserved.collect()
        });
    }
}

fn class_terms(cluster: &Cluster, class: ClassIndex) -> Vec<(Rule, Bits)> {
    let key = &cluster.book.classes()[class.0];
    let id = key.machine_id.iter().map(|wanted| {
        let alone = ClassKey {
            machine_id: Some(wanted.clone()),
            metadata: Vec::new(),
        };
        let rule = Rule::MachineId {
            wanted: wanted.clone(),
        };
        (rule, cluster.machines.fitting_class(&alone))
    });
    let metadata = key.metadata.iter().map(|term| {
        let alone = ClassKey {
            machine_id: None,
            metadata: vec![term.clone()],
        };
        let rule = Rule::Metadata {
            wanted: term.to_string(),
        };
        (rule, cluster.machines.fitting_class(&alone))
    });
    id.chain(metadata).collect()
}

/// A demand as demands of one resource each, in the order in which machines are asked.
fn by_resource(demand: &Demand) -> Vec<(String, Demand)> {
    let mut demands = Vec::new();
    if demand.memory_bytes > 0 {
        let alone = Demand {
            memory_bytes: demand.memory_bytes,
            ..Demand::default()
        };
        demands.push(("memory".to_owned(), alone));
    }
    if demand.cpu_milli > 0 {
        let alone = Demand {
            cpu_milli: demand.cpu_milli,
            ..Demand::default()
        };
        demands.push(("cpu".to_owned(), alone));
    }
    for (name, count) in &demand.counted {
        let alone = Demand {
            counted: BTreeMap::from([(name.clone(), *count)]),
            ..Demand::default()
        };
        demands.push((name.clone(), alone));
    }
    demands
}

fn has_room(
    cluster: &Cluster,
    occupancy: &Occupancy,
    machine: MachineIndex,
    demand: &Demand,
) -> bool {
    occupancy.lacking(cluster, machine, demand).is_none()
}

/// Each rule that bears on a unit, with the machines that pass it.
#[derive(Debug)]
pub(crate) struct Survey {
    live: Bits,
    rules: Vec<(Rule, Bits)>,
    /// Machines that pass all.
    open: Bits,
}

impl Survey {
    /// Of a unit that is on no machine and stands nowhere in its own way; `left` are the machines
    /// from which it was taken for that.
    pub(crate) fn of(
        cluster: &Cluster,
        occupancy: &mut Occupancy,
        known: &Known,
        unit: UnitIndex,
        left: &[MachineIndex],
    ) -> Survey {
        let node = cluster.node(unit);
        let live = cluster.machines.live().clone();
        let mut rules: Vec<(Rule, Bits)> = Vec::new();
        rules.extend(
            known
                .classes
                .get(&node.rules.class)
                .into_iter()
                .flatten()
                .cloned(),
        );
        for peer in &node.peers {
            let mut with_peer = Bits::empty(cluster.machines.slots());
            for machine in occupancy.machines_of(*peer) {
                with_peer.insert(machine.0);
            }
            let peer = cluster.node(*peer).name.clone();
            rules.push((Rule::MachineOf { peer }, with_peer));
        }
        if !cluster.is_peaceful(unit) {
            let mut peaceful = live.clone();
            occupancy.without_conflicts(cluster, unit, &mut peaceful);
            // A pattern of others that keeps it from nowhere does not bear on it.
            if !node.rules.declares.is_empty() || peaceful != live {
                rules.push((Rule::Conflicts, peaceful));
            }
        }
        for reserved in known.rooms.get(&node.rules.demand).into_iter().flatten() {
            let mut enough = reserved.enough.clone();
            for machine in left.iter().filter(|machine| cluster.is_live(**machine)) {
                if has_room(cluster, occupancy, *machine, &reserved.demand) {
                    enough.insert(machine.0);
                }
            }
            rules.push((reserved.rule.clone(), enough));
        }
        let mut uncrowded = live.clone();
        if occupancy
            .without_crowded(cluster, unit, &mut uncrowded)
            .is_some()
        {
            rules.push((Rule::MaxPerMachine, uncrowded));
        }
        let mut closed = live.clone();
        closed.subtract(cluster.machines.open());
        if !closed.is_empty() {
            rules.push((Rule::Cordon, cluster.machines.open().clone()));
        }
        let mut survey = Survey {
            open: live.clone(),
            live,
            rules,
        };
        survey.narrow();
        survey.prefer_calm(cluster, occupancy, unit);
        survey
    }

    /// Leaves out machines where the unit would replace or be replaced, as placement does.
    fn prefer_calm(&mut self, cluster: &Cluster, occupancy: &mut Occupancy, unit: UnitIndex) {
        if !is_replaced(cluster, occupancy, unit) {
            return;
        }
        let mut calm = self.live.clone();
        occupancy.without_replacing(cluster, unit, &mut calm);
        if calm.meets(&self.open) {
            self.rules.push((Rule::Replaces, calm));
            self.narrow();
        }
    }

    /// Counts machines that have the unit as passing every rule: it stays there.
    pub(crate) fn accept(&mut self, places: &[MachineIndex]) {
        for (_, passes) in &mut self.rules {
            for machine in places {
                passes.insert(machine.0);
            }
        }
        self.narrow();
    }

    fn narrow(&mut self) {
        self.open = self.live.clone();
        for (_, passes) in &self.rules {
            self.open.intersect(passes);
        }
    }

    /// The machines that pass all rules.
    pub(crate) fn open(&self) -> &Bits {
        &self.open
    }

    /// How many machines each rule leaves.
    pub(crate) fn effects(&self) -> Vec<RuleEffect> {
        let mut left = self.live.clone();
        let effect = |(rule, passes): &(Rule, Bits)| {
            left.intersect(passes);
            RuleEffect {
                rule: rule.clone(),
                passes: passes.count(),
                left: left.count(),
            }
        };
        self.rules.iter().map(effect).collect()
    }

    /// Up to `count` machines that fail the fewest rules, but at least one, and are not the unit's
    /// own.
    pub(crate) fn nearest(
        &self,
        cluster: &Cluster,
        occupancy: &Occupancy,
        unit: UnitIndex,
        own: Option<MachineIndex>,
        count: usize,
    ) -> Vec<Nearest> {
        // By number: machines that fail more rules than that.
        let mut more_than = vec![Bits::empty(cluster.machines.slots()); self.rules.len() + 1];
        for (_, passes) in &self.rules {
            let mut fails = self.live.clone();
            fails.subtract(passes);
            for number in (1..more_than.len()).rev() {
                let mut one_more = more_than[number - 1].clone();
                one_more.intersect(&fails);
                more_than[number].unite(&one_more);
            }
            more_than[0].unite(&fails);
        }
        let mut nearest = Vec::new();
        for failed in 1..more_than.len() {
            let mut exactly = more_than[failed - 1].clone();
            exactly.subtract(&more_than[failed]);
            for machine in cluster.machines.in_order(&exactly) {
                if nearest.len() == count {
                    return nearest;
                }
                if Some(machine) == own {
                    continue;
                }
                let failed_first = obstacle(cluster, occupancy, unit, machine)
                    .or_else(|| replaced(cluster, occupancy, unit, machine));
                if let Some(obstacle) = failed_first {
                    nearest.push(Nearest {
                        machine: cluster.machine(machine).clone(),
                        failed,
                        obstacle,
                    });
                }
            }
        }
        nearest
    }
}
