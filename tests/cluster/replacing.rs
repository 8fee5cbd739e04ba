//! `--replace` on a unit that runs: the new one starts on the same machine if it still fits, and nowhere before the old one has
//! stopped to its end. How long that takes is in the hands of the story: ExecStop waits for a file.

use std::collections::BTreeSet;

use testbed::{Machine, Store, until};

use crate::lab::{LIMIT, Lab};

const STORE: Store = Store::Etcd { members: 1 };

/// A unit that writes down what happens to it, its start before systemd calls it active, and does not stop before it may.
fn version(number: u32, fleet: &str) -> String {
    format!(
        "[Service]
TimeoutStopSec=300
ExecStartPre=/bin/sh -c 'echo started {number} >> /run/%p.log'
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c 'echo stopping {number} >> /run/%p.log; until [ -e /run/may-stop ]; do sleep 0.1; done; echo stopped {number} >> /run/%p.log'
[X-Fleet]
{fleet}"
    )
}

fn log_of(machine: &Machine, unit: &str) -> Vec<String> {
    let path = format!("/run/{unit}.log");
    let output = machine.run(&["cat", &path]).unwrap();
    output.stdout.lines().map(str::to_owned).collect()
}

fn wait_for_log(lab: &Lab, machine: &Machine, unit: &str, last: &str) {
    let found = until(&format!("{last:?} of {unit}"), LIMIT, || {
        let log = log_of(machine, unit);
        match log.last() {
            Some(line) if line == last => Ok(()),
            Some(_) | None => Err(format!("{log:?}")),
        }
    });
    if let Err(error) = found {
        panic!("{error}\n{}", lab.bed.diagnosis());
    }
}

fn let_stop(machine: &Machine) {
    println!("{}: may stop", machine.name());
    let output = machine.run(&["touch", "/run/may-stop"]).unwrap();
    output.success().unwrap();
}

fn machine_of<'l>(lab: &'l Lab, unit: &str) -> &'l Machine {
    let on = lab.active_on("m1", unit);
    assert_eq!(on.len(), 1, "{unit} is on {on:?}");
    lab.by_id(on.first().unwrap())
}

#[test]
fn the_new_one_starts_where_the_old_one_was_and_not_before_it_has_stopped() {
    let Some(lab) = Lab::start("a replacement waits for ExecStop to end", STORE) else {
        return;
    };
    let path = lab.unit_file("m1", "slow.service", &version(1, ""));
    lab.fleetctl("m1", &["start", &path]);
    let machine = machine_of(&lab, "slow.service");
    println!(
        "{} gets more units than the others: placed anew, it would go elsewhere",
        machine.name()
    );
    let pinned = format!(
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineID={}\n",
        machine.machine_id()
    );
    for n in 1..=3 {
        let weight = lab.unit_file("m1", &format!("weight-{n}.service"), &pinned);
        lab.fleetctl("m1", &["start", &weight]);
    }
    let others: Vec<_> = lab.invocations("m1").into_iter().collect();
    let others = others
        .into_iter()
        .filter(|((_, unit), _)| unit != "slow.service")
        .collect();

    lab.unit_file("m1", "slow.service", &version(2, ""));
    let said = lab.fleetctl("m1", &["start", "--replace", "--no-block", &path]);
    assert!(said.contains("Triggered unit slow.service start"), "{said}");
    wait_for_log(&lab, machine, "slow", "stopping 1");
    lab.wait_for(
        "the old one on its way out, in list-units too",
        "m1",
        |rows| {
            rows.iter()
                .any(|row| row.unit == "slow.service" && row.active == "deactivating")
        },
    );
    let shown = machine
        .run(&["systemctl", "show", "--property=ExecStop", "slow.service"])
        .unwrap();
    assert!(
        shown.stdout.contains("stopping 1"),
        "systemd has another file while the old unit stops: {shown:?}"
    );
    let timed_out = lab.try_fleetctl("m2", &["start", "--block-attempts=1", "slow"]);
    assert_eq!(timed_out.status.code(), Some(1), "{timed_out:?}");
    assert!(timed_out.stderr.contains("deactivating"), "{timed_out:?}");
    assert_eq!(log_of(machine, "slow"), ["started 1", "stopping 1"]);

    let_stop(machine);
    lab.fleetctl("m2", &["start", "slow"]);
    assert_eq!(
        log_of(machine, "slow"),
        ["started 1", "stopping 1", "stopped 1", "started 2"]
    );
    let id = machine.machine_id().to_owned();
    assert_eq!(lab.active_on("m1", "slow.service"), BTreeSet::from([id]));
    lab.assert_undisturbed(&others, &[]);
    println!("what is the same is not touched");
    let before = lab.state(machine, "slow.service").invocation_id;
    let said = lab.fleetctl("m1", &["start", "--replace", &path]);
    assert!(said.contains("Found same Unit(slow.service)"), "{said}");
    assert_eq!(lab.state(machine, "slow.service").invocation_id, before);
}

