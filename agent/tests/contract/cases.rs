//! The promises of the port, each as a case that runs on any service manager.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use model::{ActiveState, JobResult, LoadState, Mark, ServiceChange, ServiceError, ServiceManager};
use tokio::time::timeout;
use unitfile::UnitName;

use crate::bed::{Bed, file, mark, name, oneshot, server, unit};

/// How long no change may be told before a case fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn a_new_unit_starts_without_a_reload<B: Bed>(bed: &B) {
    let (manager, web, body) = (bed.manager(), name("web.service"), server());
    assert_eq!(manager.unit(&web).await, Ok(None));
    manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    let loaded = unit(manager, &web).await;
    assert_eq!(
        (loaded.file, loaded.hash),
        (Some(body.file_hash()), Some(body.hash()))
    );
    assert_eq!(
        (loaded.load, loaded.active),
        (LoadState::Loaded, ActiveState::Inactive)
    );
    assert_eq!(loaded.invocation, None);
    let end = manager.start(&web, &mark(&body, 5, 0)).await.unwrap();
    assert_eq!((end.result, end.message.as_str()), (JobResult::Done, ""));
    let started = unit(manager, &web).await;
    assert_eq!(
        (started.active, started.sub.as_str()),
        (ActiveState::Active, "running")
    );
    assert_eq!(started.mark, Some(mark(&body, 5, 0)));
    assert!(started.invocation.is_some() && started.since_unix_ms > 0 && !started.needs_reload);
    assert_eq!(bed.reloads(), 0);
}

pub(crate) async fn an_active_unit_is_not_touched_by_another_start<B: Bed>(bed: &B) {
    let (manager, web, body) = (bed.manager(), name("web.service"), server());
    manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    manager.start(&web, &mark(&body, 5, 0)).await.unwrap();
    let before = unit(manager, &web).await;
    let end = manager.start(&web, &mark(&body, 6, 0)).await.unwrap();
    assert_eq!(end.result, JobResult::Done);
    let after = unit(manager, &web).await;
    assert_eq!(after.invocation, before.invocation);
    assert_eq!(after.mark, Some(mark(&body, 6, 0)));
    let end = manager.restart(&web, &mark(&body, 7, 7)).await.unwrap();
    assert_eq!(end.result, JobResult::Done);
    let restarted = unit(manager, &web).await;
    assert_ne!(restarted.invocation, before.invocation);
    assert_eq!(
        (restarted.active, restarted.mark),
        (ActiveState::Active, Some(mark(&body, 7, 7)))
    );
}

pub(crate) async fn a_replaced_body_runs_its_new_content<B: Bed>(bed: &B) {
    let (manager, job) = (bed.manager(), name("job.service"));
    for round in ["first", "second", "third"] {
        let body = file(&format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{}'\n",
            bed.trace(round)
        ));
        assert_eq!(manager.stop(&job).await.unwrap().result, JobResult::Done);
        manager.load(&job, &body, &mark(&body, 0, 0)).await.unwrap();
        if unit(manager, &job).await.needs_reload {
            manager.reload().await.unwrap();
        }
        assert_eq!(
            manager
                .start(&job, &mark(&body, 1, 0))
                .await
                .unwrap()
                .result,
            JobResult::Done
        );
        assert_eq!(
            (bed.traced(round), unit(manager, &job).await.sub.as_str()),
            (1, "exited")
        );
    }
}

pub(crate) async fn a_body_swapped_under_a_running_unit_waits_for_a_reload<B: Bed>(bed: &B) {
    let (manager, web, old) = (bed.manager(), name("web.service"), server());
    let new = file("# another\n[Service]\nExecStart=/bin/sleep infinity\n");
    manager.load(&web, &old, &mark(&old, 0, 0)).await.unwrap();
    manager.start(&web, &mark(&old, 1, 0)).await.unwrap();
    let before = unit(manager, &web).await;
    manager.load(&web, &new, &mark(&new, 1, 0)).await.unwrap();
    let swapped = unit(manager, &web).await;
    assert!(swapped.needs_reload);
    assert_eq!(swapped.file, Some(new.file_hash()));
    let reloads = bed.reloads();
    let wishes = join_all((0..20).map(|_| manager.reload())).await;
    assert!(wishes.iter().all(Result::is_ok));
    assert!(bed.reloads() > reloads);
    let after = unit(manager, &web).await;
    assert!(!after.needs_reload);
    assert_eq!(
        (after.active, after.invocation),
        (ActiveState::Active, before.invocation)
    );
}

