//! PURE. Which of the machines that can take a unit is the best: the one in whose zone (`Spread=`)
//! there are fewest units of its template, then the one that has fewest of them, then what
//! `Prefers=` gives most, then the smallest load, then the smallest id.
//!
//! Load and id are the occupancy's; here is what comes before them, term by term.

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::occupancy::Occupancy;
use crate::rules::TasteIndex;

/// Up to so many machines with siblings are asked for their zones one by one; beyond, zones are
/// asked for their machines.
const ASKED_ONE_BY_ONE_MAX: usize = 64;

/// What the best machines have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Merit {
    /// Units of the template in the zone; none without `Spread=`.
    pub(crate) in_domain: Option<usize>,
    /// Units of the template on the machine.
    pub(crate) siblings: usize,
    /// What `Prefers=` gives.
    pub(crate) preference: u64,
}

/// True if more than load and id decide.
pub(crate) fn is_particular(cluster: &Cluster, unit: UnitIndex) -> bool {
    let node = cluster.node(unit);
    node.template.is_some() || node.rules.taste != TasteIndex(0)
}

/// Keeps of these machines those that are best for the unit but for load and id.
pub(crate) fn keep_best(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machines: &mut Bits,
) -> Merit {
    let node = cluster.node(unit);
    let mut merit = Merit::default();
    if machines.is_empty() {
        return merit;
    }
    if let Some(template) = node.template {
        if let Some(key) = &node.rules.requirements.spread {
            merit.in_domain = Some(keep_emptiest_domains(
                cluster, occupancy, unit, key, machines,
            ));
        }
        merit.siblings = occupancy.siblings(template).keep_fewest(machines);
    }
    if node.rules.taste != TasteIndex(0) {
        let by_taste = cluster.machines.by_taste(node.rules.taste);
        let best = by_taste.iter().find(|(_, liked)| liked.meets(machines));
        if let Some((score, liked)) = best {
            machines.intersect(liked);
            merit.preference = score.0;
        }
    }
    merit
}

/// Keeps of these machines those with the values of the key that have the fewest units of the
/// template. Machines without the key are one domain.
fn keep_emptiest_domains(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    key: &str,
    machines: &mut Bits,
) -> usize {
    let Some(template) = cluster.node(unit).template else {
        return 0;
    };
    let siblings = occupancy.siblings(template);
    let mut without_key = cluster.machines.live().clone();
    let mut domains: Vec<Bits> = Vec::new();
    for having in cluster
        .machines
        .by_value(key)
        .into_iter()
        .flat_map(|it| it.values())
    {
        let mut domain = Bits::empty(cluster.machines.slots());
        for machine in having {
            domain.insert(*machine);
        }
        without_key.subtract(&domain);
        domains.push(domain);
    }
    domains.push(without_key);
    domains.retain(|domain| domain.meets(machines));
    let with_siblings: Vec<MachineIndex> = siblings.machines().collect();
    let count = |domain: &Bits| -> usize {
        if with_siblings.len() <= ASKED_ONE_BY_ONE_MAX {
            let inside = with_siblings
                .iter()
                .filter(|machine| domain.contains(machine.0));
            return inside.map(|machine| siblings.count(*machine)).sum();
        }
        domain
            .iter()
            .map(|machine| siblings.count(MachineIndex(machine)))
            .sum()
    };
    let counted: Vec<(usize, &Bits)> = domains
        .iter()
        .map(|domain| (count(domain), domain))
        .collect();
    let fewest = counted.iter().map(|(count, _)| *count).min().unwrap_or(0);
    let mut best = Bits::empty(cluster.machines.slots());
    for (_, domain) in counted.iter().filter(|(count, _)| *count == fewest) {
        best.unite(domain);
    }
    machines.intersect(&best);
    fewest
}
