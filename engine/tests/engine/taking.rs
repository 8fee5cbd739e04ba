//! A machine begins with a unit at the moment in which the leader, which has not heard of it, decides to move it: the unit goes
//! nowhere else before it has stopped there.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use model::{Action, Change, MachineId};
use registry::embedded::Embedded;
use registry::{Follow, FollowEvent, Registry, Scope};
use tokio::time::sleep;

use crate::leading::{Engine, Host, PREFIX, ask, is_on, until};
use crate::picture::{id, name, status};

/// How long before the last moment a machine begins with the unit, in turns of the runtime: its report and the leader's decision
/// cross in every way.
const TURNS_BEFORE: usize = 30;

/// Lets every task that is ready go one step further. (`yield_now` lets them go on until none is.)
async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Checks, change by change, that the unit is given to no machine while another reports it, until `machine` has it.
async fn until_given(follow: &mut Follow, machine: &MachineId) {
    let mut reporting: BTreeSet<MachineId> = BTreeSet::new();
    loop {
        let event = follow.next().await;
        let (FollowEvent::Snapshot { changes, .. } | FollowEvent::Changes { changes, .. }) = event
        else {
            continue;
        };
        for change in changes {
            match change {
                Change::Status(machine, _, Some(_)) => drop(reporting.insert(machine)),
                Change::Status(machine, _, None) => drop(reporting.remove(&machine)),
                Change::Assignment(to, _, Some(_)) => {
                    assert!(
                        reporting.iter().all(|other| *other == to),
                        "given to {to}, on {reporting:?}"
                    );
                    if to == *machine {
                        return;
                    }
                }
                _ => {}
            }
        }
    }
}

/// Who was first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Machine,
    Leader,
}

/// One race, in which the machine begins so many turns of the runtime after the request that moves the unit.
async fn race(turns: usize) -> First {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    let _other = Host::join(&registry, "m2").await;
    ask(&registry, "web.service", Action::Start, &["MachineID=m1"]).await;
    let first = Host::join(&registry, "m1").await;
    let records = until(&registry, "m1 has it", |records| {
        is_on(records, "web.service", &["m1"])
    })
    .await;
    let report = status(&records.units[&name("web.service")]);
    let mut all = registry.follow(Scope::Cluster);
    // As a task of its own: the test's own future goes on only after many steps of the others.
    let begin = tokio::spawn(async move {
        for _ in 0..turns {
            turn().await;
        }
        let begun = first.begin("web.service", report).await;
        (first, begun)
    });
    let move_away = ask(&registry, "web.service", Action::Start, &["MachineID=m2"]);
    let racing = async {
        let (begun, ()) = tokio::join!(begin, move_away);
        let (first, begun) = begun.unwrap();
        if !begun {
            return First::Leader;
        }
        // It stops there, some time later.
        sleep(Duration::from_secs(3)).await;
        first.report("web.service", None).await;
        First::Machine
    };
    let second = id("m2");
    let (winner, ()) = tokio::join!(racing, until_given(&mut all, &second));
    engine.stop().await;
    winner
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_a_machine_begins_with_is_not_given_away() {
    assert_eq!(race(0).await, First::Machine);
    let (mut early, mut late) = (0, 64);
    while race(late).await == First::Machine {
        (early, late) = (late, late * 2);
        assert!(late < 100_000, "the leader never moves it");
    }
    while late - early > 1 {
        let middle = early.midpoint(late);
        match race(middle).await {
            First::Machine => early = middle,
            First::Leader => late = middle,
        }
    }
    println!("the machine may begin up to {early} turns after the request; each turn before that");
    for before in 0..TURNS_BEFORE.min(early) {
        race(early - before).await;
    }
}
