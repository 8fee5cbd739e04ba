//! Asks the store how it is: each endpoint by itself, its alarms, and the leases of the machines.

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Channel, Client, ConnectOptions, GetOptions, LeaseTimeToLiveOptions,
};
use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use model::{
    Change, DIVERGED, LeaseTime, MACHINE_LEASES_MAX, MachineId, MachineLease, MemberStatus,
    StoreHealth, StoreMember,
};
use tokio::time::{Instant, timeout};

use crate::connection::Registry;
use crate::error::{Effect, RegistryError, classify};

/// Requests for leases under way: a round trip to etcd is a millisecond or two, and it has other work.
const LEASES_ASKED_AT_ONCE: usize = 16;

impl Registry {
    /// How the store is. What cannot be asked is an error of the member, not of this: a store in trouble is what this is for.
    ///
    /// # Errors
    /// If the store as a whole does not answer, its members still are in the answer; alarms and leases are then missing.
    pub async fn health(&self) -> StoreHealth {
        let members = join_all(
            self.members()
                .into_iter()
                .map(|(endpoint, channel)| self.member(endpoint, channel)),
        );
        let (members, voting, alarms, leases) =
            tokio::join!(members, self.voting(), self.alarms(), self.leases());
        let (members, revisions): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let unasked = voting.map_or_else(Vec::new, |voting| unasked(&voting, &members));
        let (mut alarms, alarms_unknown) = told(alarms);
        let (leases, leases_unknown) = told(leases);
        // The latest that all have: a member may lag behind.
        if let Some(revision) = revisions.into_iter().flatten().min()
            && self.is_diverged(revision).await
        {
            alarms.push(DIVERGED.to_owned());
        }
        StoreHealth {
            members,
            unasked,
            alarms,
            alarms_unknown,
            leases,
            leases_unknown,
        }
    }

