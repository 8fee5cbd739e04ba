//! PURE. Which units `MachineOf=` ties together, so that tied units are placed as one and the order
//! of names does not matter.
//!
//! A *knot* is a set of units that all need each other, directly or through others; most knots are
//! one unit. A *group* is all knots with a non-global unit that are tied in any way, each after the
//! knots it needs.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, UnitIndex, Want};

/// Units that need each other: all or none of them are on a machine.
pub(crate) type Knot = Vec<UnitIndex>;

/// Units that are placed as one.
#[derive(Debug)]
pub(crate) enum Group {
    /// A unit that nothing ties.
    Alone(UnitIndex),
    /// Knots, each after those it needs.
    Tied(Vec<Knot>),
}

impl Group {
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitIndex> + '_ {
        let (alone, tied) = match self {
            Group::Alone(unit) => (Some(*unit), None),
            Group::Tied(knots) => (None, Some(knots.iter().flatten().copied())),
        };
        alone.into_iter().chain(tied.into_iter().flatten())
    }
}

/// What is to be placed, tied together.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// Knots of global units only, each after those it needs.
    pub(crate) wide: Vec<Knot>,
    /// All others, in order of the first name of each.
    pub(crate) groups: Vec<Group>,
}

/// Ties together units that are to be placed, which are in order of their names and hold, with one
/// unit, all others to be placed that it is tied to.
pub(crate) fn ties(cluster: &Cluster, open: &[UnitIndex]) -> Ties {
    let is_alone = |unit: &UnitIndex| {
        let node = cluster.node(*unit);
        node.want == Want::One && node.peers.is_empty() && node.followers.is_empty()
    };
    let tied: Vec<UnitIndex> = open.iter().copied().filter(|it| !is_alone(it)).collect();
    let (wide, groups) = tie(cluster, &tied);
    let mut ties = Ties {
        wide,
        groups: Vec::with_capacity(open.len()),
    };
    // Each group is where its first unit is.
    let mut groups = groups.into_iter();
    for unit in open {
        if is_alone(unit) {
            ties.groups.push(Group::Alone(*unit));
        } else if let Some(group) = groups.next().filter(|group| !group.is_empty()) {
            ties.groups.push(Group::Tied(group));
        }
    }
    ties
}

/// Knots of global units only, and at the place of each unit the group of which it is the first.
fn tie(cluster: &Cluster, open: &[UnitIndex]) -> (Vec<Knot>, Vec<Vec<Knot>>) {
    let links = Links::of(cluster, open);
    let mut forest = Forest::new(open.len());
    let mut narrow = Vec::new();
    let mut wide = Vec::new();
    let is_single = |unit: &usize| cluster.node(open[*unit]).want == Want::One;
    let numbered = |knot: &[usize]| -> Knot { knot.iter().map(|unit| open[*unit]).collect() };
    for knot in knots(&links) {
        let Some(first) = knot.iter().copied().find(is_single) else {
            wide.push(numbered(&knot));
            continue;
        };
        for unit in knot.iter().copied().filter(is_single) {
            forest.join(first, unit);
            for peer in links.peers(unit).iter().copied().filter(is_single) {
                forest.join(unit, peer);
            }
        }
        narrow.push((first, numbered(&knot)));
    }
    let mut groups: Vec<Vec<Knot>> = vec![Vec::new(); open.len()];
    for (unit, knot) in narrow {
        groups[forest.root(unit)].push(knot);
    }
    (wide, groups)
}

/// Which of the units to be placed name which in `MachineOf=`, by their places in the list.
struct Links {
    count: usize,
    peers: BTreeMap<usize, Vec<usize>>,
}

impl Links {
    fn of(cluster: &Cluster, open: &[UnitIndex]) -> Links {
        let mut peers = BTreeMap::new();
        for (at, unit) in open.iter().enumerate() {
            let node = cluster.node(*unit);
            if node.peers.is_empty() {
                continue;
            }
            let place = |peer: &UnitIndex| {
                open.binary_search_by(|known| cluster.by_name(*known, *peer))
                    .ok()
            };
            peers.insert(at, node.peers.iter().filter_map(place).collect());
        }
        Links {
            count: open.len(),
            peers,
        }
    }

    fn peers(&self, unit: usize) -> &[usize] {
        self.peers.get(&unit).map_or(&[], Vec::as_slice)
    }
}

/// Where Tarjan's walk is with one unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// On the stack: its number and the smallest number it reaches.
    Open(usize, usize),
    Done,
}

/// The knots of all units, each after those it needs (Tarjan's algorithm, without recursion because
/// chains may be as long as there are units).
fn knots(links: &Links) -> Vec<Vec<usize>> {
    let mut seen = vec![Seen::No; links.count];
    let mut knots = Vec::new();
    let mut number = 0;
    for start in 0..links.count {
        if seen[start] != Seen::No {
            continue;
        }
        let mut stack: Vec<usize> = Vec::new();
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut next = Some(start);
        while let Some(unit) = next.take() {
            seen[unit] = Seen::Open(number, number);
            number += 1;
            stack.push(unit);
            path.push((unit, links.peers(unit).to_vec()));
            next = walk(&mut seen, &mut stack, &mut path, &mut knots);
        }
    }
    knots
}

/// Follows the path until it meets a unit not seen before, closing knots on the way back.
fn walk(
    seen: &mut [Seen],
    stack: &mut Vec<usize>,
    path: &mut Vec<(usize, Vec<usize>)>,
    knots: &mut Vec<Vec<usize>>,
) -> Option<usize> {
    while let Some((unit, peers)) = path.last_mut() {
        let unit = *unit;
        if let Some(peer) = peers.pop() {
            match seen[peer] {
                Seen::No => return Some(peer),
                Seen::Open(_, low) => lower(seen, unit, low),
                Seen::Done => {}
            }
            continue;
        }
        path.pop();
        let Seen::Open(number, low) = seen[unit] else {
            continue;
        };
        if low == number {
            let from = stack.iter().rposition(|other| *other == unit).unwrap_or(0);
            let mut knot = stack.split_off(from);
            knot.sort_unstable();
            knot.iter().for_each(|unit| seen[*unit] = Seen::Done);
            knots.push(knot);
        } else if let Some((parent, _)) = path.last() {
            lower(seen, *parent, low);
        }
    }
    None
}

fn lower(seen: &mut [Seen], unit: usize, low: usize) {
    if let Seen::Open(_, known) = &mut seen[unit] {
        *known = low.min(*known);
    }
}

/// Disjoint sets of units; the root of a set is its first unit.
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn new(length: usize) -> Forest {
        Forest {
            parents: (0..length).collect(),
        }
    }

    fn root(&mut self, unit: usize) -> usize {
        let mut at = unit;
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.parents[one.max(other)] = one.min(other);
    }
}
