//! Units that require each other, and come to the machine one before the other.

use model::TargetState::{Launched, Loaded};
use model::{ActiveState, JobResult};

use crate::bed::{Bed, file, name, server};

const FOLLOWER: &str =
    "[Unit]\nBindsTo=app.service\nAfter=app.service\n[Service]\nExecStart=/bin/sleep infinity\n";

#[tokio::test]
async fn a_unit_that_comes_before_what_it_requires_starts_with_it() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (app, beside) = (name("app.service"), name("beside.service"));
    bed.assign(&beside, &file(FOLLOWER), Launched, 5).await;
    bed.until(&beside, |status| {
        status.is_some_and(|status| status.state == Loaded)
    })
    .await;
    println!("it is loaded, and cannot start yet");
    bed.assign(&app, &server(), Launched, 6).await;
    bed.until(&beside, |status| {
        status.is_some_and(|it| it.active == ActiveState::Active && it.generation.0 == 5)
    })
    .await;
    agent.end().await;
}

#[tokio::test]
async fn a_unit_that_lacks_another_says_so_and_starts_when_that_is_loaded() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (app, beside) = (name("app.service"), name("beside.service"));
    bed.assign(&beside, &file(FOLLOWER), Launched, 5).await;
    let told = bed.answered(&beside, 5).await.job.unwrap();
    println!("{told:?}");
    assert_eq!(told.result, JobResult::Failed);
    assert!(told.message.contains("app.service"), "{told:?}");
    agent.end().await;
    println!("also a restart of the agent later");
    let agent = bed.agent();
    bed.assign(&app, &server(), Launched, 6).await;
    let is_up = |status: Option<&model::UnitStatus>| {
        status.is_some_and(|status| status.active == ActiveState::Active)
    };
    bed.until(&beside, is_up).await;
    bed.until(&app, is_up).await;
    agent.end().await;
}
