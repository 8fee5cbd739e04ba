//! A connection that is cut, at every stage: each ends with one error, and ends.

use std::fs;

use crate::outside::{Agent, Outside, TIMEOUT, TIMEOUT_OF_NOBODY, finish, read_until};

/// Comes up in a day.
const SLOW: &str = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1d\nTimeoutStartSec=infinity\n";

#[test]
fn a_cut_connection_ends_with_one_error() {
    let Some(mut outside) = Outside::start("cut connections") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    let tunnel = outside.tunnel();
    let shown = format!("core@{}", outside.bastion().address());
    let id = outside.lab.machine("m2").machine_id()[..8].to_owned();
    let sleep = [&tunnel, TIMEOUT, "ssh", &id, "echo begun; sleep 1d"];

    println!("-- a command runs, and the bastion is cut off");
    let mut child = outside.spawn(&agent, &sleep);
    read_until(&mut child, "begun");
    outside.bastion().partition().unwrap();
    let said = finish(child);
    assert_eq!(said.status, 255);
    let lost = format!("Failed running command over SSH: lost the SSH connection to {shown}: ");
    assert!(said.stderr.starts_with(&lost), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");

    println!("-- nobody answers");
    let words = [&tunnel, TIMEOUT_OF_NOBODY, "list-units"];
    let line = format!(
        "Unable to initialize client: failed initializing SSH client: timed out while initiating SSH connection to {shown}: nothing within 4 s"
    );
    outside.fails(&agent, &words, &line);
    outside.bastion().heal().unwrap();
    outside.lab.wait_for_machines(3);

    println!("-- the machine behind the bastion is cut off");
    let mut child = outside.spawn(&agent, &sleep);
    read_until(&mut child, "begun");
    outside.lab.machine("m2").partition().unwrap();
    let said = finish(child);
    let line = format!(
        "Failed running command over SSH: lost the SSH connection to core@{}: the host does not answer any more (limit 10 s)\n",
        outside.lab.machine("m2").address()
    );
    assert_eq!((said.stderr, said.status), (line, 255));
    outside.lab.machine("m2").heal().unwrap();
    outside.lab.wait_for_machines(3);

    println!("-- a command waits for events, and sshd's end of the connection is killed");
    fs::write(outside.file("slow.service"), SLOW).unwrap();
    let words = [
        &tunnel,
        TIMEOUT,
        "--request-timeout=10",
        "start",
        "slow.service",
    ];
    let child = outside.spawn(&agent, &words);
    outside
        .lab
        .wait_for("slow.service to be starting", "m1", |rows| {
            rows.iter()
                .any(|row| row.unit == "slow.service" && row.active == "activating")
        });
    let kill = "kill -KILL $(pgrep -f '^sshd: core')";
    outside.bastion().shell(kill).unwrap().success().unwrap();
    let said = finish(child);
    assert!(
        said.stderr
            .contains(&format!("lost the SSH connection to {shown}: ")),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("The request was accepted and will be carried out."),
        "{said:?}"
    );
    assert_eq!(said.status, 1);

    println!("-- a command is at work, and the bastion is frozen");
    let child = outside.spawn(&agent, &words);
    let logged_in = || {
        outside
            .bastion()
            .run(&["pgrep", "-f", "^sshd: core"])
            .unwrap()
    };
    testbed::until("the tunnel", crate::lab::LIMIT, || {
        match logged_in().status.success() {
            true => Ok(()),
            false => Err("nobody is logged in"),
        }
    })
    .unwrap();
    outside.bastion().freeze().unwrap();
    let said = finish(child);
    outside.bastion().thaw().unwrap();
    assert_eq!(said.status, 1);
    // It waited for events, or still for the answer to its request: from outside that is not seen.
    let unanswered = "did not answer within 10 s";
    assert!(
        said.stderr.contains(&shown) || said.stderr.contains(unanswered),
        "{said:?}"
    );
}
