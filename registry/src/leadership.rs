//! Leading the cluster: elected by a transaction, and every write compared with the very record that we were elected with, so
//! that a deposed leader cannot write.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use model::mutation::{Mutation, is_made};
use model::{Decision, Leader, MachineId, RecordKey, Revision};
use unitfile::{FileHash, UnitName};

use crate::chunks::{Group, Holds, Premise, Write, write_if};
use crate::connection::{Registry, from_revision, revision_of, to_revision};
use crate::error::{Effect, RegistryError, WriteError};
use crate::layout;
use crate::lease::Lease;

/// Files deleted in one transaction: if one of them is used again meanwhile, the others of its transaction wait for
/// the next collection.
const FILES_PER_COLLECTION: usize = 32;

/// How often a candidate takes a record away that nobody keeps: each time somebody wrote it by hand meanwhile.
const CLEARINGS_MAX: u32 = 4;

/// Units taken from one machine before it began with them that another's place there rests on: beyond that many at once, what etcd
/// takes in one transaction would be exceeded.
const PREMISES_MAX: usize = 64;

/// How an election went.
#[derive(Debug)]
pub enum Campaign {
    /// We lead until the lease ends or we resign.
    Won(Leadership),
    /// Another leads; none if its record cannot be read.
    Lost(Option<Leader>),
}

/// The right to write the schedule.
#[derive(Debug)]
pub struct Leadership {
    registry: Registry,
    /// When the leader's record was created: never the same for two leaders.
    elected_at: Revision,
}

impl Registry {
    /// Becomes the leader if there is none. A record that stands under this very lease (its process was restarted, or the
    /// answer to an earlier campaign was lost) is ours. One under no lease, written by hand, would stand for ever: it is taken away,
    /// which deposes whoever was elected with it.
    ///
    /// # Errors
    /// If the store failed. If the outcome is unknown, campaign again: it will be found.
    pub async fn campaign(
        &self,
        machine: &MachineId,
        lease: &Lease,
    ) -> Result<Campaign, RegistryError> {
        let key = self.layout().key(&RecordKey::Leader);
        for _ in 0..CLEARINGS_MAX {
            let found = match self.create_leader(&key, machine, lease).await? {
                Candidacy::Elected(elected_at) => return Ok(self.won(elected_at)),
                Candidacy::Found(found) => found,
            };
            if found.lease() == lease.id().0 {
                return Ok(self.won(to_revision(found.create_revision())));
            }
            if found.lease() != 0 {
                return Ok(match layout::read_leader(found.value()) {
                    Ok(leader) => Campaign::Lost(Some(leader)),
                    Err(reason) => {
                        tracing::warn!(key, reason, "the leader's record is damaged");
                        Campaign::Lost(None)
                    }
                });
            }
            tracing::warn!(
                key,
                "the leader's record is under no lease: it is taken away"
            );
            let same = Compare::mod_revision(key.as_str(), CompareOp::Equal, found.mod_revision());
            let txn = (Txn::new().when([same])).and_then([TxnOp::delete(key.as_str(), None)]);
            self.txn(txn, Effect::Write).await?;
        }
        Err(RegistryError::Protocol {
            reason: format!("{key} is being written again and again, under no lease"),
        })
    }

    fn won(&self, elected_at: Revision) -> Campaign {
        Campaign::Won(Leadership {
            registry: self.clone(),
            elected_at,
        })
    }

    /// Creates the leader's record, unless there is one.
    async fn create_leader(
        &self,
        key: &str,
        machine: &MachineId,
        lease: &Lease,
    ) -> Result<Candidacy, RegistryError> {
        let value = layout::leader(&Leader {
            machine: machine.clone(),
        });
        let options = PutOptions::new().with_lease(lease.id().0);
        let txn = Txn::new()
            .when(match is_made(Mutation::ElectedWithoutCompare) {
                true => Vec::new(),
                false => vec![Compare::create_revision(key, CompareOp::Equal, 0)],
            })
            .and_then([TxnOp::put(key, value, Some(options))])
            .or_else([TxnOp::get(key, None)]);
        let answer = self.txn(txn, Effect::Write).await?;
        if answer.succeeded() {
            return Ok(Candidacy::Elected(revision_of(answer.header())?));
        }
        if let Some(TxnOpResponse::Get(mut found)) = answer.op_responses().into_iter().next()
            && let Some(record) = found.take_kvs().into_iter().next()
        {
            return Ok(Candidacy::Found(record));
        }
        Err(RegistryError::Protocol {
            reason: "an election without an answer".to_owned(),
        })
    }
}

