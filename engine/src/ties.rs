//! PURE. Which units `MachineOf=` ties together, so that tied units are placed as one and the order
//! of names does not matter.
//!
//! A *knot* is a set of units that all need each other, directly or through others; most knots are
//! one unit. A *group* is all knots with a non-global unit that are tied in any way, each after the
//! knots it needs.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Peer, UnitIndex, Want};

/// Units that need each other: all or none of them are on a machine.
pub(crate) type Knot = Vec<UnitIndex>;

/// What is to be placed, tied together.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// Knots of global units only, each after those it needs.
    pub(crate) wide: Vec<Knot>,
    /// Groups of knots; within a group each knot is after those it needs.
    pub(crate) groups: Vec<Vec<Knot>>,
}

/// Ties together the units that `is_open` says are to be placed.
pub(crate) fn ties(cluster: &Cluster, is_open: impl Fn(UnitIndex) -> bool) -> Ties {
    let mut forest = Forest::new(cluster.named);
    let mut narrow = Vec::new();
    let mut ties = Ties::default();
    for knot in knots(cluster, &is_open) {
        let is_single = |unit: &UnitIndex| cluster.node(*unit).want == Want::One;
        let Some(first) = knot.iter().copied().find(is_single) else {
            ties.wide.push(knot);
            continue;
        };
        for unit in knot.iter().copied().filter(is_single) {
            forest.join(first, unit);
            for peer in open_peers(cluster, unit, &is_open).filter(is_single) {
                forest.join(unit, peer);
            }
        }
        narrow.push((first, knot));
    }
    let mut groups: BTreeMap<UnitIndex, Vec<Knot>> = BTreeMap::new();
    for (unit, knot) in narrow {
        groups.entry(forest.root(unit)).or_default().push(knot);
    }
    ties.groups = groups.into_values().collect();
    ties
}

fn open_peers<'a>(
    cluster: &'a Cluster,
    unit: UnitIndex,
    is_open: &'a impl Fn(UnitIndex) -> bool,
) -> impl Iterator<Item = UnitIndex> + 'a {
    cluster
        .node(unit)
        .peers
        .iter()
        .filter_map(|peer| match peer {
            Peer::Known(peer) if is_open(*peer) => Some(*peer),
            Peer::Known(_) | Peer::Unknown(_) => None,
        })
}

/// Where Tarjan's walk is with one unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// On the stack: its number and the smallest number it reaches.
    Open(usize, usize),
    Done,
}

/// The knots of all open units, each after those it needs (Tarjan's algorithm, without recursion
/// because chains may be as long as there are units).
fn knots(cluster: &Cluster, is_open: &impl Fn(UnitIndex) -> bool) -> Vec<Knot> {
    let mut seen = vec![Seen::No; cluster.named];
    let mut knots = Vec::new();
    let mut number = 0;
    for start in cluster.units().filter(|unit| is_open(*unit)) {
        if seen[start.0] != Seen::No {
            continue;
        }
        let mut stack: Vec<UnitIndex> = Vec::new();
        let mut path: Vec<(UnitIndex, Vec<UnitIndex>)> = Vec::new();
        let mut next = Some(start);
        while let Some(unit) = next.take() {
            seen[unit.0] = Seen::Open(number, number);
            number += 1;
            stack.push(unit);
            path.push((unit, open_peers(cluster, unit, is_open).collect()));
            next = walk(&mut seen, &mut stack, &mut path, &mut knots);
        }
    }
    knots
}

/// Follows the path until it meets a unit not seen before, closing knots on the way back.
fn walk(
    seen: &mut [Seen],
    stack: &mut Vec<UnitIndex>,
    path: &mut Vec<(UnitIndex, Vec<UnitIndex>)>,
    knots: &mut Vec<Knot>,
) -> Option<UnitIndex> {
    while let Some((unit, peers)) = path.last_mut() {
        let unit = *unit;
        if let Some(peer) = peers.pop() {
            match seen[peer.0] {
                Seen::No => return Some(peer),
                Seen::Open(_, low) => lower(seen, unit, low),
                Seen::Done => {}
            }
            continue;
        }
        path.pop();
        let Seen::Open(number, low) = seen[unit.0] else {
            continue;
        };
        if low == number {
            let from = stack.iter().rposition(|other| *other == unit).unwrap_or(0);
            let mut knot = stack.split_off(from);
            knot.sort_unstable();
            knot.iter().for_each(|unit| seen[unit.0] = Seen::Done);
            knots.push(knot);
        } else if let Some((parent, _)) = path.last() {
            lower(seen, *parent, low);
        }
    }
    None
}

fn lower(seen: &mut [Seen], unit: UnitIndex, low: usize) {
    if let Seen::Open(_, known) = &mut seen[unit.0] {
        *known = low.min(*known);
    }
}

/// Disjoint sets of units; the root of a set is its smallest unit.
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn new(length: usize) -> Forest {
        Forest {
            parents: (0..length).collect(),
        }
    }

    fn root(&mut self, unit: UnitIndex) -> UnitIndex {
        let mut at = unit.0;
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        UnitIndex(at)
    }

    fn join(&mut self, one: UnitIndex, other: UnitIndex) {
        let (one, other) = (self.root(one), self.root(other));
        self.parents[one.0.max(other.0)] = one.0.min(other.0);
    }
}
