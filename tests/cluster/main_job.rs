//! The main job: units of every kind go where they belong, survive a lost machine, and are not touched by fleetd's restart.

use std::collections::BTreeSet;

use testbed::Store;

use crate::lab::{Lab, Row};

const STORE: Store = Store::Etcd { members: 1 };

fn machines_of(rows: &[Row], unit: &str) -> BTreeSet<String> {
    rows.iter()
        .filter(|row| row.unit == unit && row.active == "active")
        .map(|row| row.machine.clone())
        .collect()
}

/// Starts one example of each kind and checks that each is where its `[X-Fleet]` says.
fn start_examples(lab: &Lab) {
    lab.examples("m1");
    let in_units = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("/root/units/{name}"))
            .collect::<Vec<_>>()
    };
    let start = |names: &[&str]| {
        let paths = in_units(names);
        let mut words = vec!["start"];
        words.extend(paths.iter().map(String::as_str));
        lab.fleetctl("m1", &words)
    };
    let said = start(&["hello.service"]);
    assert!(said.contains("Unit hello.service launched on "), "{said}");
    start(&["web@1.service", "web@2.service", "web@3.service"]);
    start(&["app.service", "app-sidekick.service"]);
    start(&["node-agent.service"]);
    start(&["db.service"]);
    let rows = lab.wait_for("the global unit on all machines", "m1", |rows| {
        machines_of(rows, "node-agent.service").len() == 3
    });
    let webs: BTreeSet<String> = (1..=3)
        .flat_map(|n| machines_of(&rows, &format!("web@{n}.service")))
        .collect();
    assert_eq!(
        webs.len(),
        3,
        "conflicting instances share a machine: {rows:#?}"
    );
    assert_eq!(
        machines_of(&rows, "app.service"),
        machines_of(&rows, "app-sidekick.service")
    );
    let ssd = lab.machine("m1").machine_id().to_owned();
    assert_eq!(machines_of(&rows, "db.service"), BTreeSet::from([ssd]));
}

#[test]
fn units_go_where_they_belong_and_outlive_their_machine() {
    let Some(lab) = Lab::start("units of every kind, then a machine is killed", STORE) else {
        return;
    };
    start_examples(&lab);
    let before = lab.invocations("m1");
    let victim = lab.machine("m3");
    let lost: Vec<Row> = lab
        .rows("m1")
        .into_iter()
        .filter(|row| row.machine == victim.machine_id())
        .collect();
    println!("m3 has {} units and is killed", lost.len());
    victim.kill().unwrap();
    lab.wait_for_machines(2);
    // The three instances conflict with each other: with two machines left one of them has to wait.
    let rows = lab.wait_for("the lost units elsewhere", "m1", |rows| {
        lost.iter()
            .filter(|row| row.unit != "node-agent.service" && !row.unit.starts_with("web@"))
            .all(|row| machines_of(rows, &row.unit).len() == 1)
    });
    assert!(
        rows.iter().all(|row| row.machine != victim.machine_id()),
        "{rows:#?}"
    );
    lab.assert_undisturbed(&before, &[victim.machine_id()]);
    println!("m3 comes back: the instance that waited, and the global unit, start there");
    victim.power_on().unwrap();
    lab.wait_for("everything placed again", "m1", |rows| {
        (1..=3).all(|n| machines_of(rows, &format!("web@{n}.service")).len() == 1)
            && machines_of(rows, "node-agent.service").len() == 3
    });
    lab.assert_undisturbed(&before, &[victim.machine_id()]);
}

#[test]
fn a_restart_of_fleetd_touches_no_unit_and_a_stop_moves_them() {
    let Some(lab) = Lab::start(
        "fleetd is restarted everywhere, then stopped on one machine",
        STORE,
    ) else {
        return;
    };
    start_examples(&lab);
    let before = lab.invocations("m1");
    for machine in lab.bed.machines() {
        machine
            .run(&["systemctl", "restart", "fleet.service"])
            .unwrap()
            .success()
            .unwrap();
    }
    lab.wait_for_machines(3);
    lab.wait_for("all units still reported", "m1", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == before.len()
    });
    lab.assert_undisturbed(&before, &[]);

    let leaving = lab.machine("m2");
    let had: Vec<Row> = lab
        .rows("m1")
        .into_iter()
        .filter(|row| row.machine == leaving.machine_id())
        .collect();
    assert!(!had.is_empty(), "m2 has units to lose");
    leaving
        .run(&["systemctl", "stop", "fleet.service", "fleet.socket"])
        .unwrap()
        .success()
        .unwrap();
    for row in &had {
        let state = lab.state(leaving, &row.unit);
        assert_ne!(
            state.active_state, "active",
            "{} was left running on a machine that left",
            row.unit
        );
    }
    lab.wait_for_machines(2);
    lab.wait_for("its units elsewhere", "m1", |rows| {
        had.iter()
            .filter(|row| row.unit != "node-agent.service" && !row.unit.starts_with("web@"))
            .all(|row| machines_of(rows, &row.unit).len() == 1)
    });
    lab.assert_undisturbed(&before, &[leaving.machine_id()]);
}

