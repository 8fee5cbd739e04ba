//! How long a plan takes, on one core: one line a question and size of cluster.
//!
//! A third of the units is bound to metadata, a third is in groups that refuse each other, one in
//! fifty follows another, ten are global. `cargo bench -p engine --bench placement`.

#![allow(
    clippy::unwrap_used,
    reason = "in a benchmark a surprise is a failure; clippy's own exception is for tests only"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::schedule;
use model::{
    BootId, Capacity, Change, Decision, Generation, Machine, MachineId, Records, TargetState, Unit,
};
use unitfile::{UnitFile, UnitName};

/// Units in one group that refuse each other.
const GROUP: usize = 10;

/// Global units, whatever the size.
const GLOBALS: usize = 10;

/// The median of this many runs is shown.
const RUNS: usize = 5;

fn main() {
    for (machines, units) in [(100, 1_000), (1_000, 10_000), (10_000, 100_000)] {
        let empty = cluster(machines, units);
        let size = format!("{} machines, {} units", grouped(machines), grouped(units));
        let (took, plan) = median(&empty);
        let placed = plan
            .iter()
            .filter(|decision| matches!(decision, Decision::Assign { .. }))
            .count();
        let held = plan
            .iter()
            .filter(|decision| matches!(decision, Decision::Hold { .. }))
            .count();
        let rate = placed as f64 / took.as_secs_f64();
        println!(
            "placement cold: {size}: {} ({} placed, {held} wait, {rate:.0} placements/s)",
            shown(took),
            grouped(placed),
        );
        let mut full = empty;
        apply(&mut full, &plan);
        let (took, plan) = median(&full);
        assert!(plan.is_empty(), "a plan was made of a plan");
        println!("nothing to do: {size}: {}", shown(took));
        let mut more = full.clone();
        unit(&mut more, "one-more.service", "");
        let (took, plan) = median(&more);
        println!(
            "one unit more: {size}: {} ({} decisions)",
            shown(took),
            plan.len()
        );
        let mut less = full;
        let lost = less.machines.keys().next().unwrap().clone();
        less.apply(Change::Machine(lost, None));
        let (took, plan) = median(&less);
        println!(
            "one machine lost: {size}: {} ({} decisions)",
            shown(took),
            plan.len()
        );
    }
}

fn median(records: &Records) -> (Duration, Vec<Decision>) {
    let mut plan = Vec::new();
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            plan = schedule(records);
            started.elapsed()
        })
        .collect();
    times.sort();
    (times[RUNS / 2], plan)
}

fn cluster(machines: usize, units: usize) -> Records {
    let mut records = Records::default();
    for number in 0..machines {
        let id = MachineId::parse(&format!("{:032x}", number * 0x9e37_79b9)).unwrap();
        let metadata = BTreeMap::from([
            (
                "disk".to_owned(),
                ["ssd", "hdd", "nvme"][number % 3].to_owned(),
            ),
            ("zone".to_owned(), format!("z{}", number % 16)),
        ]);
        let machine = Machine {
            id: id.clone(),
            boot: BootId(String::new()),
            address: String::new(),
            metadata,
            version: String::new(),
            capacity: Capacity::default(),
        };
        records.apply(Change::Machine(id, Some(machine)));
    }
    for number in 0..units {
        match number % 50 {
            _ if number < GLOBALS => {
                unit(
                    &mut records,
                    &format!("agent{number}.service"),
                    "Global=true",
                );
            }
            0 => {
                let options = format!("MachineOf=plain{}.service", number + 2);
                unit(&mut records, &format!("pair{number}.service"), &options);
            }
            rest if rest % 3 == 0 => {
                let disk = ["ssd", "hdd", "nvme"][number % 7 % 3];
                let options = format!(
                    "MachineMetadata=disk={disk}\nMachineMetadata=zone=z{}",
                    number % 16
                );
                unit(&mut records, &format!("bound{number}.service"), &options);
            }
            rest if rest % 3 == 1 => {
                let group = number / (3 * GROUP);
                let options = format!("Conflicts=group{group}@*.service");
                unit(
                    &mut records,
                    &format!("group{group}@{number}.service"),
                    &options,
                );
            }
            _ => unit(&mut records, &format!("plain{number}.service"), ""),
        }
    }
    records
}

fn unit(records: &mut Records, name: &str, options: &str) {
    let file = UnitFile::parse(format!(
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\n{options}\n"
    ))
    .unwrap();
    let unit = Unit {
        name: UnitName::parse(name).unwrap(),
        file: file.file_hash(),
        hash: file.hash(),
        target: TargetState::Launched,
        generation: Generation(1),
        start: Generation(1),
        restart: Generation(0),
    };
    records.apply(Change::File(unit.file, Some(Arc::new(file))));
    records.apply(Change::Unit(unit.name.clone(), Some(unit)));
}

fn apply(records: &mut Records, plan: &[Decision]) {
    for decision in plan {
        records.apply(match decision.clone() {
            Decision::Assign {
                unit,
                machine,
                assignment,
                ..
            } => Change::Assignment(machine, unit, Some(assignment)),
            Decision::Unassign { unit, machine, .. } => Change::Assignment(machine, unit, None),
            Decision::Hold { unit, hold } => Change::Hold(unit, Some(hold)),
            Decision::Release { unit } => Change::Hold(unit, None),
        });
    }
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// `12345` as `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
