//! A machine that is cut off, and one whose fleetd is gone: exclusive units end before others of them begin, and all else runs on.

use std::collections::BTreeMap;

use testbed::{Machine, Store, until};

use crate::lab::{LIMIT, Lab};

const STORE: Store = Store::Etcd { members: 1 };

/// All on one machine of zone b: one that stops at once, one that does not, and one that is not exclusive.
const UNITS: &[(&str, &str)] = &[
    (
        "till.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nExclusive=yes\nMachineMetadata=zone=b\n",
    ),
    (
        "stubborn.service",
        "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=300\nRestart=always\n\
         [X-Fleet]\nExclusive=yes\nMachineOf=till.service\n",
    ),
    (
        "keeper.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineOf=till.service\n",
    ),
];

const EXCLUSIVE: &[&str] = &["till.service", "stubborn.service"];

/// When a unit left `inactive`, in microseconds of the monotonic clock that all machines share, being containers.
fn begun(machine: &Machine, unit: &str) -> u64 {
    let property = "--property=InactiveExitTimestampMonotonic";
    let words = ["systemctl", "show", "--value", property, unit];
    let output = machine.run(&words).unwrap().success().unwrap();
    output.stdout.trim().parse().unwrap()
}

/// When a unit was last stopped to its end, likewise. From the journal: systemd forgets a unit that it has no more use for.
fn ended(machine: &Machine, unit: &str) -> u64 {
    let output = machine
        .run(&["journalctl", "--unit", unit, "--output=short-monotonic"])
        .unwrap();
    let stopped = output
        .stdout
        .lines()
        .rev()
        .find(|line| line.contains("systemd[1]: Stopped "))
        .unwrap_or_else(|| panic!("{unit} never stopped: {}", output.stdout));
    let seconds: f64 = stopped
        .trim_start_matches(['[', ' '])
        .split(']')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    (seconds * 1e6) as u64
}

fn is_active(lab: &Lab, on: &Machine, unit: &str) -> bool {
    lab.state(on, unit).active_state == "active"
}

