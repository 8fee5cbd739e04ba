//! `https://` through the bastion: the bastion opens a connection to a TLS terminator, and TLS is spoken from here to there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::outside::{Agent, Outside};
use crate::terminator::{authority, certificate};

const FILES: [&str; 3] = [
    "--ca-file=ours.pem",
    "--cert-file=me.pem",
    "--key-file=me.key",
];

/// Runs on the bastion's own network, where nobody else connects to it. Returns its port, too.
fn terminator(outside: &Outside) -> (Child, u16) {
    let leader = outside.bastion().leader().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tunnel/terminator.py");
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/proc/{leader}/ns/net"))
        .args(["--", "python3"])
        .arg(script)
        .args(["server.pem", "server.key", "ours.pem", "49153"])
        .current_dir(outside.home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    println!("terminator at port {}", line.trim());
    (child, line.trim().parse().unwrap())
}

#[test]
fn tls_is_spoken_through_the_bastion() {
    let Some(mut outside) = Outside::start("TLS through the bastion") else {
        return;
    };
    let agent = outside.agent(Agent::WithKey);
    outside.learn(&agent);
    let home = outside.home.path();
    authority(home, "ours");
    authority(home, "theirs");
    certificate(home, "ours", "server", "IP:127.0.0.1");
    certificate(home, "ours", "me", "DNS:me");
    let (mut child, port) = terminator(&outside);
    let (tunnel, endpoint) = (
        outside.tunnel(),
        format!("--endpoint=https://127.0.0.1:{port}"),
    );
    let expected = outside.run(&agent, &[&tunnel, "list-machines"]);
    let with = |files: &[&'static str]| {
        let mut words = vec![tunnel.clone(), endpoint.clone(), "list-machines".to_owned()];
        words.extend(files.iter().map(ToString::to_string));
        words
    };
    let run = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        outside.try_run(&agent, &words, "")
    };

    println!("-- both sides show certificates");
    let said = run(&with(&FILES));
    assert_eq!(
        (said.stdout, said.stderr.as_str(), said.status),
        (expected, "", 0)
    );

    println!("-- we show none");
    let said = run(&with(&FILES[..1]));
    assert!(
        said.stderr.contains("it wants a client certificate"),
        "{said:?}"
    );

    println!("-- we trust another");
    let said = run(&with(&["--ca-file=theirs.pem"]));
    assert!(
        said.stderr
            .contains("its certificate is not from an authority of theirs.pem"),
        "{said:?}"
    );

    println!("-- plain HTTP there");
    let mut words = with(&FILES);
    words[1] = "--endpoint=https://127.0.0.1:49153".to_owned();
    let said = run(&words);
    assert!(
        said.stderr.contains("what listens there speaks no TLS"),
        "{said:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
