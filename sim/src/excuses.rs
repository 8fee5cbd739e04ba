//! What excuses a machine for a while: that it was cut off, or that somebody ended its lease.

use tokio::time::Instant;

use crate::checker::{Place, STALE, State};
use crate::process::LEASE_TTL;

impl State {
    /// True if the machine has no place in the cluster now, or lost it just now and may not know.
    pub(crate) fn is_cut_off(&self, machine: &str, now: Instant) -> bool {
        let gone = self
            .mirror
            .machines
            .get(machine)
            .is_none_or(|it| it.now().is_none());
        let recently = self
            .lost_at
            .get(machine)
            .is_some_and(|at| *at + STALE >= now);
        gone || recently
    }

    /// True if somebody ended the machine's lease by hand so lately that its guard need not have ended exclusive units.
    pub(crate) fn is_revoked(&self, machine: &str) -> bool {
        let at = self.revoked_at.get(machine);
        at.is_some_and(|at| *at + LEASE_TTL + STALE >= Instant::now())
    }

    /// True if the machine was not part of the cluster then.
    pub(crate) fn was_gone_at(&self, machine: &str, at: Instant) -> bool {
        let record = self.mirror.machines.get(machine);
        record.is_none_or(|it| it.since(at).first().is_some_and(Option::is_none))
    }

    /// True if the machine lost its place at some time after its agent had the unit started, or had none then.
    pub(crate) fn was_cut_off_since_start(&self, place: &Place) -> bool {
        let started = self.started_at.get(place);
        match (self.lost_at.get(&place.0), started) {
            (Some(lost), Some(started)) if *lost + STALE >= *started => true,
            (Some(_), None) => true,
            // By the machine's own copy of its schedule.
            (_, Some(started)) => self.was_gone_at(&place.0, *started),
            (None, None) => false,
        }
    }
}
