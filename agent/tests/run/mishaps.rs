//! What goes wrong between the agent and its systemd: stops that do not stop, calls without an answer, memories that are lost.

use std::sync::Arc;
use std::time::Duration;

use agent::Drained;
use agent::fake::Reachable;
use model::{
    ActiveState, JobResult, ServiceError, ServiceManager,
    TargetState::{Launched, Loaded},
};
use tokio::time::sleep;

use crate::bed::{Bed, file, mark, name, server};

#[tokio::test(start_paused = true)]
async fn a_unit_that_somebody_starts_while_it_is_taken_away_is_stopped_again() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    let slow = file("[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 1\n");
    bed.assign(&web, &slow, Launched, 5).await;
    bed.answered(&web, 5).await;
    agent.end().await;
    let operator = async {
        sleep(Duration::from_millis(300)).await;
        println!("an operator starts it, which cancels the stop");
        let started = bed.systemd.start(&web, &mark(&slow, 5)).await;
        println!("that start: {started:?}");
    };
    let systemd = Arc::new(bed.systemd.clone());
    let (drained, ()) = tokio::join!(agent::drain(&bed.membership, systemd), operator);
    let runs = bed.systemd.running().contains_key(&web);
    println!("{drained:?}, runs on: {runs}");
    assert_eq!((drained, runs), (Drained::Everything, false));
    bed.until(&web, |status| status.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_started_again_and_again_keeps_its_place() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    let slow = file("[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 1\n");
    bed.assign(&web, &slow, Launched, 5).await;
    bed.answered(&web, 5).await;
    agent.end().await;
    let operator = async {
        loop {
            sleep(Duration::from_millis(300)).await;
            let started = bed.systemd.start(&web, &mark(&slow, 5)).await;
            println!("a script starts it: {started:?}");
        }
    };
    let systemd = Arc::new(bed.systemd.clone());
    let drained = tokio::select! {
        drained = agent::drain(&bed.membership, systemd) => drained,
        () = operator => unreachable!(),
    };
    assert_eq!(drained, Drained::SomeMayRun);
    println!("its status says on which machine it may still run, and its file and mark are there");
    let status = bed.until(&web, |status| status.is_some()).await;
    assert!(status.is_some());
    let units = bed.systemd.list().await.unwrap();
    assert!(units[0].file.is_some() && units[0].mark.is_some());
}

#[tokio::test]
async fn a_start_that_systemd_may_not_have_heard_of_is_asked_for_again() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Loaded, 5).await;
    bed.answered(&web, 5).await;
    let what = "forgetting a failure".to_owned();
    let deaf = ServiceError::TimedOut { what, limit_s: 90 };
    bed.systemd.refuse_next(&web, deaf);
    bed.assign(&web, &server(), Launched, 6).await;
    println!("the user is told of it");
    let is_failed = |result: &JobResult| *result == JobResult::Failed;
    let told = bed.until(&web, |status| {
        status.is_some_and(|it| it.job.as_ref().is_some_and(|job| is_failed(&job.result)))
    });
    let told = told.await.unwrap().job.unwrap();
    assert!(told.message.contains("90 s"), "{told:?}");
    println!("and it starts all the same");
    bed.until(&web, |status| {
        status.is_some_and(|status| status.active == ActiveState::Active)
    })
    .await;
    agent.end().await;
}

#[tokio::test]
async fn a_unit_of_which_the_memory_is_lost_runs_on() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    bed.answered(&web, 5).await;
    println!("it was restarted once");
    bed.restart(&web, &server(), 6).await;
    bed.answered(&web, 6).await;
    let before = bed.systemd.running();
    bed.systemd.lose_mark(&web);
    println!("the agent looks at everything, and remembers the unit again");
    bed.systemd.set_reachable(Reachable::Yes);
    let remembered = async {
        while bed.systemd.list().await.unwrap()[0]
            .mark
            .as_ref()
            .is_none_or(|mark| mark.start.0 != 6)
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), remembered)
        .await
        .unwrap();
    assert_eq!(bed.systemd.running(), before);
    println!("another file takes its place only after a stop");
    let other = file("[Service]\nExecStart=/bin/sleep 1000000\n");
    bed.systemd.take_history();
    bed.systemd.lose_mark(&web);
    bed.assign(&web, &other, Launched, 7).await;
    bed.answered(&web, 7).await;
    let happened = bed.systemd.take_history();
    println!("{happened:?}");
    assert!(happened.len() >= 2, "it was stopped, then started");
    assert_ne!(bed.systemd.running(), before);
    agent.end().await;
}
