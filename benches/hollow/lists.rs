//! What the lists of a cluster with 5,000 units cost a shell: fleetctl from its start to its end, beside the floor taken in the same run,
//! which is `etcdctl` reading the same records straight from etcd.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::hollow;

const MACHINES: u32 = 100;
const UNITS: u32 = 5_000;

/// How often each list is made; the median is told, and the worst.
const RUNS: usize = 21;

/// Longer than fleetd keeps its copy of the cluster while nobody asks for it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(65);

/// Measures and prints.
pub(crate) fn measure() -> Result<()> {
    println!("--- lists of {UNITS} units on {MACHINES} machines");
    let cluster = Cluster::start()?;
    for (verb, prefix) in [("list-units", "states/"), ("list-unit-files", "units/")] {
        let floor = times(|| cluster.etcdctl(prefix))?;
        let ours = times(|| cluster.fleetctl(verb))?;
        println!(
            "{verb}, {UNITS} units: {:.1} ms (median of {RUNS}, worst {:.1}), floor {:.1} ms (etcdctl get --prefix {prefix}), \
             ratio {:.2}; wanted under 200 ms",
            ours.median,
            ours.worst,
            floor.median,
            ours.median / floor.median
        );
    }
    pause(FORGOTTEN_AFTER);
    let first = time(|| cluster.fleetctl("list-units"))?;
    println!("list-units, the first after a minute in which nobody asked: {first:.1} ms");
    Ok(())
}

/// Milliseconds.
struct Times {
    median: f64,
    worst: f64,
}

fn times(act: impl Fn() -> Result<()>) -> Result<Times> {
    let mut all = (0..RUNS).map(|_| time(&act)).collect::<Result<Vec<_>>>()?;
    all.sort_by(f64::total_cmp);
    Ok(Times {
        median: all[RUNS / 2],
        worst: all[RUNS - 1],
    })
}

fn time(act: impl Fn() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    act()?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

#[allow(
    clippy::disallowed_methods,
    reason = "what is measured is what nobody's asking for a minute costs"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A hollow cluster with its API; ended when this is dropped.
struct Cluster {
    hollow: Child,
    etcd: Etcd,
    folder: TempDir,
}

impl Cluster {
    fn start() -> Result<Cluster> {
        let etcd = Etcd::start()?;
        let folder = tempfile::tempdir()?;
        let mut hollow = hollow(&etcd, MACHINES, UNITS)
            .arg("-listen")
            .arg(folder.path().join("fleet.sock"))
            .spawn()
            .context("cannot run fleetd hollow")?;
        let out = hollow.stdout.take().context("its output")?;
        let cluster = Cluster {
            hollow,
            etcd,
            folder,
        };
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            if line.starts_with("up; ") {
                return Ok(cluster);
            }
        }
        anyhow::bail!("fleetd hollow ended early")
    }

    /// Runs it in a shell, as people and scripts do, and checks that all are listed.
    fn fleetctl(&self, verb: &str) -> Result<()> {
        let endpoint = format!("unix://{}", self.folder.path().join("fleet.sock").display());
        let program = env!("CARGO_BIN_EXE_fleetctl");
        let line = format!("{program} --endpoint={endpoint} {verb} --no-legend | wc -l");
        // The template that the units were made from is a unit file too.
        self.count(&line, &[UNITS, UNITS + 1])
    }

    fn etcdctl(&self, prefix: &str) -> Result<()> {
        let line = format!(
            "ETCDCTL_API=3 etcdctl --endpoints={} get --prefix /_fleet-hollow/{prefix} | grep -c ^/_fleet-hollow/",
            self.etcd.endpoint
        );
        self.count(&line, &[UNITS, UNITS + 1])
    }

    fn count(&self, line: &str, expected: &[u32]) -> Result<()> {
        let output = Command::new("sh").args(["-c", line]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let counted: u32 = text
            .trim()
            .parse()
            .with_context(|| format!("{line}: {output:?}"))?;
        ensure!(expected.contains(&counted), "{line}: {counted} lines");
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.hollow.kill().and_then(|()| self.hollow.wait()) {
            eprintln!("fleetd hollow could not be ended: {error}");
        }
    }
}