pub(crate) async fn a_failing_start_tells_why<B: Bed>(bed: &B) {
    let manager = bed.manager();
    for (unit_name, command, reason) in [
        ("one.service", "/bin/false", "exit-code: status 1/FAILURE"),
        (
            "two.service",
            "/nonexistent/program",
            "exit-code: status 203/EXEC",
        ),
        (
            "three.service",
            "/bin/sh -c 'exit 42'",
            "exit-code: status 42",
        ),
    ] {
        let body = file(&format!("[Service]\nType=oneshot\nExecStart={command}\n"));
        let failing = name(unit_name);
        manager
            .load(&failing, &body, &mark(&body, 0, 0))
            .await
            .unwrap();
        let end = manager.start(&failing, &mark(&body, 1, 0)).await.unwrap();
        assert_eq!(
            (end.result, end.message.as_str()),
            (JobResult::Failed, reason)
        );
        let failed = unit(manager, &failing).await;
        assert_eq!(
            (failed.active, failed.mark),
            (ActiveState::Failed, Some(mark(&body, 1, 0)))
        );
        // Unloading forgets the failure too.
        manager.unload(&failing).await.unwrap();
        manager
            .load(&failing, &body, &mark(&body, 0, 0))
            .await
            .unwrap();
        assert_eq!(unit(manager, &failing).await.active, ActiveState::Inactive);
    }
}

