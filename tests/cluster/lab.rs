//! Three machines with fleet on them, and the questions the stories ask: where units are, and whether they were touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testbed::{Config, FleetFiles, Machine, Output, Store, Testbed, UnitState, until};

/// How long anything may take that the stories wait for, on a machine that is busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The machine lease in these stories: short, so that a lost machine is noticed soon.
pub(crate) const LEASE_TTL: &str = "agent_ttl=4s";

/// The stories take turns: two cores cannot boot and measure six machines at once.
static TURN: Mutex<()> = Mutex::new(());

/// Where a unit is and how it does there, as `list-units` tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Row {
    /// The unit.
    pub(crate) unit: String,
    /// The machine's id.
    pub(crate) machine: String,
    /// systemd's active state.
    pub(crate) active: String,
    /// systemd's sub state.
    pub(crate) sub: String,
}

/// Three machines, `m1` to `m3`, one cluster.
pub(crate) struct Lab {
    /// The machines and their etcd.
    pub(crate) bed: Testbed,
    _turn: MutexGuard<'static, ()>,
}

/// The InvocationIDs of running units, by machine and unit.
pub(crate) type Invocations = BTreeMap<(String, String), String>;

impl Lab {
    /// Boots the machines and waits until all are in the cluster. None if this host cannot, which is a failure on CI.
    pub(crate) fn start(story: &str, store: Store) -> Option<Lab> {
        Lab::start_with(story, store, &[])
    }

