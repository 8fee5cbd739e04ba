//! A cluster store in memory that keeps the port's promises, and can be told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use model::{
    AskError, Change, ClockReading, ClusterStore, Generation, Known, MachineId, MachineLease,
    MachineSpec, MemberStatus, MetadataEdit, Outcome, Question, Records, Refusal, Removal,
    Revision, StoreError, StoreHealth, StoreMember, UnitRequest, UnitWrite, Update, resolve,
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// Updates a slow subscriber may be behind: few, so that a test can be slow.
const BEHIND_MAX: usize = 4;

#[derive(Clone)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    records: Records,
    /// All changes ever made, by revision.
    history: Vec<(Revision, Arc<[Change]>)>,
    /// What happened up to this revision is forgotten.
    forgotten: Revision,
    updates: broadcast::Sender<Update>,
    mood: Mood,
    elsewhere: Elsewhere,
    health: Health,
    /// How often each call was made.
    calls: BTreeMap<&'static str, usize>,
}

/// How the other machines answer questions.
#[derive(Clone, Debug, Default)]
pub(crate) enum Elsewhere {
    /// Not at all: their fleetd is of an earlier version.
    #[default]
    Silent,
    /// With these pieces.
    Tell(Vec<Result<String, AskError>>),
}

/// What doctor would find, while the store answers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Health {
    /// Nothing.
    Well,
    /// The clock of the first machine is 300 s ahead, and the others do not say theirs; the leases of the others have just ended; there is
    /// a member that is not asked.
    Ailing,
}

/// How the store answers.
#[derive(Clone, PartialEq)]
pub(crate) enum Mood {
    Well,
    Fails(StoreError),
    /// Never answers.
    Hangs,
}

impl Memory {
    pub(crate) fn new() -> Memory {
        let (updates, _) = broadcast::channel(BEHIND_MAX);
        let records = Records {
            revision: Revision(100),
            ..Records::default()
        };
        Memory {
            inner: Arc::new(Mutex::new(Inner {
                forgotten: records.revision,
                records,
                history: Vec::new(),
                updates,
                mood: Mood::Well,
                elsewhere: Elsewhere::Silent,
                health: Health::Well,
                calls: BTreeMap::new(),
            })),
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    pub(crate) fn elsewhere(&self, elsewhere: Elsewhere) {
        self.inner.lock().unwrap().elsewhere = elsewhere;
    }

    pub(crate) fn records(&self) -> Records {
        self.inner.lock().unwrap().records.clone()
    }

    /// Writes `changes` as one revision, as engine and agents do.
    pub(crate) fn change(&self, changes: impl Into<Vec<Change>>) {
        self.inner.lock().unwrap().write(changes.into());
    }

    /// How often each call was made since this was last asked.
    pub(crate) fn take_calls(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.inner.lock().unwrap().calls)
    }

    pub(crate) fn health_is(&self, health: Health) {
        self.inner.lock().unwrap().health = health;
    }

    /// How many follow what happens.
    pub(crate) fn subscribers(&self) -> usize {
        self.inner.lock().unwrap().updates.receiver_count()
    }

    /// Forgets how things came to be as they are.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.forgotten = inner.records.revision;
    }

