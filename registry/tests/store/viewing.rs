//! The API's view: reads see every acknowledged write, requests are carried out in few transactions, and others may write too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Channel;
use futures_util::StreamExt;
use model::{
    Action, Change, ClusterStore, Done, MetadataEdit, OnDifference, Refusal, TargetState,
    UnitRequest, Update,
};
use registry::embedded::Embedded;
use registry::{Registry, View};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::etcd::{Etcd, PREFIX, soon};
use crate::sample::{file, id, name, request};

fn view(registry: &Registry) -> View {
    View::new(registry.clone(), CancellationToken::new())
}

/// The embedded store behind a channel that counts requests.
fn counted(store: &Embedded) -> (Registry, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let channel = store.channel().map_request(move |request| {
        counter.fetch_add(1, Ordering::Relaxed);
        request
    });
    let channel = Channel::Custom(BoxCloneSyncService::new(channel));
    (
        Registry::over(channel, PREFIX, Duration::from_secs(5)),
        requests,
    )
}

#[tokio::test]
async fn a_batch_of_500_is_a_handful_of_requests() {
    let store = Embedded::in_memory();
    let (registry, requests) = counted(&store);
    let view = view(&registry);
    view.read(|_| ()).await.unwrap();
    let before = requests.load(Ordering::Relaxed);
    let batch = |action: Action| {
        (0..500)
            .map(|n| {
                request(
                    &format!("web@{n}.service"),
                    action.clone(),
                    Some(file("true")),
                )
            })
            .collect()
    };
    let answers = view.apply(batch(Action::Start)).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(outcome) if outcome.done == Done::Created))
    );
    let made = requests.load(Ordering::Relaxed) - before;
    println!("{made} requests");
    assert_eq!(
        made, 5,
        "one for the revision, four transactions of 127 units and their one file"
    );
    let answers = view.apply(batch(Action::Start)).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(outcome) if outcome.done == Done::Updated))
    );
    assert_eq!(requests.load(Ordering::Relaxed) - before, 10);
    let answers = view.apply(batch(Action::Submit)).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(outcome) if outcome.done == Done::Unchanged))
    );
    assert_eq!(
        requests.load(Ordering::Relaxed) - before,
        11,
        "nothing to write"
    );
    let idle = requests.load(Ordering::Relaxed);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(
        requests.load(Ordering::Relaxed),
        idle,
        "an idle view asks for nothing"
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        view.read(|records| records.units.len()).await,
        Ok(500),
        "after a sleep it is read again"
    );
}

#[tokio::test]
async fn views_of_the_embedded_store() {
    let store = Embedded::in_memory();
    reads_see_writes(Registry::embedded(&store, PREFIX), None).await;
}

#[tokio::test]
async fn views_of_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let raw = etcd.raw().await;
    reads_see_writes(etcd.registry().await, Some(raw)).await;
}

async fn reads_see_writes(registry: Registry, mut raw: Option<etcd_client::Client>) {
    let (here, there) = (view(&registry), view(&registry));
    let mut last = 0;
    for n in 0..30 {
        let unit = format!("u{n}.service");
        let answers = here
            .apply(vec![request(&unit, Action::Start, Some(file("true")))])
            .await
            .unwrap();
        let Ok(outcome) = &answers[0] else {
            panic!("{answers:?}")
        };
        assert!(outcome.generation.0 > last, "requests are numbered upwards");
        last = outcome.generation.0;
        if let Some(raw) = &mut raw {
            raw.put("/someone/else", "x", None).await.unwrap();
        }
        assert_eq!(there.read(|records| records.units.len()).await, Ok(n + 1));
        assert_eq!(
            here.read(|records| records.units.contains_key(&name(&unit)))
                .await,
            Ok(true)
        );
    }
    let destroy = vec![
        request("u0.service", Action::Destroy, None),
        request("nope.service", Action::Stop, None),
    ];
    let answers = there.apply(destroy).await.unwrap();
    assert!(matches!(&answers[0], Ok(outcome) if outcome.done == Done::Destroyed));
    assert_eq!(answers[1], Err(Refusal::NotFound));
    if let Some(raw) = &mut raw {
        raw.put("/someone/else", "y", None).await.unwrap();
    }
    assert_eq!(
        here.read(|records| records.units.len()).await,
        Ok(29),
        "a deletion is seen too"
    );
    let again = here
        .apply(vec![request(
            "u0.service",
            Action::Submit,
            Some(file("true")),
        )])
        .await
        .unwrap();
    assert!(
        matches!(&again[0], Ok(outcome) if outcome.generation.0 > last),
        "also after a destroy"
    );
}

