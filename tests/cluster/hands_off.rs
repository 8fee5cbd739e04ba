//! Hands off: one cluster of three machines and three etcd members through everything that is no reason to touch a healthy unit. After
//! each, every unit still has its InvocationID.

use testbed::{Machine, Store, until};

use crate::lab::{Invocations, LIMIT, Lab};

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// Forgets all of etcd's past but the present.
const COMPACT: &str = "etcdctl compact $(etcdctl get nothing --write-out=json | sed 's/.*\"revision\":\\([0-9]*\\).*/\\1/')";

/// Raises the alarm that etcd raises when its space is used up: no write succeeds until it is taken back.
const RAISE_ALARM: &str = "exec 3<>/dev/tcp/10.77.0.2/2379; \
    body='{\"action\":\"ACTIVATE\",\"memberID\":0,\"alarm\":\"NOSPACE\"}'; \
    printf 'POST /v3/maintenance/alarm HTTP/1.1\\r\\nHost: e\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \
    ${#body} \"$body\" >&3; head -1 <&3";

/// Ends the leases of two machines, as a leader of etcd does that stood still for long and goes on (etcd-io/etcd#15247).
const END_LEASES: &str = "for key in $(etcdctl get --prefix /_coreos.com/fleet/machines/ --keys-only | grep . | head -2); do \
    lease=$(etcdctl get $key --write-out=json | sed 's/.*\"lease\":\\([0-9]*\\).*/\\1/'); \
    etcdctl lease revoke $(printf '%x' $lease); done";

/// Longer than the lease of these stories: whatever a lost lease would do would be done by then.
const LONGER_THAN_A_LEASE: &str = "6";

struct Story {
    lab: Lab,
    before: Invocations,
}

impl Story {
    fn on_each(&self, line: &str) {
        for machine in self.lab.bed.machines() {
            self.on(machine, line);
        }
    }

