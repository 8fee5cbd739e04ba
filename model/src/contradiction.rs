//! What units demand together that no machine can ever satisfy: found when a unit is submitted, beside what is wrong with its own
//! file. PURE.
//!
//! A unit and all it needs (`MachineOf=`, also by way of others) must be on one machine. So what two of them demand may
//! contradict as if one unit demanded both. Only what the unit itself needs is looked at: whoever is there already is not
//! refused for one that comes later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use unitfile::{MetadataTerm, Requirements, UnitName, contradicting_key};

/// So many units that one needs are looked at: more than any cluster puts on one machine, and a bound for what one request costs.
const TIED_MAX: usize = 512;

/// Why a unit can never run with those that it needs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// `MachineOf=` leads from the unit back to it.
    #[error(
        "unresolvable requirements: MachineOf goes round in a circle, {}. Remove one link of it", circle(.0)
    )]
    Circle(Vec<UnitName>),
    /// Two that must be together refuse each other.
    #[error(
        "unresolvable requirements: {who} conflicts with {with}, and MachineOf ties {unit} to both. \
         Remove the tie or the conflict"
    )]
    Conflict {
        /// The unit that can never run; it may be one of the two.
        unit: UnitName,
        /// Who declares the conflict.
        who: UnitName,
        /// With whom.
        with: UnitName,
    },
    /// One drives another away with which it must be.
    #[error(
        "unresolvable requirements: {who} replaces {whom}, and MachineOf ties {unit} to both. \
         Remove the tie or the replace"
    )]
    Replace {
        /// The unit that can never run; it may be the first of the two.
        unit: UnitName,
        /// Who names the other in `Replaces=`.
        who: UnitName,
        /// Who has to leave.
        whom: UnitName,
    },
    /// Two that must be together are bound to different machines.
    #[error(
        "unresolvable requirements: {one} needs machine {id}, {other} needs machine {also}, and MachineOf ties them. \
         Remove the tie or one MachineID"
    )]
    MachineIds {
        /// One.
        one: UnitName,
        /// Its machine.
        id: String,
        /// Another.
        other: UnitName,
        /// Its machine.
        also: String,
    },
    /// No metadata satisfies what several that must be together ask of one key.
    #[error(
        "unresolvable requirements: no value of \"{key}\" satisfies all that MachineMetadata of {} asks of it, and MachineOf \
         ties them. Remove the tie or a term", listed(.units)
    )]
    Metadata {
        /// The key.
        key: String,
        /// Who asks something of it.
        units: Vec<UnitName>,
    },
    /// More of one template must be together than may be.
    #[error(
        "unresolvable requirements: MachineOf ties {count} units of {template} together, and MaxPerMachine allows {limit}. \
         Remove a tie or raise it"
    )]
    Crowd {
        /// The template.
        template: UnitName,
        /// How many of it must be together.
        count: usize,
        /// How many may be.
        limit: u32,
    },
}

fn circle(units: &[UnitName]) -> String {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    names.join(" → ")
}

fn listed(units: &[UnitName]) -> String {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    names.join(", ")
}

/// Checks a unit against those that it needs, as far as they are known; `requirements_of` tells of any unit of the cluster.
///
/// # Errors
/// The first contradiction.
pub fn check_ties(
    unit: &UnitName,
    requirements: &Requirements,
    requirements_of: impl Fn(&UnitName) -> Option<Requirements>,
) -> Result<(), Contradiction> {
    // What an instance is tied to is seen when it is made.
    if requirements.machine_of.is_empty() || unit.is_template() {
        return Ok(());
    }
    let tied = Tied::of(unit, requirements, requirements_of)?;
    tied.check_pairs()?;
    tied.check_metadata()?;
    tied.check_crowds()
}

/// A unit and all that it needs.
struct Tied<'u> {
    unit: &'u UnitName,
    /// None of one that is not known.
    all: BTreeMap<UnitName, Option<Requirements>>,
}

