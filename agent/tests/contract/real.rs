//! What only a real systemd can show: files after kill -9, which job stops us, a systemd that replaces itself, and times.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent::{Bus, OwnJob, Systemd, SystemdSettings};
use futures_util::StreamExt;
use futures_util::future::join_all;
use model::{ActiveState, JobResult, ServiceChange, ServiceManager};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use unitfile::{UnitFile, UnitName};

use crate::bed::{Bed, file, mark, name, server, unit};
use crate::private::Private;

/// Tells a copy of this program, run by a test, which part to play and on which machine.
const PART: &str = "FLEET_CONTRACT_PART";
const DIRECTORY: &str = "FLEET_CONTRACT_DIRECTORY";

/// How often the writer is killed.
const KILLS: u64 = 25;

/// How long nothing may happen before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test of its own: what the tests below run as another process.
#[tokio::test]
async fn part() {
    let (Ok(part), Ok(directory)) = (std::env::var(PART), std::env::var(DIRECTORY)) else {
        return;
    };
    let directory = Path::new(&directory);
    match part.as_str() {
        "writer" => write_for_ever(directory).await,
        "stopped" => tell_own_job(directory).await,
        other => panic!("{other} is no part"),
    }
}

fn settings(directory: &Path) -> SystemdSettings {
    SystemdSettings {
        bus: Bus::Address(format!("unix:path={}/run/bus", directory.display())),
        units_directory: directory.join("fleet/units"),
        marks_directory: directory.join("fleet/marks"),
        link_directory: directory.join("run/systemd/user"),
        guard: None,
    }
}

async fn connected(directory: &Path) -> Systemd {
    let systemd = Systemd::connect(&settings(directory)).unwrap();
    timeout(PATIENCE, systemd.reachable()).await.unwrap();
    systemd
}

/// Large, so that a write is likely to be cut.
fn bodies() -> [UnitFile; 3] {
    let padding = "# padding\n".repeat(5000);
    let body = |extra: &str| {
        file(&format!(
            "{padding}[Service]\nExecStart=/bin/sleep infinity\n{extra}"
        ))
    };
    [
        body(""),
        body("# another\n"),
        body("[Install]\nWantedBy=nothing.target\n"),
    ]
}

async fn write_for_ever(directory: &Path) {
    let systemd = connected(directory).await;
    let bodies = bodies();
    for round in 0.. {
        let names = (0..4).map(|number| name(&format!("crash-{number}.service")));
        join_all(names.map(|name| {
            let (systemd, body) = (&systemd, &bodies[round % bodies.len()]);
            async move {
                systemd
                    .load(&name, body, &mark(body, round as u64, 0))
                    .await
                    .unwrap();
                systemd
                    .mark(&name, &mark(body, round as u64, 7))
                    .await
                    .unwrap();
                if round % 2 == 0 {
                    systemd.unload(&name).await.unwrap();
                }
            }
        }))
        .await;
    }
}

#[tokio::test]
async fn a_killed_agent_leaves_only_whole_files() {
    let Some(private) = Private::boot().await else {
        return;
    };
    let whole: BTreeSet<String> = bodies().iter().map(|body| body.raw().to_owned()).collect();
    let places = private.settings();
    let mut seen = 0;
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "real::part"])
            .env(PART, "writer")
            .env(DIRECTORY, private.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let wait = tokio::task::spawn_blocking({
            let units = places.units_directory.clone();
            move || {
                let begun = Instant::now();
                while fs::read_dir(&units).unwrap().next().is_none() && begun.elapsed() < PATIENCE {
                    std::thread::yield_now();
                }
            }
        });
        wait.await.unwrap();
        // Anywhere in the loop of the writer.
        sleep(Duration::from_micros(kill * 1777 % 20_000)).await;
        writer.kill().unwrap();
        writer.wait().unwrap();
        for entry in fs::read_dir(&places.units_directory).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
                let text = fs::read_to_string(&path).unwrap();
                assert!(
                    whole.contains(&text),
                    "{} holds {} bytes",
                    path.display(),
                    text.len()
                );
                seen += 1;
            }
        }
        // Whoever comes next sees every one of them and can take it away.
        let next = connected(private.directory()).await;
        for left in next.list().await.unwrap() {
            if let Some(mark) = &left.mark {
                assert!(mark.restart.0 == 0 || mark.restart.0 == 7, "{mark:?}");
            }
            next.unload(&left.name).await.unwrap();
        }
        let marks = &places.marks_directory;
        for directory in [&places.units_directory, marks, &marks.join("given-up")] {
            let left: Vec<_> = fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| !path.is_dir())
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    println!("killed {KILLS} times; {seen} whole files were left and taken away");
    assert!(seen > 0, "no kill came while there were files");
}

/// Waits for SIGTERM, then writes down which job systemd says it is running for us.
async fn tell_own_job(directory: &Path) {
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let systemd = connected(directory).await;
    assert_eq!(systemd.own_job().await, Ok(OwnJob::Other("start".into())));
    fs::write(directory.join("part-is-ready"), "").unwrap();
    stop.recv().await;
    let job = systemd.own_job().await.unwrap();
    fs::write(directory.join("own-job"), format!("{job:?}")).unwrap();
}

