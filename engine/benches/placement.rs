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

use engine::{Explainer, Look, Planner, schedule};
use model::{
    BootId, Capacity, Change, Decision, Generation, Machine, MachineId, Records, TargetState, Unit,
};
use unitfile::{UnitFile, UnitName};

/// Units in one group that refuse each other.
const GROUP: usize = 10;

/// Global units, whatever the size.
const GLOBALS: usize = 10;

/// The best of this many runs is shown: what others do on the same machine only ever adds.
const RUNS: usize = 7;

/// Sizes of clusters.
const MACHINES: [usize; 3] = [100, 1_000, 10_000];
const UNITS: [usize; 3] = [1_000, 10_000, 100_000];

/// How many different amounts of memory units reserve.
const AMOUNTS: [usize; 4] = [1, 10, 100, 1_000];

/// What a machine has of memory where units reserve it: all of them together take nine tenths of it.
const MEMORY_BYTES: u64 = 6_272 << 20;

/// How far apart the ids of machines are.
const ID_STEP: usize = 0x9e37_79b9;

/// Units that wait in the question about explanations.
const WAITING: usize = 1_000;

fn main() {
    let mut cold: Vec<(usize, usize, Duration)> = Vec::new();
    for (machines, units) in MACHINES.into_iter().zip(UNITS) {
        let records = cluster(machines, units);
        let (took, plan) = best(&records, |_, _| {}, Start::Cold);
        let alone = processor_time_of_cold(&records);
        let placed = plan
            .iter()
            .filter(|decision| matches!(decision, Decision::Assign { .. }))
            .count();
        let held = plan
            .iter()
            .filter(|decision| matches!(decision, Decision::Hold { .. }))
            .count();
        let size = format!("{} machines, {} units", grouped(machines), grouped(units));
        println!(
            "placement cold: {size}: {} ({} of processor time; {} placed, {held} wait, {} placements a second)",
            shown(took),
            alone.map_or_else(|| "unknown".to_owned(), shown),
            grouped(placed),
            grouped((placed as f64 / took.as_secs_f64()) as usize),
        );
        cold.push((machines, units, took));
        let mut full = records;
        apply(&mut full, &plan);
        let (took, plan) = best(&full, |_, _| {}, Start::Cold);
        assert!(plan.is_empty(), "a plan was made of a plan");
        println!("a leader's first look: {size}: {}", shown(took));
        let one_more = |records: &mut Records, planner: &mut Planner| {
            for change in unit("one-more.service", "") {
                planner.take_in(records, change);
            }
        };
        ask("one unit more", &size, &full, one_more);
        let lost = full.machines.keys().nth(machines / 2).unwrap().clone();
        let one_less = |records: &mut Records, planner: &mut Planner| {
            planner.take_in(records, Change::Machine(lost.clone(), None));
        };
        ask("one machine lost", &size, &full, one_less);
        // Between all others.
        let between = machines / 2 * ID_STEP + 1;
        let newcomer = Machine {
            id: MachineId::parse(&format!("{between:032x}")).unwrap(),
            ..machine(machines)
        };
        let one_joins = |records: &mut Records, planner: &mut Planner| {
            planner.take_in(
                records,
                Change::Machine(newcomer.id.clone(), Some(newcomer.clone())),
            );
        };
        ask("one machine joins", &size, &full, one_joins);
        let many_wait = |records: &mut Records, planner: &mut Planner| {
            for number in 0..WAITING {
                let options = format!("MachineMetadata=disk=tape{}", number % 10);
                for change in unit(&format!("waiting{number}.service"), &options) {
                    planner.take_in(records, change);
                }
            }
        };
        ask(
            "1,000 units more that must wait, and why",
            &size,
            &full,
            many_wait,
        );
        explanations(&size, &full);
        explanation_after_a_change(&size, &full);
    }
    growth(&cold);
    reserving();
}