pub(crate) async fn a_failed_unit_is_started_again<B: Bed>(bed: &B) {
    let (manager, flaky) = (bed.manager(), name("flaky.service"));
    let body = oneshot(&format!("{}; exit 1", bed.trace("ran")));
    manager
        .load(&flaky, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    // More often than systemd's own limit of starts, which is forgotten with the failure.
    for round in 1..=8 {
        let end = manager.start(&flaky, &mark(&body, round, 0)).await.unwrap();
        assert_eq!(end.result, JobResult::Failed, "{}", end.message);
        assert_eq!(bed.traced("ran"), usize::try_from(round).unwrap());
    }
}

pub(crate) async fn a_bad_file_is_refused_and_not_remembered<B: Bed>(bed: &B) {
    let (manager, bad) = (bed.manager(), name("bad.service"));
    let body = file("[Service]\nType=simple\n");
    manager.load(&bad, &body, &mark(&body, 0, 0)).await.unwrap();
    assert_eq!(unit(manager, &bad).await.load, LoadState::BadSetting);
    let refused = manager.start(&bad, &mark(&body, 1, 0)).await;
    assert!(
        matches!(refused, Err(ServiceError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(unit(manager, &bad).await.mark, Some(mark(&body, 0, 0)));
    // A good file under the same name works at once.
    let body = server();
    manager.load(&bad, &body, &mark(&body, 0, 0)).await.unwrap();
    if unit(manager, &bad).await.needs_reload {
        manager.reload().await.unwrap();
    }
    assert_eq!(
        manager
            .start(&bad, &mark(&body, 2, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
}

pub(crate) async fn a_start_that_lacks_a_unit_is_refused_until_it_is_there<B: Bed>(bed: &B) {
    let (manager, app, beside) = (bed.manager(), name("app.service"), name("beside.service"));
    let (server, follower) = (
        server(),
        file(
            "[Unit]\nBindsTo=app.service\nAfter=app.service\n[Service]\nExecStart=/bin/sleep infinity\n",
        ),
    );
    let fresh = mark(&follower, 0, 0);
    manager.load(&beside, &follower, &fresh).await.unwrap();
    let refused = manager.start(&beside, &mark(&follower, 5, 0)).await;
    println!("{refused:?}");
    assert!(
        matches!(&refused, Err(ServiceError::NotFound { message }) if message.contains("app.service")),
        "{refused:?}"
    );
    assert_eq!(unit(manager, &beside).await.mark, Some(fresh));
    manager
        .load(&app, &server, &mark(&server, 0, 0))
        .await
        .unwrap();
    let started = manager.start(&beside, &mark(&follower, 5, 0)).await;
    assert_eq!(started.unwrap().result, JobResult::Done);
    for it in [&app, &beside] {
        assert_eq!(unit(manager, it).await.active, ActiveState::Active, "{it}");
    }
}

pub(crate) async fn a_finished_oneshot_is_at_rest<B: Bed>(bed: &B) {
    let (manager, job) = (bed.manager(), name("job.service"));
    let body = oneshot(&bed.trace("ran"));
    manager.load(&job, &body, &mark(&body, 0, 0)).await.unwrap();
    assert_eq!(
        manager
            .start(&job, &mark(&body, 3, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    let finished = unit(manager, &job).await;
    assert_eq!(
        (finished.active, finished.sub.as_str()),
        (ActiveState::Inactive, "dead")
    );
    assert_eq!(
        finished.mark,
        Some(mark(&body, 3, 0)),
        "what tells that it was started"
    );
    assert_eq!(bed.traced("ran"), 1);
}

pub(crate) async fn instances_of_a_template_are_units_of_their_own<B: Bed>(bed: &B) {
    let manager = bed.manager();
    let body = file("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
    for instance in ["web@1.service", r"web@a\x2db.service"] {
        let instance = name(instance);
        manager
            .load(&instance, &body, &mark(&body, 0, 0))
            .await
            .unwrap();
        assert_eq!(
            manager
                .start(&instance, &mark(&body, 1, 0))
                .await
                .unwrap()
                .result,
            JobResult::Done
        );
        assert_eq!(unit(manager, &instance).await.sub, "exited");
    }
    manager.stop(&name("web@1.service")).await.unwrap();
    manager.unload(&name("web@1.service")).await.unwrap();
    let left: Vec<UnitName> = manager
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|unit| unit.name)
        .collect();
    assert_eq!(left, [name(r"web@a\x2db.service")]);
}

pub(crate) async fn unloading_forgets_and_the_name_is_free<B: Bed>(bed: &B) {
    let (manager, web) = (bed.manager(), name("web.service"));
    assert_eq!(
        manager.unload(&web).await,
        Ok(()),
        "what is not there is unloaded already"
    );
    assert_eq!(manager.stop(&web).await.unwrap().result, JobResult::Done);
    for round in 0..40 {
        let trace = format!("round-{round}");
        let body = oneshot(&bed.trace(&trace));
        manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
        let end = manager.start(&web, &mark(&body, 1, 0)).await.unwrap();
        assert_eq!(
            (end.result, bed.traced(&trace)),
            (JobResult::Done, 1),
            "{}",
            end.message
        );
        manager.unload(&web).await.unwrap();
        assert_eq!(manager.unit(&web).await, Ok(None));
    }
    assert_eq!(manager.list().await, Ok(Vec::new()));
    assert_eq!(bed.reloads(), 0);
}

pub(crate) async fn a_name_that_another_unit_refers_to_needs_a_reload<B: Bed>(bed: &B) {
    let (manager, web, sidekick) = (bed.manager(), name("web.service"), name("sidekick.service"));
    let refers = file("[Unit]\nAfter=web.service\n[Service]\nExecStart=/bin/sleep infinity\n");
    assert_eq!(manager.knows(&web).await, Ok(false));
    for round in ["old", "new"] {
        let stays = oneshot(&bed.trace(round)).raw().to_owned() + "RemainAfterExit=yes\n";
        let body = file(&stays);
        manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
        let is_new = round == "new";
        assert_eq!(manager.knows(&web).await, Ok(is_new));
        if is_new {
            assert!(unit(manager, &web).await.needs_reload);
            manager.reload().await.unwrap();
        }
        manager.start(&web, &mark(&body, 1, 0)).await.unwrap();
        assert_eq!(
            (bed.traced("old"), bed.traced("new")),
            (1, usize::from(is_new))
        );
        let refers_too = mark(&refers, 1, 0);
        manager.load(&sidekick, &refers, &refers_too).await.unwrap();
        manager.start(&sidekick, &refers_too).await.unwrap();
        manager.stop(&web).await.unwrap();
        manager.unload(&web).await.unwrap();
    }
}

pub(crate) async fn a_stop_ends_when_exec_stop_has<B: Bed>(bed: &B) {
    let (manager, web) = (bed.manager(), name("web.service"));
    let body = file(&format!(
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'sleep 0.5; {}'\n",
        bed.trace("stopped")
    ));
    manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    manager.start(&web, &mark(&body, 1, 0)).await.unwrap();
    assert_eq!(bed.traced("stopped"), 0);
    assert_eq!(manager.stop(&web).await.unwrap().result, JobResult::Done);
    assert_eq!(bed.traced("stopped"), 1);
    assert!(unit(manager, &web).await.active.is_stopped());
}

pub(crate) async fn a_start_under_way_can_be_cut_short<B: Bed>(bed: &B) {
    let (manager, slow) = (bed.manager(), name("slow.service"));
    let body = oneshot("sleep infinity");
    manager
        .load(&slow, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    let mut changes = manager.changes();
    let wish = mark(&body, 4, 0);
    let start = manager.start(&slow, &wish);
    let stop = async {
        // Remembered already while the job runs: a killed agent would not start it twice.
        until(&mut changes, || async {
            let now = unit(manager, &slow).await;
            now.active == ActiveState::Activating && now.mark == Some(wish.clone())
        })
        .await;
        manager.stop(&slow).await.unwrap()
    };
    let (started, stopped) = join(start, stop).await;
    assert_eq!(started.unwrap().result, JobResult::Canceled);
    assert_eq!(stopped.result, JobResult::Done);
    assert!(unit(manager, &slow).await.active.is_stopped());
}

pub(crate) async fn what_happens_by_itself_is_told<B: Bed>(bed: &B) {
    let (manager, web, body) = (bed.manager(), name("web.service"), server());
    manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    manager.start(&web, &mark(&body, 1, 0)).await.unwrap();
    let mut changes = manager.changes();
    bed.kill(&web).await;
    until(&mut changes, || async {
        unit(manager, &web).await.active == ActiveState::Failed
    })
    .await;
}

pub(crate) async fn a_start_that_is_remembered_late_is_told<B: Bed>(bed: &B) {
    let (manager, slow, body) = (bed.manager(), name("slow.service"), oneshot("sleep 600"));
    manager
        .load(&slow, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    let mut changes = manager.changes();
    let (first, again) = (mark(&body, 4, 0), mark(&body, 5, 0));
    let is_remembered = async |wanted: &Mark| {
        let now = unit(manager, &slow).await;
        now.active == ActiveState::Activating && now.mark.as_ref() == Some(wanted)
    };
    let first_start = manager.start(&slow, &first);
    tokio::select! {
        end = first_start => panic!("{end:?}"),
        () = until(&mut changes, || is_remembered(&first)) => {}
    }
    // Whoever asked has died over it. The start that is under way is asked for again.
    let mut changes = manager.changes();
    let second_start = manager.start(&slow, &again);
    tokio::select! {
        end = second_start => panic!("{end:?}"),
        () = until(&mut changes, || is_remembered(&again)) => {}
    }
    manager.stop(&slow).await.unwrap();
}

pub(crate) async fn a_file_that_cannot_be_written_fails_alone<B: Bed>(bed: &B) {
    let (manager, broken, well, body) = (
        bed.manager(),
        name("broken.service"),
        name("well.service"),
        server(),
    );
    bed.break_file(&broken);
    let refused = manager.load(&broken, &body, &mark(&body, 0, 0)).await;
    match refused {
        Err(ServiceError::File { path, message }) => {
            assert!(
                path.contains("broken.service") && !message.is_empty(),
                "{path}: {message}"
            );
        }
        other => panic!("{other:?}"),
    }
    manager
        .load(&well, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    assert_eq!(
        manager
            .start(&well, &mark(&body, 1, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
}

pub(crate) async fn what_was_left_half_loaded_is_seen_and_mended<B: Bed>(bed: &B) {
    let (manager, half, body) = (bed.manager(), name("half.service"), server());
    bed.leave_file(&half, &body);
    let listed = manager.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].name, &listed[0].mark), (&half, &None));
    assert_eq!(listed[0].file, Some(body.file_hash()));
    manager
        .load(&half, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    assert_eq!(
        manager
            .start(&half, &mark(&body, 1, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    manager.stop(&half).await.unwrap();
    manager.unload(&half).await.unwrap();
    bed.leave_file(&half, &body);
    manager.unload(&half).await.unwrap();
    assert_eq!(manager.list().await, Ok(Vec::new()));
}

pub(crate) async fn a_hundred_units_start_at_once_without_a_reload<B: Bed>(bed: &B) {
    let (manager, body) = (bed.manager(), server());
    let names: Vec<UnitName> = (0..100)
        .map(|number| name(&format!("many@{number}.service")))
        .collect();
    let started = join_all(names.iter().map(|name| {
        let body = body.clone();
        async move {
            manager.load(name, &body, &mark(&body, 0, 0)).await?;
            manager.start(name, &mark(&body, 1, 0)).await
        }
    }))
    .await;
    for (name, end) in names.iter().zip(started) {
        assert_eq!(end.unwrap().result, JobResult::Done, "{name}");
    }
    let listed = manager.list().await.unwrap();
    assert_eq!(listed.len(), 100);
    assert!(
        listed
            .iter()
            .all(|unit| unit.active == ActiveState::Active && !unit.needs_reload)
    );
    let gone = join_all(names.iter().map(|name| async move {
        manager.stop(name).await?;
        manager.unload(name).await
    }))
    .await;
    assert!(gone.iter().all(Result::is_ok), "{gone:?}");
    assert_eq!(manager.list().await, Ok(Vec::new()));
    assert_eq!(bed.reloads(), 0);
}

/// Waits for something to become true, looking again whenever the machine tells of a change.
async fn until<S, F, Fut>(changes: &mut S, mut holds: F)
where
    S: futures_util::Stream<Item = ServiceChange> + Unpin,
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    while !holds().await {
        let change = timeout(PATIENCE, changes.next()).await;
        assert!(
            matches!(change, Ok(Some(_))),
            "no change is told: {change:?}"
        );
    }
}
