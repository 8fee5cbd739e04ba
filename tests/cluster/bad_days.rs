//! Bad input and bad days on real machines: one clear error each, nothing half-done, everything else goes on.

use testbed::{Store, until};

use crate::lab::{LIMIT, Lab};

const STORE: Store = Store::Etcd { members: 1 };

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

#[test]
fn bad_units_are_refused_and_failing_ones_reported_without_holding_up_others() {
    let Some(lab) = Lab::start("bad files, a failing unit, a unit nothing can run", STORE) else {
        return;
    };
    let good = lab.unit_file("m1", "good.service", SLEEPER);
    let bad = lab.unit_file(
        "m1",
        "bad.service",
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineOff=good.service\n",
    );
    let refused = lab.try_fleetctl("m1", &["start", &good, &bad]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("bad.service:4") && refused.stderr.contains("MachineOf"),
        "{refused:?}"
    );
    assert_eq!(
        lab.fleetctl("m1", &["list-unit-files", "--no-legend"]),
        "",
        "nothing was created"
    );

    println!("a unit that fails makes start exit 1 at once, and says where and why");
    let failing = lab.unit_file(
        "m1",
        "failing.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo went wrong; exit 3'\n",
    );
    let failed = lab.try_fleetctl("m1", &["start", &failing]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stderr.contains("failing.service"), "{failed:?}");

    println!("a unit that no machine can run is reported with the reason, machine by machine");
    let homeless = lab.unit_file(
        "m1",
        "homeless.service",
        &format!("{SLEEPER}[X-Fleet]\nMachineMetadata=zone=c\n"),
    );
    let held = lab.try_fleetctl("m1", &["start", &homeless]);
    assert_eq!(held.status.code(), Some(1));
    for machine in lab.bed.machines() {
        assert!(held.stderr.contains(&machine.machine_id()[..8]), "{held:?}");
    }
    assert!(held.stderr.contains("zone=c"), "{held:?}");

    println!("and the others go on");
    lab.fleetctl("m1", &["start", &good]);
}

#[test]
fn a_corrupt_record_is_skipped_and_can_be_destroyed() {
    let Some(lab) = Lab::start("a corrupt value in etcd", STORE) else {
        return;
    };
    let first = lab.unit_file("m1", "first.service", SLEEPER);
    let second = lab.unit_file("m1", "second.service", SLEEPER);
    lab.fleetctl("m1", &["start", &first, &second]);
    let before = lab.invocations("m1");
    let key = "/_coreos.com/fleet/units/first.service";
    lab.bed
        .run(&["etcdctl", "put", key, "{rubbish"])
        .unwrap()
        .success()
        .unwrap();
    let third = lab.unit_file("m1", "third.service", SLEEPER);
    lab.fleetctl("m2", &["start"]);
    lab.fleetctl("m1", &["start", &third]);
    lab.assert_undisturbed(&before, &[]);
    lab.fleetctl("m1", &["destroy", "first.service"]);
    let left = lab.fleetctl("m1", &["list-unit-files", "--no-legend", "--fields=unit"]);
    assert_eq!(left, "second.service\nthird.service\n");
    let gone = lab.wait_for("first.service stopped", "m1", |rows| {
        rows.iter().all(|row| row.unit != "first.service")
    });
    assert_eq!(gone.len(), 2);
}

#[test]
fn a_second_machine_with_the_same_id_is_refused_with_both_addresses() {
    let Some(lab) = Lab::start("two machines with one machine-id", STORE) else {
        return;
    };
    let (first, clone) = (lab.machine("m1"), lab.machine("m2"));
    clone
        .run(&["systemctl", "stop", "fleet.service", "fleet.socket"])
        .unwrap()
        .success()
        .unwrap();
    lab.wait_for_machines(2);
    let id = format!("{}\n", first.machine_id());
    clone
        .install_file("/etc/machine-id", id.as_bytes(), 0o444)
        .unwrap();
    clone
        .run(&["systemctl", "start", "--no-block", "fleet.service"])
        .unwrap()
        .success()
        .unwrap();
    until("the clone is refused", LIMIT, || {
        let journal = clone
            .journal("fleet.service")
            .map_err(|error| error.to_string())?;
        let both = [first.address().to_string(), clone.address().to_string()];
        if journal.contains("machine-id") && both.iter().all(|address| journal.contains(address)) {
            Ok(())
        } else {
            Err(journal)
        }
    })
    .unwrap();
    lab.wait_for_machines(2);
}

#[test]
fn a_full_run_directory_fails_the_load_with_the_reason() {
    let Some(lab) = Lab::start("no space under /run/fleet on one machine", STORE) else {
        return;
    };
    let machine = lab.machine("m1");
    // A file system of our own in place of the units directory, so that only fleet runs out of space.
    machine.shell("mount -t tmpfs -o size=16k none /run/fleet/units && dd if=/dev/zero of=/run/fleet/units/.fill bs=4k count=8 2>&1 || true")
        .unwrap();
    let on_m1 = format!("{SLEEPER}[X-Fleet]\nMachineID={}\n", machine.machine_id());
    let full = lab.unit_file("m1", "full.service", &on_m1);
    let failed = lab.try_fleetctl("m1", &["start", &full]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        failed.stderr.contains("No space left on device") || failed.stderr.contains("os error 28"),
        "{failed:?}"
    );
    println!("other machines go on, and this one too once there is space");
    let elsewhere = lab.unit_file(
        "m1",
        "elsewhere.service",
        &format!("{SLEEPER}[X-Fleet]\nMachineMetadata=zone=b\n"),
    );
    lab.fleetctl("m1", &["start", &elsewhere]);
    machine
        .shell("rm /run/fleet/units/.fill")
        .unwrap()
        .success()
        .unwrap();
    lab.wait_for("the unit loaded after all", "m1", |rows| {
        rows.iter()
            .any(|row| row.unit == "full.service" && row.active == "active")
    });
}
