//! DELETE and PUT of the same name one after the other, as deployment scripts do it through the API, without a pause: the new content
//! always wins, and nothing old is started after something newer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use testbed::{Store, until};

use crate::lab::{LIMIT, Lab};

/// How often each unit is destroyed and made again.
const ROUNDS: u32 = 60;

/// Every so many rounds the machines are waited for; in between, the next round begins while they are at the last.
const WAITED_FOR: u32 = 4;

/// Asks m1's fleetd on its own socket, and returns status and body.
fn ask(lab: &Lab, request: &str, body: &Value) -> (u16, String) {
    let leader = lab.machine("m1").leader().unwrap();
    let mut stream = UnixStream::connect(format!("/proc/{leader}/root/run/fleet.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let body = match body {
        Value::Null => String::new(),
        some => some.to_string(),
    };
    let text = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn option(section: &str, name: &str, value: &str) -> Value {
    json!({"section": section, "name": name, "value": value})
}

/// Destroys the unit and makes its next version. Each start of it leaves a line on the machine it is on.
fn renew(lab: &Lab, unit: &str, round: u32, pinned_to: Option<&str>) {
    let path = format!("/fleet/v1/units/{unit}");
    let (status, body) = ask(lab, &format!("DELETE {path}"), &Value::Null);
    assert!(status == 204 || round == 1, "{status} {body}");
    let start = format!("/bin/sh -c 'echo {round} >> /run/%p.log; exec sleep infinity'");
    let mut options = vec![
        option("Unit", "Description", &format!("round {round}")),
        // Quicker than anybody means to, which systemd would not start for long.
        option("Unit", "StartLimitIntervalSec", "0"),
        option("Service", "ExecStart", &start),
    ];
    options.extend(pinned_to.map(|machine| option("X-Fleet", "MachineID", machine)));
    let wanted = json!({"desiredState": "launched", "options": options});
    let (status, body) = ask(lab, &format!("PUT {path}"), &wanted);
    assert_eq!(status, 201, "{body}");
    let (_, file) = ask(lab, &format!("GET {path}/file"), &Value::Null);
    assert!(
        file.contains(&format!("Description=round {round}\n")),
        "{file}"
    );
}

/// Returns once the unit runs on one machine, from this round's file, as fleet and as systemd there say.
fn wait_for(lab: &Lab, unit: &str, round: u32) {
    let question = format!("GET /fleet/v1/overview?unitName={unit}");
    let found = until(&format!("round {round} of {unit}"), LIMIT, || {
        let (_, body) = ask(lab, &question, &Value::Null);
        let seen: Value = serde_json::from_str(&body).unwrap();
        let hash = &seen["units"][0]["hash"];
        match seen["states"].as_array().map(Vec::as_slice) {
            Some([state]) if state["hash"] == *hash && state["systemdSubState"] == "running" => {
                Ok(state["machineID"].as_str().unwrap().to_owned())
            }
            Some(_) | None => Err(body),
        }
    });
    let machine =
        lab.by_id(&found.unwrap_or_else(|error| panic!("{error}\n{}", lab.bed.diagnosis())));
    let show = [
        "systemctl",
        "show",
        "--value",
        "--property=Description",
        unit,
    ];
    let shown = machine.run(&show).unwrap();
    assert_eq!(shown.stdout.trim(), format!("round {round}"), "{shown:?}");
    // systemd calls it running before its shell has written that line.
    let here = (round, machine.name().to_owned());
    let line = until(&format!("the line of round {round}"), LIMIT, || {
        let started = started(lab, unit);
        match started.last() == Some(&here) {
            true => Ok(()),
            false => Err(format!("{started:?}")),
        }
    });
    line.unwrap_or_else(|error| panic!("{error}\n{}", lab.bed.diagnosis()));
}

/// Which rounds were started, and where, in order of the rounds. On each machine they were started in that order.
fn started(lab: &Lab, unit: &str) -> Vec<(u32, String)> {
    let log = format!("/run/{}.log", unit.trim_end_matches(".service"));
    let mut all = Vec::new();
    for machine in lab.bed.machines() {
        let lines = machine.run(&["cat", &log]).unwrap().stdout;
        let rounds: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            rounds.is_sorted_by(|a, b| a < b),
            "{}: {rounds:?}",
            machine.name()
        );
        all.extend(
            rounds
                .into_iter()
                .map(|round| (round, machine.name().to_owned())),
        );
    }
    all.sort();
    all
}

#[test]
fn delete_and_put_at_once_ends_in_the_new_content_every_time() {
    let story = "units are destroyed and made again without a pause";
    let Some(lab) = Lab::start(story, Store::Etcd { members: 1 }) else {
        return;
    };
    let pinned_to = lab.machine("m2").machine_id().to_owned();
    for round in 1..=ROUNDS {
        renew(&lab, "pinned.service", round, Some(&pinned_to));
        renew(&lab, "anywhere.service", round, None);
        if round % WAITED_FOR == 0 {
            wait_for(&lab, "pinned.service", round);
            wait_for(&lab, "anywhere.service", round);
        }
    }
    for unit in ["pinned.service", "anywhere.service"] {
        let started = started(&lab, unit);
        println!("{unit}: {} of {ROUNDS} rounds were started", started.len());
        assert!(
            started.is_sorted_by(|a, b| a.0 < b.0),
            "one at a time: {started:?}"
        );
    }
}
