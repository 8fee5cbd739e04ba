//! What the testbed promises to other tests, seen on real machines: identity, network, units, loss of
//! power and of network, etcd's return.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; clippy exempts only functions marked #[test]"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use testbed::{Config, Error, Machine, Store, Testbed, until};

const LIMIT: Duration = Duration::from_secs(30);

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

/// Whether `from` gets an answer from the sshd of `to`, within 2 s: no answer may be by chance, an answer is not.
fn reaches(from: &Machine, to: &Machine) -> Result<(), String> {
    let line = format!("exec 3<>/dev/tcp/{}/22 && head -c 3 <&3", to.address());
    let answer = from.run(&["timeout", "2", "bash", "-c", &line]).unwrap();
    if answer.stdout == "SSH" {
        Ok(())
    } else {
        Err(format!("{answer:?}"))
    }
}

const SLEEPER: &[u8] =
    b"[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=100ms\n";

#[test]
fn machines_are_told_apart_and_reach_each_other() {
    let Some(bed) = start(&Config::of(3, Store::None)) else {
        return;
    };
    for (number, machine) in bed.machines().iter().enumerate() {
        println!("{machine:?}");
        let id = machine
            .run(&["cat", "/etc/machine-id"])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(id.stdout.trim(), machine.machine_id());
        assert!(
            machine
                .machine_id()
                .starts_with(&format!("{:02x}", number + 1))
        );
        let name = machine
            .run(&["uname", "--nodename"])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(name.stdout.trim(), machine.name());
        let failed = machine
            .shell("systemctl --failed --no-legend --plain")
            .unwrap();
        assert_eq!(failed.stdout, "", "units that failed at boot");
        let bus = machine
            .run(&["busctl", "--no-pager", "list"])
            .unwrap()
            .success()
            .unwrap();
        assert!(
            bus.stdout.contains("org.freedesktop.systemd1"),
            "{}",
            bus.stdout
        );
        for other in bed.machines() {
            until("an answer", LIMIT, || reaches(machine, other)).unwrap();
        }
    }
    let [first, second, _] = bed.machines() else {
        panic!("three machines")
    };
    let key = |machine: &Machine| {
        machine
            .run(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
            .unwrap()
            .stdout
    };
    assert_ne!(key(first), key(second), "each has its own host key");
    println!("ssh from the host, as root and as core");
    for user in ["root", "core"] {
        let target = format!("{user}@{}", second.address());
        let key = bed.ssh_key();
        let words = [
            "ssh",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-i",
            key.to_str().unwrap(),
            &target,
            "whoami; hostname",
        ];
        let answer = bed.run(&words).unwrap().success().unwrap();
        assert_eq!(answer.stdout, format!("{user}\nm2\n"));
    }
}

#[test]
fn the_machines_network_is_not_the_hosts() {
    let Some(bed) = start(&Config::of(1, Store::None)) else {
        return;
    };
    let address = bed.machines()[0].address().to_string();
    let host = Command::new("ip")
        .args(["-oneline", "address"])
        .output()
        .unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    println!("the host's addresses:\n{host}");
    assert!(
        !host.contains("10.77.0."),
        "the testbed's network leaks to the host"
    );
    let inside = bed
        .run(&["bash", "-c", &format!("head -c 3 </dev/tcp/{address}/22")])
        .unwrap();
    assert_eq!(inside.success().unwrap().stdout, "SSH");
}

#[test]
fn a_unit_that_is_left_alone_keeps_its_invocation_id() {
    let Some(bed) = start(&Config::of(1, Store::None)) else {
        return;
    };
    let machine = &bed.machines()[0];
    for name in ["calm.service", "shot.service"] {
        machine
            .install_file(&format!("/run/systemd/system/{name}"), SLEEPER, 0o644)
            .unwrap();
        machine.start_unit(name).unwrap();
    }
    let before = machine
        .unit_states(&["calm.service", "shot.service"])
        .unwrap();
    println!("before: {before:#?}");
    assert!(
        before
            .values()
            .all(|unit| unit.active_state == "active" && !unit.invocation_id.is_empty())
    );
    assert_eq!(
        machine.pid_of("sleep").unwrap(),
        Some(before["calm.service"].main_pid)
    );
    println!("SIGKILL to the main process of shot.service; systemd starts it again");
    machine.signal_unit("shot.service", "KILL").unwrap();
    let after = until("another run of shot.service", LIMIT, || {
        let now = machine.unit_states(&["*.service"]).unwrap();
        let shot = &now["shot.service"];
        let again = shot.active_state == "active"
            && shot.invocation_id != before["shot.service"].invocation_id;
        if again {
            Ok(now)
        } else {
            Err(format!("{shot:?}"))
        }
    })
    .unwrap();
    assert_eq!(after["calm.service"], before["calm.service"]);
    machine.stop_unit("calm.service").unwrap();
    let gone = machine.unit_states(&["calm.service"]).unwrap();
    assert_eq!(gone["calm.service"].active_state, "inactive");
    until("its end in the journal", LIMIT, || {
        let journal = machine.journal("calm.service").unwrap();
        match journal.contains("Stopped calm.service") {
            true => Ok(()),
            false => Err(journal),
        }
    })
    .unwrap();
    let absent = machine
        .start_unit("absent.service")
        .unwrap_err()
        .to_string();
    assert!(absent.contains("absent.service not found"), "{absent}");
}

#[test]
fn a_killed_machine_comes_back_as_itself_with_its_disk_and_an_empty_run() {
    let Some(bed) = start(&Config::of(2, Store::None)) else {
        return;
    };
    let [first, second] = bed.machines() else {
        panic!("two machines")
    };
    first
        .install_file("/var/lib/on-disk", b"disk", 0o600)
        .unwrap();
    first
        .install_file("/run/in-memory", b"memory", 0o600)
        .unwrap();
    let started = Instant::now();
    first.kill().unwrap();
    println!("killed in {:?}", started.elapsed());
    assert!(!first.is_on() && second.is_on());
    assert!(matches!(first.run(&["true"]), Err(Error::Off { .. })));
    assert!(matches!(first.kill(), Err(Error::Off { .. })));
    assert!(reaches(second, first).is_err(), "a dead machine answers");
    first.install_file("/etc/while-off", b"off", 0o644).unwrap();

    let started = Instant::now();
    println!(
        "on again, {}, after {:?}",
        first.power_on().unwrap(),
        started.elapsed()
    );
    assert!(matches!(first.power_on(), Err(Error::On { .. })));
    let files = first
        .shell("cat /etc/machine-id /var/lib/on-disk /etc/while-off; ls /run/in-memory")
        .unwrap();
    assert_eq!(files.stdout, format!("{}\ndiskoff", first.machine_id()));
    assert!(
        files.stderr.contains("No such file"),
        "/run is not fresh: {files:?}"
    );
    // Its neighbour may still be asking for the address of the machine that was dead.
    until("an answer after the boot", LIMIT, || reaches(second, first)).unwrap();

    println!("shut down in good order, and on again");
    first.shut_down().unwrap();
    assert!(!first.is_on());
    first.power_on().unwrap();
    until("an answer after the second boot", LIMIT, || {
        reaches(second, first)
    })
    .unwrap();
}

#[test]
fn a_partitioned_machine_runs_on_unreachable_until_healed() {
    let Some(bed) = start(&Config::of(2, Store::None)) else {
        return;
    };
    let [first, second] = bed.machines() else {
        panic!("two machines")
    };
    until("an answer", LIMIT, || reaches(first, second)).unwrap();
    println!("the cable is pulled");
    second.partition().unwrap();
    assert!(reaches(first, second).is_err() && reaches(second, first).is_err());
    assert!(
        second.run(&["true"]).unwrap().status.success(),
        "it still runs"
    );
    println!("the cable is back");
    second.heal().unwrap();
    until("an answer after healing", LIMIT, || reaches(first, second)).unwrap();

    println!("frozen whole");
    second.freeze().unwrap();
    assert!(reaches(first, second).is_err());
    second.thaw().unwrap();
    until("an answer after thawing", LIMIT, || reaches(first, second)).unwrap();
}

#[test]
fn etcd_comes_back_with_its_data_and_three_outlive_one() {
    for members in [1, 3] {
        let Some(bed) = start(&Config::of(0, Store::Etcd { members })) else {
            return;
        };
        // As short as a wait for what must fail may be; what must succeed is asked for again, as an election can take longer.
        let etcdctl = |words: &[&str]| {
            let mut all = vec!["etcdctl", "--command-timeout=2s"];
            all.extend(words);
            bed.run(&all).unwrap()
        };
        until("a write", LIMIT, || {
            etcdctl(&["put", "/color", "blue"]).success()
        })
        .unwrap();
        let first = &bed.etcd()[0];
        first.kill().unwrap();
        println!("{members} etcd, one killed");
        if members == 3 {
            let answer = || etcdctl(&["get", "/color"]).success();
            until("an answer of two of three", LIMIT, answer).unwrap();
        } else {
            let without = etcdctl(&["get", "/color"]);
            assert!(!without.status.success(), "{without:?}");
        }
        first.start().unwrap();
        until("its data", LIMIT, || etcdctl(&["get", "/color"]).success()).unwrap();
        println!("{members} etcd, all frozen");
        bed.etcd()
            .iter()
            .for_each(|member| member.freeze().unwrap());
        assert!(
            !etcdctl(&["get", "/color"]).status.success(),
            "a frozen etcd answers"
        );
        bed.etcd().iter().for_each(|member| member.thaw().unwrap());
        until("its data", LIMIT, || etcdctl(&["get", "/color"]).success()).unwrap();
    }
}