#[test]
fn verbs_do_what_they_say_and_wait_for_it() {
    let Some(lab) = Lab::start("start, stop, restart, unload, replace and destroy", STORE) else {
        return;
    };
    let path = lab.unit_file(
        "m1",
        "slow.service",
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'sleep 1; touch /run/slow-stopped'\n",
    );
    lab.fleetctl("m1", &["start", &path]);
    let id = lab
        .active_on("m1", "slow.service")
        .into_iter()
        .next()
        .unwrap();
    let machine = lab.by_id(&id);
    let first = lab.state(machine, "slow.service");
    assert_eq!(first.active_state, "active");

    lab.fleetctl("m2", &["restart", "slow"]);
    let second = lab.state(machine, "slow.service");
    assert_ne!(
        second.invocation_id, first.invocation_id,
        "restart started it anew"
    );
    assert_eq!(second.active_state, "active");

    lab.fleetctl("m2", &["stop", "slow"]);
    assert_eq!(
        lab.state(machine, "slow.service").active_state,
        "inactive",
        "stop returned when it had stopped"
    );
    machine
        .run(&["rm", "/run/slow-stopped"])
        .unwrap()
        .success()
        .unwrap();
    lab.fleetctl("m2", &["start", "slow"]);

    println!(
        "a changed file replaces the unit on the same machine, after ExecStop has run to its end"
    );
    let changed = lab.unit_file(
        "m1",
        "slow.service",
        "[Service]\nExecStart=/bin/sleep 100000\n",
    );
    lab.fleetctl("m1", &["start", "--replace", &changed]);
    assert_eq!(lab.active_on("m1", "slow.service"), BTreeSet::from([id]));
    machine
        .run(&["test", "-e", "/run/slow-stopped"])
        .unwrap()
        .success()
        .unwrap();
    let shown = machine
        .run(&["systemctl", "show", "--property=ExecStart", "slow.service"])
        .unwrap();
    assert!(shown.stdout.contains("100000"), "{shown:?}");
    assert_eq!(
        lab.fleetctl("m2", &["cat", "slow.service"]),
        "[Service]\nExecStart=/bin/sleep 100000\n"
    );

    lab.fleetctl("m2", &["unload", "slow"]);
    assert_eq!(lab.state(machine, "slow.service").load_state, "not-found");
    lab.fleetctl("m2", &["destroy", "slow"]);
    assert_eq!(lab.fleetctl("m2", &["list-unit-files", "--no-legend"]), "");
}

#[test]
fn a_reload_applies_new_metadata_and_moves_only_what_it_concerns() {
    let Some(lab) = Lab::start("metadata is edited and fleetd reloaded", STORE) else {
        return;
    };
    let sleeper = "[Service]\nExecStart=/bin/sleep infinity\n";
    let other = lab.unit_file("m1", "other.service", sleeper);
    let fast = format!("{sleeper}[X-Fleet]\nMachineMetadata=disk=ssd\n");
    let pinned = lab.unit_file("m1", "pinned.service", &fast);
    lab.fleetctl("m1", &["start", &other, &pinned]);
    let (old, new) = (lab.machine("m1"), lab.machine("m3"));
    let before = lab.invocations("m1");
    let fleetd = old.pid_of("fleetd").unwrap();
    for (machine, from, to) in [
        (new, "zone=b", "zone=b,disk=ssd"),
        (old, "zone=a,disk=ssd", "zone=a"),
    ] {
        let edit = format!(
            "sed -i 's/metadata={from}/metadata={to}/' /etc/fleet/fleet.conf && systemctl reload fleet"
        );
        machine.shell(&edit).unwrap().success().unwrap();
    }
    lab.wait_for("the pinned unit on m3", "m1", |rows| {
        machines_of(rows, "pinned.service") == BTreeSet::from([new.machine_id().to_owned()])
    });
    assert_ne!(lab.state(old, "pinned.service").active_state, "active");
    assert_eq!(
        old.pid_of("fleetd").unwrap(),
        fleetd,
        "the same process goes on"
    );
    let rest = before
        .into_iter()
        .filter(|((_, unit), _)| unit == "other.service")
        .collect();
    lab.assert_undisturbed(&rest, &[]);
    assert!(
        lab.fleetctl("m2", &["list-machines"])
            .contains("disk=ssd,zone=b")
    );
}
