//! A machine leaves in order, and a unit of it takes longer to stop than systemd would give fleetd.

use std::time::Instant;

use testbed::Store;

use crate::lab::Lab;

/// Takes eight seconds to stop, and says on whatever machine it is between which times it runs, by the host's clock.
const SLOW: &str = "[Service]\nExecStartPre=/bin/sh -c 'cut -d\" \" -f1 /proc/uptime > /root/began'\nExecStart=/bin/sleep infinity\n\
    ExecStop=/bin/sleep 8\nExecStopPost=/bin/sh -c 'cut -d\" \" -f1 /proc/uptime > /root/ended'\n";

/// As if fleet.service gave fleetd less time than that.
const IMPATIENT: &str = "mkdir -p /run/systemd/system/fleet.service.d && \
    printf '[Service]\\nTimeoutStopSec=4s\\n' > /run/systemd/system/fleet.service.d/impatient.conf && systemctl daemon-reload";

#[test]
fn a_unit_that_stops_slowly_has_its_time_and_starts_elsewhere_after_it() {
    let what = "systemctl stop fleet on a machine with a unit that takes its time to stop";
    let Some(lab) = Lab::start(what, Store::Etcd { members: 1 }) else {
        return;
    };
    let path = lab.unit_file("m1", "slow.service", SLOW);
    lab.fleetctl("m1", &["start", &path]);
    let home = lab.active_on("m1", "slow.service").pop_first().unwrap();
    let home = lab.by_id(&home);
    let asked = home.shell(IMPATIENT).unwrap();
    assert!(asked.status.success(), "{asked:?}");

    let began = Instant::now();
    let stopped = home.run(&["systemctl", "stop", "fleet.service"]).unwrap();
    println!("systemctl stop fleet took {:?}", began.elapsed());
    let journal = home.journal("fleet.service").unwrap();
    assert!(stopped.status.success(), "{stopped:?}\n{journal}");
    let result = home
        .shell("systemctl show -P Result fleet.service")
        .unwrap();
    assert_eq!(
        result.stdout.trim(),
        "success",
        "fleetd was not killed: {journal}"
    );

    let seen_from = lab
        .bed
        .machines()
        .iter()
        .find(|machine| machine.machine_id() != home.machine_id())
        .unwrap();
    lab.wait_for("the unit elsewhere", seen_from.name(), |rows| {
        rows.iter().any(|row| {
            row.unit == "slow.service" && row.active == "active" && row.machine != home.machine_id()
        })
    });
    let there = lab.active_on(seen_from.name(), "slow.service");
    let there = lab.by_id(there.first().unwrap());
    let told = |machine: &testbed::Machine, file: &str| -> f64 {
        let said = machine.run(&["cat", file]).unwrap();
        said.stdout.trim().parse().unwrap()
    };
    let (ended, began) = (told(home, "/root/ended"), told(there, "/root/began"));
    println!("it ended there at {ended} s and began here at {began} s");
    assert!(began >= ended, "it ran twice");
}
