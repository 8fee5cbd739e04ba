//! `make bench`: how long from `fleetctl start` to active on three real machines, beside the floor taken in the same run: the same
//! units started straight over D-Bus while no fleetd runs, and the same number of etcd transactions and reads. Then what an idle
//! cluster costs.
//!
//! The program copies itself onto the machines for the floor (`floor-dbus`), and into their network (`floor-etcd`).

mod figures;
mod floor;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::{Config, FleetFiles, Machine, Store, Testbed, until};

use figures::{BatchRun, Cpu, Requests, median, times};
use floor::{floor_dbus, floor_etcd};

/// How often one unit is started; the median is told.
const SINGLES: usize = 20;

/// How many units are started at once, and how often, fleet and floor in turns; the run with the median ratio is told.
const BATCHES: [(usize, usize); 2] = [(100, 3), (500, 5)];

/// How many units the idle cluster has.
const IDLE_UNITS: usize = 500;

/// How long the idle cluster is watched.
const IDLE: Duration = Duration::from_secs(20);

/// The unit that is started.
pub(crate) const UNIT: &str =
    "[Unit]\nDescription=Waits\n\n[Service]\nExecStart=/bin/sleep infinity\n";

/// Where this program is put on the machines.
const ON_MACHINE: &str = "/usr/bin/fleet-bench";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor-dbus", prefix, count, how] => block_on(floor_dbus(prefix, count.parse()?, how)),
        ["floor-etcd", endpoint, writes, reads] => {
            block_on(floor_etcd(endpoint, writes.parse()?, reads.parse()?))
        }
        // Cargo adds --bench.
        _ => measure(),
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

fn measure() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = FleetFiles {
        fleetd: PathBuf::from(env!("CARGO_BIN_EXE_fleetd")),
        fleetctl: PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
        dist: root.join("dist"),
    };
    let config = Config::of(3, Store::Etcd { members: 1 }).fleet(files);
    let Some(bed) = Testbed::start_or_skip(&config)? else {
        return Ok(());
    };
    let bench = Bench {
        bed,
        program: std::env::current_exe()?,
    };
    let program = std::fs::read(&bench.program)?;
    for machine in bench.bed.machines() {
        machine.install_file(ON_MACHINE, &program, 0o755)?;
    }
    bench.wait_for(3, "list-machines")?;
    bench
        .first()
        .install_file("/root/u@.service", UNIT.as_bytes(), 0o644)?;
    bench.one()?;
    for (count, runs) in BATCHES {
        bench.at_once(count, runs)?;
    }
    bench.idle()
}

struct Bench {
    bed: Testbed,
    program: PathBuf,
}

impl Bench {
    fn first(&self) -> &Machine {
        &self.bed.machines()[0]
    }

    /// One unit, from `fleetctl start` to its return, `SINGLES` times.
    fn one(&self) -> Result<()> {
        // The first start of all fills caches everywhere.
        self.shell("cd /root && fleetctl start u@warm.service && fleetctl destroy u@warm.service")?;
        let before = self.requests()?;
        let script = format!(
            "cd /root; TIMEFORMAT=%3R; for i in $(seq 1 {SINGLES}); do time fleetctl start u@$i.service >/dev/null || exit 1; done"
        );
        let ours = median(&times(&self.shell(&script)?.1, 1000.0)?)?;
        let made = self.requests()?.since(&before);
        let (writes, reads) = (
            made.writes as f64 / SINGLES as f64,
            made.reads as f64 / SINGLES as f64,
        );
        self.destroy()?;
        let dbus = self.without_fleet(|| {
            let count = SINGLES.to_string();
            let floor = self
                .first()
                .run(&[ON_MACHINE, "floor-dbus", "f", &count, "serial"])?
                .success()?;
            median(&times(&floor.stdout, 1.0)?)
        })?;
        let etcd = median(&self.floor_etcd(SINGLES as u64, 0)?)? * writes
            + median(&self.floor_etcd(0, SINGLES as u64)?)? * reads;
        println!(
            "start one unit: {ours:.1} ms (median of {SINGLES}), floor {:.1} ms (D-Bus {dbus:.1} ms + {writes:.1} etcd \
             transactions and {reads:.1} reads {etcd:.1} ms), ratio {:.2}; wanted at most 50 ms; fleet 1.0 needed 3,900 ms",
            dbus + etcd,
            ours / (dbus + etcd)
        );
        Ok(())
    }

