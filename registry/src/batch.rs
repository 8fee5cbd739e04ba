//! Carrying out what users ask: requests are resolved against the copy in memory, written in as few transactions as etcd
//! allows, and resolved again if a unit was changed by another meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp};
use futures_util::{StreamExt, stream};
use model::{
    Action, Done, Generation, Known, MachineId, MachineSpec, MetadataEdit, Outcome, RecordKey,
    Refusal, Revision, StoreError, TargetState, Unit, UnitRequest, UnitWrite, resolve,
};
use tokio::time::Instant;
use unitfile::{FileHash, Requirements, UnitFile, UnitName};

use crate::chunks::{CHUNK_BYTES_MAX, IN_FLIGHT_MAX, OPERATIONS_MAX, Write};
use crate::connection::{Registry, from_revision};
use crate::error::{Effect, RegistryError};
use crate::layout;
use crate::view::{Inner, Memory};

/// How long a change is tried again because others changed the same records: each time one of them got through, but that may be
/// the same one often, as whoever has written knows the newest revision first. Below the time that a request may take.
const CONTESTED_MAX: Duration = Duration::from_secs(5);

type Answer = Result<Outcome, Refusal>;

/// What is to be written for one unit, after all requests about it.
struct Plan {
    /// When the record it rests on was last modified; none if there was none.
    rests_on: Option<Revision>,
    /// What the record becomes.
    becomes: Becomes,
    /// Files to write with it.
    files: BTreeMap<FileHash, UnitFile>,
    /// The requests that it answers, by their place in the batch.
    requests: Vec<(usize, Answer)>,
}

/// What becomes of a unit's record.
#[derive(Clone, PartialEq)]
enum Becomes {
    /// It stays as it is.
    Same,
    Put(Unit),
    Deleted,
}

/// A transaction: what it rests on, what it writes, and whose plans it carries out.
#[derive(Default)]
struct Chunk {
    compares: Vec<Compare>,
    operations: Vec<TxnOp>,
    files: BTreeSet<FileHash>,
    bytes: usize,
    units: Vec<UnitName>,
}

/// Carries out `requests` in their order; see [`model::ClusterStore::apply`].
pub(crate) async fn apply(
    view: &Arc<Inner>,
    requests: &[UnitRequest],
) -> Result<Vec<Answer>, StoreError> {
    let mut sent = 0;
    let applied = apply_counting(view, requests, &mut sent).await;
    applied.map_err(|error| blurred(error, sent))
}

/// What an error says of all transactions when `sent` were sent of which it ended one: that the last was not carried out does not
/// mean that nothing was done.
fn blurred(error: StoreError, sent: usize) -> StoreError {
    match error {
        StoreError::Unreachable(reason) | StoreError::Refused(reason) if sent > 1 => {
            StoreError::Unknown(reason)
        }
        StoreError::Unreachable(_) | StoreError::Refused(_) | StoreError::Unknown(_) => error,
    }
}

/// Adds to `sent` how many transactions were begun.
async fn apply_counting(
    view: &Arc<Inner>,
    requests: &[UnitRequest],
    sent: &mut usize,
) -> Result<Vec<Answer>, StoreError> {
    let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
    let until = Instant::now() + CONTESTED_MAX;
    loop {
        let pending: Vec<usize> = (0..requests.len())
            .filter(|index| answers[*index].is_none())
            .collect();
        view.catch_up().await?;
        let mut plans = {
            let memory = view.memory();
            plan(
                &memory,
                pending.iter().map(|index| (*index, &requests[*index])),
            )
        };
        let (settled, chunks) = chunks_of(&view.registry, &plans);
        for unit in settled {
            answer(&mut answers, plans.remove(&unit));
        }
        *sent += chunks.len();
        let mut written = stream::iter(chunks)
            .map(|chunk| write(&view.registry, chunk))
            .buffer_unordered(IN_FLIGHT_MAX);
        while let Some(units) = written.next().await.transpose()? {
            units
                .iter()
                .for_each(|unit| answer(&mut answers, plans.remove(unit)));
        }
        // What is left was contested.
        if plans.is_empty() || Instant::now() >= until {
            let contested = || Err(Refusal::Contested);
            let answers = answers.into_iter();
            return Ok(answers
                .map(|answer| answer.unwrap_or_else(contested))
                .collect());
        }
    }
}

fn answer(answers: &mut [Option<Answer>], plan: Option<Plan>) {
    for (index, answer) in plan.into_iter().flat_map(|plan| plan.requests) {
        answers[index] = Some(answer);
    }
}

