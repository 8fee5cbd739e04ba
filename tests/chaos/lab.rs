//! Five machines, three etcd members, a recorder on each machine, and the units that live there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::{Config, FleetFiles, Machine, Output, Store, Testbed, until};

use crate::history::{Activation, Answer, Calm, History, Instant, Kind, Request, Wanted, now};
use crate::recorder::Recorder;

/// The machine lease: fleetd's default.
pub(crate) const LEASE_TTL_S: u64 = 10;

/// How long the cluster may take to be as wanted after the last fault, on a machine that is busy with other tests. The promise
/// is 30 s; what it took is printed.
const CONVERGE_LIMIT: Duration = Duration::from_secs(120);

/// How long the first start of all units at once may take, in seconds: as long as that, but less than the testbed gives a command.
const FIRST_START_LIMIT_S: u32 = 110;

/// For how long it is then watched whether it stays so.
const STAYS: Duration = Duration::from_secs(8);

/// Unit files by name; instances of a template share it.
const FILES: &[(&str, &str)] = &[
    (
        "chaos-plain@.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    ),
    (
        "chaos-slow@.service",
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 1\n",
    ),
    (
        "chaos-apart@.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nConflicts=chaos-apart@*.service\n",
    ),
    (
        "chaos-follower.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineOf=chaos-plain@1.service\n",
    ),
    (
        "chaos-exclusive@.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nExclusive=yes\n",
    ),
    (
        "chaos-global.service",
        "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n",
    ),
    (
        "chaos-churn@.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    ),
];

/// The instances of each template that are started.
const INSTANCES: &[(&str, u32, Kind)] = &[
    ("chaos-plain@", 10, Kind::Single),
    ("chaos-slow@", 4, Kind::Single),
    ("chaos-apart@", 3, Kind::Single),
    ("chaos-exclusive@", 4, Kind::Exclusive),
    ("chaos-churn@", 4, Kind::Single),
];

const SINGLES: &[(&str, Kind)] = &[
    ("chaos-follower.service", Kind::Single),
    ("chaos-global.service", Kind::Global),
];

/// How many machines there are.
const MACHINES: u8 = 5;

/// How many activations there are before anything breaks.
pub(crate) fn first_activations() -> usize {
    let instances: u32 = INSTANCES.iter().map(|(_, count, _)| count).sum();
    let singles = SINGLES.iter().map(|(_, kind)| match kind {
        Kind::Global => usize::from(MACHINES),
        Kind::Single | Kind::Exclusive => 1,
    });
    instances as usize + singles.sum::<usize>()
}

/// The cluster and what happened to it so far.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) bed: Testbed,
    pub(crate) history: History,
    recorders: BTreeMap<String, Recorder>,
}

impl Lab {
    /// Boots it all. None if this host cannot, which is a failure on CI.
    pub(crate) fn start() -> Option<Lab> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = FleetFiles {
            fleetd: PathBuf::from(env!("CARGO_BIN_EXE_fleetd")),
            fleetctl: PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
            dist: root.join("dist"),
        };
        let config = Config::of(MACHINES, Store::Etcd { members: 3 })
            .fleet(files)
            .fleet_conf(&format!("agent_ttl={LEASE_TTL_S}s"));
        let bed = Testbed::start_or_skip(&config).unwrap()?;
        let history = History {
            lease_ttl_us: LEASE_TTL_S * 1_000_000,
            ..History::default()
        };
        let mut lab = Lab {
            bed,
            history,
            recorders: BTreeMap::new(),
        };
        for name in lab.names() {
            lab.record(&name);
        }
        Some(lab)
    }

    /// The machines' names.
    pub(crate) fn names(&self) -> Vec<String> {
        let machines = self.bed.machines().iter();
        machines.map(|machine| machine.name().to_owned()).collect()
    }

    pub(crate) fn machine(&self, name: &str) -> &Machine {
        self.bed.machine(name).unwrap()
    }

    /// Units of which the operator changes his mind.
    pub(crate) fn churned(&self) -> Vec<String> {
        let names = self.history.wanted.keys();
        names
            .filter(|name| name.starts_with("chaos-churn@"))
            .cloned()
            .collect()
    }

    /// Submits and starts everything.
    pub(crate) fn submit_all(&mut self) {
        for machine in self.bed.machines() {
            for (name, text) in FILES {
                machine
                    .install_file(&format!("/root/{name}"), text.as_bytes(), 0o644)
                    .unwrap();
            }
        }
        let instances = INSTANCES.iter().flat_map(|(template, count, kind)| {
            (1..=*count).map(move |n| (format!("{template}{n}.service"), *kind))
        });
        let singles = SINGLES
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind));
        let units: Vec<(String, Kind)> = instances.chain(singles).collect();
        until("five machines in the cluster", CONVERGE_LIMIT, || {
            let words = ["fleetctl", "list-machines", "--no-legend"];
            let output = self.machine("m1").run(&words).map_err(|e| e.to_string())?;
            match output.stdout.lines().count() {
                count if count == usize::from(MACHINES) => Ok(()),
                _ => Err(format!("{output:?}")),
            }
        })
        .unwrap();
        for (unit, kind) in units {
            let wanted = Wanted {
                kind,
                launched: None,
                exists: None,
            };
            self.history.wanted.insert(unit, wanted);
        }
        let names: Vec<String> = self.history.wanted.keys().cloned().collect();
        let asked = now();
        let mut words = vec!["start".to_owned()];
        words.extend(names.iter().map(|name| format!("/root/{name}")));
        let output = self.fleetctl_within(FIRST_START_LIMIT_S, "m1", &words);
        assert!(output.status.success(), "{output:?}");
        for unit in names {
            self.take_answer(asked, "start", &unit, Answer::Acknowledged);
        }
        self.converge().unwrap();
    }

    /// Runs fleetctl on a machine, for at most 30 s.
    pub(crate) fn fleetctl(&self, on: &str, words: &[String]) -> Output {
        self.fleetctl_within(30, on, words)
    }

    fn fleetctl_within(&self, limit_s: u32, on: &str, words: &[String]) -> Output {
        let limit = limit_s.to_string();
        let mut all = vec!["timeout", &limit, "fleetctl"];
        all.extend(words.iter().map(String::as_str));
        self.machine(on).run(&all).unwrap()
    }

    /// Notes a request and what is wanted from now on.
    pub(crate) fn take_answer(
        &mut self,
        at: Instant,
        verb: &'static str,
        unit: &str,
        answer: Answer,
    ) {
        let request = Request {
            at,
            ended: now(),
            verb,
            unit: unit.to_owned(),
            answer,
        };
        self.history.requests.push(request);
        let wanted = self.history.wanted.get_mut(unit).unwrap();
        let (exists, launched) = match verb {
            "destroy" => (Some(false), Some(false)),
            "stop" => (wanted.exists, Some(false)),
            _ => (Some(true), Some(true)),
        };
        let known = answer == Answer::Acknowledged;
        wanted.exists = if exists == wanted.exists || known {
            exists
        } else {
            None
        };
        wanted.launched = if known { launched } else { None };
    }

    /// Begins to record a machine that was powered on.
    pub(crate) fn record(&mut self, name: &str) {
        let leader = self.machine(name).leader().unwrap();
        let recorder = Recorder::start(name, leader);
        self.recorders.insert(name.to_owned(), recorder);
    }

    /// Takes a machine's power away and returns when it was dead.
    pub(crate) fn kill(&mut self, name: &str) -> Instant {
        self.machine(name).kill().unwrap();
        let dead = now();
        self.collect(name, Some(dead));
        dead
    }

    /// Waits until all is as wanted, by systemd's own word, and returns when it was seen to be.
    pub(crate) fn converge(&self) -> Result<Instant, testbed::Error> {
        until("everything as wanted", CONVERGE_LIMIT, || {
            let wrong = self.wrong();
            if wrong.is_empty() {
                Ok(now())
            } else {
                Err(wrong.join(", "))
            }
        })
    }

    /// Nothing is broken since `from`: waits until all is as wanted, and notes when it was.
    pub(crate) fn settle(&mut self, from: Instant) {
        let converged = self.converge();
        if let Err(error) = &converged {
            println!("{error}\n{}", self.bed.diagnosis());
        }
        let as_wanted = converged.ok();
        self.history.calms.push(Calm { from, as_wanted });
    }

    /// Ends the recording, after all has stayed as wanted for a while.
    pub(crate) fn end(mut self) -> History {
        self.history.settled = self.running();
        std::thread::sleep(STAYS);
        self.history.later = self.running();
        let words = ["list-unit-files", "--no-legend", "--fields=unit"].map(str::to_owned);
        let output = self.fleetctl("m1", &words);
        self.history.listed = output
            .stdout
            .lines()
            .map(|line| line.trim().to_owned())
            .collect();
        let doctor = self.fleetctl("m2", &["doctor", "--no-legend"].map(str::to_owned));
        println!("m2$ fleetctl doctor\n{}", doctor.stdout);
        self.history.complaints = doctor
            .stdout
            .lines()
            .filter(|line| line.starts_with("error"))
            .chain(doctor.stderr.lines())
            .map(str::to_owned)
            .collect();
        for name in self.names() {
            self.collect(&name, None);
        }
        std::mem::take(&mut self.history)
    }

    /// Takes in what the recorder of a machine saw.
    fn collect(&mut self, name: &str, dead: Option<Instant>) {
        let Some(recorder) = self.recorders.remove(name) else {
            return;
        };
        let seen = recorder.end().into_iter().map(|seen| Activation {
            ended: seen.ended.or(dead),
            ..seen
        });
        self.history.activations.extend(seen);
    }

    /// What is not as wanted, unit by unit.
    fn wrong(&self) -> Vec<String> {
        let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (machine, unit, _) in self.running() {
            homes.entry(unit).or_default().insert(machine);
        }
        let mut wrong = Vec::new();
        for (unit, wanted) in &self.history.wanted {
            let homes = homes.remove(unit).unwrap_or_default();
            let right = match (wanted.launched, wanted.kind) {
                (Some(false), _) => homes.is_empty(),
                (_, Kind::Global) => homes.len() == self.bed.machines().len(),
                (_, Kind::Single | Kind::Exclusive) => homes.len() == 1,
            };
            if !right {
                wrong.push(format!("{unit} ({:?}) on {homes:?}", wanted.launched));
            }
        }
        wrong.extend(
            homes
                .into_keys()
                .map(|unit| format!("{unit} is nobody's wish")),
        );
        wrong
    }

    /// Machine, unit and invocation of every unit that is active, by systemd's word.
    fn running(&self) -> Vec<(String, String, String)> {
        let mut running = Vec::new();
        for machine in self.bed.machines().iter().filter(|machine| machine.is_on()) {
            let states = machine.unit_states(&["chaos-*"]).unwrap_or_default();
            for (unit, state) in states {
                if state.active_state != "inactive" && state.active_state != "failed" {
                    running.push((machine.name().to_owned(), unit, state.invocation_id));
                }
            }
        }
        running
    }
}