#[test]
fn a_new_one_that_does_not_fit_any_more_goes_elsewhere_once_the_old_one_has_stopped() {
    let Some(lab) = Lab::start("a replacement that has to move", STORE) else {
        return;
    };
    let path = lab.unit_file(
        "m1",
        "slow.service",
        &version(1, "MachineMetadata=disk=ssd\n"),
    );
    lab.fleetctl("m1", &["start", &path]);
    let old = machine_of(&lab, "slow.service");
    assert_eq!(old.name(), "m1");
    lab.unit_file(
        "m1",
        "slow.service",
        &version(2, "MachineMetadata=zone=b\n"),
    );
    lab.fleetctl("m1", &["start", "--replace", "--no-block", &path]);
    wait_for_log(&lab, old, "slow", "stopping 1");
    let timed_out = lab.try_fleetctl("m2", &["start", "--block-attempts=1", "slow"]);
    assert_eq!(timed_out.status.code(), Some(1), "{timed_out:?}");
    for other in ["m2", "m3"] {
        assert!(
            log_of(lab.machine(other), "slow").is_empty(),
            "{other} did not wait"
        );
    }
    let_stop(old);
    lab.fleetctl("m1", &["start", "slow"]);
    assert_eq!(
        log_of(old, "slow"),
        ["started 1", "stopping 1", "stopped 1"]
    );
    let new = machine_of(&lab, "slow.service");
    assert_ne!(new.name(), "m1");
    assert_eq!(log_of(new, "slow"), ["started 2"]);
    assert_eq!(lab.state(old, "slow.service").load_state, "not-found");
}

#[test]
fn each_machine_replaces_its_copy_of_a_global_unit_when_that_has_stopped() {
    let Some(lab) = Lab::start("a global unit is replaced", STORE) else {
        return;
    };
    let path = lab.unit_file("m1", "all.service", &version(1, "Global=true\n"));
    lab.fleetctl("m1", &["start", &path]);
    lab.wait_for("a copy on each machine", "m1", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == 3
    });
    lab.unit_file("m1", "all.service", &version(2, "Global=true\n"));
    lab.fleetctl("m1", &["start", "--replace", &path]);
    for machine in lab.bed.machines() {
        wait_for_log(&lab, machine, "all", "stopping 1");
    }
    println!("two of them stop; the third does not keep them");
    for name in ["m2", "m3"] {
        let_stop(lab.machine(name));
        wait_for_log(&lab, lab.machine(name), "all", "started 2");
        assert_eq!(
            log_of(lab.machine(name), "all"),
            ["started 1", "stopping 1", "stopped 1", "started 2"]
        );
    }
    assert_eq!(
        log_of(lab.machine("m1"), "all"),
        ["started 1", "stopping 1"]
    );
    let_stop(lab.machine("m1"));
    wait_for_log(&lab, lab.machine("m1"), "all", "started 2");
    lab.wait_for("the new copy on each machine", "m1", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == 3
    });
}
