//! `status` and `journal` of units behind the bastion, where fleetd cannot tell: fleetctl logs in to the machine that has the unit.

use std::fs;
use std::io::{BufRead, BufReader};

use testbed::until;

use crate::lab::LIMIT;
use crate::outside::{Agent, Outside, TIMEOUT, finish};

const TALKER: &str = "[Service]\nExecStart=/bin/sh -c 'seq 1500; while :; do cat /tmp/word || echo tick; sleep 0.2; done 2>/dev/null'\n";

#[test]
fn units_behind_the_bastion_are_looked_at() {
    let Some(mut outside) = Outside::start("units behind the bastion") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    let tunnel = outside.tunnel();
    for (unit, machine) in [("a.service", "m2"), ("b.service", "m3")] {
        let id = outside.lab.machine(machine).machine_id();
        let text = format!("{TALKER}[X-Fleet]\nMachineID={id}\n");
        fs::write(outside.file(unit), text).unwrap();
    }
    let fails = "[Service]\nExecStart=/bin/sh -c 'exit 1'\n[X-Fleet]\nMachineMetadata=zone=b\n";
    fs::write(outside.file("fails.service"), fails).unwrap();
    let everywhere = "[Service]\nExecStart=/bin/sleep 1d\n[X-Fleet]\nGlobal=true\n";
    fs::write(outside.file("everywhere.service"), everywhere).unwrap();
    outside.run(&agent, &[&tunnel, "start", "a.service", "b.service"]);
    outside.try_run(&agent, &[&tunnel, "start", "fails.service"], "");
    outside.run(&agent, &[&tunnel, "start", "everywhere.service"]);
    outside
        .lab
        .wait_for("everywhere.service on all", "m1", |rows| {
            let running =
                |row: &&crate::lab::Row| row.unit == "everywhere.service" && row.sub == "running";
            rows.iter().filter(running).count() == 3
        });

    println!("-- status, and its exit status");
    let status = outside.run(&agent, &[&tunnel, "status", "a"]);
    assert!(status.contains("Active: active (running)"), "{status}");
    let said = outside.try_run(&agent, &[&tunnel, "status", "fails"], "");
    assert!(said.stdout.contains("Active: failed"), "{said:?}");
    assert_eq!((said.stderr.as_str(), said.status), ("", 3));

    println!("-- all copies of a global unit, through the API: only the bastion is logged in to");
    let logins = |machine: &str| {
        let journal = outside.lab.machine(machine).journal("ssh").unwrap();
        journal.matches("Accepted publickey").count()
    };
    let before = ["m1", "m2", "m3"].map(logins);
    let status = outside.run(&agent, &[&tunnel, "status", "everywhere", "everywhere"]);
    assert!(
        status.matches("Active: active (running)").count() >= 3,
        "{status}"
    );
    let after = ["m1", "m2", "m3"].map(logins);
    let [bastion, m2, m3] = before;
    assert_eq!(after, [bastion + 1, m2, m3]);

    println!("-- a journal that is too long or too odd for fleetd");
    let journal = outside.run(&agent, &[&tunnel, "journal", "--lines=1200", "a"]);
    assert_eq!(journal.lines().count(), 1200);
    let words = [&tunnel, "journal", "--output=json", "--lines=1", "b"];
    let journal = outside.run(&agent, &words);
    assert!(
        journal.starts_with('{') && journal.contains("b.service"),
        "{journal}"
    );

    println!(
        "-- two journals at once, too long for fleetd, until one machine is cut off: the other's goes on"
    );
    let words = [&tunnel, TIMEOUT, "journal", "-f", "--lines=1200", "a", "b"];
    let mut child = outside.spawn(&agent, &words);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line_of = |unit: &str, end: &str| {
        let fits = |line: &String| line.starts_with(unit) && line.ends_with(end);
        let line = lines.find(|line| fits(line.as_ref().unwrap()));
        println!("    {}", line.unwrap().unwrap());
    };
    line_of("a.service: ", "tick");
    line_of("b.service: ", "tick");
    outside.lab.machine("m2").partition().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    talk.read_line(&mut said).unwrap();
    println!("    {said}");
    let lost = format!(
        "a.service: Unable to SSH to remote host: lost the SSH connection to core@{}: ",
        outside.lab.machine("m2").address()
    );
    assert!(said.starts_with(&lost), "{said}");
    // Not one that was on its way already.
    let later = "echo later > /tmp/word";
    outside
        .lab
        .machine("m3")
        .shell(later)
        .unwrap()
        .success()
        .unwrap();
    line_of("b.service: ", "later");
    child.kill().unwrap();
    child.wait().unwrap();
    outside.lab.machine("m2").heal().unwrap();
    outside.lab.wait_for_machines(3);

    println!("-- a machine without sshd");
    let stop = "systemctl stop ssh.socket ssh.service";
    outside
        .lab
        .machine("m2")
        .shell(stop)
        .unwrap()
        .success()
        .unwrap();
    let words = [&tunnel, TIMEOUT, "journal", "--lines=1200", "a"];
    let line = format!(
        "Unable to SSH to remote host: core@{} opens no way to {}, port 22: nothing answers there\n",
        outside.bastion().address(),
        outside.lab.machine("m2").address()
    );
    // The lease of the machine that was cut off may have ended; then its unit waits until it is back.
    until("the machine without sshd", LIMIT, || {
        let said = finish(outside.spawn(&agent, &words));
        match (said.stderr == line, said.status) {
            (true, 255) => Ok(()),
            (_, status) => Err(format!("{status}: {}", said.stderr)),
        }
    })
    .unwrap();
}
