//! Work on the store by hand, past everybody: records damaged and repaired, leases revoked, history compacted; and the
//! checker's own watch.

use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, EventType, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
    WatchOptions,
};
use tokio::time::sleep;

use crate::catalog::Rule;
use crate::checker::Checker;
use crate::faults::{Damage, Heal};
use crate::network::Writers;
use crate::process::PREFIX;
use crate::world::{Role, World};
use crate::written::STORE;

/// What a damaged record says.
const NONSENSE: [&str; 4] = ["", "{", "nonsense", "{\"file\":7}"];

impl World {
    pub(crate) async fn records(&self) -> Vec<KeyValue> {
        let mut raw = self.raw.clone();
        match raw.get(PREFIX, Some(GetOptions::new().with_prefix())).await {
            Ok(mut answer) => answer.take_kvs(),
            Err(error) => {
                self.history
                    .note("operator", format!("cannot read: {error}"));
                Vec::new()
            }
        }
    }

    /// Overwrites a record with nonsense.
    pub(crate) async fn damage(&mut self, kind: &'static str) {
        let mut records = self.records().await;
        // What is put back must not be nonsense too.
        records.retain(|record| {
            !self.heals.values().any(
                |heal| matches!(heal, Heal::Record(damage) if damage.key.as_bytes() == record.key()),
            )
        });
        if records.is_empty() {
            return;
        }
        // What nobody promises: an operator's word on a machine that a leader never knew whole does not count.
        let specs = format!("{PREFIX}machine-specs/");
        records.retain(|record| !record.key().starts_with(specs.as_bytes()));
        if records.is_empty() {
            return;
        }
        // Most often one of those that everything depends on.
        let folder = match self.hurries(66) {
            true => *self.dice.one_of(&["units/", "schedule/"]),
            false => "",
        };
        let is_in = |record: &KeyValue| {
            record
                .key()
                .starts_with(format!("{PREFIX}{folder}").as_bytes())
        };
        if records.iter().any(is_in) {
            records.retain(is_in);
        }
        let record = self.dice.one_of(&records).clone();
        let nonsense = *self.dice.one_of(&NONSENSE);
        let key = String::from_utf8_lossy(record.key()).into_owned();
        let options = PutOptions::new().with_lease(record.lease());
        let txn = Txn::new()
            .when([Compare::mod_revision(
                key.as_str(),
                CompareOp::Equal,
                record.mod_revision(),
            )])
            .and_then([TxnOp::put(key.as_str(), nonsense, Some(options))]);
        self.history.fault(kind, &key);
        match self.raw.clone().txn(txn).await {
            Ok(answer) if answer.succeeded() => {
                let damage = Damage {
                    key,
                    value: record.value().to_vec(),
                    lease: record.lease(),
                    revision: answer.header().map_or(0, ResponseHeader::revision),
                };
                if self.hurries(40) {
                    // Longer than the next needs to lead.
                    let lasts = self.dice.between(7_000, 15_000);
                    self.later(lasts, Heal::Record(damage));
                    self.lose_leader();
                } else {
                    let lasts = self.dice.between(500, 15_000);
                    self.later(lasts, Heal::Record(damage));
                }
            }
            Ok(_) => {}
            Err(error) => self.history.note("operator", error),
        }
    }

    /// Who leads next reads everything as it is now.
    fn lose_leader(&mut self) {
        if let Some(index) = self.leader()
            && self.kill(Role::Engine, index)
        {
            self.history
                .fault("crash of an engine", self.name(Role::Engine, index));
            let pause = self.dice.between(0, 14_000);
            self.later(pause, Heal::Start(Role::Engine, index));
        }
    }