    /// As [`Lab::start`], with more lines in every machine's fleet.conf.
    pub(crate) fn start_with(story: &str, store: Store, conf: &[&str]) -> Option<Lab> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        println!("-- {story}");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = FleetFiles {
            fleetd: PathBuf::from(env!("CARGO_BIN_EXE_fleetd")),
            fleetctl: PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
            dist: root.join("dist"),
        };
        let mut config = Config::of(3, store)
            .metadata(&["zone=a,disk=ssd", "zone=b", "zone=b"])
            .fleet(files)
            .fleet_conf(LEASE_TTL);
        for line in conf {
            config = config.fleet_conf(line);
        }
        let bed = Testbed::start_or_skip(&config).unwrap()?;
        let lab = Lab { bed, _turn: turn };
        lab.wait_for_machines(3);
        Some(lab)
    }

    /// The machine of this name.
    pub(crate) fn machine(&self, name: &str) -> &Machine {
        self.bed.machine(name).unwrap()
    }

    /// The machine with this id.
    pub(crate) fn by_id(&self, id: &str) -> &Machine {
        self.bed
            .machines()
            .iter()
            .find(|machine| machine.machine_id() == id)
            .unwrap()
    }

    /// Runs fleetctl on a machine, whatever becomes of it, and shows what was typed and said.
    pub(crate) fn try_fleetctl(&self, on: &str, words: &[&str]) -> Output {
        let mut command = vec!["fleetctl"];
        command.extend(words);
        println!("{on}$ {}", command.join(" "));
        let output = self.machine(on).run(&command).unwrap();
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            println!("    {line}");
        }
        output
    }

    /// Runs fleetctl on a machine; it must succeed. Returns its stdout.
    pub(crate) fn fleetctl(&self, on: &str, words: &[&str]) -> String {
        let output = self.try_fleetctl(on, words);
        assert!(
            output.status.success(),
            "{words:?}: {output:?}\n{}",
            self.bed.diagnosis()
        );
        output.stdout
    }

    /// Puts a unit file into `/root/units` of a machine and returns its path there.
    pub(crate) fn unit_file(&self, on: &str, name: &str, text: &str) -> String {
        let path = format!("/root/units/{name}");
        self.machine(on)
            .install_file(&path, text.as_bytes(), 0o644)
            .unwrap();
        path
    }

    /// Puts the repository's examples into `/root/units` of a machine.
    pub(crate) fn examples(&self, on: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.unit_file(on, &name, &std::fs::read_to_string(&path).unwrap());
        }
    }

    /// What `list-units` says on a machine.
    pub(crate) fn rows(&self, on: &str) -> Vec<Row> {
        self.try_rows(on).unwrap()
    }

    /// As [`Lab::rows`], of a fleetd that may be without its store for a moment.
    fn try_rows(&self, on: &str) -> Result<Vec<Row>, testbed::Error> {
        let words = ["fleetctl", "list-units", "--full", "--no-legend"];
        let output = self.machine(on).run(&words)?.success()?;
        Ok(output.stdout.lines().map(row).collect())
    }

    /// Where a unit is active, as machine ids.
    pub(crate) fn active_on(&self, on: &str, unit: &str) -> BTreeSet<String> {
        let rows = self.rows(on).into_iter();
        rows.filter(|row| row.unit == unit && row.active == "active")
            .map(|row| row.machine)
            .collect()
    }

    /// Waits until `rows` of `list-units` are as `wanted` says, which names what is missing.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        on: &str,
        wanted: impl Fn(&[Row]) -> bool,
    ) -> Vec<Row> {
        let found = until(what, LIMIT, || {
            let rows = self.try_rows(on).map_err(|error| error.to_string())?;
            if wanted(&rows) {
                Ok(rows)
            } else {
                Err(format!("{rows:#?}"))
            }
        });
        match found {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\n{}", self.bed.diagnosis()),
        }
    }

    /// Waits until exactly so many machines are in the cluster.
    pub(crate) fn wait_for_machines(&self, count: usize) {
        let asked = self
            .bed
            .machines()
            .iter()
            .find(|machine| machine.is_on())
            .unwrap();
        let found = until(&format!("{count} machines in the cluster"), LIMIT, || {
            let output = asked
                .run(&["fleetctl", "list-machines", "--no-legend"])
                .map_err(|error| error.to_string())?;
            let seen = output.stdout.lines().count();
            if seen == count {
                Ok(())
            } else {
                Err(format!("{seen}: {output:?}"))
            }
        });
        if let Err(error) = found {
            panic!("{error}\n{}", self.bed.diagnosis());
        }
    }

    /// systemd's own word on a unit on a machine.
    pub(crate) fn state(&self, on: &Machine, unit: &str) -> UnitState {
        on.unit_states(&[unit])
            .unwrap()
            .remove(unit)
            .unwrap_or_default()
    }

    /// The InvocationIDs of all units that `list-units` calls active, asked of systemd on each machine that is on.
    pub(crate) fn invocations(&self, on: &str) -> Invocations {
        let mut found = Invocations::new();
        for row in self
            .rows(on)
            .into_iter()
            .filter(|row| row.active == "active")
        {
            let machine = self.by_id(&row.machine);
            if machine.is_on() {
                let state = self.state(machine, &row.unit);
                found.insert((row.machine, row.unit), state.invocation_id);
            }
        }
        found
    }

    /// Fails unless each unit of `before` still has its InvocationID, but for those on the machines in `except`.
    pub(crate) fn assert_undisturbed(&self, before: &Invocations, except: &[&str]) {
        let mut disturbed = Vec::new();
        let mut same = 0;
        for ((machine, unit), invocation) in before {
            if except.contains(&machine.as_str()) {
                continue;
            }
            let state = self.state(self.by_id(machine), unit);
            if state.invocation_id == *invocation && state.active_state == "active" {
                same += 1;
            } else {
                disturbed.push(format!(
                    "{unit} on {machine}: {invocation} is now {state:?}"
                ));
            }
        }
        println!("undisturbed: {same} units, disturbed: {disturbed:?}");
        assert!(
            disturbed.is_empty(),
            "{disturbed:#?}\n{}",
            self.bed.diagnosis()
        );
    }

    /// The name of the machine whose engine leads.
    pub(crate) fn leader(&self) -> Option<String> {
        let words = [
            "etcdctl",
            "get",
            "/_coreos.com/fleet/leader",
            "--print-value-only",
        ];
        let output = self.bed.run(&words).unwrap();
        let machines = self.bed.machines().iter();
        machines
            .into_iter()
            .find(|m| output.stdout.contains(m.machine_id()))
            .map(|m| m.name().to_owned())
    }
}

fn row(line: &str) -> Row {
    let mut fields = line.split_whitespace();
    let mut next = || {
        fields
            .next()
            .unwrap_or_else(|| panic!("four columns: {line:?}"))
            .to_owned()
    };
    let (unit, machine, active, sub) = (next(), next(), next(), next());
    let machine = machine.split('/').next().unwrap_or_default().to_owned();
    Row {
        unit,
        machine,
        active,
        sub,
    }
}