    /// `count` units in one command, `runs` times.
    fn at_once(&self, count: usize, runs: usize) -> Result<()> {
        let mut done = Vec::new();
        for _ in 0..runs {
            done.push(self.one_batch(count)?);
        }
        done.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let (least, most) = (done.first(), done.last());
        let (Some(least), Some(most), Some(told)) = (least, most, done.get(runs / 2)) else {
            bail!("no runs");
        };
        println!(
            "start {count} units at once: {:.0} ms, floor {:.0} ms (D-Bus {:.0} ms + {} etcd transactions and {} reads {:.0} ms), \
             ratio {:.2} (median of {runs}; {:.2} to {:.2}); destroyed in {:.0} ms; wanted at most 1.5 for 500; fleet 1.0 needed {}",
            told.ours,
            told.floor(),
            told.dbus,
            told.made.writes,
            told.made.reads,
            told.etcd,
            told.ratio(),
            least.ratio(),
            most.ratio(),
            told.destroyed,
            if count == 100 {
                "4,900 ms"
            } else {
                "12,000 ms"
            }
        );
        println!(
            "  processor time of the three machines: {}; to destroy them: {}; for the floor and its clean-up: {}",
            told.cpu, told.cpu_destroying, told.cpu_floor
        );
        Ok(())
    }

    fn one_batch(&self, count: usize) -> Result<BatchRun> {
        let (before, cpu_before) = (self.requests()?, self.cpu()?);
        let script = format!(
            "cd /root; TIMEFORMAT=%3R; time fleetctl start u@{{1..{count}}}.service >/dev/null"
        );
        let ours = times(&self.shell(&script)?.1, 1000.0)?
            .pop()
            .context("no time was printed")?;
        let made = self.requests()?.since(&before);
        let cpu_started = self.cpu()?;
        let began = Instant::now();
        self.destroy()?;
        let destroyed = began.elapsed().as_secs_f64() * 1000.0;
        let cpu_destroying = self.cpu()?.since(&cpu_started);
        let (dbus, cpu_floor) = self.without_fleet(|| self.floor_at_once(count))?;
        let etcd = self.floor_etcd(made.writes, made.reads)?.iter().sum();
        Ok(BatchRun {
            ours,
            dbus,
            etcd,
            made,
            destroyed,
            cpu: cpu_started.since(&cpu_before),
            cpu_destroying,
            cpu_floor,
        })
    }

    /// The same number of units straight over D-Bus, on all machines at once: until the slowest is through.
    fn floor_at_once(&self, count: usize) -> Result<(f64, Cpu)> {
        let cpu_before = self.cpu()?;
        let share = count.div_ceil(3).to_string();
        let dbus = std::thread::scope(|scope| {
            let floors: Vec<_> = self
                .bed
                .machines()
                .iter()
                .map(|machine| {
                    let share = &share;
                    scope.spawn(move || {
                        machine
                            .run(&[ON_MACHINE, "floor-dbus", "f", share, "parallel"])?
                            .success()
                    })
                })
                .collect();
            let mut slowest: f64 = 0.0;
            for floor in floors {
                let output = floor
                    .join()
                    .map_err(|_| anyhow::anyhow!("a floor failed"))??;
                slowest = slowest.max(
                    times(&output.stdout, 1.0)?
                        .pop()
                        .context("no time was printed")?,
                );
            }
            anyhow::Ok(slowest)
        })?;
        Ok((dbus, self.cpu()?.since(&cpu_before)))
    }

