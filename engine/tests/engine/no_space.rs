//! The store takes no writes for a while: what is decided is tried again, ever less often, and written once there is space.

use std::time::Duration;

use model::Action;
use registry::Registry;
use registry::embedded::Embedded;
use tokio::time::{Instant, sleep};

use crate::leading::{Engine, Host, PREFIX, ask, is_on, until};

/// How long the store has no space.
const NIGHT: Duration = Duration::from_secs(3_600);

/// A plan each five seconds, and those of the first moments.
const PASSES_MAX: u64 = 3_600 / 5 + 10;

#[tokio::test(start_paused = true)]
async fn a_store_without_space_is_left_in_peace_and_used_once_there_is_some() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    let first = Host::join(&registry, "m1").await;
    ask(&registry, "web.service", Action::Start, &[]).await;
    until(&registry, "the first machine takes it", |records| {
        is_on(records, "web.service", &["m1"])
    })
    .await;
    let _second = Host::join(&registry, "m2").await;
    sleep(Duration::from_secs(1)).await;
    let before = engine.report.borrow().clone();

    println!("no space: the machine that is lost keeps its unit in the schedule");
    store.run_out_of_space();
    first.lose().await;
    sleep(NIGHT).await;
    let during = engine.report.borrow().clone();
    let passes = during.passes - before.passes;
    println!("{passes} plans in {NIGHT:?}: {:?}", during.store_problem);
    assert!((10..=PASSES_MAX).contains(&passes), "{passes}");
    let problem = during.store_problem.unwrap();
    assert!(problem.contains("no space left"), "{problem}");
    assert_eq!(during.elections, 1);

    println!("space: the plan is written");
    store.make_room();
    let began = Instant::now();
    until(&registry, "the second machine takes it", |records| {
        is_on(records, "web.service", &["m2"])
    })
    .await;
    assert!(began.elapsed() <= Duration::from_secs(5));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.report.borrow().store_problem, None);
    engine.stop().await;
}
