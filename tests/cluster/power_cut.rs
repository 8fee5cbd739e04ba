//! The power of all machines goes, and etcd does not come back: units do, by each machine's own copy of its schedule.

use testbed::{Store, until};

use crate::lab::{Invocations, LIMIT, Lab};

const STORE: Store = Store::Etcd { members: 1 };

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const EXCLUSIVE: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nExclusive=yes\n";

#[test]
fn units_come_back_without_the_store_and_are_not_touched_when_it_returns() {
    let Some(lab) = Lab::start_with(
        "the power of everything goes, and etcd stays away",
        STORE,
        &["offline_start_after=1s"],
    ) else {
        return;
    };
    lab.unit_file("m1", "sleeper@.service", SLEEPER);
    let till = lab.unit_file("m1", "till.service", EXCLUSIVE);
    let gone = lab.unit_file("m1", "gone.service", SLEEPER);
    let sleepers: Vec<String> = (1..=6).map(|n| format!("sleeper@{n}.service")).collect();
    let mut words = vec!["start".to_owned(), till, gone];
    words.extend(sleepers.iter().map(|name| format!("/root/units/{name}")));
    lab.fleetctl("m1", &words.iter().map(String::as_str).collect::<Vec<_>>());
    lab.fleetctl("m1", &["destroy", "gone.service"]);
    let rows = lab.rows("m1");
    until("the machines' copies of their schedules", LIMIT, || {
        let list = "ls /var/lib/fleet/schedule/units";
        let mut found = Vec::new();
        for machine in lab.bed.machines() {
            let output = machine.shell(list).map_err(|error| error.to_string())?;
            found.extend(output.stdout.lines().map(str::to_owned));
        }
        if found.len() == 7 && !found.contains(&"gone.service".to_owned()) {
            return Ok(());
        }
        Err(format!("{found:?}"))
    })
    .unwrap();

    println!("the power goes, of etcd too");
    let etcd = &lab.bed.etcd()[0];
    etcd.kill().unwrap();
    for machine in lab.bed.machines() {
        machine.kill().unwrap();
    }
    for machine in lab.bed.machines() {
        machine.power_on().unwrap();
    }
    let mut before = Invocations::new();
    for row in &rows {
        let machine = lab.by_id(&row.machine);
        if row.unit == "till.service" {
            continue;
        }
        let state = until(&format!("{} back", row.unit), LIMIT, || {
            let state = lab.state(machine, &row.unit);
            match state.active_state.as_str() {
                "active" => Ok(state),
                _ => Err(format!("{state:?}")),
            }
        })
        .unwrap();
        let at = (row.machine.clone(), row.unit.clone());
        before.insert(at, state.invocation_id);
    }
    assert_eq!(before.len(), 6);
    for machine in lab.bed.machines() {
        for unit in ["till.service", "gone.service"] {
            assert_eq!(lab.state(machine, unit).active_state, "inactive", "{unit}");
        }
    }

    println!("etcd returns");
    etcd.start().unwrap();
    lab.wait_for_machines(3);
    lab.wait_for("all seven in the cluster", "m1", |rows| {
        rows.len() == 7 && rows.iter().all(|row| row.active == "active")
    });
    lab.assert_undisturbed(&before, &[]);
}
