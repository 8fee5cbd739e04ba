//! `make bench`: how long from `fleetctl start` to active on three real machines, beside the floor taken in the same run: the same
//! units started straight over D-Bus, and the same number of etcd transactions. Then what an idle cluster costs.
//!
//! The program copies itself onto the machines for the floor (`floor-dbus`), and into their network (`floor-etcd`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::{Bus, Systemd, SystemdSettings};
use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, Txn, TxnOp};
use model::{Generation, JobResult, Mark, ServiceManager};
use testbed::{Config, FleetFiles, Machine, Store, Testbed, until};
use unitfile::{UnitFile, UnitName};

/// How often one unit is started; the median is told.
const SINGLES: usize = 20;

/// How many units are started at once.
const BATCHES: [usize; 2] = [100, 500];

/// How long the idle cluster is watched.
const IDLE: Duration = Duration::from_secs(20);

/// About what one status or schedule record weighs, so that the floor's transactions weigh the same.
const RECORD_BYTES: usize = 300;

const UNIT: &str = "[Unit]\nDescription=Waits\n\n[Service]\nExecStart=/bin/sleep infinity\n";

/// Where this program is put on the machines.
const ON_MACHINE: &str = "/usr/bin/fleet-bench";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor-dbus", prefix, count, how] => block_on(floor_dbus(prefix, count.parse()?, how)),
        ["floor-etcd", endpoint, count] => block_on(floor_etcd(endpoint, count.parse()?)),
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

/// Starts `count` new units on this machine's systemd, `serial`ly or `parallel`, and prints the milliseconds each or all took.
async fn floor_dbus(prefix: &str, count: usize, how: &str) -> Result<()> {
    let systemd = Systemd::connect(&SystemdSettings {
        bus: Bus::System,
        units_directory: PathBuf::from("/run/floor/units"),
        marks_directory: PathBuf::from("/run/floor/marks"),
        link_directory: PathBuf::from("/run/systemd/system"),
    })?;
    systemd.reachable().await;
    let file = Arc::new(UnitFile::parse(UNIT)?);
    let mark = Mark {
        file: file.file_hash(),
        start: Generation(1),
        restart: Generation(0),
    };
    let systemd = Arc::new(systemd);
    let names: Vec<UnitName> = (1..=count)
        .map(|n| UnitName::parse(&format!("{prefix}@{n}.service")))
        .collect::<Result<_, _>>()?;
    if how == "serial" {
        for name in &names {
            let began = Instant::now();
            start(&systemd, name, &file, &mark).await?;
            println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
        }
    } else {
        let began = Instant::now();
        let mut started = tokio::task::JoinSet::new();
        for name in names.clone() {
            let (systemd, file, mark) = (Arc::clone(&systemd), Arc::clone(&file), mark.clone());
            started.spawn(async move { start(&systemd, &name, &file, &mark).await });
        }
        while let Some(result) = started.join_next().await {
            result??;
        }
        println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    }
    let mut ended = tokio::task::JoinSet::new();
    for name in names {
        let systemd = Arc::clone(&systemd);
        ended.spawn(async move {
            systemd.stop(&name).await?;
            systemd.unload(&name).await
        });
    }
    while let Some(result) = ended.join_next().await {
        result??;
    }
    Ok(())
}

async fn start(systemd: &Systemd, name: &UnitName, file: &UnitFile, mark: &Mark) -> Result<()> {
    systemd.load(name, file, mark).await?;
    let end = systemd.start(name, mark).await?;
    ensure!(end.result == JobResult::Done, "{name}: {end:?}");
    Ok(())
}