/// Resolves requests in their order, each seeing what the ones before it will have done.
fn plan<'a>(
    memory: &Memory,
    requests: impl Iterator<Item = (usize, &'a UnitRequest)>,
) -> BTreeMap<UnitName, Plan> {
    let mut plans: BTreeMap<UnitName, Plan> = BTreeMap::new();
    let mut files: BTreeMap<FileHash, UnitFile> = BTreeMap::new();
    for (index, request) in requests {
        let plan = plan_one(memory, &plans, &files, request);
        let entry = plans.entry(request.name.clone()).or_insert_with(|| Plan {
            rests_on: memory.modified.get(&request.name).copied(),
            becomes: Becomes::Same,
            files: BTreeMap::new(),
            requests: Vec::new(),
        });
        match plan {
            Ok((becomes, file, outcome)) => {
                if becomes != Becomes::Same {
                    entry.becomes = becomes;
                }
                if let Some(file) = file {
                    files.insert(file.file_hash(), file.clone());
                    entry.files.insert(file.file_hash(), file);
                }
                entry.requests.push((index, Ok(outcome)));
            }
            Err(refusal) => entry.requests.push((index, Err(refusal))),
        }
    }
    plans
}

fn plan_one(
    memory: &Memory,
    plans: &BTreeMap<UnitName, Plan>,
    files: &BTreeMap<FileHash, UnitFile>,
    request: &UnitRequest,
) -> Result<(Becomes, Option<UnitFile>, Outcome), Refusal> {
    let generation = Generation(memory.revision.0 + 1);
    let untouched = plans
        .get(&request.name)
        .is_none_or(|plan| plan.becomes == Becomes::Same);
    if untouched && memory.records.quarantined_units.contains(&request.name) {
        return damaged(memory, request, generation);
    }
    let unit = unit_of(memory, plans, &request.name);
    let template = request
        .name
        .template()
        .and_then(|template| unit_of(memory, plans, &template));
    let file_of = |unit: &Unit| {
        files
            .get(&unit.file)
            .or_else(|| memory.records.files.get(&unit.file).map(Arc::as_ref))
    };
    let known = Known {
        unit,
        file: unit.and_then(file_of),
        template: template
            .filter(|_| request.name.is_instance())
            .and_then(file_of),
    };
    // Numbers grow also within one batch, and whatever happened to the store.
    let earlier = unit.map_or(0, |unit| unit.generation.0);
    let generation = Generation(generation.0.max(earlier + 1));
    let (write, outcome) = resolve(request, known, generation)?;
    write.check_ties(|name| {
        let file = unit_of(memory, plans, name).and_then(file_of)?;
        Some(Requirements::of_stored(name, file).0)
    })?;
    // A file that the store has lost is put back by whoever has it.
    let lost = unit
        .filter(|unit| file_of(unit).is_none())
        .and_then(|unit| {
            let theirs = request.file.iter().chain(request.template.iter());
            theirs
                .into_iter()
                .find(|file| file.file_hash() == unit.file)
                .cloned()
        });
    Ok(match write {
        UnitWrite::Nothing => (Becomes::Same, lost, outcome),
        UnitWrite::Put { unit, file } => (Becomes::Put(unit), file.or(lost), outcome),
        UnitWrite::Delete => (Becomes::Deleted, None, outcome),
    })
}

/// The unit, as it will be after the requests planned so far.
fn unit_of<'a>(
    memory: &'a Memory,
    plans: &'a BTreeMap<UnitName, Plan>,
    name: &UnitName,
) -> Option<&'a Unit> {
    match plans.get(name).map(|plan| &plan.becomes) {
        Some(Becomes::Put(unit)) => Some(unit),
        Some(Becomes::Deleted) => None,
        Some(Becomes::Same) | None => memory.records.units.get(name),
    }
}

/// A unit whose record cannot be read can only be destroyed.
fn damaged(
    memory: &Memory,
    request: &UnitRequest,
    generation: Generation,
) -> Result<(Becomes, Option<UnitFile>, Outcome), Refusal> {
    if request.action != Action::Destroy {
        let suffix = format!("/{}", request.name);
        let problem = memory
            .records
            .quarantine
            .values()
            .find(|problem| problem.key.ends_with(&suffix));
        let reason = problem.map_or_else(
            || "it cannot be read".to_owned(),
            |problem| problem.reason.clone(),
        );
        return Err(Refusal::Damaged(reason));
    }
    let outcome = Outcome {
        name: request.name.clone(),
        done: Done::Destroyed,
        target: TargetState::Inactive,
        generation,
        global: false,
        differs: false,
        replace_refused_in: None,
    };
    Ok((Becomes::Deleted, None, outcome))
}

/// Packs plans into transactions; returns also the units for which there is nothing to write.
fn chunks_of(registry: &Registry, plans: &BTreeMap<UnitName, Plan>) -> (Vec<UnitName>, Vec<Chunk>) {
    let mut settled = Vec::new();
    let mut chunks: Vec<Chunk> = Vec::new();
    for (name, plan) in plans {
        let nothing = plan.files.is_empty()
            && match plan.becomes {
                Becomes::Same => true,
                // Made and destroyed in one batch.
                Becomes::Deleted => plan.rests_on.is_none(),
                Becomes::Put(_) => false,
            };
        if nothing {
            settled.push(name.clone());
            continue;
        }
        let fits = chunks.last().is_some_and(|chunk| chunk.takes(plan));
        if !fits {
            chunks.push(Chunk::default());
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.add(registry, name, plan);
        }
    }
    (settled, chunks)
}

