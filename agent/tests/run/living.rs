//! The life of a machine whose place in the cluster is not free yet.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent::{Environment, Lifecycle, Parting, ScheduleCopy, Stage};
use model::TargetState::Launched;
use model::{BootId, Machine, OfflineStart};
use registry::{LeaseId, Membership, View};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, TTL, name, server};
use crate::copying::until_copied;

/// A machine that has just booted.
struct Booted;

impl Environment for Booted {
    fn lease(&self) -> Option<LeaseId> {
        None
    }
    fn remember(&self, _lease: LeaseId) -> io::Result<()> {
        Ok(())
    }
    fn forget_lease(&self) -> io::Result<()> {
        Ok(())
    }
    fn tell(&self, stage: Stage<'_>) {
        println!("{stage:?}");
    }
    async fn beside(&self, _membership: &Membership) {
        pending::<()>().await;
    }
    async fn resign(&self) {}
    async fn parting(&self) -> Parting {
        Parting::Pause
    }
}

#[tokio::test]
async fn units_are_not_started_from_the_copy_while_the_store_answers() {
    let folder = tempfile::tempdir().unwrap();
    let copy = ScheduleCopy::in_directory(folder.path());
    let bed = Bed::new().await;
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    let agent = bed.agent_with_copy(copy.clone());
    bed.answered(&web, 5).await;
    until_copied(folder.path(), &["web.service"]).await;
    agent.end().await;

    println!(
        "it boots with another address: the store still has its record of before, whose lease lives on"
    );
    bed.systemd.reboot();
    let changed = Machine {
        boot: BootId("another".into()),
        address: "10.0.0.99".into(),
        ..bed.itself()
    };
    let (_sender, machine) = watch::channel(changed);
    let shutdown = CancellationToken::new();
    let patience = Duration::from_secs(1);
    let life = Lifecycle {
        registry: bed.registry.clone(),
        view: View::new(bed.registry.clone(), shutdown.clone()),
        machine,
        manager: Arc::new(bed.systemd.clone()),
        copy,
        offline_start: OfflineStart::After(patience),
        lease_ttl: TTL,
        environment: Booted,
        shutdown: shutdown.clone(),
    };
    tokio::select! {
        ended = life.run() => panic!("{ended:?}"),
        () = sleep(3 * patience) => {}
    }
    assert!(
        bed.systemd.running().is_empty(),
        "the engine may have moved it"
    );

    println!("the store goes away: now it does without");
    bed.lose_store().await;
    let started = async {
        while bed.systemd.running().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        ended = life.run() => panic!("{ended:?}"),
        () = started => {}
    }
}
