//! The stories of `tests/scenarios/cluster` on three real machines, all on one cluster: the engine's own tests compare decisions,
//! here real agents and real systemd must end where those decisions say, and nothing may start before it has stopped elsewhere.
//!
//! Machines `a`, `b` and `c` of a story are `m1`, `m2` and `m3`. A block that is followed by a lone `settle` is on its way
//! there: what is compared is where it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use testbed::{Machine, Store};

use crate::lab::{Lab, Row};

/// What a story is told with; every other key is as the machine itself says.
const KEYS: [&str; 4] = ["cores", "disk", "gpu", "zone"];

/// Writes down when it was last up, and when down, by the host's clock; it is down only a while after it was told to stop.
const SERVICE: &str = "[Service]
ExecStartPre=/bin/sh -c 'cut -d\" \" -f1 /proc/uptime > /run/%n.up'
ExecStart=/bin/sleep infinity
ExecStopPost=/bin/sh -c 'sleep 0.2; cut -d\" \" -f1 /proc/uptime > /run/%n.down'
[X-Fleet]
";

/// Where units are to be, by the machine's letter.
#[derive(Clone, Debug, Default)]
struct Expected {
    placed: BTreeMap<String, BTreeSet<String>>,
    waiting: BTreeMap<String, String>,
}

impl Expected {
    /// Takes in one decision, as the engine's tests write it.
    fn decide(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["+", unit, machine, ..] => {
                let places = self.placed.entry(unit.to_owned()).or_default();
                places.insert(machine.to_owned());
            }
            ["-", unit, machine, ..] => {
                let places = self.placed.entry(unit.to_owned()).or_default();
                places.remove(machine.trim_end_matches(':'));
            }
            ["?", unit, ..] => {
                let (_, reason) = line.split_once(": ").unwrap();
                let reason = reason.split(" | ").next().unwrap();
                let unit = unit.trim_end_matches(':');
                self.waiting.insert(unit.to_owned(), reason.to_owned());
            }
            [".", unit] => {
                self.waiting.remove(unit);
            }
            _ => panic!("not a decision: {line}"),
        }
    }

    /// The units that run, each once for every machine.
    fn running(&self) -> BTreeSet<(String, String)> {
        let running = self.placed.iter();
        let running = running.filter(|(unit, _)| !self.waiting.contains_key(*unit));
        let each = |(unit, machines): (&String, &BTreeSet<String>)| {
            let unit = unit.clone();
            let machines = machines.clone().into_iter();
            machines.map(move |machine| (unit.clone(), machine))
        };
        running.flat_map(each).collect()
    }
}

struct Story<'l> {
    lab: &'l Lab,
    expected: Expected,
    /// Machines without power.
    off: BTreeSet<String>,
    /// Machines that lost it in this block.
    crashed: BTreeSet<String>,
}

