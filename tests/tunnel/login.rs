//! Logging in: without keys, with the wrong one, with those of ssh-agent, of files, and of a passphrase.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::outside::{Agent, Outside};

#[test]
fn keys_come_from_the_agent_and_from_files() {
    let Some(mut outside) = Outside::start("logging in") else {
        return;
    };
    let address = outside.bastion().address().to_string();
    let tunnel = outside.tunnel();
    let list = [tunnel.as_str(), "list-machines", "--no-legend"];
    let inner = &outside.lab.machine("m2").machine_id()[..8].to_owned();
    let host_name = [tunnel.as_str(), "ssh", inner, "hostname"];
    let failed = "Unable to initialize client: failed initializing SSH client";

    println!("-- ssh-agent has the key");
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    assert_eq!(outside.run(&agent, &list).lines().count(), 3);
    assert_eq!(outside.run(&agent, &host_name), "m2\n");

    println!("-- no agent");
    let hint = outside.fails(
        Path::new(""),
        &list,
        &format!("{failed}: SSH_AUTH_SOCK environment variable is not set, and there is no key file to log in to core@{address} with"),
    );
    assert!(hint.starts_with("Start ssh-agent and add a key"), "{hint}");

    println!("-- an agent that is gone");
    let gone = outside.agent(Agent::Absent);
    let line = format!(
        "{failed}: ssh-agent at ~/agent1 does not answer: No such file or directory (os error 2)"
    );
    let line = line.replace("agent1", &gone.file_name().unwrap().to_string_lossy());
    outside.fails(&gone, &list, &line);

    println!("-- an agent with a key that no machine knows");
    let wrong = outside.agent(Agent::WithWrongKey);
    let hint = outside.fails(
        &wrong,
        &list,
        &format!("{failed}: core@{address} accepts none of the keys: ecdsa-sha2-nistp256 SHA256:… of ssh-agent"),
    );
    assert!(hint.starts_with("Add the right key to ssh-agent"), "{hint}");

    println!("-- a key file, where OpenSSH looks for one; the wrong key does not stand in its way");
    outside.key_file(".ssh/id_ed25519", "");
    outside.run(Path::new(""), &list);
    outside.run(&gone, &list);
    outside.run(&wrong, &list);
    fs::remove_file(outside.file(".ssh/id_ed25519")).unwrap();

    println!("-- a key file of ~/.ssh/config, for another user");
    outside.key_file("key", "");
    let config = format!("Host way\n HostName {address}\n User root\n IdentityFile ~/key\n");
    fs::write(outside.file(".ssh/config"), config).unwrap();
    outside.run(Path::new(""), &["--tunnel=way", "list-machines"]);
    let line = format!(
        "{failed}: nobody@{address} accepts none of the keys: ssh-ed25519 SHA256:… of ~/key"
    );
    outside.fails(
        Path::new(""),
        &["--tunnel=nobody@way", "list-machines"],
        &line,
    );

    println!("-- an encrypted key, and no terminal");
    outside.key_file("key", "open sesame");
    let line = format!(
        "{failed}: root@{address} accepts none of the keys: ~/key, encrypted, and there is no terminal to ask for its passphrase"
    );
    outside.fails(Path::new(""), &["--tunnel=way", "list-machines"], &line);

    println!("-- an encrypted key: asked for once, for the bastion and for the machine behind it");
    let config = format!("Host way\n HostName {address}\nHost *\n IdentityFile ~/key\n");
    fs::write(outside.file(".ssh/config"), config).unwrap();
    let words = ["--tunnel=way", "ssh", inner, "hostname"];
    let mut terminal = outside.terminal(Path::new(""), &words, 80);
    terminal.until("Enter passphrase for key '");
    terminal.send("open sesame\r");
    let (seen, status) = terminal.end();
    assert_eq!(
        (seen.matches("passphrase").count(), status),
        (0, 0),
        "{seen:?}"
    );
    assert!(seen.ends_with("m2\r\n"), "{seen:?}");

    println!("-- the wrong passphrase");
    let mut terminal = outside.terminal(Path::new(""), &words, 80);
    terminal.until("Enter passphrase for key '");
    terminal.send("sesame\r");
    let (seen, status) = terminal.end();
    assert!(seen.contains("key: the passphrase is wrong"), "{seen:?}");
    assert_eq!(status, 1);

    println!("-- signals at the prompt: the terminal is left as it was");
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut terminal = outside.terminal(Path::new(""), &words, 80);
        terminal.until("Enter passphrase for key '");
        assert!(!terminal.is_plain());
        terminal.signal(signal);
        assert_eq!(terminal.left(), (true, status));
    }
    let mut terminal = outside.terminal(Path::new(""), &words, 80);
    terminal.until("Enter passphrase for key '");
    terminal.send("\x03");
    assert_eq!(terminal.left(), (true, 130));
}