/// Makes `count` transactions one after the other, and prints the milliseconds of each.
async fn floor_etcd(endpoint: &str, count: usize) -> Result<()> {
    let mut client = Client::connect([endpoint], None).await?;
    let value = "x".repeat(RECORD_BYTES);
    for number in 0..count {
        let began = Instant::now();
        let put = TxnOp::put(format!("/floor/{number}"), value.clone(), None);
        client.txn(Txn::new().and_then([put])).await?;
        println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
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
    for count in BATCHES {
        bench.at_once(count)?;
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
        let per_start = (self.requests()?.writes - before.writes) as f64 / SINGLES as f64;
        let floor = self
            .first()
            .run(&[
                ON_MACHINE,
                "floor-dbus",
                "f",
                &SINGLES.to_string(),
                "serial",
            ])?
            .success()?;
        let dbus = median(&times(&floor.stdout, 1.0)?)?;
        let etcd = median(&self.floor_etcd(SINGLES)?)? * per_start;
        println!(
            "start one unit: {ours:.1} ms (median of {SINGLES}), floor {:.1} ms (D-Bus {dbus:.1} ms + {per_start:.1} etcd \
             transactions {etcd:.1} ms), ratio {:.2}; wanted at most 50 ms; fleet 1.0 needed 3,900 ms",
            dbus + etcd,
            ours / (dbus + etcd)
        );
        self.destroy()
    }

    /// `count` units in one command.
    fn at_once(&self, count: usize) -> Result<()> {
        let (before, cpu_before) = (self.requests()?, self.cpu()?);
        let script = format!(
            "cd /root; TIMEFORMAT=%3R; time fleetctl start u@{{1..{count}}}.service >/dev/null"
        );
        let ours = times(&self.shell(&script)?.1, 1000.0)?
            .pop()
            .context("no time was printed")?;
        let transactions = self.requests()?.writes - before.writes;
        let cpu_ours = self.cpu()?.since(&cpu_before);
        self.destroy()?;
        let cpu_before = self.cpu()?;
        let share = count.div_ceil(3).to_string();
        let began = Instant::now();
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
        let cpu_floor = self.cpu()?.since(&cpu_before);
        ensure!(
            began.elapsed() < Duration::from_secs(100),
            "the floor took too long to mean anything"
        );
        let etcd: f64 = self
            .floor_etcd(usize::try_from(transactions)?)?
            .iter()
            .sum();
        println!(
            "start {count} units at once: {ours:.0} ms, floor {:.0} ms (D-Bus {dbus:.0} ms + {transactions} etcd transactions \
             {etcd:.0} ms), ratio {:.2}; wanted at most 1.5 for 500; fleet 1.0 needed {}",
            dbus + etcd,
            ours / (dbus + etcd),
            if count == 100 {
                "4,900 ms"
            } else {
                "12,000 ms"
            }
        );
        println!(
            "  processor time of the three machines: {cpu_ours}; for the floor and its clean-up: {cpu_floor}"
        );
        Ok(())
    }

    /// What 500 running units cost while nothing happens.
    fn idle(&self) -> Result<()> {
        let count = BATCHES[1];
        self.shell(&format!(
            "cd /root; fleetctl start u@{{1..{count}}}.service >/dev/null"
        ))?;
        // The API's own follower ends a minute after its last use; the cluster is idle after that.
        pause(Duration::from_secs(65));
        let before = self.requests()?;
        pause(IDLE);
        let after = self.requests()?;
        println!(
            "idle with {count} units for {} s: {} reads, {} writes at etcd; wanted none; fleet 1.0 made 67 writes a second",
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

    fn floor_etcd(&self, count: usize) -> Result<Vec<f64>> {
        let endpoint = self.bed.store_endpoints();
        let program = self.program.to_string_lossy().into_owned();
        let output = self
            .bed
            .run(&[&program, "floor-etcd", &endpoint, &count.to_string()])?
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

/// Processor time by program, in the kernel's ticks of 10 ms.
#[derive(Default)]
struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Adds a line of `/proc/PID/stat`.
    fn add(&mut self, line: &str) -> Result<()> {
        let (head, tail) = line.rsplit_once(')').context("a name in brackets")?;
        let name = head.rsplit_once('(').context("a name in brackets")?.1;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = |index: usize| -> Result<u64> {
            Ok(fields.get(index).context("a longer line")?.parse()?)
        };
        *self.0.entry(name.to_owned()).or_default() += ticks(11)? + ticks(12)?;
        Ok(())
    }

    fn since(&self, before: &Cpu) -> Cpu {
        let used = |name: &String| {
            self.0.get(name).unwrap_or(&0)
                - before
                    .0
                    .get(name)
                    .unwrap_or(&0)
                    .min(self.0.get(name).unwrap_or(&0))
        };
        Cpu(self
            .0
            .keys()
            .map(|name| (name.clone(), used(name)))
            .collect())
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(name, ticks)| format!("{name} {} ms", ticks * 10))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

struct Requests {
    reads: u64,
    writes: u64,
}

fn times(text: &str, scale: f64) -> Result<Vec<f64>> {
    let numbers: Vec<f64> = text
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok())
        .map(|n| n * scale)
        .collect();
    ensure!(!numbers.is_empty(), "no times in {text:?}");
    Ok(numbers)
}

fn median(times: &[f64]) -> Result<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().context("no times")
}

#[allow(
    clippy::disallowed_methods,
    reason = "the measurement is of nothing happening for a while"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
