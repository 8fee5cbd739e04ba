//! Faults: partition and heal, kill -9 of fleetd, of the leader, of etcd and its return. Healthy units are not touched.

use std::collections::BTreeSet;
use std::time::Duration;

use testbed::{Store, until};

use crate::lab::{LIMIT, Lab};

const STORE: Store = Store::Etcd { members: 1 };

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// Starts `count` sleepers and returns their names.
fn start_sleepers(lab: &Lab, count: usize) -> Vec<String> {
    lab.unit_file("m1", "sleeper@.service", SLEEPER);
    let names: Vec<String> = (1..=count)
        .map(|n| format!("sleeper@{n}.service"))
        .collect();
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("/root/units/{name}"))
        .collect();
    let mut words = vec!["start"];
    words.extend(paths.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    names
}

#[test]
fn a_machine_that_is_cut_off_keeps_its_units_and_gives_up_the_moved_ones_on_return() {
    let Some(lab) = Lab::start(
        "one machine is cut off, its units move, then it returns",
        STORE,
    ) else {
        return;
    };
    start_sleepers(&lab, 9);
    let before = lab.invocations("m1");
    let cut = lab.machine("m3");
    let its_units: Vec<String> = lab
        .rows("m1")
        .into_iter()
        .filter(|row| row.machine == cut.machine_id())
        .map(|row| row.unit)
        .collect();
    assert_eq!(its_units.len(), 3, "nine units on three machines");
    cut.partition().unwrap();
    lab.wait_for("its units elsewhere", "m1", |rows| {
        rows.iter()
            .filter(|row| row.active == "active" && row.machine != cut.machine_id())
            .count()
            == 9
    });
    for unit in &its_units {
        assert_eq!(
            lab.state(cut, unit).active_state,
            "active",
            "{unit} runs on while cut off"
        );
    }
    cut.heal().unwrap();
    lab.wait_for_machines(3);
    for unit in &its_units {
        until(
            &format!("{unit} stopped on the machine that returned"),
            LIMIT,
            || {
                let state = lab.state(cut, unit);
                if state.active_state == "active" {
                    Err(format!("{state:?}"))
                } else {
                    Ok(())
                }
            },
        )
        .unwrap();
    }
    lab.assert_undisturbed(&before, &[cut.machine_id()]);
    // What m3 stopped is reported a moment after it has stopped.
    lab.wait_for("each unit once", "m1", |rows| {
        let active = rows.iter().filter(|row| row.active == "active");
        let units: BTreeSet<&String> = active.map(|row| &row.unit).collect();
        (units.len(), rows.len()) == (9, 9)
    });
}

#[test]
fn killing_fleetd_or_the_leader_disturbs_nothing() {
    let Some(lab) = Lab::start(
        "kill -9 of fleetd on every machine in turn, the leader among them",
        STORE,
    ) else {
        return;
    };
    start_sleepers(&lab, 9);
    let before = lab.invocations("m1");
    println!("the leader is {:?}", lab.leader());
    for machine in lab.bed.machines() {
        let killed = machine.pid_of("fleetd").unwrap().unwrap();
        machine.signal_unit("fleet.service", "SIGKILL").unwrap();
        until(
            &format!("another fleetd on {}", machine.name()),
            LIMIT,
            || match machine.pid_of("fleetd") {
                Ok(Some(pid)) if pid != killed => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .unwrap();
    }
    lab.wait_for_machines(3);
    lab.wait_for("all units still there", "m1", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == 9
    });
    lab.assert_undisturbed(&before, &[]);
    println!("and the cluster still takes orders");
    let path = lab.unit_file("m1", "after.service", SLEEPER);
    lab.fleetctl("m1", &["start", &path]);
    lab.assert_undisturbed(&before, &[]);
}

#[test]
fn a_killed_leaders_machine_is_replaced_as_leader_and_its_units_move() {
    let Some(lab) = Lab::start("the leader's machine is killed", STORE) else {
        return;
    };
    start_sleepers(&lab, 9);
    let leader = lab.leader().unwrap();
    let asked = if leader == "m1" { "m2" } else { "m1" };
    let before = lab.invocations(asked);
    let victim = lab.machine(&leader);
    victim.kill().unwrap();
    lab.wait_for("nine units on two machines", asked, |rows| {
        rows.len() == 9
            && rows
                .iter()
                .all(|row| row.active == "active" && row.machine != victim.machine_id())
    });
    lab.assert_undisturbed(&before, &[victim.machine_id()]);
}

#[test]
fn units_run_on_while_etcd_is_down_and_nothing_is_lost_when_it_returns() {
    let Some(lab) = Lab::start("kill -9 of etcd, then its return", STORE) else {
        return;
    };
    start_sleepers(&lab, 6);
    let before = lab.invocations("m1");
    let etcd = &lab.bed.etcd()[0];
    etcd.kill().unwrap();
    let path = lab.unit_file("m1", "late.service", SLEEPER);
    let refused = lab.try_fleetctl("m1", &["start", &path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused
            .stderr
            .contains("the cluster store cannot be reached"),
        "{refused:?}"
    );
    lab.assert_undisturbed(&before, &[]);
    etcd.start().unwrap();
    lab.wait_for_machines(3);
    lab.wait_for("all units reported again", "m1", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == 6
    });
    lab.assert_undisturbed(&before, &[]);
    lab.fleetctl("m1", &["start", &path]);
    lab.assert_undisturbed(&before, &[]);
}

#[test]
fn a_frozen_etcd_is_noticed_and_survived() {
    let Some(lab) = Lab::start("SIGSTOP of etcd for longer than a lease", STORE) else {
        return;
    };
    start_sleepers(&lab, 3);
    let before = lab.invocations("m1");
    let etcd = &lab.bed.etcd()[0];
    // All leases end together when it goes on, and the machines are back in another order each time.
    for _ in 0..3 {
        etcd.freeze().unwrap();
        let refused = lab.try_fleetctl("m1", &["list-machines"]);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "an answer, not a hang: {refused:?}"
        );
        // Every lease has ended by then, of four seconds each.
        std::thread::sleep(Duration::from_secs(4));
        etcd.thaw().unwrap();
        lab.wait_for_machines(3);
        lab.wait_for("all units reported", "m1", |rows| {
            rows.iter().filter(|row| row.active == "active").count() == 3
        });
        lab.assert_undisturbed(&before, &[]);
    }
}