/// Units that are taken from machines which must not have begun with them.
struct Unreported<'a> {
    by_unit: BTreeMap<&'a UnitName, BTreeSet<&'a MachineId>>,
    by_machine: BTreeMap<&'a MachineId, Vec<&'a UnitName>>,
}

impl<'a> Unreported<'a> {
    fn of(unreported: &'a BTreeSet<(UnitName, MachineId)>) -> Unreported<'a> {
        let (mut by_unit, mut by_machine) = (BTreeMap::new(), BTreeMap::new());
        for (unit, machine) in unreported {
            let machines: &mut BTreeSet<_> = by_unit.entry(unit).or_default();
            machines.insert(machine);
            let units: &mut Vec<_> = by_machine.entry(machine).or_default();
            units.push(unit);
        }
        Unreported {
            by_unit,
            by_machine,
        }
    }

    /// What of this the decision rests on. What is taken from a machine rests on that machine. What takes its place there does, too,
    /// and is written after it unless it moves away from such a machine itself: only then it needs to be said.
    fn premises(&self, decision: &Decision) -> Vec<(&'a UnitName, &'a MachineId)> {
        match decision {
            Decision::Unassign { unit, machine, .. } => {
                let taken = self.by_unit.get_key_value(unit);
                let from =
                    taken.and_then(|(unit, from)| from.get(machine).map(|from| (*unit, *from)));
                from.into_iter().collect()
            }
            Decision::Assign { unit, machine, .. } if self.by_unit.contains_key(unit) => {
                let taken = self.by_machine.get_key_value(machine).into_iter();
                let taken = taken.flat_map(|(from, units)| units.iter().map(|unit| (*unit, *from)));
                let others = taken.filter(|(other, _)| *other != unit);
                others.take(PREMISES_MAX).collect()
            }
            Decision::Assign { .. }
            | Decision::Hold { .. }
            | Decision::Release { .. }
            | Decision::Brake(_) => Vec::new(),
        }
    }
}

/// What came of trying to write the leader's record.
enum Candidacy {
    /// It is written, at this revision.
    Elected(Revision),
    /// There is one.
    Found(KeyValue),
}

impl Leadership {
    /// Writes decisions in transactions of at most 128 operations, a few at once. All about one unit are written in one
    /// transaction, so that it is never seen on two machines, or on none, while it moves; only a unit with more decisions than
    /// fit is split, which is one that runs everywhere. Two decisions about one record: the later one counts.
    ///
    /// # Errors
    /// [`WriteError::Deposed`] if we no longer lead. Some transactions may have been done; deciding again goes on from there.
    pub async fn write(&self, decisions: &[Decision]) -> Result<(), WriteError> {
        self.write_if_unreported(decisions, &BTreeSet::new(), Revision::default())
            .await
    }

    /// As [`Leadership::write`], if none of these machines has begun to report this unit since revision `seen`: what takes a unit
    /// from a machine that may not have begun with it must not give its place away once it has.
    ///
    /// # Errors
    /// As [`Leadership::write`]. [`WriteError::Contested`] if one of them has: some transactions may have been done, and what goes
    /// with that unit was not.
    pub async fn write_if_unreported(
        &self,
        decisions: &[Decision],
        unreported: &BTreeSet<(UnitName, MachineId)>,
        seen: Revision,
    ) -> Result<(), WriteError> {
        let mut units: BTreeMap<Option<&UnitName>, Group> = BTreeMap::new();
        let unreported = Unreported::of(unreported);
        for decision in decisions {
            let (key, write) = self.write_of(decision);
            let group = units.entry(decision.unit()).or_default();
            let rests_on = unreported.premises(decision);
            if !rests_on.is_empty() && !is_made(Mutation::MoveNotCompared) {
                let premise = |(unit, machine): (&UnitName, &MachineId)| {
                    let record = RecordKey::Status(machine.clone(), unit.clone());
                    Premise {
                        key: self.registry.layout().key(&record),
                        holds: Holds::UnwrittenSince(seen),
                    }
                };
                let premises = rests_on.into_iter().map(premise).collect();
                group.premises.insert(key.clone(), premises);
            }
            group.writes.insert(key, write);
        }
        let mut groups: Vec<Group> = units.into_values().collect();
        // By machine, so that each hears of most of its units at once. Schedules come after holds.
        groups.sort_by(|a, b| {
            let (a, b) = (a.writes.last_key_value(), b.writes.last_key_value());
            a.map(|(key, _)| key).cmp(&b.map(|(key, _)| key))
        });
        let fence = match is_made(Mutation::LeaderNotCompared) {
            true => Vec::new(),
            false => vec![self.fence()],
        };
        match write_if(&self.registry, &fence, groups).await {
            Ok(reported) if reported.is_empty() => Ok(()),
            Ok(reported) => {
                tracing::debug!(?reported, "reported meanwhile");
                Err(WriteError::Contested)
            }
            Err(error) => Err(error),
        }
    }

