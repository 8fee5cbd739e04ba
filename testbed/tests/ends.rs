//! How a testbed ends: with the process that made it, however that dies, and never together with another.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; clippy exempts only functions marked #[test]"
)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use testbed::{Config, Store, Testbed, until};

const LIMIT: Duration = Duration::from_secs(30);

/// Says in the name of which mishap this binary was started by one of its own tests; see [`doomed`].
const DOOM: &str = "TESTBED_TEST_DOOM";

fn start(config: &Config) -> Option<Testbed> {
    let started = Instant::now();
    let bed = Testbed::start_or_skip(config).unwrap()?;
    let (machines, members) = (bed.machines().len(), bed.etcd().len());
    println!(
        "{machines} machines and {members} etcd up in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Some(bed)
}

#[test]
fn two_testbeds_do_not_touch_each_other() {
    let Some(one) = start(&Config::of(1, Store::None)) else {
        return;
    };
    let Some(other) = start(&Config::of(1, Store::None)) else {
        return;
    };
    assert_ne!(one.network_namespace(), other.network_namespace());
    assert_eq!(one.machines()[0].address(), other.machines()[0].address());
    let namespace = one.network_namespace().to_owned();
    drop(one);
    assert!(remains(&namespace).is_empty(), "{:?}", remains(&namespace));
    assert!(
        other.machines()[0]
            .run(&["systemctl", "is-system-running"])
            .unwrap()
            .status
            .success()
    );
}

/// What there is of a testbed on the host.
fn remains(namespace: &str) -> Vec<String> {
    let id = namespace.trim_start_matches("ftb-");
    let places = [
        format!("/run/netns/{namespace}"),
        format!("/run/fleet-testbed/{id}"),
        format!("/sys/fs/cgroup/fleet-testbed/{id}"),
        format!("/sys/fs/cgroup/unified/fleet-testbed/{id}"),
        format!("/sys/fs/cgroup/systemd/fleet-testbed/{id}"),
    ];
    let mut found: Vec<_> = places
        .into_iter()
        .filter(|place| Path::new(place).exists())
        .collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&format!("/{id}/")))
            .map(str::to_owned),
    );
    found
}

fn nothing_remains(namespace: &str) -> Result<(), String> {
    let found = remains(namespace);
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("{found:?}"))
    }
}

/// A process that runs only [`doomed`].
struct Doomed {
    child: Child,
    namespace: String,
    /// Held open: without a reader the process would die of its next line.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// Starts this binary again with only [`doomed`] in it, and returns when its testbed is up.
fn start_doomed(doom: &str) -> Doomed {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "doomed", "--nocapture"])
        .env(DOOM, doom)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let namespace = lines
        .find_map(|line| Some(line.unwrap().split_once("NAMESPACE ")?.1.to_owned()))
        .unwrap();
    println!("{doom}: {namespace} is up");
    Doomed {
        child,
        namespace,
        _stdout: lines,
    }
}

/// Not a test of its own: what the tests below start in a process of its own to have it die.
#[test]
fn doomed() {
    let Ok(doom) = std::env::var(DOOM) else {
        return;
    };
    let bed = Testbed::start(&Config::of(1, Store::Etcd { members: 1 })).unwrap();
    println!("\nNAMESPACE {}", bed.network_namespace());
    match doom.as_str() {
        "panic" => panic!("as a failed assertion would"),
        "keep" => println!("kept: {}", bed.keep().unwrap().display()),
        _ => loop {
            std::thread::park();
        },
    }
}

#[test]
fn nothing_outlives_a_test_that_panics() {
    if start(&Config::of(0, Store::None)).is_none() {
        return;
    }
    let Doomed {
        mut child,
        namespace,
        _stdout,
    } = start_doomed("panic");
    assert!(!child.wait().unwrap().success());
    nothing_remains(&namespace).unwrap();
}

#[test]
fn nothing_outlives_a_process_that_is_killed() {
    if start(&Config::of(0, Store::None)).is_none() {
        return;
    }
    let Doomed {
        mut child,
        namespace,
        _stdout,
    } = start_doomed("kill");
    assert!(!remains(&namespace).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let started = Instant::now();
    until("the guard's work", LIMIT, || nothing_remains(&namespace)).unwrap();
    println!("gone {:?} after SIGKILL", started.elapsed());
}

#[test]
fn what_a_killed_guard_leaves_is_ended_by_the_next_run() {
    let Some(live) = start(&Config::of(1, Store::None)) else {
        return;
    };
    let Doomed {
        mut child,
        namespace,
        _stdout,
    } = start_doomed("kill");
    let id = namespace.trim_start_matches("ftb-");
    let pattern = format!("/run/fleet-testbed/{id}/end.sh --guard");
    let guards = Command::new("pgrep")
        .args(["--full", &pattern])
        .output()
        .unwrap();
    let guards = String::from_utf8(guards.stdout).unwrap();
    for guard in guards.split_whitespace() {
        assert!(
            Command::new("kill")
                .args(["-KILL", guard])
                .status()
                .unwrap()
                .success()
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!remains(&namespace).is_empty(), "the guard was not killed");
    drop(start(&Config::of(0, Store::None)));
    nothing_remains(&namespace).unwrap();
    assert!(
        live.machines()[0].run(&["true"]).unwrap().status.success(),
        "a live testbed was touched"
    );
}

#[test]
fn a_kept_testbed_outlives_its_process_until_its_script_is_run() {
    if start(&Config::of(0, Store::None)).is_none() {
        return;
    }
    let Doomed {
        mut child,
        namespace,
        _stdout,
    } = start_doomed("keep");
    assert!(child.wait().unwrap().success());
    drop(start(&Config::of(0, Store::None)));
    let etcd = Command::new("ip")
        .args(["netns", "exec", &namespace, "etcdctl", "endpoint", "health"])
        .env("ETCDCTL_API", "3")
        .status()
        .unwrap();
    assert!(etcd.success(), "a kept testbed was ended by a later run");
    let id = namespace.trim_start_matches("ftb-");
    let end = Command::new("sh")
        .arg(format!("/run/fleet-testbed/{id}/end.sh"))
        .status()
        .unwrap();
    assert!(end.success());
    nothing_remains(&namespace).unwrap();
}