/// Cold placement where every unit reserves memory and a part of a processor, and how it grows with
/// how many different amounts of memory there are.
fn reserving() {
    for (machines, units) in MACHINES.into_iter().zip(UNITS) {
        for amounts in AMOUNTS {
            let records = reserving_cluster(machines, units, amounts);
            let (took, plan) = best(&records, |_, _| {}, Start::Cold);
            let held = plan
                .iter()
                .filter(|decision| matches!(decision, Decision::Hold { .. }));
            println!(
                "placement cold, reserving: {} machines, {} units, {} amounts: {} ({} wait)",
                grouped(machines),
                grouped(units),
                grouped(amounts),
                shown(took),
                grouped(held.count()),
            );
        }
    }
}

/// How the time for a cold placement grows, with machines and with units.
fn growth(known: &[(usize, usize, Duration)]) {
    println!("placement cold, growth: units down, machines across");
    let heads = MACHINES.map(|machines| format!("{:>12}", grouped(machines)));
    println!("{:>12}{}", "", heads.join(""));
    for units in UNITS {
        let times = MACHINES.map(|machines| {
            let is_this =
                |(of, with, _): &&(usize, usize, Duration)| (*of, *with) == (machines, units);
            let took = known.iter().find(is_this).map(|(_, _, took)| *took);
            let took =
                took.unwrap_or_else(|| best(&cluster(machines, units), |_, _| {}, Start::Cold).0);
            format!("{:>12}", shown(took))
        });
        println!("{:>12}{}", grouped(units), times.join(""));
    }
}

/// The shortest time that a processor worked for a cold placement, which others on the same machine
/// lengthen less. None if the system does not say.
fn processor_time_of_cold(records: &Records) -> Option<Duration> {
    let now = || -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanoseconds = text.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos(nanoseconds))
    };
    let times = (0..RUNS).map(|_| {
        let started = now()?;
        let plan = schedule(records);
        let took = now()?.saturating_sub(started);
        drop(plan);
        Some(took)
    });
    let shortest = times.collect::<Option<Vec<Duration>>>()?.into_iter().min();
    // The kernel counts in ticks of some milliseconds: what is shorter cannot be told.
    shortest.filter(|took| took.as_millis() >= 10)
}

fn ask(question: &str, size: &str, full: &Records, happens: impl Fn(&mut Records, &mut Planner)) {
    let (took, plan) = best(full, happens, Start::Settled);
    println!(
        "{question}: {size}: {} ({} decisions)",
        shown(took),
        grouped(plan.len())
    );
}

/// Every rule and the nearest machines, for units that wait in a cluster that is already looked
/// through; and how long that look takes.
fn explanations(size: &str, full: &Records) {
    let mut records = full.clone();
    let names: Vec<UnitName> = (0..WAITING)
        .map(|number| {
            let name = format!("waiting{number}@{number}.service");
            let options = format!(
                "MachineMetadata=disk=tape{}\nMachineMetadata=zone=z{}\nConflicts=group{number}@*\nMemory=1G",
                number % 10,
                number % 16
            );
            submit(&mut records, &name, &options);
            UnitName::parse(&name).unwrap()
        })
        .collect();
    let mut looks = Vec::new();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut explainer = Explainer::of(&records);
        looks.push(started.elapsed());
        let started = Instant::now();
        let rules: usize = names
            .iter()
            .map(|name| explainer.explain(name).unwrap().rules.len())
            .sum();
        times.push(started.elapsed());
        assert!(rules >= 4 * WAITING, "a rule was not explained");
    }
    looks.sort();
    times.sort();
    println!(
        "explanations for 1,000 waiting units: {size}: {} (after a look through the cluster of {})",
        shown(times[0]),
        shown(looks[0]),
    );
}

/// One explanation in a cluster that was looked through before and has changed since, with the copy
/// of its records, as the API makes it.
fn explanation_after_a_change(size: &str, full: &Records) {
    let mut records = full.clone();
    let mut look = Look::of(records.clone());
    let mut times = Vec::new();
    for run in 0..RUNS {
        let name = format!("later{run}.service");
        submit(&mut records, &name, "");
        let name = UnitName::parse(&name).unwrap();
        let started = Instant::now();
        look = look.renew(records.clone());
        assert!(look.explain(&name).unwrap().pending, "it was not seen");
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "one explanation after a change: {size}: {}",
        shown(times[0])
    );
}

