//! `make bench`: what a hollow cluster of 1,000 machines and 10,000 units costs a real etcd (time, requests, bytes, processor,
//! memory), and what idle clusters of other sizes cost it: the requests must follow machines, and be the same however many
//! units there are.
//!
//! etcd runs on loopback with its data on disk, one member. All of it is `fleetd hollow`, which prints what it does; this
//! program only starts both for each size and puts the figures side by side.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::until;

/// Machines and units of each cluster; the first is the one that is judged.
const SIZES: &[(u32, u32)] = &[(1000, 10_000), (1000, 1000), (250, 2500), (250, 250)];

/// How long each cluster is watched while nothing happens.
const IDLE_S: &str = "60";

/// How long etcd may take to answer at all.
const ETCD_START_LIMIT: Duration = Duration::from_secs(30);

/// How long one answer may take before it is asked again.
const ETCD_ANSWER_LIMIT: Duration = Duration::from_secs(2);

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
    let mut rows = Vec::new();
    for (machines, units) in SIZES {
        println!("--- {machines} machines, {units} units");
        let figures = measure(*machines, *units)?;
        rows.push(((*machines, *units), figures));
    }
    println!("\n{}", table(&rows)?);
    Ok(())
}

/// What `fleetd hollow` told of each stretch, by its name.
type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// Runs one hollow cluster on an etcd of its own.
fn measure(machines: u32, units: u32) -> Result<Figures> {
    let etcd = Etcd::start()?;
    let mut hollow = Command::new(env!("CARGO_BIN_EXE_fleetd"))
        .args(["hollow", "-machines", &machines.to_string()])
        .args(["-units", &units.to_string(), "-idle", IDLE_S])
        .env("FLEET_ETCD_SERVERS", &etcd.endpoint)
        // As fleet.service has it.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
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

/// A new etcd on loopback, killed and forgotten when this is dropped.
struct Etcd {
    process: Child,
    endpoint: String,
    _data: TempDir,
}

impl Etcd {
    fn start() -> Result<Etcd> {
        let data = tempfile::tempdir()?;
        let (client, peer) = (free_port()?, free_port()?);
        let (endpoint, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let process = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(data.path())
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run etcd")?;
        let etcd = Etcd {
            process,
            endpoint,
            _data: data,
        };
        until("etcd to be well", ETCD_START_LIMIT, || {
            match health(client) {
                Ok(answer) if answer.contains("\"health\":\"true\"") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(etcd)
    }
}

/// What etcd says of itself.
fn health(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ETCD_ANSWER_LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("etcd could not be ended: {error}");
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