#[tokio::test]
async fn requests_of_one_batch_see_each_other() {
    let store = Embedded::in_memory();
    let view = view(&Registry::embedded(&store, PREFIX));
    let batch = vec![
        request("web@.service", Action::Submit, Some(file("true"))),
        request("web@1.service", Action::Start, None),
        request("web@1.service", Action::Restart, None),
        request("web@2.service", Action::Submit, None),
        request("web@2.service", Action::Destroy, None),
        request("other@2.service", Action::Submit, None),
    ];
    let answers = view.apply(batch).await.unwrap();
    println!("{answers:#?}");
    assert!(answers[..5].iter().all(Result::is_ok));
    assert_eq!(
        answers[5],
        Err(Refusal::TemplateNotFound(name("other@.service")))
    );
    let (Ok(start), Ok(restart)) = (&answers[1], &answers[2]) else {
        panic!()
    };
    assert!(restart.generation > start.generation);
    let (units, unit, files) = view
        .read(|records| {
            (
                records.units.len(),
                records.units[&name("web@1.service")].clone(),
                records.files.len(),
            )
        })
        .await
        .unwrap();
    assert_eq!((units, files), (2, 1));
    assert_eq!(
        (unit.target, unit.restart),
        (TargetState::Launched, restart.generation)
    );
    assert_eq!(unit.start, restart.generation);
}

#[tokio::test]
async fn two_who_change_the_same_units_both_get_their_way() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let views = [view(&etcd.registry().await), view(&etcd.registry().await)];
    let batch = || {
        (0..20)
            .map(|n| request(&format!("u{n}.service"), Action::Start, Some(file("true"))))
            .collect()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for view in views.clone() {
        tasks.spawn(async move {
            let mut latest = 0;
            for _ in 0..20 {
                let mut asked: Vec<UnitRequest> = batch();
                while !asked.is_empty() {
                    let answers = view.apply(asked.clone()).await.unwrap();
                    let mut again = Vec::new();
                    for (request, answer) in asked.into_iter().zip(answers) {
                        match answer {
                            // The other one was always quicker: whoever is told so tries again.
                            Err(Refusal::Contested) => again.push(request),
                            answer => latest = latest.max(answer.unwrap().generation.0),
                        }
                    }
                    asked = again;
                }
            }
            latest
        });
    }
    let latest = soon("both", tasks.join_all()).await;
    let latest = latest.into_iter().max().unwrap();
    let generations = views[0]
        .read(|records| records.units.values().map(|unit| unit.start.0).max())
        .await
        .unwrap();
    assert_eq!(
        generations,
        Some(latest),
        "the last one who was told so has it"
    );
}

#[tokio::test]
async fn a_damaged_unit_can_only_be_destroyed() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let view = view(&etcd.registry().await);
    let key = format!("{PREFIX}units/bad.service");
    for submitted_before in [false, true] {
        if submitted_before {
            view.apply(vec![request(
                "bad.service",
                Action::Submit,
                Some(file("true")),
            )])
            .await
            .unwrap();
        }
        etcd.raw()
            .await
            .put(key.as_str(), "not json", None)
            .await
            .unwrap();
        let answers = view
            .apply(vec![request(
                "bad.service",
                Action::Start,
                Some(file("true")),
            )])
            .await
            .unwrap();
        assert!(
            matches!(&answers[0], Err(Refusal::Damaged(reason)) if reason.contains("JSON")),
            "{answers:?}"
        );
        let answers = view
            .apply(vec![request(
                "good.service",
                Action::Start,
                Some(file("true")),
            )])
            .await
            .unwrap();
        assert!(answers[0].is_ok(), "others are not held up");
        let batch = vec![
            request("bad.service", Action::Destroy, None),
            request("bad.service", Action::Submit, Some(file("false"))),
            request("bad.service", Action::Destroy, None),
        ];
        let answers = view.apply(batch).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let left = view
            .read(|records| {
                (
                    records.quarantine.len(),
                    records.quarantined_units.len(),
                    records.units.len(),
                )
            })
            .await;
        assert_eq!(left, Ok((0, 0, 1)));
    }
}

