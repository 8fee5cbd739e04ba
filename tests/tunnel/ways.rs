//! What leads to fleetd and to machines: sockets forwarded by sshd or by fleetctl, ports, jump hosts, shells and commands.

use std::fs;

use rustix::process::Signal;
use testbed::until;

use crate::lab::LIMIT;
use crate::outside::{Agent, Outside, TIMEOUT_OF_NOBODY};

const WEB: &str = "[Service]\nExecStart=/bin/sh -c 'echo it runs; exec sleep 1d'\n";

#[test]
fn fleetd_is_reached_through_the_bastion() {
    let Some(mut outside) = Outside::start("ways to fleetd") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    let tunnel = outside.tunnel();
    let all = outside.run(&agent, &[&tunnel, "list-machines"]);
    assert_eq!(all.lines().count(), 4);

    println!("-- verbs, over one connection each");
    fs::write(outside.file("web.service"), WEB).unwrap();
    let logins = || {
        outside
            .bastion()
            .journal("ssh")
            .unwrap()
            .matches("Accepted publickey")
            .count()
    };
    let before = logins();
    let started = outside.run(&agent, &[&tunnel, "start", "web.service"]);
    assert!(
        started.contains("Unit web.service launched on "),
        "{started}"
    );
    assert_eq!(logins() - before, 1);
    let listed = outside.run(&agent, &[&tunnel, "list-units", "--no-legend"]);
    assert!(
        listed.contains("web.service") && listed.contains("running"),
        "{listed}"
    );

    println!("-- status and journal, whatever machine the unit is on");
    let status = outside.run(&agent, &[&tunnel, "status", "web"]);
    assert!(status.contains("Active: active (running)"), "{status}");
    until("what it says", LIMIT, || {
        let journal = outside.run(&agent, &[&tunnel, "journal", "web"]);
        match journal.contains("it runs") {
            true => Ok(()),
            false => Err(journal),
        }
    })
    .unwrap();

    println!("-- a host that is reached through another, as ~/.ssh/config says");
    let (m1, m3) = (
        outside.bastion().address(),
        outside.lab.machine("m3").address(),
    );
    let config = format!("Host way\n HostName {m1}\nHost inner\n HostName {m3}\n ProxyJump way\n");
    fs::write(outside.file(".ssh/config"), config).unwrap();
    assert_eq!(
        outside.run(&agent, &["--tunnel=inner", "list-machines"]),
        all
    );

    println!("-- and not without it");
    let words = [
        format!("--tunnel={m3}"),
        TIMEOUT_OF_NOBODY.to_owned(),
        "list-machines".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let line = format!(
        "Unable to initialize client: failed initializing SSH client: timed out while initiating SSH connection to core@{m3}: nothing within 4 s"
    );
    assert_eq!(
        outside.fails(&agent, &words, &line),
        "--ssh-timeout=SECONDS waits longer.\n"
    );

    println!("-- sshd does not forward to sockets: fleetctl there does");
    let shell = |line: &str| outside.bastion().shell(line).unwrap().success().unwrap();
    shell("echo 'AllowStreamLocalForwarding no' >> /etc/ssh/sshd_config && systemctl restart ssh");
    assert_eq!(outside.run(&agent, &[&tunnel, "list-machines"]), all);
    outside.try_run(&agent, &[&tunnel, "stop", "web.service"], "");

    println!("-- and if there is none");
    shell("mv /usr/bin/fleetctl /usr/bin/fleetctl.away");
    let line = format!(
        "Error retrieving list of units from repository: cannot reach /var/run/fleet.sock on core@{m1}: sshd does not forward to it, and there is no fleetctl"
    );
    let hint = outside.fails(&agent, &[&tunnel, "list-units"], &line);
    assert!(hint.contains("AllowStreamLocalForwarding"), "{hint}");

    println!("-- a port, as the bastion sees it");
    let port = "--endpoint=http://127.0.0.1:49153";
    assert_eq!(outside.run(&agent, &[&tunnel, port, "list-machines"]), all);

    println!("-- no fleetd there");
    shell("mv /usr/bin/fleetctl.away /usr/bin/fleetctl");
    let socket = "--endpoint=unix:///run/none.sock";
    let said = outside.try_run(&agent, &[&tunnel, socket, "list-units"], "");
    assert!(
        said.stderr.contains("cannot reach /run/none.sock on core@"),
        "{said:?}"
    );
    assert!(
        said.stderr.contains("No such file or directory"),
        "{said:?}"
    );
    assert_eq!(said.status, 1);
}

#[test]
fn machines_are_reached_through_the_bastion() {
    let Some(mut outside) = Outside::start("shells and commands") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    let tunnel = outside.tunnel();
    let id = outside.lab.machine("m2").machine_id()[..8].to_owned();
    let ssh = |words: &[&str], input: &str| {
        let mut whole = vec![tunnel.as_str(), "ssh"];
        whole.extend(words);
        outside.try_run(&agent, &whole, input)
    };
    let said = |words: &[&str], input: &str| {
        let said = ssh(words, input);
        (said.stdout, said.stderr, said.status)
    };
    let text = str::to_owned;

    println!("-- a command's words, streams and status are passed on");
    assert_eq!(said(&[&id, "hostname"], ""), (text("m2\n"), text(""), 0));
    assert_eq!(
        said(&[&id, "cat; echo oh >&2; exit 7"], "some\nlines\n"),
        (text("some\nlines\n"), text("oh\n"), 7)
    );
    assert_eq!(
        said(&["--machine", &id, "--", "ls", "-d", "/root"], ""),
        (text("/root\n"), text(""), 0)
    );
    assert_eq!(said(&[&id, "kill -9 $$"], "").2, 255);
    assert_eq!(said(&[&id, "no-such-command"], "").2, 127);
    let long = "0123456789abcde\n".repeat(200_000);
    assert_eq!(said(&[&id, "cat"], &long).0.len(), long.len());

    println!("-- the machine that has a unit");
    fs::write(
        outside.file("web.service"),
        format!("{WEB}[X-Fleet]\nMachineMetadata=disk=ssd\n"),
    )
    .unwrap();
    outside.run(&agent, &[&tunnel, "start", "web.service"]);
    assert_eq!(said(&["web", "hostname"], ""), (text("m1\n"), text(""), 0));
    assert_eq!(
        said(&["-u", "web.service", "hostname"], ""),
        (text("m1\n"), text(""), 0)
    );
    assert_eq!(
        said(&["nothing"], ""),
        (
            text(""),
            text("Unable to proceed: could not find matching unit or machine\n"),
            1
        )
    );

    println!("-- the agent is lent with -A only");
    assert_eq!(ssh(&[&id, "ssh-add", "-l"], "").status, 2);
    let lent = ssh(&["-A", &id, "ssh-add", "-l"], "");
    assert!(lent.stdout.contains("(ED25519)"), "{lent:?}");

    println!("-- a shell at a terminal, which follows the window");
    let mut shell = outside.terminal(&agent, &[&tunnel, "ssh", &id], 100);
    shell.until("$ ");
    shell.send("stty size\r");
    shell.until("40 100");
    shell.resize(120, 50);
    // The size arrives when it arrives: the shell waits for it.
    shell.send("until stty size | grep '^50 120$'; do sleep 0.1; done\r");
    shell.until("\r50 120\r\n");
    shell.send("false; exit\r");
    let (_, status) = shell.end();
    assert_eq!(status, 0);

    println!("-- a signal ends it and leaves the terminal as it was");
    let mut shell = outside.terminal(&agent, &[&tunnel, "ssh", &id], 100);
    shell.until("$ ");
    assert!(!shell.is_plain());
    shell.signal(Signal::TERM);
    assert_eq!(shell.left(), (true, 143));
}