/// Starts the units, and returns the machine they are on and the other of its zone.
fn start(lab: &Lab) -> (String, String) {
    let paths: Vec<String> = UNITS
        .iter()
        .map(|(name, text)| lab.unit_file("m1", name, text))
        .collect();
    let mut words = vec!["start"];
    words.extend(paths.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    let home = lab.by_id(lab.active_on("m1", "till.service").first().unwrap());
    let other = if home.name() == "m2" { "m3" } else { "m2" };
    (home.name().to_owned(), other.to_owned())
}

/// Waits until the exclusive units run on `new`, and checks that each had ended on `old` before it began there.
fn assert_moved_one_after_the_other(lab: &Lab, old: &str, new: &str) {
    let (old, new) = (lab.machine(old), lab.machine(new));
    for unit in EXCLUSIVE {
        until(
            &format!("{unit} on {}", new.name()),
            LIMIT,
            || match is_active(lab, new, unit) {
                true => Ok(()),
                false => Err(format!("{:?}", lab.state(new, unit))),
            },
        )
        .unwrap();
        let state = lab.state(old, unit).active_state;
        assert!(
            state == "inactive" || state == "failed",
            "{unit} is {state} on {}",
            old.name()
        );
        let (ended, begun) = (ended(old, unit), begun(new, unit));
        println!(
            "{unit}: ended on {} {} ms before it began on {}",
            old.name(),
            begun.saturating_sub(ended) / 1000,
            new.name()
        );
        assert!(
            ended < begun,
            "{unit} ran twice: {ended} {begun}\n{}",
            old.journal("fleet-guard.service").unwrap()
        );
    }
}

/// Waits until everything is on one machine, once.
fn settle(lab: &Lab) -> (String, String) {
    let rows = lab.wait_for("each unit on one machine", "m1", |rows| {
        let active = rows.iter().filter(|row| row.active == "active").count();
        active == UNITS.len() && rows.len() == UNITS.len()
    });
    let home = lab.by_id(&rows[0].machine);
    let other = if home.name() == "m2" { "m3" } else { "m2" };
    for (unit, _) in UNITS {
        until(
            &format!("{unit} no longer on {other}"),
            LIMIT,
            || match is_active(lab, lab.machine(other), unit) {
                false => Ok(()),
                true => Err("it is active".to_owned()),
            },
        )
        .unwrap();
    }
    (home.name().to_owned(), other.to_owned())
}

#[test]
fn exclusive_units_end_before_others_of_them_begin_whatever_became_of_fleetd() {
    let Some(lab) = Lab::start(
        "exclusive units: cut off, fleetd frozen, fleetd dead",
        STORE,
    ) else {
        return;
    };
    let (home, other) = start(&lab);
    let cut = lab.machine(&home);
    let keeper = lab.state(cut, "keeper.service").invocation_id;

    println!("{home} is cut off");
    cut.partition().unwrap();
    assert_moved_one_after_the_other(&lab, &home, &other);
    assert_eq!(
        lab.state(cut, "keeper.service").invocation_id,
        keeper,
        "what is not exclusive runs on"
    );
    cut.heal().unwrap();
    let healed = std::time::Instant::now();
    until(
        "the old copy of keeper.service gone",
        LIMIT,
        || match is_active(&lab, cut, "keeper.service") {
            false => Ok(()),
            true => Err("it is active".to_owned()),
        },
    )
    .unwrap();
    println!(
        "keeper.service ran twice until {:?} after healing",
        healed.elapsed()
    );
    lab.wait_for_machines(3);
    let (home, other) = settle(&lab);

    println!("fleetd on {home} is frozen: it can stop nothing");
    let frozen = lab.machine(&home);
    frozen.signal_unit("fleet.service", "SIGSTOP").unwrap();
    assert_moved_one_after_the_other(&lab, &home, &other);
    frozen.signal_unit("fleet.service", "SIGCONT").unwrap();
    lab.wait_for_machines(3);
    let (home, other) = settle(&lab);

    println!("fleetd on {home} is dead and stays dead, and D-Bus with it");
    let dead = lab.machine(&home);
    dead.shell(
        "mkdir -p /run/systemd/system/fleet.service.d && printf '[Service]\\nRestart=no\\n' \
         > /run/systemd/system/fleet.service.d/dead.conf && systemctl daemon-reload && systemctl stop fleet.socket; \
         systemctl kill --signal=SIGKILL fleet.service; systemctl stop dbus.socket dbus.service",
    )
    .unwrap();
    assert_moved_one_after_the_other(&lab, &home, &other);
    let journal = dead.journal("fleet-guard.service").unwrap();
    assert!(journal.contains("killing stubborn.service"), "{journal}");
}

#[test]
fn with_the_store_gone_only_exclusive_units_end_and_they_are_back_with_it() {
    let Some(lab) = Lab::start("etcd is gone for several leases", STORE) else {
        return;
    };
    let (home, _) = start(&lab);
    let before: BTreeMap<_, _> = lab
        .invocations("m1")
        .into_iter()
        .filter(|((_, unit), _)| unit == "keeper.service")
        .collect();
    let home = lab.machine(&home);
    let etcd = &lab.bed.etcd()[0];
    etcd.kill().unwrap();
    for unit in EXCLUSIVE {
        until(&format!("{unit} is given up"), LIMIT, || {
            match is_active(&lab, home, unit) {
                false => Ok(()),
                true => Err("it is active".to_owned()),
            }
        })
        .unwrap();
    }
    // Two leases more: whatever were to happen to the others would have.
    std::thread::sleep(std::time::Duration::from_secs(8));
    lab.assert_undisturbed(&before, &[]);
    etcd.start().unwrap();
    lab.wait_for_machines(3);
    settle(&lab);
    lab.assert_undisturbed(&before, &[]);
}

/// On the machine that is cut off: one that every machine has, and one that no other may have.
const AT_HOME: &[&str] = &["every.service", "bound.service"];

#[test]
fn a_machine_that_comes_back_keeps_what_is_still_its_own() {
    let what = "cut off, and frozen, for longer than the lease: global and bound units";
    let Some(lab) = Lab::start(what, STORE) else {
        return;
    };
    let m2 = lab.machine("m2");
    let sleeper = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\n";
    let bound = format!("{sleeper}MachineID={}\n", m2.machine_id());
    let paths = [
        lab.unit_file("m1", "every.service", &format!("{sleeper}Global=true\n")),
        lab.unit_file("m1", "bound.service", &bound),
        lab.unit_file(
            "m1",
            "moves.service",
            &format!("{sleeper}MachineMetadata=zone=b\n"),
        ),
    ];
    let mut words = vec!["start"];
    words.extend(paths.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    lab.wait_for("all of them", "m1", |rows| {
        rows.len() == 5 && rows.iter().all(|row| row.active == "active")
    });
    let invocations = || -> Vec<String> {
        let ids = AT_HOME.iter().map(|unit| lab.state(m2, unit).invocation_id);
        ids.collect()
    };
    let before = invocations();
    let gone = || lab.wait_for_machines(2);
    for way in ["cut off", "fleetd frozen"] {
        println!("m2: {way}");
        let back = match way {
            "cut off" => {
                m2.partition().unwrap();
                gone();
                m2.heal().unwrap();
                std::time::Instant::now()
            }
            _ => {
                m2.signal_unit("fleet.service", "SIGSTOP").unwrap();
                gone();
                m2.signal_unit("fleet.service", "SIGCONT").unwrap();
                std::time::Instant::now()
            }
        };
        lab.wait_for_machines(3);
        lab.wait_for("each where it belongs", "m1", |rows| {
            rows.len() == 5 && rows.iter().all(|row| row.active == "active")
        });
        // While one machine has reported its copy, and another not yet, there are as many rows with two copies.
        until("moves.service on one machine", LIMIT, || {
            let copies =
                ["m1", "m2", "m3"].map(|name| is_active(&lab, lab.machine(name), "moves.service"));
            match copies.iter().filter(|it| **it).count() {
                1 => Ok(()),
                _ => Err(format!("{copies:?}")),
            }
        })
        .unwrap();
        println!("as wanted {:?} after that", back.elapsed());
        assert_eq!(invocations(), before, "{AT_HOME:?} run on: {way}");
    }
}

#[test]
fn a_machine_that_is_cut_off_can_be_stopped_and_leaves_nothing_running() {
    let what = "systemctl stop fleet on a machine whose lease is lost and whose store is away";
    let Some(lab) = Lab::start(what, STORE) else {
        return;
    };
    let (home, other) = start(&lab);
    let (cut, other) = (lab.machine(&home), lab.machine(&other));
    cut.partition().unwrap();
    lab.wait_for_machines(2);
    until("keeper.service elsewhere", LIMIT, || {
        match is_active(&lab, other, "keeper.service") {
            true => Ok(()),
            false => Err(format!("{:?}", lab.state(other, "keeper.service"))),
        }
    })
    .unwrap();
    assert!(is_active(&lab, cut, "keeper.service"), "it runs on");

    let asked = std::time::Instant::now();
    let stopped = cut.run(&["systemctl", "stop", "fleet.service"]).unwrap();
    println!("systemctl stop fleet took {:?}", asked.elapsed());
    let journal = cut.journal("fleet.service").unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{journal}");
    let fleet = lab.state(cut, "fleet.service");
    assert_eq!(fleet.active_state, "inactive", "it ends well: {journal}");
    for (unit, _) in UNITS {
        assert!(!is_active(&lab, cut, unit), "{unit} runs on: {journal}");
    }
    let there = lab.state(other, "keeper.service").invocation_id;

    cut.heal().unwrap();
    cut.start_unit("fleet.service").unwrap();
    lab.wait_for_machines(3);
    settle(&lab);
    assert_eq!(
        lab.state(other, "keeper.service").invocation_id,
        there,
        "what runs elsewhere by now stays there"
    );
}

/// It says every tenth of a second that it runs, in seconds since the host's boot, and hears no signal.
const BEATING: &str = "[Service]\n\
    ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do cut -d\" \" -f1 /proc/uptime > /root/beat.new; mv /root/beat.new /root/beat; \
    sleep 0.1; done'\nTimeoutStopSec=300\nRestart=always\n[X-Fleet]\nExclusive=yes\nMachineMetadata=zone=b\n";

/// When the unit last said on this machine that it ran, in microseconds of the host's clock.
fn last_beat(machine: &Machine) -> u64 {
    let said = machine.run(&["cat", "/root/beat"]).unwrap();
    let seconds: f64 = said.success().unwrap().stdout.trim().parse().unwrap();
    (seconds * 1e6) as u64
}

#[test]
fn exclusive_units_end_in_time_also_if_systemd_hangs() {
    let what = "cut off, and PID 1 of the machine stands still: the guard kills by cgroup";
    let Some(lab) = Lab::start(what, STORE) else {
        return;
    };
    let path = lab.unit_file("m1", "beating.service", BEATING);
    lab.fleetctl("m1", &["start", &path]);
    let home = lab.by_id(lab.active_on("m1", "beating.service").first().unwrap());
    let other = lab.machine(if home.name() == "m2" { "m3" } else { "m2" });
    let signal = |signal: &str| {
        let pid_1 = home.leader().unwrap().to_string();
        let kill = lab.bed.run(&["kill", signal, &pid_1]).unwrap();
        kill.success().unwrap();
    };
    signal("-STOP");
    home.partition().unwrap();
    until("beating.service elsewhere", LIMIT, || {
        match is_active(&lab, other, "beating.service") {
            true => Ok(()),
            false => Err(format!("{:?}", lab.state(other, "beating.service"))),
        }
    })
    .unwrap();
    let begun = begun(other, "beating.service");
    let last = last_beat(home);
    println!(
        "it last ran on {} {} ms before it began on {}",
        home.name(),
        begun.saturating_sub(last) / 1_000,
        other.name()
    );
    assert!(last < begun, "it ran twice: {last} {begun}");

    println!("systemd of {} goes on", home.name());
    signal("-CONT");
    home.heal().unwrap();
    lab.wait_for_machines(3);
    lab.wait_for("it runs once", "m1", |rows| {
        rows.len() == 1 && rows.iter().all(|row| row.active == "active")
    });
    println!("{}", home.journal("fleet-guard.service").unwrap());
    assert_eq!(
        last_beat(home),
        last,
        "systemd, with Restart=always, started it again"
    );
}
