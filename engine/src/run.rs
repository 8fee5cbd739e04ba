//! Whether this machine's engine leads: waits while another does, stands for election as soon as
//! none does, leads until it is deposed, loses its lease or is told to stop.
//!
//! Only the leader follows the whole cluster; the others follow one key.

use std::time::Duration;

use model::{Change, Decision, Leader, MachineId, RecordKey, UnassignReason};
use registry::{Campaign, Follow, FollowEvent, Registry, RegistryError, Scope};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::brake::BrakeLimits;
use crate::lead::{Elected, lead};

/// Over how long engines spread their candidacies when a leader is gone, so that not all of
/// thousands ask for a lease at once: those that come later see that one has won. Small beside a
/// start, which takes longer than this by itself.
const CANDIDACY_SPREAD: Duration = Duration::from_millis(50);

/// The first wait after the store failed.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait after the store failed: a store that comes back is noticed this soon.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// How long giving up leadership in order may take; after that the lease ends by itself.
const RESIGN_MAX: Duration = Duration::from_secs(5);

/// What the engine is told about how to work.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// How long the leader's lease lives without a sign of life: after a crash the cluster is
    /// without a leader this long.
    pub lease_ttl: Duration,
    /// When units of lost machines are held instead of moved.
    pub brake: BrakeLimits,
    /// When this machine last had not heard from the store for long, or joined the cluster; none if that is not known. Other
    /// machines may have lost their leases then, as when a store stands still and goes on, and may be a moment late in coming back: a
    /// leader waits for those with units, five seconds at the most.
    pub unsteady: Option<watch::Receiver<Instant>>,
    /// Whether a machine whose lease has ended is asked if it is there all the same.
    pub loss: Loss,
}

/// What the end of a machine's lease means to a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// That the machine is lost.
    Believed,
    /// That it is asked, and waited for if it answers. It takes half a second until it is taken for lost.
    Questioned,
}

/// What the engine does, for health and metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineReport {
    /// Its part in the cluster.
    pub role: Role,
    /// Plans made since it started.
    pub passes: u64,
    /// Decisions written since it started.
    pub decisions: u64,
    /// Of these: entries made or renewed in machines' schedules.
    pub assigned: u64,
    /// Of these: entries taken out of machines' schedules.
    pub unassigned: u64,
    /// Decisions whose writing failed or whose outcome is not known; they are decided again.
    pub unwritten: Unwritten,
    /// Units found on machines that are gone.
    pub machines_gone: u64,
    /// Units found on machines that they no longer fit.
    pub unfit: u64,
    /// Units found that no machine can take; again each time the reason changes.
    pub held: u64,
    /// Machines that were lost together and keep their units now.
    pub machines_braked: usize,
    /// How often it was elected.
    pub elections: u64,
    /// How long the last plan took to make.
    pub last_pass: Duration,
    /// Why the store cannot be used now; none if it can.
    pub store_problem: Option<String>,
}

/// Decisions that could not be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unwritten {
    /// Entries to be made or renewed.
    pub assigned: u64,
    /// Entries to be taken out.
    pub unassigned: u64,
}

impl EngineReport {
    /// Takes in decisions as they are made.
    pub(crate) fn count_made(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            match decision {
                Decision::Unassign { reason, .. } => {
                    self.machines_gone += u64::from(matches!(reason, UnassignReason::MachineGone));
                    self.unfit += u64::from(matches!(reason, UnassignReason::NoLongerFits(_)));
                }
                Decision::Hold { .. } => self.held += 1,
                Decision::Assign { .. } | Decision::Release { .. } | Decision::Brake(_) => {}
            }
        }
    }

    /// Takes in decisions that were written.
    pub(crate) fn count_written(&mut self, decisions: &[Decision]) {
        let (assigned, unassigned) = entries(decisions);
        self.assigned += assigned;
        self.unassigned += unassigned;
        let count = u64::try_from(decisions.len()).unwrap_or(u64::MAX);
        self.decisions = self.decisions.saturating_add(count);
    }

    /// Takes in decisions that were not.
    pub(crate) fn count_unwritten(&mut self, decisions: &[Decision]) {
        let (assigned, unassigned) = entries(decisions);
        self.unwritten.assigned += assigned;
        self.unwritten.unassigned += unassigned;
    }
}

/// How many of the decisions make or renew entries, and how many take them out.
fn entries(decisions: &[Decision]) -> (u64, u64) {
    let mut entries = (0, 0);
    for decision in decisions {
        match decision {
            Decision::Assign { .. } => entries.0 += 1,
            Decision::Unassign { .. } => entries.1 += 1,
            Decision::Hold { .. } | Decision::Release { .. } | Decision::Brake(_) => {}
        }
    }
    entries
}

/// The engine's part in the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// It does not know yet who leads.
    #[default]
    Unknown,
    /// Another leads.
    Following(MachineId),
    /// It leads.
    Leading,
}

/// Runs the engine until `shutdown`. Failures of the store are waited out. Returns when everything
/// it started has ended; if it led, it has resigned by then, and another can lead at once.
pub async fn run(
    registry: Registry,
    machine: MachineId,
    settings: EngineSettings,
    report: watch::Sender<EngineReport>,
    shutdown: CancellationToken,
) {
    let engine = Engine {
        registry,
        machine,
        settings,
        report,
    };
    let mut retry = RETRY_FIRST;
    while !shutdown.is_cancelled() {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = engine.vacancy() => {}
        }
        // Not cut short by a shutdown: an election that was won unseen would leave the cluster
        // without a leader for as long as the lease lives. Each request has a limit of its own.
        match engine.stand().await {
            Ok(Some(elected)) => {
                retry = RETRY_FIRST;
                engine.lead(elected, &shutdown).await;
            }
            // Another was quicker.
            Ok(None) => retry = RETRY_FIRST,
            Err(error) => {
                tracing::warn!(%error, "standing for election failed; trying again");
                engine
                    .report
                    .send_modify(|report| report.store_problem = Some(error.to_string()));
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = sleep(retry) => {}
                }
                retry = (retry * 2).min(RETRY_LONGEST);
            }
        }
    }
}

