//! etcd ends the lease of a machine that is well, as it may when its leader has stood still: nothing that runs there may notice. Nothing
//! else goes wrong until the machine is back, so nothing else can be a reason.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::checker::{Checker, State};
use crate::faults::Heal;
use crate::process::PREFIX;
use crate::world::{Role, World};

/// How long a machine must have been well: connections that broke before are open again, questions are heard again.
const WELL_FOR: Duration = Duration::from_secs(6);

/// How long the machine has: it notices with its next keep-alive, a third of a lease later at most, and may have exclusive units to stop, of
/// which one takes 6 s. Units of a machine that has answered stay for as long as a lease.
const RETURN_MAX: Duration = Duration::from_millis(9_500);

/// How often it is looked whether it is back.
const LOOK: Duration = Duration::from_millis(20);

impl World {
    /// etcd ends the lease of a machine that is well, while whoever leads is too.
    pub(crate) async fn end_lease(&mut self, kind: &'static str) {
        let leader = self.leader();
        if !leader.is_some_and(|index| self.is_well(Role::Engine, index)) {
            return;
        }
        let well = (0..self.agents.len()).filter(|index| self.is_well(Role::Agent, *index));
        let well: Vec<usize> = well.collect();
        if well.is_empty() {
            return;
        }
        let index = *self.dice.one_of(&well);
        self.end_leases(kind, &[index]).await;
    }

    /// etcd ends the leases of these machines, which are well, as is whoever leads; returns when all are back, or it has taken too long.
    pub(crate) async fn end_leases(&mut self, kind: &'static str, indices: &[usize]) {
        let records = self.records().await;
        let machines: BTreeSet<String> = indices
            .iter()
            .map(|it| self.machine(*it).to_owned())
            .collect();
        let lease_of = |machine: &String| {
            let key = format!("{PREFIX}machines/{machine}");
            let record = records.iter().find(|it| it.key() == key.as_bytes());
            record.map(etcd_client::KeyValue::lease)
        };
        let leases: Vec<i64> = machines.iter().filter_map(lease_of).collect();
        if leases.len() < machines.len() {
            return;
        }
        for machine in &machines {
            self.history.fault(kind, machine);
        }
        self.checker.lock().ended_while_well = machines;
        if let Err(error) = self.expire(&leases).await {
            self.history.note("store", error);
        }
        let until = Instant::now() + RETURN_MAX;
        while Instant::now() < until && !self.history.is_broken() {
            sleep(LOOK).await;
            if self.checker.lock().ended_while_well.is_empty() {
                return;
            }
        }
        self.checker.stay_away();
    }

    /// The store does it, and nobody asked.
    async fn expire(&self, leases: &[i64]) -> Result<(), etcd_client::Error> {
        let mut store = etcd_client::Client::from_channel(self.store.channel(), None).await?;
        for lease in leases {
            store.lease_revoke(*lease).await?;
        }
        Ok(())
    }

    /// Nothing is wrong with a process, its network, its machine and the store, nor has been for a while.
    fn is_well(&self, role: Role, index: usize) -> bool {
        let slot = match role {
            Role::Agent => &self.agents[index],
            Role::Engine => &self.engines[index],
            Role::User => &self.user,
        };
        let running = slot.running.as_ref();
        let running = running.filter(|running| !running.leave.is_cancelled());
        let goes_since = running.and_then(|running| running.gate.well_since());
        let (Some(goes_since), Some(connected_since)) = (goes_since, slot.link.well_since()) else {
            return false;
        };
        let is_in_the_way = |heal: &Heal| match heal {
            Heal::Start(..)
            | Heal::Resume(..)
            | Heal::Link { .. }
            | Heal::Behind(..)
            | Heal::Restart(..) => false,
            Heal::Bus(at) | Heal::Disk(at) | Heal::Hang(at) | Heal::Clock(at) => *at == index,
            Heal::Mask(..) => false,
            // Nobody knows what follows from it.
            Heal::Store | Heal::Record(_) => true,
        };
        goes_since.max(connected_since).elapsed() >= WELL_FOR
            && !self.heals.values().any(is_in_the_way)
    }
}

impl Checker {
    /// Who has not come back in time counts as lost after all.
    fn stay_away(&self) {
        let mut state = self.lock();
        for machine in std::mem::take(&mut state.ended_while_well) {
            self.history
                .note("checker", format!("{machine} stays away"));
            state.lost_at.insert(machine, Instant::now());
        }
    }
}

impl State {
    /// If nothing but its lease was lost, it has never been away.
    pub(crate) fn comes_back(&mut self, machine: &str) {
        if self.ended_while_well.remove(machine)
            && let Some(record) = self.mirror.machines.get_mut(machine)
        {
            record.overlook_gap();
        }
    }
}