#[tokio::test]
async fn a_lost_file_is_put_back_by_whoever_has_it() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let view = view(&etcd.registry().await);
    let submit = || vec![request("a.service", Action::Submit, Some(file("true")))];
    view.apply(submit()).await.unwrap();
    let key = format!("{PREFIX}files/{}", file("true").file_hash());
    etcd.raw().await.delete(key, None).await.unwrap();
    assert_eq!(view.read(|records| records.files.len()).await, Ok(0));
    view.apply(submit()).await.unwrap();
    assert_eq!(view.read(|records| records.files.len()).await, Ok(1));
}

#[tokio::test]
async fn a_replaced_file_is_there_with_its_unit() {
    let store = Embedded::in_memory();
    let view = view(&Registry::embedded(&store, PREFIX));
    view.apply(vec![request(
        "a.service",
        Action::Submit,
        Some(file("true")),
    )])
    .await
    .unwrap();
    let replace = UnitRequest {
        on_difference: OnDifference::Replace,
        ..request("a.service", Action::Submit, Some(file("false")))
    };
    let answers = view.apply(vec![replace]).await.unwrap();
    assert!(
        matches!(&answers[0], Ok(outcome) if outcome.done == Done::Replaced),
        "{answers:?}"
    );
    let stored = view
        .read(|records| {
            records.files[&records.units[&name("a.service")].file]
                .raw()
                .to_owned()
        })
        .await;
    assert_eq!(stored.as_deref(), Ok(file("false").raw()));
}

#[tokio::test]
async fn metadata_is_edited_by_several_at_once() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..5 {
        let view = view(&registry);
        tasks.spawn(async move {
            let value = Some(n.to_string());
            let edit = MetadataEdit {
                machine: id("m1"),
                key: format!("k{n}"),
                value,
            };
            view.edit_machines(vec![edit]).await.unwrap();
        });
    }
    tasks.join_all().await;
    let view = view(&registry);
    let remove = MetadataEdit {
        machine: id("m1"),
        key: "k0".to_owned(),
        value: None,
    };
    view.edit_machines(vec![remove]).await.unwrap();
    let spec = view
        .read(|records| records.machine_specs[&id("m1")].clone())
        .await
        .unwrap();
    assert_eq!((spec.metadata.len(), &spec.metadata["k0"]), (5, &None));
}

#[tokio::test]
async fn subscribers_are_told_everything_or_to_read_again() {
    let store = Embedded::in_memory();
    let view = view(&Registry::embedded(&store, PREFIX));
    view.read(|_| ()).await.unwrap();
    let mut updates = view.subscribe().await.unwrap();
    view.apply(vec![request(
        "a.service",
        Action::Submit,
        Some(file("true")),
    )])
    .await
    .unwrap();
    let Some(Update::Changes(revision, changes)) = soon("the update", updates.next()).await else {
        panic!()
    };
    assert!(
        changes.iter().any(
            |change| matches!(change, Change::Unit(unit, Some(_)) if *unit == name("a.service"))
        )
    );
    assert!(revision.0 > 0);
    println!("more updates than are kept");
    for n in 0..5000 {
        let edit = MetadataEdit {
            machine: id("m1"),
            key: "k".to_owned(),
            value: Some(n.to_string()),
        };
        view.edit_machines(vec![edit]).await.unwrap();
    }
    view.read(|_| ()).await.unwrap();
    let Some(Update::Resync(resync)) = soon("the resync", updates.next()).await else {
        panic!()
    };
    assert!(resync > revision);
}

#[tokio::test]
async fn a_view_recovers_from_the_absence_of_etcd() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let view = view(&etcd.registry().await);
    view.apply(vec![request(
        "a.service",
        Action::Submit,
        Some(file("true")),
    )])
    .await
    .unwrap();
    let mut updates = view.subscribe().await.unwrap();
    etcd.kill();
    let error = view.read(|records| records.units.len()).await.unwrap_err();
    println!("{error}");
    etcd.boot().await;
    let other = self::view(&etcd.registry().await);
    other
        .apply(vec![request(
            "b.service",
            Action::Submit,
            Some(file("true")),
        )])
        .await
        .unwrap();
    let found = soon("b.service", async {
        loop {
            if let Some(Update::Changes(_, changes)) = updates.next().await
                && changes.iter().any(
                    |change| matches!(change, Change::Unit(unit, _) if *unit == name("b.service")),
                )
            {
                break true;
            }
        }
    });
    assert!(found.await);
    let units = soon("a read", async {
        loop {
            if let Ok(units) = view.read(|records| records.units.len()).await {
                break units;
            }
        }
    });
    assert_eq!(units.await, 2);
}
