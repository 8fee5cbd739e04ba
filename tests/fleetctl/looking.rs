//! `status` and `journal`: through the API where it can tell, by systemd's own tools where this is the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use insta::assert_snapshot;
use model::AskError;

use crate::cluster::{Cluster, FILE, cluster, machine, machine_id};
use crate::memory::Elsewhere;

const GLOBAL: &str = "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=yes\n";

/// A cluster with a unit that runs, one that has ended, one that is nowhere and a global one. All but the last are on the
/// machine that answers.
async fn with_units() -> Cluster {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.file("oneshot.service", FILE);
    cluster.file("idle.service", FILE);
    cluster.file("nowhere.service", FILE);
    cluster.file("log.service", GLOBAL);
    cluster.run("fleetctl start web oneshot").await;
    cluster.run("fleetctl submit idle").await;
    cluster.run("fleetctl start nowhere").await;
    cluster.run("fleetctl start log").await;
    cluster.until_reported("log.service", 2).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_systemctls_and_so_is_its_exit() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl status web").await, @r#"
    [stdout]
    * web.service
         Active: active (running)
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl status web.service oneshot --no-block").await, @r#"
    [stdout]
    * web.service
         Active: active (running)

    * oneshot.service
         Active: inactive (dead)
    [exit 3]
    "#);
    assert_snapshot!(cluster.run("fleetctl status *b* o*").await, @r#"
    [stdout]
    * web.service
         Active: active (running)

    * oneshot.service
         Active: inactive (dead)
    [exit 3]
    "#);
    assert_snapshot!(cluster.run("fleetctl status web -o json").await, @r#"
    [stdout]
    [
      {
        "active": "active",
        "hash": "1c6fb6f3684bafb0c173d8b8b957ceff031180c1",
        "ip": "10.0.0.1",
        "job": {
          "kind": "start",
          "message": "",
          "result": "done"
        },
        "load": "loaded",
        "machine": "aaaaaaaa000000000000000000000001",
        "since": null,
        "sub": "running",
        "text": "* web.service\n     Active: active (running)\n",
        "unit": "web.service",
        "why": "is on aaaaaaaa: the best of 2 that can take it, by id alone"
      }
    ]
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl status").await, @r#"
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_not_there() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl status nothing idle web nowhere").await, @r#"
    [stdout]
    * web.service
         Active: active (running)
    [stderr]
    Unit nothing.service does not exist.
    Unit idle.service does not appear to be loaded.
    Unit nowhere.service does not appear to be loaded.
    It waits: no machine can run it
      aaaaaaaa.../10.0.0.1: metadata region=us is wanted, it has eu
      bbbbbbbb.../10.0.0.2: metadata region=us is wanted, it has no such key
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl status web --machine bbbb").await, @r#"
    [stderr]
    Unit web.service is not on that machine.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl status web --machine=10.0.0.9").await, @r#"
    [stderr]
    Unable to proceed: --machine 10.0.0.9: machine does not exist
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl journal nothing").await, @r#"
    [stderr]
    Unit nothing.service does not exist.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl journal idle").await, @r#"
    [stderr]
    Unit idle.service does not appear to be running.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl journal").await, @r#"
    [stderr]
    One unit file must be provided.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none", "fleetctl journal web").await, @r#"
    [stderr]
    Error retrieving unit web: cannot reach fleetd at unix:///none: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none", "fleetctl status web").await, @r#"
    [stderr]
    Error retrieving unit: cannot reach fleetd at unix:///none: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_unit_is_shown_on_each_machine_or_on_the_one_that_is_asked_for() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl status log --machine 10.0.0.1").await, @r#"
    [stdout]
    # log.service on aaaaaaaa.../10.0.0.1
    * log.service
         Active: active (running)
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl journal log -m aaaa --lines=3").await, @r#"
    [stdout]
    one of 3 lines of log.service
    ExecStart failed: no such file
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journals_of_several_units_have_headings() {
    let cluster = with_units().await;
    assert_snapshot!(cluster.run("fleetctl journal web").await, @r#"
    [stdout]
    one of 10 lines of web.service
    ExecStart failed: no such file
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl journal -n 2 web oneshot web").await, @r#"
    [stdout]
    # web.service on aaaaaaaa.../10.0.0.1
    one of 2 lines of web.service
    ExecStart failed: no such file

    # oneshot.service on aaaaaaaa.../10.0.0.1
    one of 2 lines of oneshot.service
    ExecStart failed: no such file
    [exit 0]
    "#);
    cluster.end().await;
}

/// Tools that say how they were called, instead of systemd's.
fn tools(cluster: &Cluster) -> PathBuf {
    let folder = cluster.folder.join("tools");
    std::fs::create_dir(&folder).unwrap();
    for (name, script) in [
        ("systemctl", "echo systemctl $*\necho careful >&2\nexit 3\n"),
        ("journalctl", "echo journalctl $*\nexit 0\n"),
        ("sudo", "echo sudo $*\nexit 1\n"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_machine_itself_systemds_own_tools_do_what_the_api_cannot() {
    let Ok(id) = std::fs::read_to_string("/etc/machine-id") else {
        println!("SKIPPED: this machine has no /etc/machine-id");
        return;
    };
    let cluster = with_units().await;
    // This machine joins. The API's server is another one.
    cluster
        .store
        .change(vec![machine(id.trim(), "10.0.0.3", &[])]);
    cluster.file("more.service", GLOBAL);
    cluster.run("fleetctl start more").await;
    cluster.until_reported("log.service", 3).await;
    cluster.until_reported("more.service", 3).await;
    let tools = tools(&cluster);
    let run = async |line: &str| {
        let seen = cluster.run_with_tools(&tools, line).await;
        seen.replace(&id.trim()[..8], "THISHERE")
    };
    assert_snapshot!(run("fleetctl status log -m 10.0.0.3").await, @r#"
    [stdout]
    # log.service on THISHERE.../10.0.0.3
    systemctl status -l log.service
    [stderr]
    careful
    [exit 3]
    "#);
    assert_snapshot!(run("fleetctl journal log -m 10.0.0.3").await, @r#"
    [stdout]
    journalctl --unit log.service --no-pager -n 10 --output short
    [exit 0]
    "#);
    assert_snapshot!(run("fleetctl journal -f --output=cat --lines 5 log -m 10.0.0.3").await, @r#"
    [stdout]
    journalctl --unit log.service --no-pager -n 5 --output cat -f
    [exit 0]
    "#);
    assert_snapshot!(run("fleetctl journal --f --sudo log -machine 10.0.0.3").await, @r#"
    [stdout]
    sudo journalctl --unit log.service --no-pager -n 10 --output short -f
    [exit 1]
    "#);
    // Both are on this machine. What each says is told apart by its name; which comes first is not certain.
    let seen = run("fleetctl journal -f lo[g] more -m 10.0.0.3").await;
    let mut lines: Vec<_> = seen.lines().collect();
    lines.sort_unstable();
    assert_snapshot!(lines.join("\n"), @r#"
    [exit 0]
    [stdout]
    log.service on THISHERE: journalctl --unit log.service --no-pager -n 10 --output short -f
    more.service on THISHERE: journalctl --unit more.service --no-pager -n 10 --output short -f
    "#);
    // Where fleetd fails there is the other way; where that fails, too, each unit is told of and the next one asked about.
    let untold = AskError::Untold {
        machine: machine_id(id.trim()),
        reason: "no bus".to_owned(),
    };
    let fails = || Elsewhere::Tell(vec![Err(untold.clone())]);
    cluster.store.elsewhere(fails());
    let seen = run("fleetctl status lo[g] more -m 10.0.0.3").await;
    assert_eq!(seen.matches("systemctl status -l").count(), 2, "{seen}");
    assert!(!seen.contains("no bus"), "{seen}");
    for (line, what) in [
        ("fleetctl status lo[g] more -m 10.0.0.3", "status"),
        ("fleetctl journal lo[g] more -m 10.0.0.3", "journal"),
    ] {
        let endpoint = format!("unix://{}", cluster.socket.display());
        let nothing = [("FLEETCTL_ENDPOINT", endpoint.as_str()), ("PATH", "/none")];
        let seen = cluster.run_with(&nothing, line).await;
        for unit in ["log.service", "more.service"] {
            let reason = format!("Error retrieving {what} of unit {unit}: ");
            assert!(seen.contains(&reason), "{seen}");
        }
        assert_eq!(seen.matches("no bus").count(), 2, "{seen}");
        assert!(seen.ends_with("[exit 255]"), "{seen}");
    }
    // A journal that is followed has no end: if there is one, that is an error.
    assert_snapshot!(cluster.run("fleetctl journal -f log -m aaaa").await, @r#"
    [stdout]
    one of 10 lines of log.service
    ExecStart failed: no such file
    [stderr]
    Error following journal of unit log.service: fleetd has ended it
    [exit 1]
    "#);
    cluster.end().await;
}
