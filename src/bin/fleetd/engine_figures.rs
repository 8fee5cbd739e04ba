//! What `/metrics` tells of this process's engine: the engine's own report, and since when it leads by the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use api::server::{EngineFigures, EngineProbe};
use engine::{EngineReport, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Notes when the engine is elected, until told to stop or until the engine is gone, and answers the probe meanwhile and after.
pub(crate) fn watch_engine(
    report: watch::Receiver<EngineReport>,
    shutdown: CancellationToken,
) -> (EngineProbe, impl Future<Output = ()>) {
    let elected_at = Arc::new(AtomicU64::new(0));
    let (last, when) = (report.clone(), Arc::clone(&elected_at));
    let probe = EngineProbe::new(move || figures(&last.borrow(), when.load(Ordering::Relaxed)));
    let noting = async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = note_elections(report, &elected_at) => {}
        }
    };
    (probe, noting)
}

async fn note_elections(mut report: watch::Receiver<EngineReport>, elected_at: &AtomicU64) {
    let mut elections = 0;
    while report.changed().await.is_ok() {
        let now = report.borrow_and_update().elections;
        if now != elections {
            elections = now;
            elected_at.store(unix_s(), Ordering::Relaxed);
        }
    }
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is shown as 1970.
    since.map_or(0, |since| since.as_secs())
}

fn figures(report: &EngineReport, elected_at: u64) -> EngineFigures {
    EngineFigures {
        leading_since_unix_s: (report.role == Role::Leading).then_some(elected_at),
        elections: report.elections,
        passes: report.passes,
        last_pass: report.last_pass,
        assigned: report.assigned,
        unassigned: report.unassigned,
        assign_failures: report.unwritten.assigned,
        unassign_failures: report.unwritten.unassigned,
        machines_gone: report.machines_gone,
        unfit: report.unfit,
        held: report.held,
        machines_braked: report.machines_braked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_election_is_noted_once_and_shown_while_it_leads() {
        let (sender, receiver) = watch::channel(EngineReport::default());
        let elected_at = AtomicU64::new(0);
        assert_eq!(figures(&receiver.borrow(), 0), EngineFigures::default());
        sender.send_modify(|report| {
            report.role = Role::Leading;
            report.elections = 1;
            report.passes = 7;
        });
        let report = sender.borrow().clone();
        drop(sender);
        let before = unix_s();
        note_elections(receiver, &elected_at).await;
        let noted = elected_at.load(Ordering::Relaxed);
        assert!((before..=unix_s()).contains(&noted), "{noted}");
        let shown = figures(&report, 1000);
        assert_eq!((shown.leading_since_unix_s, shown.passes), (Some(1000), 7));
        let follows = EngineReport {
            role: Role::Unknown,
            ..report
        };
        assert_eq!(figures(&follows, 1000).leading_since_unix_s, None);
    }
}
