//! Status and journal of units on other machines, through the API and the store alone: no machine can log in to another. And
//! what a hollow cluster, which lives in the same store, says of placement.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use testbed::{Store, until};

use crate::lab::{LIMIT, Lab};

const TALKER: &str = "[Service]\nExecStart=/bin/sh -c 'n=0; while :; do echo line $$n; n=$$((n+1)); sleep 0.1; done'\n";

/// fleetctl at work on a machine, and what it says.
struct Followed {
    process: Child,
    lines: Receiver<String>,
}

impl Followed {
    fn start(lab: &Lab, on: &str, words: &[&str]) -> Followed {
        println!("{on}$ fleetctl {}", words.join(" "));
        let words: Vec<&str> = ["fleetctl"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let mut command = lab.machine(on).command(&words).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let stdout = BufReader::new(process.stdout.take().unwrap());
        for reader in [
            Box::new(stdout) as Box<dyn BufRead + Send>,
            Box::new(stderr),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in reader.lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Followed { process, lines }
    }

    /// The next line that holds `what`.
    fn until(&self, what: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|error| panic!("{what}: {error}"));
            if line.contains(what) {
                println!("    {line}");
                return line;
            }
        }
    }
}

/// Questions and answers that are in the store.
fn questions(lab: &Lab) -> String {
    let mut found = String::new();
    for folder in ["questions", "answers"] {
        let prefix = format!("/_coreos.com/fleet/{folder}/");
        let words = ["etcdctl", "get", "--prefix", "--keys-only", prefix.as_str()];
        found.push_str(&lab.bed.run(&words).unwrap().success().unwrap().stdout);
    }
    found.trim().to_owned()
}

#[test]
fn status_and_journal_of_units_elsewhere_need_no_ssh() {
    let store = Store::Etcd { members: 1 };
    let Some(lab) = Lab::start("status and journal of units on other machines", store) else {
        return;
    };
    let mut paths = Vec::new();
    for machine in ["m1", "m2", "m3"] {
        let text = format!(
            "{TALKER}[X-Fleet]\nMachineID={}\n",
            lab.machine(machine).machine_id()
        );
        paths.push(lab.unit_file("m1", &format!("on-{machine}.service"), &text));
    }
    let every = lab.unit_file(
        "m1",
        "every.service",
        &format!("{TALKER}[X-Fleet]\nGlobal=true\n"),
    );
    paths.push(every);
    let mut words = vec!["start"];
    words.extend(paths.iter().map(String::as_str));
    lab.fleetctl("m1", &words);
    lab.wait_for("the global unit everywhere", "m1", |rows| {
        rows.iter()
            .filter(|row| row.unit == "every.service" && row.active == "active")
            .count()
            == 3
    });

    println!("one unit elsewhere");
    let status = lab.fleetctl("m1", &["status", "on-m2"]);
    assert!(
        status.contains("on-m2.service") && status.contains("Active: active (running)"),
        "{status}"
    );
    until("three lines, no more", LIMIT, || {
        let journal = lab.fleetctl("m1", &["journal", "--lines=3", "--output=cat", "on-m2"]);
        let said = journal.lines().filter(|line| line.starts_with("line "));
        match said.count() {
            3 => Ok(()),
            more if more > 3 => panic!("{journal}"),
            // The unit has begun a moment ago.
            _ => Err(journal),
        }
    })
    .unwrap();

    println!("all of them at once, and a global one on each machine");
    let status = lab.fleetctl("m3", &["status", "on-m*"]);
    assert_eq!(
        status.matches("Active: active (running)").count(),
        3,
        "{status}"
    );
    until("a line of each machine", LIMIT, || {
        let journal = lab.fleetctl("m2", &["journal", "--lines=1", "every"]);
        for machine in lab.bed.machines() {
            let heading = format!("# every.service on {}", &machine.machine_id()[..8]);
            assert!(journal.contains(&heading), "{journal}");
        }
        match journal.matches("line ").count() {
            3 => Ok(()),
            _ => Err(journal),
        }
    })
    .unwrap();
    assert_eq!(questions(&lab), "", "nothing is left in the store");

    println!("followed from another machine, without a gap");
    let mut followed = Followed::start(
        &lab,
        "m1",
        &["journal", "-f", "--lines=1", "--output=cat", "on-m2"],
    );
    let number = |line: String| line.trim_start_matches("line ").parse::<u64>().unwrap();
    let first = number(followed.until("line "));
    for next in 1..40 {
        assert_eq!(number(followed.until("line ")), first + next);
    }
    assert!(questions(&lab).contains(lab.machine("m2").machine_id()));

    println!("two machines at once, told apart");
    let both = Followed::start(&lab, "m1", &["journal", "-f", "on-m2", "on-m3"]);
    both.until("on-m3.service: ");
    both.until("on-m2.service: ");
    // Its next line finds nobody who reads it.
    drop(both);

    println!(
        "fleetd of the other machine is started again: one clear error, and the unit is not touched"
    );
    let before = lab.invocations("m1");
    let m2 = lab.machine("m2");
    m2.run(&["systemctl", "restart", "fleet.service"])
        .unwrap()
        .success()
        .unwrap();
    followed.until("Error following journal of unit on-m2.service: machine ");
    assert_eq!(followed.process.wait().unwrap().code(), Some(1));
    lab.assert_undisturbed(&before, &[]);

    println!("who asks is killed: the store forgets the question");
    let m1 = lab.machine("m1");
    m1.shell("systemd-run --unit=asker fleetctl journal -f on-m2")
        .unwrap()
        .success()
        .unwrap();
    until("the question", LIMIT, || {
        match questions(&lab).contains(m2.machine_id()) {
            true => Ok(()),
            false => Err("not there"),
        }
    })
    .unwrap();
    m1.signal_unit("asker.service", "KILL").unwrap();
    until(
        "the store has no question left",
        LIMIT,
        || match questions(&lab).as_str() {
            "" => Ok(()),
            left => Err(left.to_owned()),
        },
    )
    .unwrap();

    plan_in_a_hollow_cluster(&lab);

    println!("the machine is lost while it is followed");
    let followed = Followed::start(&lab, "m1", &["journal", "-f", "on-m3"]);
    followed.until("line ");
    lab.machine("m3").kill().unwrap();
    followed.until("Error following journal of unit on-m3.service: machine ");
    let journal = lab.fleetctl("m1", &["journal", "on-m2"]);
    assert!(journal.contains("line "), "{journal}");
}