struct Engine {
    registry: Registry,
    machine: MachineId,
    settings: EngineSettings,
    report: watch::Sender<EngineReport>,
}

impl Engine {
    /// Waits until nobody leads, and a moment more to see that it stays so.
    async fn vacancy(&self) {
        let mut watched = self.registry.follow(Scope::Leader);
        let patience = candidacy_delay(&self.machine);
        loop {
            self.wait_for_vacancy(&mut watched, None).await;
            if self.wait_for_vacancy(&mut watched, Some(patience)).await == Vacancy::Open {
                return;
            }
        }
    }

    /// Stands for election. None if another won.
    async fn stand(&self) -> Result<Option<Elected>, RegistryError> {
        let lease = self.registry.lease(self.settings.lease_ttl, None).await?;
        let campaign = match self.registry.campaign(&self.machine, &lease).await {
            Ok(campaign) => campaign,
            Err(error) => {
                // It may have been won: then it must not count.
                if let Err(error) = lease.revoke().await {
                    tracing::debug!(%error, "the lease of a failed candidacy ends by itself");
                }
                return Err(error);
            }
        };
        match campaign {
            Campaign::Won(leadership) => Ok(Some(Elected {
                machine: self.machine.clone(),
                leadership,
                lease,
            })),
            Campaign::Lost(Some(leader)) => {
                tracing::debug!(leader = %leader.machine, "another engine was elected");
                lease.revoke().await?;
                Ok(None)
            }
            Campaign::Lost(None) => {
                lease.revoke().await?;
                let reason =
                    "the leader's record is not readable: one is elected when its lease ends";
                Err(RegistryError::Protocol {
                    reason: reason.to_owned(),
                })
            }
        }
    }

    /// Without `patience`: waits until there is no leader. With it: sees whether it stays so for
    /// that long.
    async fn wait_for_vacancy(&self, watched: &mut Follow, patience: Option<Duration>) -> Vacancy {
        loop {
            let event = match patience {
                None => watched.next().await,
                Some(patience) => match timeout(patience, watched.next()).await {
                    Ok(event) => event,
                    Err(_) => return Vacancy::Open,
                },
            };
            let leader = match event {
                // Nobody answers for a record that is not readable: campaigning takes it away if it
                // has no end of its own.
                FollowEvent::Snapshot { changes, .. } => leader_after(&changes).unwrap_or(None),
                FollowEvent::Changes { changes, .. } => match leader_after(&changes) {
                    Some(leader) => leader,
                    None => continue,
                },
                FollowEvent::Disconnected { reason } => {
                    self.report
                        .send_modify(|report| report.store_problem = Some(reason));
                    if patience.is_some() {
                        return Vacancy::Filled;
                    }
                    continue;
                }
                FollowEvent::Synced { .. } => continue,
            };
            self.report.send_modify(|report| {
                report.store_problem = None;
                report.role = match &leader {
                    Some(leader) => Role::Following(leader.machine.clone()),
                    None => Role::Unknown,
                };
            });
            match (&leader, patience) {
                (Some(_), Some(_)) => return Vacancy::Filled,
                (None, None) => return Vacancy::Open,
                (Some(_), None) | (None, Some(_)) => {}
            }
        }
    }

    async fn lead(&self, elected: Elected, shutdown: &CancellationToken) {
        tracing::info!(machine = %self.machine, "elected: this engine leads");
        self.report.send_modify(|report| {
            report.role = Role::Leading;
            report.elections += 1;
            report.store_problem = None;
        });
        let ended = lead(
            &self.registry,
            &elected,
            &self.settings,
            &self.report,
            shutdown,
        )
        .await;
        tracing::info!(machine = %self.machine, reason = %ended, "this engine leads no longer");
        self.report.send_modify(|report| {
            report.role = Role::Unknown;
            report.machines_braked = 0;
        });
        // However it ended: if the record is still ours, it must not outlive us.
        let resigned = timeout(RESIGN_MAX, async {
            elected.leadership.resign().await?;
            elected.lease.revoke().await
        });
        match resigned.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "resigning failed; the lease ends by itself"),
            Err(_) => tracing::warn!("resigning took too long; the lease ends by itself"),
        }
    }
}

/// Whether the place of the leader is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vacancy {
    Open,
    Filled,
}

/// What the last of the changes about the leader says; none if there is none. A damaged record says
/// that nobody leads.
fn leader_after(changes: &[Change]) -> Option<Option<Leader>> {
    changes.iter().rev().find_map(|change| match change {
        Change::Leader(leader) => Some(leader.clone()),
        Change::Quarantined {
            record: Some(RecordKey::Leader),
            ..
        } => Some(None),
        Change::Unit(..)
        | Change::File(..)
        | Change::Machine(..)
        | Change::MachineSpec(..)
        | Change::Assignment(..)
        | Change::Status(..)
        | Change::Hold(..)
        | Change::Brake(_)
        | Change::Quarantined { .. }
        | Change::Healed { .. } => None,
    })
}

/// A wait below [`CANDIDACY_SPREAD`], different for most machines and always the same for one.
fn candidacy_delay(machine: &MachineId) -> Duration {
    // FNV-1a: spreads ids that differ in their last character.
    let hash = machine
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let parts = u32::try_from(hash >> 54).unwrap_or(0);
    CANDIDACY_SPREAD * parts / 1024
}