    /// Puts a damaged record back unless somebody has written it since; an entry of a unit that has another machine by now is removed.
    pub(crate) async fn repair(&mut self, damage: Damage) {
        let key = damage.key.as_str();
        let options = PutOptions::new().with_lease(damage.lease);
        let mend = match self.is_superseded(key) {
            true => TxnOp::delete(key, None),
            false => TxnOp::put(key, damage.value, Some(options)),
        };
        let txn = Txn::new()
            .when([Compare::mod_revision(
                key,
                CompareOp::Equal,
                damage.revision,
            )])
            .and_then([mend]);
        let told = match self.raw.clone().txn(txn).await {
            Ok(answer) if answer.succeeded() => "repaired".to_owned(),
            Ok(_) => "written by another meanwhile".to_owned(),
            Err(error) => error.to_string(),
        };
        self.history.note("operator", format!("{key}: {told}"));
    }

    fn is_superseded(&self, key: &str) -> bool {
        let entry = key.strip_prefix(&format!("{PREFIX}schedule/"));
        let Some((machine, unit)) = entry.and_then(|entry| entry.split_once('/')) else {
            return false;
        };
        let state = self.checker.lock();
        let mut others = state.mirror.entries.iter();
        others.any(|((at, name), entry)| {
            let entry = entry.now().filter(|_| name == unit && at != machine);
            entry.is_some_and(|it| self.checker.catalog.rule(&it.file) != Rule::Everywhere)
        })
    }

    /// Ends the lease of a machine or of the leader.
    pub(crate) async fn revoke(&mut self, kind: &'static str) {
        let records = self.records().await;
        let leased: Vec<KeyValue> = records.into_iter().filter(|it| it.lease() != 0).collect();
        if leased.is_empty() {
            return;
        }
        let record = self.dice.one_of(&leased).clone();
        let key = String::from_utf8_lossy(record.key()).into_owned();
        self.history.fault(kind, format!("the one of {key}"));
        if let Err(error) = self.raw.clone().lease_revoke(record.lease()).await {
            self.history.note("operator", error);
        }
    }

    /// Forgets history up to the present, or nearly.
    pub(crate) async fn compact(&mut self, kind: &'static str) {
        // The checker reads all of it first.
        sleep(Duration::from_millis(1)).await;
        let back = i64::try_from(self.dice.below(4)).unwrap_or(0);
        let revision = self.store.revision() - back;
        self.history
            .fault(kind, format!("up to revision {revision}"));
        if let Err(error) = self.store.compact_now(revision).await {
            self.history.note("operator", error);
        }
        if self.dice.percent(70) {
            for link in self.links() {
                link.break_streams();
            }
        }
    }
}

/// Tells the checker of every revision, until the run ends.
pub(crate) async fn watch(channel: etcd_client::Channel, writers: Writers, checker: Checker) {
    if let Err(error) = try_watch(channel, &writers, &checker).await {
        checker
            .history
            .violation("checker", format!("lost the store: {error}"));
    }
}

async fn try_watch(
    channel: etcd_client::Channel,
    writers: &Writers,
    checker: &Checker,
) -> Result<(), etcd_client::Error> {
    let mut client = etcd_client::Client::from_channel(channel, None).await?;
    let options = WatchOptions::new().with_prefix().with_start_revision(1);
    let mut watch = client.watch(PREFIX, Some(options)).await?;
    while let Some(message) = watch.message().await? {
        if message.canceled() {
            checker
                .history
                .violation("checker", "its watch was cancelled");
            return Ok(());
        }
        let mut events = message.events().iter().peekable();
        while let Some(revision) = events
            .peek()
            .and_then(|event| Some(event.kv()?.mod_revision()))
        {
            let mut of_revision = Vec::new();
            while let Some(event) = events.next_if(|event| {
                event
                    .kv()
                    .is_some_and(|record| record.mod_revision() == revision)
            }) {
                let Some(record) = event.kv() else { continue };
                let key = String::from_utf8_lossy(record.key()).into_owned();
                let key = key.trim_start_matches(PREFIX).to_owned();
                let is_put = event.event_type() == EventType::Put;
                of_revision.push((key, is_put.then(|| record.value().to_vec())));
            }
            let writer = {
                let writers = writers
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                writers.get(&revision).cloned()
            };
            checker.hear();
            checker.revises(revision, writer.as_deref().unwrap_or(STORE), &of_revision);
        }
    }
    Ok(())
}