#[tokio::test]
async fn a_restart_is_told_from_a_stop() {
    let Some(private) = Private::boot().await else {
        return;
    };
    let (systemd, directory) = (&private.systemd, private.directory());
    let daemon = name("daemon.service");
    // Started only when ready, as fleetd is: its own start job is seen until then.
    let body = file(&format!(
        "[Service]\nType=exec\nEnvironment={PART}=stopped {DIRECTORY}={0}\n\
         ExecStart={1} --exact real::part\nExecStartPost=/bin/sh -c 'until test -e {0}/part-is-ready; do sleep 0.01; done'\n\
         ExecStopPost=/bin/rm -f {0}/part-is-ready\n",
        directory.display(),
        std::env::current_exe().unwrap().display()
    ));
    systemd
        .load(&daemon, &body, &mark(&body, 0, 0))
        .await
        .unwrap();
    assert_eq!(
        systemd
            .start(&daemon, &mark(&body, 1, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    let told = || fs::read_to_string(directory.join("own-job")).unwrap();
    assert_eq!(
        systemd
            .restart(&daemon, &mark(&body, 1, 1))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    // In another PID namespace than systemd the daemon cannot be found by its number; then there is nothing to tell.
    println!("on restart systemd says: {}", told());
    assert_eq!(told(), "Restart");
    assert_eq!(systemd.stop(&daemon).await.unwrap().result, JobResult::Done);
    println!("on stop systemd says: {}", told());
    assert_eq!(told(), "Stop");
}

#[tokio::test]
async fn a_systemd_that_replaces_itself_is_found_again() {
    let Some(private) = Private::boot().await else {
        return;
    };
    let (systemd, web, body) = (&private.systemd, name("web.service"), server());
    systemd.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    systemd.start(&web, &mark(&body, 1, 0)).await.unwrap();
    let before = unit(systemd, &web).await;
    let slow = name("slow.service");
    let slow_body = file("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 6'\n");
    systemd
        .load(&slow, &slow_body, &mark(&slow_body, 0, 0))
        .await
        .unwrap();
    let mut changes = systemd.changes();
    let wish = mark(&slow_body, 1, 0);
    let start = systemd.start(&slow, &wish);
    let replace = async {
        while unit(systemd, &slow).await.active != ActiveState::Activating {
            timeout(PATIENCE, changes.next()).await.unwrap();
        }
        private.call_without_answer("Reexecute").await;
        while timeout(PATIENCE, changes.next()).await.unwrap() != Some(ServiceChange::All) {}
    };
    // The job goes on in the new systemd, and so does the wait for it.
    let (started, ()) = futures_util::future::join(start, replace).await;
    assert_eq!(started.unwrap().result, JobResult::Done);
    let after = unit(systemd, &web).await;
    assert_eq!(
        (after.active, after.invocation),
        (ActiveState::Active, before.invocation)
    );
    assert_eq!(systemd.stop(&web).await.unwrap().result, JobResult::Done);
}

#[tokio::test]
async fn how_long_a_new_unit_takes() {
    let Some(private) = Private::boot().await else {
        return;
    };
    let (systemd, body) = (&private.systemd, server());
    let mut times = Vec::new();
    for number in 0..50 {
        let web = name(&format!("web-{number}.service"));
        let begun = Instant::now();
        systemd.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
        systemd.start(&web, &mark(&body, 1, 0)).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "new file and start to the job's end: median {:?}, slowest of 50 {:?}",
        times[25], times[49]
    );
    let names: Vec<UnitName> = (0..100)
        .map(|number| name(&format!("many-{number}.service")))
        .collect();
    let begun = Instant::now();
    let loads = join_all(names.iter().map(|name| async {
        systemd.load(name, &body, &mark(&body, 0, 0)).await.unwrap();
    }));
    loads.await;
    let loaded = begun.elapsed();
    let wish = mark(&body, 1, 0);
    join_all(
        names
            .iter()
            .map(|name| async { systemd.start(name, &wish).await.unwrap() }),
    )
    .await;
    println!(
        "100 units at once: files {loaded:?}, until all jobs ended {:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    let units = systemd.list().await.unwrap();
    println!("looking at {} units: {:?}", units.len(), begun.elapsed());
    assert_eq!(private.reloads(), 0);
}

#[tokio::test]
async fn a_start_that_waits_for_another_unit_is_not_at_rest() {
    let Some(private) = Private::boot().await else {
        return;
    };
    let (manager, first, waits) = (
        &private.systemd,
        name("first.service"),
        name("waits.service"),
    );
    let endless = file("[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n");
    let after = file("[Unit]\nAfter=first.service\n[Service]\nExecStart=/bin/sleep infinity\n");
    for (unit, body) in [(&first, &endless), (&waits, &after)] {
        manager.load(unit, body, &mark(body, 0, 0)).await.unwrap();
        let words = ["ss", unit.as_str(), "replace"];
        private.call("StartUnit", &words).await;
    }
    println!(
        "whoever comes now sees a unit that is about to run, as systemd would start it also without its file"
    );
    let next = connected(private.directory()).await;
    let seen = unit(&next, &waits).await;
    assert_eq!(
        (seen.active, seen.sub.as_str()),
        (ActiveState::Activating, "queued")
    );
    assert_eq!(next.stop(&waits).await.unwrap().result, JobResult::Done);
    assert_eq!(unit(&next, &waits).await.active, ActiveState::Inactive);
    assert_eq!(unit(&next, &first).await.active, ActiveState::Activating);
    next.unload(&waits).await.unwrap();
    assert_eq!(next.knows(&waits).await, Ok(false));
}