impl Chunk {
    fn takes(&self, plan: &Plan) -> bool {
        let new_files = || {
            plan.files
                .iter()
                .filter(|(hash, _)| !self.files.contains(hash))
        };
        let bytes: usize = new_files().map(|(_, file)| file.raw().len()).sum();
        // The record of a unit takes less than 512 bytes with its key.
        self.operations.len() + 1 + new_files().count() <= OPERATIONS_MAX
            && self.compares.len() < OPERATIONS_MAX
            && self.bytes + bytes + 512 <= CHUNK_BYTES_MAX
    }

    fn add(&mut self, registry: &Registry, name: &UnitName, plan: &Plan) {
        let key = registry.layout().key(&RecordKey::Unit(name.clone()));
        let expected = from_revision(plan.rests_on.unwrap_or_default());
        self.compares.push(Compare::mod_revision(
            key.as_str(),
            CompareOp::Equal,
            expected,
        ));
        for (hash, file) in &plan.files {
            if self.files.insert(*hash) {
                self.bytes += file.raw().len();
                let key = registry.layout().key(&RecordKey::File(*hash));
                self.operations
                    .push(Write::Put(layout::file(file)).operation(key));
            }
        }
        match &plan.becomes {
            Becomes::Same => {}
            Becomes::Put(unit) => self
                .operations
                .push(Write::Put(layout::unit(unit)).operation(key)),
            Becomes::Deleted => self.operations.push(Write::Delete.operation(key)),
        }
        self.bytes += 512;
        self.units.push(name.clone());
    }
}

/// Returns the units whose plans are carried out; none if another changed one of them meanwhile.
async fn write(registry: &Registry, chunk: Chunk) -> Result<Vec<UnitName>, StoreError> {
    let txn = Txn::new().when(chunk.compares).and_then(chunk.operations);
    let answer = registry.txn(txn, Effect::Write).await?;
    Ok(if answer.succeeded() {
        chunk.units
    } else {
        Vec::new()
    })
}

/// Changes what operators set on machines; see [`model::ClusterStore::edit_machines`].
pub(crate) async fn edit_machines(
    registry: &Registry,
    edits: &[MetadataEdit],
) -> Result<(), StoreError> {
    let mut by_machine: BTreeMap<&MachineId, Vec<&MetadataEdit>> = BTreeMap::new();
    for edit in edits {
        by_machine.entry(&edit.machine).or_default().push(edit);
    }
    for (index, (machine, edits)) in by_machine.into_iter().enumerate() {
        let edited = edit_machine(registry, machine, &edits).await;
        edited.map_err(|error| blurred(error, index + 1))?;
    }
    Ok(())
}

async fn edit_machine(
    registry: &Registry,
    machine: &MachineId,
    edits: &[&MetadataEdit],
) -> Result<(), StoreError> {
    let key = registry
        .layout()
        .key(&RecordKey::MachineSpec(machine.clone()));
    let until = Instant::now() + CONTESTED_MAX;
    loop {
        let found = registry.get(key.clone(), GetOptions::new()).await?;
        let record = found.kvs().first();
        let spec = match record.map(|record| layout::read_machine_spec(record.value())) {
            None => MachineSpec::default(),
            Some(Ok(spec)) => spec,
            Some(Err(reason)) => return Err(RegistryError::Damaged { key, reason }.into()),
        };
        let mut changed = spec.clone();
        for edit in edits {
            changed
                .metadata
                .insert(edit.key.clone(), edit.value.clone());
        }
        if changed == spec {
            return Ok(());
        }
        let seen = record.map_or(0, etcd_client::KeyValue::mod_revision);
        let txn = Txn::new()
            .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, seen)])
            .and_then([TxnOp::put(
                key.as_str(),
                layout::machine_spec(&changed),
                None,
            )]);
        if registry.txn(txn, Effect::Write).await?.succeeded() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(StoreError::Refused(format!(
                "the settings of machine {machine} are being changed by others all the time: try again"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_the_first_transaction_it_is_known_that_nothing_was_done() {
        let away = || StoreError::Unreachable("away".to_owned());
        assert_eq!(blurred(away(), 0), away());
        assert_eq!(blurred(away(), 1), away());
        assert_eq!(blurred(away(), 2), StoreError::Unknown("away".to_owned()));
        let refused = StoreError::Refused("full".to_owned());
        assert_eq!(blurred(refused.clone(), 1), refused);
        assert_eq!(blurred(refused, 2), StoreError::Unknown("full".to_owned()));
    }
}