    fn on(&self, machine: &Machine, line: &str) {
        let output = machine.shell(line).unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    fn etcd(&self, words: &[&str]) {
        self.lab.bed.run(words).unwrap().success().unwrap();
    }

    fn wait(&self) {
        self.etcd(&["sleep", LONGER_THAN_A_LEASE]);
    }

    /// The cluster takes orders again, all units are reported, and none was touched.
    fn nothing_happened(&self, by: &str) {
        println!("-- {by}");
        let lab = &self.lab;
        lab.wait_for_machines(3);
        let path = lab.unit_file("m1", "probe.service", SLEEPER);
        until("the cluster takes orders", LIMIT, || {
            let words = ["start", path.as_str()];
            match lab.try_fleetctl("m1", &words).status.success() {
                true => Ok(()),
                false => Err("it does not".to_owned()),
            }
        })
        .unwrap();
        lab.fleetctl("m1", &["destroy", "probe.service"]);
        lab.wait_for("nine units reported", "m1", |rows| {
            rows.len() == 9 && rows.iter().all(|row| row.active == "active")
        });
        lab.assert_undisturbed(&self.before, &[]);
    }
}

/// What fleetd tells systemd of itself once it has joined. systemd forgets what a process before it said.
const JOINED: &str = "part of the cluster";

/// Waits for another process of fleetd on the machine, and until that is part of the cluster: killed once more before it has
/// taken its lease up, it would lose it.
fn replaced(machine: &Machine, old: Option<u32>) {
    until("another fleetd", LIMIT, || match machine.pid_of("fleetd") {
        Ok(Some(pid)) if Some(pid) != old => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    let status = "systemctl show -P StatusText fleet.service";
    until("its membership", LIMIT, || {
        let told = machine.shell(status).unwrap();
        match told.stdout.trim() {
            JOINED => Ok(()),
            _ => Err(format!("{told:?}")),
        }
    })
    .unwrap();
}

#[test]
fn no_healthy_unit_is_touched() {
    let store = Store::Etcd { members: 3 };
    let Some(lab) = Lab::start("everything that is no reason to touch a unit", store) else {
        return;
    };
    lab.unit_file("m1", "sleeper@.service", SLEEPER);
    let names: Vec<String> = (1..=9)
        .map(|n| format!("/root/units/sleeper@{n}.service"))
        .collect();
    let mut words = vec!["start"];
    words.extend(names.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    let before = lab.invocations("m1");
    assert_eq!(before.len(), 9);
    let story = Story { lab, before };
    of_etcd(&story);
    of_fleetd(&story);
    of_the_machine(&story);
    of_bad_records(&story);
}

fn of_etcd(story: &Story) {
    let members = story.lab.bed.etcd();
    for member in members {
        member.kill().unwrap();
        member.start().unwrap();
    }
    story.nothing_happened("each member of etcd killed and started, so leaders changed");
    story.etcd(&["sh", "-c", COMPACT]);
    story.nothing_happened("compaction");
    story.etcd(&["bash", "-c", RAISE_ALARM]);
    story.wait();
    story.lab.assert_undisturbed(&story.before, &[]);
    story.etcd(&["etcdctl", "alarm", "disarm"]);
    story.nothing_happened("quota alarm for longer than a lease");
    story.etcd(&["sh", "-c", END_LEASES]);
    story.nothing_happened("leases of two machines that are well ended in etcd");
    for member in members {
        member.kill().unwrap();
    }
    story.wait();
    story.wait();
    story.lab.assert_undisturbed(&story.before, &[]);
    // A member is not up before a majority is.
    std::thread::scope(|scope| {
        for member in members {
            scope.spawn(|| member.start().unwrap());
        }
    });
    story.nothing_happened("etcd gone for three leases");
}

fn of_fleetd(story: &Story) {
    let lab = &story.lab;
    for _ in 0..3 {
        if let Some(leader) = lab.leader() {
            let machine = lab.machine(&leader);
            let old = machine.pid_of("fleetd").unwrap();
            machine.signal_unit("fleet.service", "SIGKILL").unwrap();
            replaced(machine, old);
        }
    }
    story.nothing_happened("whoever led was killed, three times");
    story.on_each(
        "cp /usr/bin/fleetd /usr/bin/fleetd.new && mv /usr/bin/fleetd.new /usr/bin/fleetd && systemctl restart fleet.service",
    );
    story.nothing_happened("upgrade: another program under the same name, and a restart");
    let machine = lab.machine("m2");
    let old = machine.pid_of("fleetd").unwrap();
    // The kernel gives it no page more: whatever it asks for next ends it.
    story.on(
        machine,
        "prlimit --pid $(systemctl show --value --property=MainPID fleet.service) --as=1000000 --data=1000000; \
         for i in $(seq 60); do timeout 5 fleetctl list-units >/dev/null 2>&1 & done; wait",
    );
    until("fleetd without memory has ended", LIMIT, || {
        let _ = machine
            .run(&["timeout", "5", "fleetctl", "list-units"])
            .unwrap();
        match machine.pid_of("fleetd") {
            Ok(pid) if pid == old => Err("it is still there"),
            Ok(_) | Err(_) => Ok(()),
        }
    })
    .unwrap();
    replaced(machine, old);
    story.nothing_happened("fleetd out of memory");
}

fn of_the_machine(story: &Story) {
    story.on_each("systemctl daemon-reexec");
    story.nothing_happened("daemon-reexec");
    story.on_each("systemctl kill --signal=KILL dbus.service; systemctl start dbus.service");
    story.nothing_happened("kill -9 of D-Bus");
    story.on_each(
        "for unit in $(systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1 \
         | grep -v '^sleeper@\\|^console-getty\\|^fleet-guard'); do systemctl restart $unit; done",
    );
    story.nothing_happened("restart of every service of the machine but the units");
}

/// The key of the file that all units share.
fn file_key(story: &Story, prefix: &str) -> String {
    let words = ["etcdctl", "get", "--prefix", "--keys-only", prefix];
    let keys = story.lab.bed.run(&words).unwrap().success().unwrap();
    keys.stdout.lines().next().unwrap().to_owned()
}

fn of_bad_records(story: &Story) {
    let lab = &story.lab;
    let m3 = lab.machine("m3");
    let on_m3: Vec<&String> = (story.before.keys())
        .filter(|(machine, _)| machine == m3.machine_id())
        .map(|(_, unit)| unit)
        .collect();
    let prefix = "/_coreos.com/fleet";
    let id = m3.machine_id();
    let keys = [
        format!("{prefix}/machines/{id}"),
        format!("{prefix}/states/{id}/{}", on_m3[0]),
        format!("{prefix}/schedule/{id}/{}", on_m3[1]),
        format!("{prefix}/units/{}", on_m3[2]),
        format!("{prefix}/holds/{}", on_m3[0]),
        format!("{prefix}/units/stray.service"),
        format!("{prefix}/leader"),
        format!("{prefix}/brake"),
        format!("{prefix}/machine-specs/{id}"),
        file_key(story, &format!("{prefix}/files/")),
    ];
    for key in &keys {
        story.etcd(&["etcdctl", "put", key, "{rubbish"]);
    }
    println!("engines that never saw these records whole");
    for name in ["m1", "m2"] {
        let machine = lab.machine(name);
        let old = machine.pid_of("fleetd").unwrap();
        machine.signal_unit("fleet.service", "SIGKILL").unwrap();
        replaced(machine, old);
    }
    story.wait();
    lab.assert_undisturbed(&story.before, &[]);
    until(
        "a leader, though its record was written over",
        LIMIT,
        || lab.leader().map_or(Err("there is none"), |_| Ok(())),
    )
    .unwrap();
    let listed = lab.fleetctl("m1", &["quarantine", "--no-legend", "--fields=key"]);
    for key in [&keys[3], &keys[5]] {
        assert!(listed.contains(key.as_str()), "{key}: {listed}");
    }
    let metrics = "curl -s --unix-socket /run/fleet.sock http://fleet/metrics | grep fleet_quarantined_records";
    println!("{}", lab.machine("m1").shell(metrics).unwrap().stdout);
    lab.fleetctl("m1", &["quarantine", "remove", &keys[5]]);
    println!("what is wanted of a unit is said anew; what a machine says, its fleetd says anew");
    let refused = lab.try_fleetctl("m1", &["start", &on_m3[2].replace(".service", "")]);
    assert!(!refused.status.success());
    story.on(m3, "systemctl restart fleet.service");
    lab.wait_for_machines(3);
    lab.assert_undisturbed(&story.before, &[]);
}