    /// The members of the store that have a vote, by what the first says that answers, with or without a quorum: other requests are refused
    /// where there is no leader.
    async fn voting(&self) -> Option<Vec<etcd_client::Member>> {
        let mut listing: FuturesUnordered<_> = self
            .members()
            .into_iter()
            .map(|(_, channel)| timeout(self.request_timeout(), self.listed_by(channel)))
            .collect();
        while let Some(listed) = listing.next().await {
            match listed {
                Ok(Ok(members)) => return Some(members),
                // Who answers at all is told by the members themselves.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a member does not say what members there are");
                }
                Err(_elapsed) => {
                    tracing::debug!("a member does not say in time what members there are");
                }
            }
        }
        None
    }

    async fn listed_by(
        &self,
        channel: Channel,
    ) -> Result<Vec<etcd_client::Member>, etcd_client::Error> {
        let mut client = self.client_of(channel).await?;
        let listed = client.member_list().await?;
        let members = listed.members().iter();
        let voting = members.filter(|member| !member.is_learner());
        Ok(voting.cloned().collect())
    }

    async fn member(&self, endpoint: String, channel: Channel) -> (StoreMember, Option<i64>) {
        let limit = self.request_timeout();
        let answer = match timeout(limit, self.status_of(channel)).await {
            Ok(answer) => answer.map_err(|error| match classify(&error, Effect::None) {
                RegistryError::Unreachable { reason } => reason,
                other => other.to_string(),
            }),
            Err(_elapsed) => Err(format!("no answer within {} ms", limit.as_millis())),
        };
        let revision = answer.as_ref().ok().map(|(_, revision)| *revision);
        let answer = answer.map(|(status, _)| status);
        (StoreMember { endpoint, answer }, revision)
    }

    async fn client_of(&self, channel: Channel) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new();
        if let Some((name, password)) = self.user() {
            options = options.with_user(name, password);
        }
        Client::from_channel(channel, Some(options)).await
    }

    /// True if members hold different data up to a revision: etcd says so nowhere unless it was told to look. Each of them reads through
    /// its database for this.
    async fn is_diverged(&self, revision: i64) -> bool {
        let members = self.members();
        if members.len() < 2 {
            return false;
        }
        let asked = members.into_iter().map(|(_, channel)| async {
            let answer = timeout(self.request_timeout(), self.hash_of(channel, revision)).await;
            answer.ok()?.ok()
        });
        let hashes: Vec<(i64, u32)> = join_all(asked).await.into_iter().flatten().collect();
        let differ = |(compacted, hash): &(i64, u32)| {
            let others = hashes.iter().filter(|(other, _)| other == compacted);
            others.map(|(_, other)| other).any(|other| other != hash)
        };
        hashes.iter().any(differ)
    }

    /// What the member's data were compacted at, and the hash of all of them up to a revision.
    async fn hash_of(
        &self,
        channel: Channel,
        revision: i64,
    ) -> Result<(i64, u32), etcd_client::Error> {
        let mut maintenance = self.client_of(channel).await?.maintenance_client();
        let answer = maintenance.hash_kv(revision).await?;
        Ok((answer.compact_version(), answer.hash()))
    }

    async fn status_of(&self, channel: Channel) -> Result<(MemberStatus, i64), etcd_client::Error> {
        let mut client = self.client_of(channel).await?;
        // The first request connects; the second tells how long one takes.
        client.status().await?;
        let asked = Instant::now();
        let status = client.status().await?;
        let revision = status
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let status = MemberStatus {
            version: status.version().to_owned(),
            database_bytes: u64::try_from(status.db_size()).unwrap_or(0),
            leader: status.leader(),
            id: status
                .header()
                .map_or(0, etcd_client::ResponseHeader::member_id),
            latency: asked.elapsed(),
        };
        Ok((status, revision))
    }

    async fn alarms(&self) -> Result<Vec<String>, RegistryError> {
        let answer = self
            .request(Effect::None, |client| {
                let mut maintenance = client.maintenance_client();
                async move {
                    maintenance
                        .alarm(AlarmAction::Get, AlarmType::None, None)
                        .await
                }
            })
            .await?;
        let raised = answer.alarms().iter().map(|alarm| match alarm.alarm() {
            AlarmType::None => "none".to_owned(),
            AlarmType::Nospace => "NOSPACE".to_owned(),
            AlarmType::Corrupt => "CORRUPT".to_owned(),
        });
        let mut raised: Vec<String> = raised.collect();
        raised.sort();
        raised.dedup();
        Ok(raised)
    }

    async fn leases(&self) -> Result<Vec<MachineLease>, RegistryError> {
        let options = GetOptions::new()
            .with_prefix()
            .with_limit(i64::try_from(MACHINE_LEASES_MAX).unwrap_or(i64::MAX));
        let answer = self.get(self.layout().machines_prefix(), options).await?;
        let mut machines = Vec::new();
        for record in answer.kvs() {
            let change = self.layout().decode(record.key(), Some(record.value()));
            if let Some(Change::Machine(machine, Some(_))) = change {
                machines.push((machine, record.lease()));
            }
        }
        let asked = machines
            .into_iter()
            .map(|(machine, lease)| self.lease_of(machine, lease));
        stream::iter(asked)
            .buffered(LEASES_ASKED_AT_ONCE)
            .try_collect()
            .await
    }

    async fn lease_of(
        &self,
        machine: MachineId,
        lease: i64,
    ) -> Result<MachineLease, RegistryError> {
        if lease == 0 {
            let time = None;
            return Ok(MachineLease { machine, time });
        }
        let answer = self
            .request(Effect::None, |client| {
                let mut leases = client.lease_client();
                async move {
                    leases
                        .time_to_live(lease, None::<LeaseTimeToLiveOptions>)
                        .await
                }
            })
            .await?;
        // A lease that has just ended was granted nothing and has less than that left.
        let seconds = |s: i64| Duration::from_secs(u64::try_from(s).unwrap_or(0));
        let time = Some(LeaseTime {
            granted: seconds(answer.granted_ttl()),
            left: seconds(answer.ttl()),
        });
        Ok(MachineLease { machine, time })
    }
}

/// The members that are behind no endpoint of ours: of which neither the id is that of one that answered nor an address that of one that
/// did not.
fn unasked(voting: &[etcd_client::Member], asked: &[StoreMember]) -> Vec<String> {
    // One that does not answer may be known here by another name.
    if voting.len() <= asked.len() {
        return Vec::new();
    }
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let is_asked = |one: &&etcd_client::Member| {
        asked.iter().any(|member| match &member.answer {
            Ok(status) => status.id == one.id(),
            Err(_) => (one.client_urls().iter()).any(|url| bare(url) == bare(&member.endpoint)),
        })
    };
    let named = |one: &etcd_client::Member| match one.client_urls() {
        // It has never been up.
        [] => format!(
            "the one with the peer address {}",
            one.peer_urls().join(" or ")
        ),
        urls => urls.join(" or "),
    };
    let unasked = voting.iter().filter(|one| !is_asked(one));
    unasked.map(named).collect()
}

/// What could be asked, and why it could not.
fn told<T>(answer: Result<Vec<T>, RegistryError>) -> (Vec<T>, Option<String>) {
    match answer {
        Ok(told) => (told, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}
