//! Clients that nobody here wrote, and scripts as fleet's users write them, against three real machines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail a test by panicking"
)]

#[allow(dead_code, reason = "the stories of tests/cluster ask more of it")]
#[path = "../cluster/lab.rs"]
mod lab;
mod python;

use std::path::Path;

use testbed::Store;

use crate::lab::Lab;
use crate::python::Python;

const STORE: Store = Store::Etcd { members: 1 };

/// Where the API listens beside its socket: loopback, as without it anybody is root.
const TCP: &str = "127.0.0.1:49153";

/// Nobody is lost here, and clients count machines: none that is held up is to lose its lease.
const LEASE_TTL: &str = "agent_ttl=60s";

/// Pages of two: lists are longer than that.
const CONF: &[&str] = &["listen=tcp://127.0.0.1:49153", "token_limit=2", LEASE_TTL];

#[test]
fn clients_written_for_fleet_1_0_work() {
    let Some(python) = Python::with_clients() else {
        return;
    };
    let Some(lab) = Lab::start_with("real clients, over TCP and over the socket", STORE, CONF)
    else {
        return;
    };
    let m1 = lab.machine("m1");
    let leader = m1.leader().unwrap();
    println!("python-fleet over TCP");
    let tcp = format!("http://{TCP}");
    python.run(leader, "python_fleet.py", &[&tcp, "tcp", "3"]);
    println!("python-fleet over the unix socket");
    let socket = format!("http+unix://%2Fproc%2F{leader}%2Froot%2Frun%2Ffleet.sock");
    python.run(leader, "python_fleet.py", &[&socket, "socket", "3"]);
    println!("a client made of the discovery document");
    python.run(leader, "discovery_client.py", &[&tcp]);
    println!("monitors");
    python.run(leader, "monitors.py", &[TCP, m1.machine_id()]);
}

#[test]
fn scripts_written_for_fleet_1_0_work() {
    let Some(lab) = Lab::start_with("scripts as fleet's users have them", STORE, &[LEASE_TTL])
    else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 4, "{scripts:?}");
    for script in scripts {
        let name = script.file_name().unwrap().to_string_lossy().into_owned();
        let path = format!("/root/scripts/{name}");
        let m2 = lab.machine("m2");
        m2.install_file(&path, &std::fs::read(&script).unwrap(), 0o755)
            .unwrap();
        println!("m2$ {path}");
        let output = m2.run(&[&path]).unwrap();
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            println!("    {line}");
        }
        if !output.status.success() {
            let trace = m2.run(&["bash", "-x", &path]).unwrap();
            panic!(
                "{name}: {}\nonce more, traced:\n{}",
                output.status, trace.stderr
            );
        }
        assert_eq!(lab.rows("m2"), [], "{name} left something behind");
    }
}