    /// Does something while no fleetd runs anywhere.
    fn without_fleet<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        for machine in self.bed.machines() {
            machine
                .run(&["systemctl", "stop", "fleet.socket", "fleet.service"])?
                .success()?;
        }
        let done = act();
        for machine in self.bed.machines() {
            machine
                .run(&["systemctl", "start", "fleet.socket", "fleet.service"])?
                .success()?;
        }
        self.wait_for(3, "list-machines")?;
        done
    }

    /// What 500 running units cost while nothing happens.
    fn idle(&self) -> Result<()> {
        let count = IDLE_UNITS;
        self.shell(&format!(
            "cd /root; fleetctl start u@{{1..{count}}}.service >/dev/null"
        ))?;
        // The API's own follower ends a minute after its last use; the cluster is idle after that.
        pause(Duration::from_secs(65));
        let before = self.requests()?;
        pause(IDLE);
        let after = self.requests()?;
        println!(
            "idle with {count} units for {} s: {} reads, {} writes at etcd; wanted no write, and a read or two (each watch is compared with etcd every minute or two); fleet 1.0 made 67 writes a second",
            IDLE.as_secs(),
            after.reads - before.reads,
            after.writes - before.writes
        );
        for machine in self.bed.machines() {
            let pid = machine.pid_of("fleetd")?.context("fleetd runs")?;
            let status = machine
                .run(&["cat", &format!("/proc/{pid}/status")])?
                .success()?
                .stdout;
            let resident = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .context("VmRSS")?;
            let kibibytes: f64 = resident.trim().trim_end_matches(" kB").parse()?;
            println!(
                "fleetd on {}: {:.1} MiB resident; wanted under 20",
                machine.name(),
                kibibytes / 1024.0
            );
        }
        let began = Instant::now();
        self.destroy()?;
        println!(
            "destroy {count} units: {:.0} ms",
            began.elapsed().as_secs_f64() * 1000.0
        );
        Ok(())
    }

    /// Processor time used so far, by program, on all machines.
    fn cpu(&self) -> Result<Cpu> {
        const STATS: &str =
            "for p in 1 $(pidof fleetd dbus-daemon systemd-journald); do cat /proc/$p/stat; done";
        let mut cpu = Cpu::default();
        for machine in self.bed.machines() {
            for line in machine.shell(STATS)?.success()?.stdout.lines() {
                cpu.add(line)?;
            }
        }
        Ok(cpu)
    }

    fn destroy(&self) -> Result<()> {
        self.shell("fleetctl list-unit-files --no-legend --fields=unit | xargs -r fleetctl destroy >/dev/null")?;
        Ok(())
    }

    /// Runs a line on the first machine; returns stdout and stderr.
    fn shell(&self, line: &str) -> Result<(String, String)> {
        let output = self.first().run(&["bash", "-c", line])?;
        if !output.status.success() {
            bail!("{line}: {output:?}\n{}", self.bed.diagnosis());
        }
        Ok((output.stdout, output.stderr))
    }

    fn wait_for(&self, lines: usize, verb: &str) -> Result<()> {
        until(
            &format!("{lines} lines of {verb}"),
            Duration::from_secs(60),
            || {
                let output = self
                    .first()
                    .run(&["fleetctl", verb, "--no-legend"])
                    .map_err(|error| error.to_string())?;
                if output.stdout.lines().count() == lines {
                    Ok(())
                } else {
                    Err(format!("{output:?}"))
                }
            },
        )?;
        Ok(())
    }

    fn floor_etcd(&self, writes: u64, reads: u64) -> Result<Vec<f64>> {
        let endpoint = self.bed.store_endpoints();
        let program = self.program.to_string_lossy().into_owned();
        let (writes, reads) = (writes.to_string(), reads.to_string());
        let output = self
            .bed
            .run(&[&program, "floor-etcd", &endpoint, &writes, &reads])?
            .success()?;
        times(&output.stdout, 1.0)
    }

    /// How many requests etcd has answered since it started.
    fn requests(&self) -> Result<Requests> {
        let address = self.bed.store_endpoints();
        let address = address.trim_start_matches("http://").replace(':', "/");
        let line = format!(
            "exec 3<>/dev/tcp/{address}; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        );
        let metrics = self.bed.run(&["bash", "-c", &line])?.success()?.stdout;
        let count = |methods: &[&str]| {
            metrics
                .lines()
                .filter(|line| line.starts_with("grpc_server_started_total"))
                .filter(|line| {
                    methods
                        .iter()
                        .any(|method| line.contains(&format!("grpc_method=\"{method}\"")))
                })
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        Ok(Requests {
            reads: count(&["Range"]),
            writes: count(&["Put", "Txn", "DeleteRange"]),
        })
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the measurement is of nothing happening for a while"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
