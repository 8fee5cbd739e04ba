//! The embedded store: machine one keeps the cluster, two others join it, and nothing else is needed.

use testbed::Store;

use crate::lab::Lab;

#[test]
fn three_machines_need_no_etcd() {
    let Some(lab) = Lab::start(
        "m1 runs fleetd --standalone, m2 and m3 join it",
        Store::Embedded,
    ) else {
        return;
    };
    let path = lab.unit_file(
        "m1",
        "sleeper@.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    );
    let folder = path.trim_end_matches("sleeper@.service").to_owned();
    let names: Vec<String> = (1..=6)
        .map(|n| format!("{folder}sleeper@{n}.service"))
        .collect();
    let mut words = vec!["start"];
    words.extend(names.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    let before = lab.invocations("m2");
    assert_eq!(before.len(), 6);

    println!(
        "the store's own fleetd is killed: what was acknowledged is still there, and no unit noticed"
    );
    lab.machine("m1")
        .signal_unit("fleet.service", "SIGKILL")
        .unwrap();
    lab.wait_for_machines(3);
    lab.wait_for("six units", "m2", |rows| {
        rows.iter().filter(|row| row.active == "active").count() == 6
    });
    lab.assert_undisturbed(&before, &[]);

    println!("m3 is killed: its units move to the two that are left");
    let victim = lab.machine("m3");
    victim.kill().unwrap();
    lab.wait_for("six units on two machines", "m1", |rows| {
        rows.len() == 6
            && rows
                .iter()
                .all(|row| row.active == "active" && row.machine != victim.machine_id())
    });
    lab.assert_undisturbed(&before, &[victim.machine_id()]);
}
