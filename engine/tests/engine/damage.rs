//! What the leader does about damaged records in the store.

use crate::leading::{Engine, Host, PREFIX, ask, is_on, until};
use crate::picture::name;
use model::Action;
use registry::Registry;
use registry::embedded::Embedded;

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_that_the_leader_knows_is_written_again() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let raw = etcd_client::Client::from_channel(store.channel(), None);
    let mut raw = raw.await.unwrap();
    let _host = Host::join(&registry, "m1").await;
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    ask(&registry, "web.service", Action::Start, &[]).await;
    let placed = |records: &model::Records| is_on(records, "web.service", &["m1"]);
    let before = until(&registry, "placed", placed).await;
    let key = format!("{PREFIX}schedule/m1/web.service");
    for rubbish in ["{rubbish", ""] {
        raw.put(key.as_str(), rubbish, None).await.unwrap();
        let mended = |records: &model::Records| placed(records) && records.quarantine.is_empty();
        let after = until(&registry, "mended", mended).await;
        assert_eq!(after.schedule, before.schedule);
    }
    println!("one that it has taken away meanwhile is not");
    ask(&registry, "web.service", Action::Destroy, &[]).await;
    let gone = |records: &model::Records| !records.schedule.contains_key(&name("web.service"));
    until(&registry, "gone", gone).await;
    raw.put(key.as_str(), "{rubbish", None).await.unwrap();
    ask(&registry, "other.service", Action::Start, &[]).await;
    let records = until(&registry, "it goes on", |records| {
        is_on(records, "other.service", &["m1"])
    })
    .await;
    assert!(gone(&records) && records.quarantine.contains_key(&key));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_that_nobody_knows_is_taken_away_where_the_unit_goes_elsewhere() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let raw = etcd_client::Client::from_channel(store.channel(), None);
    let mut raw = raw.await.unwrap();
    let _hosts = [
        Host::join(&registry, "m1").await,
        Host::join(&registry, "m2").await,
    ];
    let left = |machine: &str| format!("{PREFIX}schedule/{machine}/web.service");
    println!(
        "an earlier leader gave it to m1, which has not begun with it, or to a machine that is gone"
    );
    for machine in ["m1", "m3"] {
        raw.put(left(machine), "{rubbish", None).await.unwrap();
    }
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    ask(&registry, "other.service", Action::Start, &[]).await;
    let stands = until(&registry, "it goes on", |records| {
        is_on(records, "other.service", &["m1"])
    })
    .await;
    assert_eq!(stands.quarantine.len(), 2, "by itself damage moves nothing");
    ask(&registry, "web.service", Action::Start, &[]).await;
    let placed = |records: &model::Records| is_on(records, "web.service", &["m2"]);
    let records = until(&registry, "placed", placed).await;
    println!("{:?}", records.quarantine);
    assert!(records.quarantine.is_empty());
    engine.stop().await;
}
