//! Asking machines what their wall clocks say, through the store: one question to each, all under one lease, so that nothing is written
//! unless a person asks, and nothing outlives an asker that dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::{PutOptions, Txn, TxnOp};
use model::{ClockReading, MachineId, Revision};
use tokio::time::{Instant, timeout};

use crate::connection::{Registry, revision_of};
use crate::error::{Effect, RegistryError};
use crate::layout::{self, Asked};
use crate::lease::LeaseId;
use crate::listing::Range;
use crate::stream::{Heard, Watch};

/// How long the questions outlive an asker that dies.
const QUESTION_TTL: Duration = Duration::from_secs(10);

/// How long is waited for those that do not answer: a busy machine does within 1 s, and a person waits for this.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Questions in one transaction: etcd's limit is 128.
const TOGETHER_MAX: usize = 100;

/// A question that was asked.
struct Pending {
    machine: MachineId,
    asked_unix_ms: u64,
    asked: Instant,
}

struct Asking<'r> {
    registry: &'r Registry,
    lease: LeaseId,
    /// By the key of the answer.
    pending: BTreeMap<String, Pending>,
    found: BTreeMap<MachineId, ClockReading>,
}

impl Registry {
    /// Those of these machines whose fleetd answers within `limit`, whatever the store says of them.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn answering(
        &self,
        machines: Vec<MachineId>,
        limit: Duration,
    ) -> Result<BTreeSet<MachineId>, RegistryError> {
        let clocks = clocks_within(self, machines, limit).await?;
        Ok(clocks.into_keys().collect())
    }
}

/// What the clocks of these machines say; of those that answer in time.
pub(crate) async fn clocks(
    registry: &Registry,
    machines: Vec<MachineId>,
) -> Result<BTreeMap<MachineId, ClockReading>, RegistryError> {
    clocks_within(registry, machines, ANSWER_LIMIT).await
}

async fn clocks_within(
    registry: &Registry,
    machines: Vec<MachineId>,
    limit: Duration,
) -> Result<BTreeMap<MachineId, ClockReading>, RegistryError> {
    if machines.is_empty() {
        return Ok(BTreeMap::new());
    }
    let lease = registry.lease(QUESTION_TTL, None).await?;
    let mut asking = Asking {
        registry,
        lease: lease.id(),
        pending: BTreeMap::new(),
        found: BTreeMap::new(),
    };
    let outcome = timeout(limit, asking.run(&machines)).await;
    let found = asking.found;
    if let Err(error) = lease.revoke().await {
        tracing::debug!(%error, "questions were not taken back; they end by themselves");
    }
    match outcome {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(found),
    }
}

impl Asking<'_> {
    async fn run(&mut self, machines: &[MachineId]) -> Result<(), RegistryError> {
        let machines: BTreeSet<&MachineId> = machines.iter().collect();
        let machines: Vec<&MachineId> = machines.into_iter().collect();
        let mut first = None;
        for together in machines.chunks(TOGETHER_MAX) {
            let at = self.ask(together).await?;
            first = first.or(Some(at));
        }
        let Some(first) = first else {
            return Ok(());
        };
        let range = Range::Prefix(self.registry.layout().all_answers_prefix());
        let watch = Watch::open(self.registry, &range, Revision(first.0 + 1)).await?;
        let mut watch = watch.ok_or(RegistryError::Compacted)?;
        while !self.pending.is_empty() {
            match watch.next().await? {
                Heard::Events(revisions) => {
                    for event in revisions.into_iter().flat_map(|(_, events)| events) {
                        self.hear(&event.key, event.value.as_deref());
                    }
                }
                Heard::UpTo(_) => {}
                Heard::Compacted => return Err(RegistryError::Compacted),
            }
        }
        Ok(())
    }

    /// Asks these, and returns the revision that did.
    async fn ask(&mut self, machines: &[&MachineId]) -> Result<Revision, RegistryError> {
        let layout = self.registry.layout();
        let value = layout::asked(&Asked::of_clock());
        let mut asked_of = Vec::new();
        let mut puts = Vec::new();
        for machine in machines {
            let (question, answer) = layout.question_keys(machine, self.lease);
            let options = PutOptions::new().with_lease(self.lease.0);
            puts.push(TxnOp::put(question, value.clone(), Some(options)));
            asked_of.push((answer, (*machine).clone()));
        }
        let (asked_unix_ms, asked) = (self.registry.unix_ms(), Instant::now());
        let answer = self
            .registry
            .txn(Txn::new().and_then(puts), Effect::None)
            .await?;
        for (key, machine) in asked_of {
            let pending = Pending {
                machine,
                asked_unix_ms,
                asked,
            };
            self.pending.insert(key, pending);
        }
        revision_of(answer.header())
    }

    /// Takes in an answer; other questions have other leases.
    fn hear(&mut self, key: &[u8], value: Option<&[u8]>) {
        let key = String::from_utf8_lossy(key);
        let (Some(pending), Some(value)) = (self.pending.remove(key.as_ref()), value) else {
            return;
        };
        let took_ms = u64::try_from(pending.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A fleetd of an earlier version refuses.
        let told = layout::read_piece(value).map(|piece| piece.text.parse());
        if let Ok(Ok(told)) = told {
            let reading = ClockReading::of(pending.asked_unix_ms, told, took_ms);
            self.found.insert(pending.machine, reading);
        }
    }
}
