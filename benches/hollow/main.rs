//! `make bench`: what a hollow cluster of 1,000 machines and 10,000 units costs a real etcd (time, requests, bytes, processor,
//! memory), and what idle clusters of other sizes cost it: the requests must follow machines, and be the same however many
//! units there are.
//!
//! etcd runs on loopback with its data on disk, one member. All of it is `fleetd hollow`, which prints what it does; this
//! program only starts both for each size and puts the figures side by side. At the end, or alone with `-- lists`, what the lists of
//! 5,000 units cost a shell.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

mod etcd;
mod lists;
#[path = "../../registry/tests/store/ports.rs"]
mod ports;

use etcd::Etcd;

/// Machines and units of each cluster; the first is the one that is judged.
const SIZES: &[(u32, u32)] = &[(1000, 10_000), (1000, 1000), (250, 2500), (250, 250)];

/// How long each cluster is watched while nothing happens.
const IDLE_S: &str = "60";

fn main() -> Result<()> {
    if Command::new("etcd")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("SKIP: etcd is not installed; make setup does that");
        return Ok(());
    }
    if std::env::args().any(|argument| argument == "lists") {
        return lists::measure();
    }
    let mut rows = Vec::new();
    for (machines, units) in SIZES {
        println!("--- {machines} machines, {units} units");
        let figures = measure(*machines, *units)?;
        rows.push(((*machines, *units), figures));
    }
    println!("\n{}", table(&rows)?);
    lists::measure()
}

/// What `fleetd hollow` told of each stretch, by its name.
type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// Runs one hollow cluster on an etcd of its own.
fn measure(machines: u32, units: u32) -> Result<Figures> {
    let etcd = Etcd::start()?;
    let mut hollow = hollow(&etcd, machines, units)
        .args(["-idle", IDLE_S])
        .spawn()
        .context("cannot run fleetd hollow")?;
    let out = hollow.stdout.take().context("its output")?;
    let mut figures = Figures::new();
    for line in BufReader::new(out).lines() {
        let line = line?;
        match line.strip_prefix("figures ") {
            Some(told) => take_figures(&mut figures, told)?,
            None => println!("{line}"),
        }
    }
    let status = hollow.wait()?;
    ensure!(status.success(), "fleetd hollow failed: {status}");
    Ok(figures)
}

/// A hollow cluster of so many units, to be begun.
fn hollow(etcd: &Etcd, machines: u32, units: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
    command
        .args(["hollow", "-machines", &machines.to_string()])
        .args(["-units", &units.to_string()])
        .env("FLEET_ETCD_SERVERS", &etcd.endpoint)
        // As fleet.service has it.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn take_figures(figures: &mut Figures, told: &str) -> Result<()> {
    let mut words = told.split(' ');
    let stretch = words.next().context("a name")?;
    for word in words {
        let (name, value) = word.split_once('=').context("name=value")?;
        let stretch = figures.entry(stretch.to_owned()).or_default();
        stretch.insert(name.to_owned(), value.parse()?);
    }
    Ok(())
}

/// What is shown of each cluster: a heading, and how it is made of the figures, the machines and the units.
type Shown = (&'static str, fn(&Reading<'_>) -> Result<String>);

struct Reading<'a> {
    figures: &'a Figures,
    machines: f64,
    units: f64,
}

impl Reading<'_> {
    fn of(&self, stretch: &str, name: &str) -> Result<f64> {
        let found = self
            .figures
            .get(stretch)
            .and_then(|figures| figures.get(name));
        found
            .copied()
            .with_context(|| format!("fleetd hollow did not tell {name} of {stretch}"))
    }
}

const TABLE: &[Shown] = &[
    ("machines joined, s", |r| {
        Ok(format!("{:.1}", r.of("machines", "seconds")?))
    }),
    ("units, from submit to all reported launched, s", |r| {
        Ok(format!("{:.2}", r.of("units", "seconds")?))
    }),
    ("requests at etcd per unit", |r| {
        Ok(format!("{:.2}", r.of("units", "etcd_requests")? / r.units))
    }),
    ("bytes to etcd per unit", |r| {
        Ok(format!(
            "{:.0}",
            r.of("units", "etcd_received_bytes")? / r.units
        ))
    }),
    ("bytes from etcd per unit", |r| {
        Ok(format!(
            "{:.0}",
            r.of("units", "etcd_sent_bytes")? / r.units
        ))
    }),
    ("etcd's processor per unit, ms", |r| {
        Ok(format!(
            "{:.3}",
            r.of("units", "etcd_cpu_s")? * 1000.0 / r.units
        ))
    }),
    ("fleet's processor per unit, ms (agent, engine, API)", |r| {
        Ok(format!(
            "{:.3}",
            r.of("units", "own_cpu_s")? * 1000.0 / r.units
        ))
    }),
    (
        "fleet's memory per unit, kB (agent, engine, API, pretended systemd)",
        |r| {
            Ok(format!(
                "{:.1}",
                r.of("units", "own_grown_bytes")? / 1000.0 / r.units
            ))
        },
    ),
    (
        "fleet's memory per machine, kB (agent, lease, watch)",
        |r| {
            Ok(format!(
                "{:.0}",
                r.of("machines", "own_grown_bytes")? / 1000.0 / r.machines
            ))
        },
    ),
    ("idle: requests a second at etcd", |r| {
        Ok(format!(
            "{:.1}",
            r.of("idle", "etcd_requests")? / r.of("idle", "seconds")?
        ))
    }),
    ("idle: the same per machine", |r| {
        Ok(format!(
            "{:.3}",
            r.of("idle", "etcd_requests")? / r.of("idle", "seconds")? / r.machines
        ))
    }),
    ("idle: etcd's processor, %", |r| {
        Ok(format!(
            "{:.1}",
            r.of("idle", "etcd_cpu_s")? * 100.0 / r.of("idle", "seconds")?
        ))
    }),
    ("idle: fleet's processor, % (all machines)", |r| {
        Ok(format!(
            "{:.1}",
            r.of("idle", "own_cpu_s")? * 100.0 / r.of("idle", "seconds")?
        ))
    }),
    ("all units destroyed, s", |r| {
        Ok(format!("{:.2}", r.of("destroy", "seconds")?))
    }),
    ("etcd's database, MB", |r| {
        Ok(format!("{:.1}", r.of("idle", "etcd_database_bytes")? / 1e6))
    }),
    ("etcd's memory, MB", |r| {
        Ok(format!("{:.0}", r.of("idle", "etcd_resident_bytes")? / 1e6))
    }),
];

/// The figures as a table in Markdown, a column for each cluster.
fn table(rows: &[((u32, u32), Figures)]) -> Result<String> {
    let mut text = "| machines × units |".to_owned();
    for ((machines, units), _) in rows {
        text += &format!(" {machines} × {units} |");
    }
    text += "\n|---|";
    text += &"---|".repeat(rows.len());
    for (heading, show) in TABLE {
        text += &format!("\n| {heading} |");
        for ((machines, units), figures) in rows {
            let reading = Reading {
                figures,
                machines: f64::from(*machines),
                units: f64::from(*units),
            };
            text += &format!(" {} |", show(&reading)?);
        }
    }
    Ok(text)
}