/// Capacity is planned with machines that are only pretended: they are asked as real ones are.
fn plan_in_a_hollow_cluster(lab: &Lab) {
    println!("fleetd hollow, three machines: where would units go?");
    let m1 = lab.machine("m1");
    m1.shell("systemd-run --unit=hollow fleetd hollow -machines 3 -listen /run/hollow.sock")
        .unwrap()
        .success()
        .unwrap();
    let hollow = |words: &[&str]| {
        let mut all = vec!["--endpoint", "unix:///run/hollow.sock"];
        all.extend(words);
        lab.try_fleetctl("m1", &all)
    };
    until("three hollow machines", LIMIT, || {
        let machines = hollow(&["list-machines", "--no-legend"]).stdout;
        match machines.lines().count() {
            3 => Ok(()),
            _ => Err(machines),
        }
    })
    .unwrap();
    let on = |number: u8| {
        let text = format!("[Service]\nExecStart=/x\n[X-Fleet]\nMachineMetadata=number={number}\n");
        lab.unit_file("m1", &format!("on-{number}.service"), &text)
    };
    let (second, ninth) = (on(2), on(9));
    let planned = hollow(&["plan", &second]);
    assert!(planned.status.success(), "{planned:?}");
    let planned = hollow(&["plan", &second, &ninth]);
    assert!(!planned.status.success(), "{planned:?}");
    assert!(hollow(&["start", &second]).status.success());
    let explained = hollow(&["explain", "on-2"]);
    assert!(explained.status.success(), "{explained:?}");
    assert!(explained.stdout.contains("number=2"), "{explained:?}");
    assert!(hollow(&["destroy", "on-2"]).status.success());
    m1.stop_unit("hollow.service").unwrap();
}