    fn write_of(&self, decision: &Decision) -> (String, Write) {
        let (record, write) = match decision {
            Decision::Assign {
                unit,
                machine,
                assignment,
                ..
            } => {
                let record = RecordKey::Assignment(machine.clone(), unit.clone());
                (record, Write::Put(layout::assignment(assignment)))
            }
            Decision::Unassign { unit, machine, .. } => (
                RecordKey::Assignment(machine.clone(), unit.clone()),
                Write::Delete,
            ),
            Decision::Hold { unit, hold } => (
                RecordKey::Hold(unit.clone()),
                Write::Put(layout::hold(hold)),
            ),
            Decision::Release { unit } => (RecordKey::Hold(unit.clone()), Write::Delete),
            Decision::Brake(Some(brake)) => (RecordKey::Brake, Write::Put(layout::brake(brake))),
            Decision::Brake(None) => (RecordKey::Brake, Write::Delete),
        };
        (self.registry.layout().key(&record), write)
    }

    /// Deletes unit files that no unit refers to in the records of revision `seen`. A file that was written again since then
    /// is in use again, and is kept.
    ///
    /// # Errors
    /// [`WriteError::Deposed`] if we no longer lead. Some files may have been deleted.
    pub async fn collect_files(
        &self,
        unreferenced: &[FileHash],
        seen: Revision,
    ) -> Result<(), WriteError> {
        let leader = self.registry.layout().key(&RecordKey::Leader);
        let keys: Vec<String> = unreferenced
            .iter()
            .map(|hash| self.registry.layout().key(&RecordKey::File(*hash)))
            .collect();
        for chunk in keys.chunks(FILES_PER_COLLECTION) {
            let unchanged = chunk.iter().map(|key| {
                Compare::mod_revision(
                    key.as_str(),
                    CompareOp::Less,
                    from_revision(seen).saturating_add(1),
                )
            });
            let txn = Txn::new()
                .when(
                    [self.fence()]
                        .into_iter()
                        .chain(unchanged)
                        .collect::<Vec<_>>(),
                )
                .and_then(
                    chunk
                        .iter()
                        .map(|key| TxnOp::delete(key.as_str(), None))
                        .collect::<Vec<_>>(),
                )
                .or_else([TxnOp::get(leader.as_str(), None)]);
            let answer = self.registry.txn(txn, Effect::Write).await?;
            let still_leader = answer.succeeded()
                || matches!(answer.op_responses().first(), Some(TxnOpResponse::Get(found))
                    if found.kvs().first().is_some_and(|record| to_revision(record.create_revision()) == self.elected_at));
            if !still_leader {
                return Err(WriteError::Deposed);
            }
        }
        Ok(())
    }

    /// Stops leading, so that another can at once.
    ///
    /// # Errors
    /// If the store failed; the record then goes with the lease.
    pub async fn resign(self) -> Result<(), RegistryError> {
        let key = self.registry.layout().key(&RecordKey::Leader);
        let fence = match is_made(Mutation::ResignsForAnother) {
            true => Vec::new(),
            false => vec![self.fence()],
        };
        let txn = Txn::new().when(fence).and_then([TxnOp::delete(key, None)]);
        self.registry.txn(txn, Effect::Write).await.map(|_| ())
    }

    fn fence(&self) -> Compare {
        let key = self.registry.layout().key(&RecordKey::Leader);
        Compare::create_revision(key, CompareOp::Equal, from_revision(self.elected_at))
    }
}