/// What the planner knows when the clock starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing.
    Cold,
    /// The cluster as it is before anything happens.
    Settled,
}

/// The shortest time from what happens to the plan.
fn best(
    full: &Records,
    happens: impl Fn(&mut Records, &mut Planner),
    start: Start,
) -> (Duration, Vec<Decision>) {
    let mut plan = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..RUNS {
        if start == Start::Cold {
            // The plan before this one is not to be forgotten on this one's time.
            drop(std::mem::take(&mut plan));
            let started = Instant::now();
            plan = schedule(full);
            times.push(started.elapsed());
            continue;
        }
        let mut records = full.clone();
        let mut planner = Planner::of(&records);
        assert!(
            planner.plan(&records).is_empty(),
            "a settled cluster changed"
        );
        let started = Instant::now();
        happens(&mut records, &mut planner);
        plan = planner.plan(&records);
        times.push(started.elapsed());
    }
    times.sort();
    (times[0], plan)
}

fn cluster(machines: usize, units: usize) -> Records {
    let mut records = Records::default();
    for number in 0..machines {
        let machine = machine(number);
        records.apply(Change::Machine(machine.id.clone(), Some(machine)));
    }
    for number in 0..units {
        match number % 50 {
            _ if number < GLOBALS => {
                submit(
                    &mut records,
                    &format!("agent{number}.service"),
                    "Global=true",
                );
            }
            0 => {
                let options = format!("MachineOf=plain{}.service", number + 2);
                submit(&mut records, &format!("pair{number}.service"), &options);
            }
            rest if rest % 3 == 0 => {
                let disk = ["ssd", "hdd", "nvme"][number % 7 % 3];
                let options = format!(
                    "MachineMetadata=disk={disk}\nMachineMetadata=zone=z{}",
                    number % 16
                );
                submit(&mut records, &format!("bound{number}.service"), &options);
            }
            rest if rest % 3 == 1 => {
                let group = number / (3 * GROUP);
                let options = format!("Conflicts=group{group}@*.service");
                submit(
                    &mut records,
                    &format!("group{group}@{number}.service"),
                    &options,
                );
            }
            _ => submit(&mut records, &format!("plain{number}.service"), ""),
        }
    }
    records
}

/// Units that reserve 564 MiB of memory on average, each one of so many amounts.
fn reserving_cluster(machines: usize, units: usize, amounts: usize) -> Records {
    let mut records = Records::default();
    for number in 0..machines {
        let machine = Machine {
            capacity: Capacity {
                memory_bytes: MEMORY_BYTES,
                cpu_milli: 16_000,
            },
            ..machine(number)
        };
        records.apply(Change::Machine(machine.id.clone(), Some(machine)));
    }
    for number in 0..units {
        // Not in the order of their names.
        let amount = number * 617 % amounts * 1_000 / amounts + 64 + 500 / amounts;
        let options = format!("Memory={amount}M\nCPU=0.5");
        submit(
            &mut records,
            &format!("reserving{number}.service"),
            &options,
        );
    }
    records
}

fn machine(number: usize) -> Machine {
    let number_of_id = number * ID_STEP;
    let metadata = BTreeMap::from([
        (
            "disk".to_owned(),
            ["ssd", "hdd", "nvme"][number % 3].to_owned(),
        ),
        ("zone".to_owned(), format!("z{}", number % 16)),
    ]);
    Machine {
        id: MachineId::parse(&format!("{number_of_id:032x}")).unwrap(),
        boot: BootId(String::new()),
        address: String::new(),
        metadata,
        version: String::new(),
        capacity: Capacity::default(),
    }
}

fn submit(records: &mut Records, name: &str, options: &str) {
    for change in unit(name, options) {
        records.apply(change);
    }
}

fn unit(name: &str, options: &str) -> [Change; 2] {
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
        relocation: None,
    };
    [
        Change::File(unit.file, Some(Arc::new(file))),
        Change::Unit(unit.name.clone(), Some(unit)),
    ]
}

fn apply(records: &mut Records, plan: &[Decision]) {
    for decision in plan {
        records.apply(decision.clone().into_change());
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