impl Story<'_> {
    fn machine(&self, letter: &str) -> &Machine {
        let at = ["a", "b", "c"].iter().position(|known| *known == letter);
        &self.lab.bed.machines()[at.unwrap()]
    }

    /// Carries out the commands of one block.
    fn tell(&mut self, commands: &str) {
        let mut starts: Vec<String> = Vec::new();
        for line in commands.lines() {
            let line = line.trim();
            let (head, options) = line.split_once(" :").unwrap_or((line, ""));
            let words: Vec<&str> = head.split_whitespace().collect();
            match words[..] {
                [] | ["#", ..] => println!("{line}"),
                ["unit", unit] => {
                    let options: String = options
                        .split(';')
                        .map(|it| format!("{}\n", it.trim()))
                        .collect();
                    let text = format!("{SERVICE}{options}");
                    starts.push(self.lab.unit_file("m1", unit, &text));
                }
                ["machine", letter, ..] if self.off.remove(letter) => {
                    println!("{letter}: power on");
                    self.machine(letter).power_on().unwrap();
                    self.lab.wait_for_machines(3 - self.off.len());
                }
                ["machine", letter, ref pairs @ ..] => self.set_metadata(letter, pairs, &KEYS),
                ["set", letter, ref pairs @ ..] => self.set_metadata(letter, pairs, &[]),
                ["destroy", unit] => drop(self.lab.fleetctl("m1", &["destroy", unit])),
                ["rebalance", most] => {
                    drop(self.lab.fleetctl("m1", &["rebalance", "--max-moves", most]));
                }
                ["crash", letter] => {
                    println!("{letter}: power off");
                    self.machine(letter).kill().unwrap();
                    self.off.insert(letter.to_owned());
                    self.crashed.insert(letter.to_owned());
                    self.lab.wait_for_machines(3 - self.off.len());
                }
                // Real machines do what they are told by themselves.
                ["settle"] => {}
                _ => panic!("no such command on real machines: {line}"),
            }
        }
        if !starts.is_empty() {
            let words = ["start", "--no-block", "--replace"].into_iter();
            let words: Vec<&str> = words.chain(starts.iter().map(String::as_str)).collect();
            self.lab.fleetctl("m1", &words);
        }
    }

    /// Sets these pairs, and removes those of `keys` that are not among them, in one request.
    fn set_metadata(&self, letter: &str, pairs: &[&str], keys: &[&str]) {
        let id = self.machine(letter).machine_id();
        let pairs: BTreeMap<&str, &str> = pairs
            .iter()
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let set = pairs.iter().map(|(key, value)| {
            format!(r#"{{"op":"add","path":"/{id}/metadata/{key}","value":{{"value":"{value}"}}}}"#)
        });
        let missing = keys.iter().filter(|key| !pairs.contains_key(**key));
        let removed =
            missing.map(|key| format!(r#"{{"op":"remove","path":"/{id}/metadata/{key}"}}"#));
        let patch: Vec<String> = set.chain(removed).collect();
        println!("{letter}: {pairs:?}");
        let answer = self.patch(&format!("[{}]", patch.join(",")));
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    /// Asks the API of `m1`, over its socket, to change machines.
    fn patch(&self, body: &str) -> String {
        let leader = self.lab.machine("m1").leader().unwrap();
        let mut stream =
            UnixStream::connect(format!("/proc/{leader}/root/run/fleet.sock")).unwrap();
        let request = format!(
            "PATCH /fleet/v1/machines HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until all is as expected; who waits must say why.
    fn compare(&mut self, before: &Expected) {
        let letters: BTreeMap<&str, &str> = self
            .lab
            .bed
            .machines()
            .iter()
            .map(Machine::machine_id)
            .zip(["a", "b", "c"])
            .collect();
        let wanted = self.expected.running();
        let is_there = |rows: &[Row]| {
            let there = rows.iter().filter(|row| row.sub != "dead");
            let there: BTreeSet<(String, String)> = there
                .map(|row| (row.unit.clone(), letters[row.machine.as_str()].to_owned()))
                .collect();
            there == wanted && rows.iter().all(|row| row.active == "active")
        };
        self.lab.wait_for(&format!("{wanted:?}"), "m1", is_there);
        for (unit, reason) in &self.expected.waiting {
            let said = self.lab.fleetctl("m1", &["explain", unit]);
            let is_said =
                said.contains(" waits: ") && (!reason.starts_with("no ") || said.contains(reason));
            assert!(is_said, "{unit}: {reason}\n{said}");
        }
        for (unit, machine) in before.running().difference(&wanted) {
            let now = wanted.iter().filter(|(it, on)| {
                it == unit && !before.running().contains(&(unit.clone(), on.clone()))
            });
            for (_, to) in now {
                self.check_handover(unit, machine, to);
            }
        }
        self.crashed.clear();
    }

    /// Nothing starts before it has stopped where it was.
    fn check_handover(&self, unit: &str, from: &str, to: &str) {
        if self.crashed.contains(from) {
            return;
        }
        let (down, up) = (self.last(from, unit, "down"), self.last(to, unit, "up"));
        println!("{unit}: down on {from} at {down}, up on {to} at {up}");
        assert!(
            down <= up,
            "{unit} ran on {from} and {to} at once\n{}",
            self.lab.bed.diagnosis()
        );
    }

    /// When the unit was last up or down there, in seconds; all machines have one clock.
    fn last(&self, letter: &str, unit: &str, what: &str) -> f64 {
        let path = format!("/run/{unit}.{what}");
        let written = self.machine(letter).run(&["cat", &path]).unwrap();
        let written = written.success().unwrap().stdout;
        written
            .trim()
            .parse()
            .unwrap_or_else(|error| panic!("{path} on {letter}: {error}: {written:?}"))
    }

    fn clean_up(&mut self) {
        let units: Vec<String> = self
            .lab
            .rows("m1")
            .into_iter()
            .map(|row| row.unit)
            .collect();
        let units = units
            .into_iter()
            .chain(self.expected.waiting.keys().cloned());
        let units: BTreeSet<String> = units.collect();
        let words = ["destroy"]
            .into_iter()
            .chain(units.iter().map(String::as_str));
        self.lab.fleetctl("m1", &words.collect::<Vec<_>>());
        self.lab.wait_for("no units", "m1", <[_]>::is_empty);
    }
}

/// True if the block only lets machines do what they were told.
fn only_settles(block: &str) -> bool {
    let (commands, _) = block.split_once("----").unwrap_or((block, ""));
    let mut lines = commands.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "settle")
}

#[test]
fn placement_stories_end_on_real_machines_as_the_engine_decided() {
    let store = Store::Etcd { members: 1 };
    let Some(lab) = Lab::start("the stories of placement", store) else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/cluster");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let paths: BTreeSet<_> = paths.collect();
    assert!(paths.len() >= 9);
    for path in paths {
        println!("-- {}", path.file_name().unwrap().display());
        let text = std::fs::read_to_string(&path).unwrap();
        let mut story = Story {
            lab: &lab,
            expected: Expected::default(),
            off: BTreeSet::new(),
            crashed: BTreeSet::new(),
        };
        let mut before = Expected::default();
        let blocks: Vec<&str> = text.trim_end().split("\n\n").collect();
        for (at, block) in blocks.iter().enumerate() {
            let (commands, decisions) = block.split_once("----").unwrap();
            story.tell(commands);
            decisions
                .lines()
                .filter(|line| !line.is_empty())
                .for_each(|line| story.expected.decide(line));
            if blocks.get(at + 1).is_none_or(|next| !only_settles(next)) {
                story.compare(&before);
                before = story.expected.clone();
            }
        }
        story.clean_up();
    }
}
