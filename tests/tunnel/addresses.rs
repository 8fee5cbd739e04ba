//! How hosts are written: IPv6, ports, aliases. And what else a bastion may be: one that wants other kinds of keys, one that has no
//! fleetctl.

use std::fs;
use std::path::{Path, PathBuf};

use crate::outside::{Agent, Outside, tool};

/// The bastion's address in the other protocol.
const SIX: &str = "fd77::11";

fn shell(outside: &Outside, line: &str) {
    outside.bastion().shell(line).unwrap().success().unwrap();
}

/// A new key, which the bastion accepts.
fn new_key(outside: &Outside, kind: &str) -> PathBuf {
    let path = outside.file(kind);
    let text = path.to_string_lossy();
    tool(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", &text]);
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    let line = format!("echo '{}' >> ~core/.ssh/authorized_keys", public.trim());
    shell(outside, &line);
    path
}

#[test]
fn a_bastion_is_found_however_it_is_written() {
    let Some(mut outside) = Outside::start("addresses") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    let four = outside.bastion().address().to_string();
    let add =
        |address: &str, device: &str| format!("ip -6 address add {address}/64 dev {device} nodad");
    shell(&outside, &add(SIX, "host0"));
    let words = add("fd77::1", "br0");
    let words: Vec<&str> = words.split(' ').collect();
    outside.lab.bed.run(&words).unwrap().success().unwrap();
    shell(
        &outside,
        "printf 'Port 22\\nPort 2222\\n' >> /etc/ssh/sshd_config && systemctl restart ssh",
    );
    let list = |tunnel: &str, input: &str| {
        let tunnel = format!("--tunnel={tunnel}");
        let words = [&tunnel, "list-machines", "--no-legend"];
        let said = outside.try_run(&agent, &words, input);
        assert_eq!(
            (said.stdout.lines().count(), said.status),
            (3, 0),
            "{said:?}"
        );
        said.stderr
    };

    println!("-- IPv6, with and without port, user and brackets");
    let learned = list("[fd77::11]", "yes\n");
    assert!(learned.contains("host '[fd77::11]' can't"), "{learned}");
    assert_eq!(list(SIX, ""), "");
    assert_eq!(list("[fd77::11]:22", ""), "");
    assert_eq!(list("core@[fd77:0::11]", ""), "");
    let learned = list("core@[fd77::11]:2222", "yes\n");
    assert!(
        learned.contains("host '[fd77::11]:2222' can't"),
        "{learned}"
    );

    println!("-- IPv4 and another port");
    let learned = list(&format!("{four}:2222"), "yes\n");
    assert!(
        learned.contains(&format!("host '[{four}]:2222' can't")),
        "{learned}"
    );
    assert_eq!(list(&format!("core@{four}:2222"), ""), "");
    assert_eq!(outside.known_hosts().lines().count(), 3);

    println!("-- an alias with a port; the one on the command line counts more");
    let config =
        format!("Host door\n HostName {SIX}\n Port 2222\nHost shut\n HostName {SIX}\n Port 9\n");
    fs::write(outside.file(".ssh/config"), config).unwrap();
    assert_eq!(list("door", ""), "");
    assert_eq!(list("shut:22", ""), "");
    let line = format!(
        "Unable to initialize client: failed initializing SSH client: cannot connect to core@[{SIX}]:9: Connection refused (os error 111)"
    );
    outside.fails(&agent, &["--tunnel=shut", "list-machines"], &line);

    println!("-- names that are none");
    for (text, reason) in [
        ("bad host", "it names no host"),
        ("h:0", "\"0\" is no port"),
    ] {
        let tunnel = format!("--tunnel={text}");
        let said = outside.try_run(&agent, &[&tunnel, "list-machines"], "");
        assert!(said.stderr.contains(reason) && said.status == 1, "{said:?}");
    }

    println!("-- other kinds of keys");
    fs::remove_file(outside.file(".ssh/config")).unwrap();
    for kind in ["rsa", "ecdsa"] {
        let key = new_key(&outside, kind);
        let config = format!("Host {four}\n IdentityFile {}\n", key.display());
        fs::write(outside.file(".ssh/config"), config).unwrap();
        let tunnel = format!("--tunnel={four}:2222");
        outside.run(Path::new(""), &[&tunnel, "list-machines"]);
    }

    println!("-- no fleetctl there, and several sockets of which one is none");
    shell(&outside, "mv /usr/bin/fleetctl /usr/bin/fleetctl.away");
    let tunnel = format!("--tunnel={SIX}");
    outside.run(&agent, &[&tunnel, "list-machines"]);
    let several = "--endpoint=unix:///run/none.sock,unix:///var/run/fleet.sock";
    outside.run(&agent, &[&tunnel, several, "list-machines"]);
    shell(&outside, "mv /usr/bin/fleetctl.away /usr/bin/fleetctl");
}