impl<'u> Tied<'u> {
    fn of(
        unit: &'u UnitName,
        requirements: &Requirements,
        requirements_of: impl Fn(&UnitName) -> Option<Requirements>,
    ) -> Result<Tied<'u>, Contradiction> {
        let mut all = BTreeMap::from([(unit.clone(), Some(requirements.clone()))]);
        let mut needed_by: BTreeMap<UnitName, UnitName> = BTreeMap::new();
        let mut ahead = VecDeque::from([unit.clone()]);
        while let Some(at) = ahead.pop_front() {
            let peers = all.get(&at).and_then(Option::as_ref);
            let peers = peers.map_or(Vec::new(), |needs| needs.machine_of.clone());
            for peer in peers {
                if peer == *unit {
                    return Err(Contradiction::Circle(way_back(unit, at, &needed_by)));
                }
                if all.len() < TIED_MAX && !all.contains_key(&peer) {
                    all.insert(peer.clone(), requirements_of(&peer));
                    needed_by.insert(peer.clone(), at.clone());
                    ahead.push_back(peer);
                }
            }
        }
        Ok(Tied { unit, all })
    }

    fn known(&self) -> impl Iterator<Item = (&UnitName, &Requirements)> {
        let known = self.all.iter();
        known.filter_map(|(name, needs)| needs.as_ref().map(|needs| (name, needs)))
    }

    fn check_pairs(&self) -> Result<(), Contradiction> {
        let mut bound: Option<(&UnitName, &String)> = None;
        for (who, needs) in self.known() {
            let mut others = self.all.keys().filter(|other| *other != who);
            if let Some(with) = others.find(|other| needs.conflict_with(other)) {
                return Err(Contradiction::Conflict {
                    unit: self.unit.clone(),
                    who: who.clone(),
                    with: with.clone(),
                });
            }
            let mut others = self.known().filter(|(other, _)| *other != who);
            // Whoever is tied to others or is everywhere never has to leave.
            let leaves = |(other, its): &(&UnitName, &Requirements)| {
                needs.replace(other)
                    && !its.replace(who)
                    && !its.global
                    && its.machine_of.is_empty()
            };
            if let Some((whom, _)) = others.find(leaves) {
                return Err(Contradiction::Replace {
                    unit: self.unit.clone(),
                    who: who.clone(),
                    whom: whom.clone(),
                });
            }
            let Some(also) = &needs.machine_id else {
                continue;
            };
            match bound {
                // A short id is the beginning of a full one.
                Some((_, id)) if id.starts_with(also) || also.starts_with(id) => {}
                Some((one, id)) => {
                    return Err(Contradiction::MachineIds {
                        one: one.clone(),
                        id: id.clone(),
                        other: who.clone(),
                        also: also.clone(),
                    });
                }
                None => {}
            }
            // The longest says most.
            bound = bound
                .filter(|(_, id)| id.len() >= also.len())
                .or(Some((who, also)));
        }
        Ok(())
    }

    fn check_metadata(&self) -> Result<(), Contradiction> {
        let terms = self.known().flat_map(|(_, needs)| &needs.metadata);
        let mut terms: Vec<MetadataTerm> = terms.cloned().collect();
        terms.sort_by(|one, other| one.key.cmp(&other.key));
        let Some(key) = contradicting_key(&terms) else {
            return Ok(());
        };
        let asks = |needs: &Requirements| needs.metadata.iter().any(|term| term.key == key);
        let units = self.known().filter(|(_, needs)| asks(needs));
        Err(Contradiction::Metadata {
            key: key.to_owned(),
            units: units.map(|(name, _)| name.clone()).collect(),
        })
    }

    fn check_crowds(&self) -> Result<(), Contradiction> {
        let instances = self.all.keys().filter(|name| name.is_instance());
        let templates: BTreeSet<UnitName> = instances.filter_map(UnitName::template).collect();
        for template in templates {
            let is_of = |name: &&UnitName| name.template().as_ref() == Some(&template);
            let count = self.all.keys().filter(is_of).count();
            let limits = self.known().filter(|(name, _)| is_of(name));
            let limit = limits.filter_map(|(_, needs)| needs.max_per_machine).min();
            if let Some(limit) = limit
                && usize::try_from(limit).is_ok_and(|limit| count > limit)
            {
                return Err(Contradiction::Crowd {
                    template,
                    count,
                    limit,
                });
            }
        }
        Ok(())
    }
}

/// The circle from the unit to the one that names it, and back.
fn way_back(
    unit: &UnitName,
    last: UnitName,
    needed_by: &BTreeMap<UnitName, UnitName>,
) -> Vec<UnitName> {
    let mut way = vec![unit.clone(), last];
    while let Some(before) = way.last().and_then(|at| needed_by.get(at)) {
        way.push(before.clone());
    }
    way.reverse();
    way
}
