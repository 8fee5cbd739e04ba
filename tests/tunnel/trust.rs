//! Whether the bastion is the one it should be: first contact, learned, hashed, changed, revoked.

use std::fs;

use crate::outside::{Agent, Outside, tool};

/// Gives the bastion another host key.
fn change_key(outside: &Outside) {
    let line = "rm /etc/ssh/ssh_host_*_key* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh";
    outside.bastion().shell(line).unwrap().success().unwrap();
}

/// The bastion's public key, without its comment.
fn public_key(outside: &Outside) -> String {
    let words = ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"];
    let output = outside.bastion().run(&words).unwrap().success().unwrap();
    let words: Vec<&str> = output.stdout.split_whitespace().take(2).collect();
    words.join(" ")
}

#[test]
fn a_bastion_is_known_by_its_key() {
    let Some(mut outside) = Outside::start("trust in the bastion") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    let address = outside.bastion().address().to_string();
    let tunnel = outside.tunnel();
    let list = [&tunnel, "list-machines", "--no-legend"];
    let question = format!(
        "The authenticity of host '{address}' can't be established.\nED25519 key fingerprint is SHA256:….\nAre you sure you want to continue connecting (yes/no)? "
    );

    println!("-- first contact, and nobody says yes");
    for input in ["no\n", "", "perhaps\n"] {
        let said = outside.try_run(&agent, &list, input);
        let stderr = outside.plain(&said.stderr);
        let expected = format!(
            "{question}\nHost key verification failed.\n\
             Unable to initialize client: failed initializing SSH client: unauthorized host: core@{address} is not known and was not accepted (ED25519 SHA256:…)\n\
             Compare that fingerprint with the host's, then answer yes on a terminal or add a line \"{address} KEY\" to ~/.fleetctl/known_hosts.\n"
        );
        assert_eq!(
            (stderr.as_str(), said.stdout.as_str(), said.status),
            (expected.as_str(), "", 1)
        );
    }
    assert_eq!(outside.known_hosts(), "");

    println!("-- first contact, and yes");
    let said = outside.try_run(&agent, &list, "yes\n");
    let added =
        format!("Warning: Permanently added '{address}' (ED25519) to the list of known hosts.\n");
    assert_eq!(
        (outside.plain(&said.stderr), said.status),
        (format!("{question}{added}"), 0)
    );
    assert_eq!(said.stdout.lines().count(), 3);
    let learned = format!("{address} {}\n", public_key(&outside));
    assert_eq!(outside.known_hosts(), learned);

    println!("-- learned: nothing is asked, and nothing is said");
    assert_eq!(outside.run(&agent, &list), said.stdout);

    println!("-- hashed by ssh-keygen: still known");
    let file = outside.file(".fleetctl/known_hosts");
    tool(&["ssh-keygen", "-q", "-H", "-f", &file.to_string_lossy()]);
    assert!(outside.known_hosts().starts_with("|1|"));
    outside.run(&agent, &list);

    println!("-- changed: never connected to");
    change_key(&outside);
    fs::write(&file, format!("# mine\n{learned}")).unwrap();
    let mismatch = format!(
        "Unable to initialize client: failed initializing SSH client: host key mismatch: core@{address} has another key than before, ED25519 SHA256:… (known keys: ~/.fleetctl/known_hosts:2)"
    );
    let hint = outside.fails(&agent, &list, &mismatch);
    assert_eq!(
        hint,
        "Somebody may be in between, or the host was installed anew. If its administrator confirms this fingerprint, delete line 2 of ~/.fleetctl/known_hosts and connect again.\n"
    );

    println!("-- one of several keys is enough");
    let now = public_key(&outside);
    fs::write(&file, format!("{learned}{address}\t{now} new\n")).unwrap();
    outside.run(&agent, &list);

    println!("-- revoked: never connected to");
    fs::write(&file, format!("{address} {now}\n@revoked * {now}\n")).unwrap();
    let revoked = format!(
        "Unable to initialize client: failed initializing SSH client: the key of core@{address}, ED25519 SHA256:…, is revoked (~/.fleetctl/known_hosts:2)"
    );
    outside.fails(&agent, &list, &revoked);

    println!("-- unchecked: connected to, and nothing is learned");
    fs::remove_file(&file).unwrap();
    let unchecked = [&tunnel, "--strict-host-key-checking=false", "list-machines"];
    outside.run(&agent, &unchecked);
    assert_eq!(outside.known_hosts(), "");
}