    async fn answer(&self, call: &'static str) -> Result<(), StoreError> {
        let mood = {
            let mut inner = self.inner.lock().unwrap();
            *inner.calls.entry(call).or_default() += 1;
            inner.mood.clone()
        };
        match mood {
            Mood::Well => Ok(()),
            Mood::Fails(error) => Err(error),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

impl Inner {
    fn write(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.records.revision.0 += 1;
        for change in &changes {
            self.records.apply(change.clone());
        }
        let (revision, changes) = (self.records.revision, Arc::from(changes));
        self.history.push((revision, Arc::clone(&changes)));
        // Nobody may be listening.
        let _ = self.updates.send(Update::Changes(revision, changes));
    }

    fn carry_out(&mut self, request: &UnitRequest) -> Result<Outcome, Refusal> {
        let generation = Generation(self.records.revision.0 + 1);
        let records = &self.records;
        let unit = records.units.get(&request.name);
        let file = |unit: &model::Unit| records.files.get(&unit.file).map(AsRef::as_ref);
        let template = request
            .name
            .template()
            .and_then(|name| records.units.get(&name));
        let known = Known {
            unit,
            file: unit.and_then(file),
            template: template.and_then(file),
        };
        if records.quarantined_units.contains(&request.name) && unit.is_none() {
            if request.action != model::Action::Destroy {
                return Err(Refusal::Damaged("not JSON".into()));
            }
            let name = request.name.clone();
            self.write(vec![Change::Unit(name.clone(), None)]);
            return Ok(Outcome {
                name,
                done: model::Done::Destroyed,
                target: model::TargetState::Inactive,
                generation,
                global: false,
                differs: false,
                replace_refused_in: None,
            });
        }
        let (write, outcome) = resolve(request, known, generation)?;
        write.check_ties(|name| {
            let file = records.units.get(name).and_then(file)?;
            Some(unitfile::Requirements::of_stored(name, file).0)
        })?;
        match write {
            UnitWrite::Nothing => {}
            UnitWrite::Put { unit, file } => {
                let mut changes = Vec::new();
                // A file that is there already is no change.
                if let Some(file) = file
                    && !self.records.files.contains_key(&file.file_hash())
                {
                    changes.push(Change::File(file.file_hash(), Some(Arc::new(file))));
                }
                changes.push(Change::Unit(unit.name.clone(), Some(unit)));
                self.write(changes);
            }
            UnitWrite::Delete => self.write(vec![Change::Unit(request.name.clone(), None)]),
        }
        Ok(outcome)
    }
}

impl ClusterStore for Memory {
    async fn read<T: Send>(
        &self,
        look: impl FnOnce(&Records) -> T + Send,
    ) -> Result<T, StoreError> {
        self.answer("read").await?;
        Ok(look(&self.inner.lock().unwrap().records))
    }

    async fn reach(&self) -> Result<(), StoreError> {
        self.answer("reach").await
    }

    async fn health(&self) -> StoreHealth {
        let answer = self
            .answer("health")
            .await
            .map_err(|error| error.to_string());
        let unknown = answer.as_ref().err().cloned();
        let is_well = self.inner.lock().unwrap().health == Health::Well;
        let lease = |(number, machine): (usize, MachineId)| {
            let lives = is_well || number == 0;
            let seconds = |s| std::time::Duration::from_secs(if lives { s } else { 0 });
            let time = Some(model::LeaseTime {
                granted: seconds(10),
                left: seconds(9),
            });
            MachineLease { machine, time }
        };
        let machines = self.records().machines.into_keys();
        StoreHealth {
            members: vec![StoreMember {
                endpoint: "memory".to_owned(),
                answer: answer.map(|()| MemberStatus {
                    version: "1".to_owned(),
                    database_bytes: 4096,
                    leader: 1,
                    id: 1,
                    latency: std::time::Duration::from_millis(1),
                }),
            }],
            unasked: if is_well {
                Vec::new()
            } else {
                vec!["another".to_owned()]
            },
            alarms: Vec::new(),
            alarms_unknown: unknown.clone(),
            leases: machines.enumerate().map(lease).collect(),
            leases_unknown: unknown,
        }
    }

    async fn changes_since(
        &self,
        revision: Revision,
    ) -> Result<Option<Vec<Arc<[Change]>>>, StoreError> {
        self.answer("changes_since").await?;
        let inner = self.inner.lock().unwrap();
        if !(inner.forgotten..=inner.records.revision).contains(&revision) {
            return Ok(None);
        }
        let later = inner.history.iter().filter(|(at, _)| *at > revision);
        Ok(Some(
            later.map(|(_, changes)| Arc::clone(changes)).collect(),
        ))
    }

    async fn apply(
        &self,
        requests: Vec<UnitRequest>,
    ) -> Result<Vec<Result<Outcome, Refusal>>, StoreError> {
        self.answer("apply").await?;
        let mut inner = self.inner.lock().unwrap();
        Ok(requests
            .iter()
            .map(|request| inner.carry_out(request))
            .collect())
    }

    async fn edit_machines(&self, edits: Vec<MetadataEdit>) -> Result<(), StoreError> {
        self.answer("edit_machines").await?;
        let mut inner = self.inner.lock().unwrap();
        for edit in edits {
            let mut spec: MachineSpec = inner
                .records
                .machine_specs
                .get(&edit.machine)
                .cloned()
                .unwrap_or_default();
            spec.metadata.insert(edit.key, edit.value);
            inner.write(vec![Change::MachineSpec(edit.machine, Some(spec))]);
        }
        Ok(())
    }

    async fn clocks(
        &self,
        machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, ClockReading>, StoreError> {
        self.answer("clocks").await?;
        let (said_unix_ms, asked) = match self.inner.lock().unwrap().health {
            Health::Well => (1_005, machines.len()),
            Health::Ailing => (301_000, 1),
        };
        let reading = |machine| (machine, ClockReading::of(1_000, said_unix_ms, 10));
        Ok(machines.into_iter().take(asked).map(reading).collect())
    }

    fn ask(
        &self,
        machine: MachineId,
        question: Question,
    ) -> impl Stream<Item = Result<String, AskError>> + Send + Unpin + 'static {
        let pieces = match self.inner.lock().unwrap().elsewhere.clone() {
            Elsewhere::Silent => {
                let limit_s = 15;
                vec![Err(AskError::Silent { machine, limit_s })]
            }
            Elsewhere::Tell(pieces) => {
                let told = format!("{machine} is asked {:?}\n", question.topic);
                [Ok(told)].into_iter().chain(pieces).collect()
            }
        };
        futures_util::stream::iter(pieces)
    }

    async fn remove_quarantined(&self, key: String) -> Result<Removal, StoreError> {
        self.answer("remove_quarantined").await?;
        let mut inner = self.inner.lock().unwrap();
        if !inner.records.quarantine.contains_key(&key) {
            return Ok(Removal::NotQuarantined);
        }
        inner.write(vec![Change::Healed { key }]);
        Ok(Removal::Removed)
    }

    async fn subscribe(
        &self,
    ) -> Result<impl Stream<Item = Update> + Send + Unpin + 'static, StoreError> {
        self.answer("subscribe").await?;
        let inner = self.inner.lock().unwrap();
        let updates = BroadcastStream::new(inner.updates.subscribe());
        Ok(updates.map(|update| match update {
            Ok(update) => update,
            Err(BroadcastStreamRecvError::Lagged(_)) => Update::Resync(Revision(0)),
        }))
    }
}
