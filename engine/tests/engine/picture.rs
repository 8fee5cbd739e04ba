//! Clusters and plans as text a person could type, for tests: one line a command, one line a
//! decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    ActiveState, AssignReason, Assignment, BootId, Brake, BrakePhase, Capacity, Change, Decision,
    Generation, Hold, LoadState, Machine, MachineId, MachineSpec, PerMachine, Quarantined,
    RecordKey, Records, Relocation, Schedulable, TargetState, UnassignReason, Unit, UnitStatus,
};
use unitfile::{UnitFile, UnitName};

pub fn id(text: &str) -> MachineId {
    MachineId::parse(text).unwrap()
}

pub fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

/// A live machine with this metadata.
pub fn machine(id: &MachineId, metadata: BTreeMap<String, String>) -> Machine {
    Machine {
        id: id.clone(),
        boot: BootId("boot".into()),
        address: String::new(),
        metadata,
        version: "2.0.0".into(),
        capacity: Capacity {
            memory_bytes: 4 << 30,
            cpu_milli: 4000,
        },
    }
}

/// A file whose `[X-Fleet]` has these lines.
pub fn file(options: &[&str]) -> UnitFile {
    let mut text = String::from("[Service]\nExecStart=/bin/true\n");
    if !options.is_empty() {
        text.push_str("[X-Fleet]\n");
    }
    for option in options {
        text.push_str(option);
        text.push('\n');
    }
    UnitFile::parse(text).unwrap()
}

pub fn status(unit: &Unit) -> UnitStatus {
    UnitStatus {
        load: LoadState::Loaded,
        active: ActiveState::Active,
        sub: "running".into(),
        hash: unit.hash,
        state: TargetState::Launched,
        generation: unit.generation,
        job: None,
        invocation: None,
        since_unix_ms: 0,
    }
}

/// A cluster that commands change.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub records: Records,
    /// Every change since it was last taken from here.
    pub changes: Vec<Change>,
    requests: u64,
}

impl Picture {
    /// Carries out each line (or `;`-separated part of one).
    pub fn draw(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                self.command(line);
            }
        }
    }

    fn command(&mut self, line: &str) {
        let (head, options) = line.split_once(':').unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words[..] {
            ["machine", machine_id, ref pairs @ ..] => {
                let id = id(machine_id);
                let machine = machine(&id, pairs_of(pairs));
                self.change(Change::Machine(id, Some(machine)));
            }
            ["crash", machine] => {
                self.change(Change::Machine(id(machine), None));
                self.forget_statuses(machine);
            }
            ["leave", machine] => self.change(Change::Machine(id(machine), None)),
            ["brake", ref machines @ ..] => self.change(Change::Brake(Some(Brake {
                phase: BrakePhase::Holding,
                cluster: 10,
                machines: machines.iter().map(|machine| id(machine)).collect(),
            }))),
            ["unbrake"] => self.change(Change::Brake(None)),
            ["cordon", machine] => {
                self.specify(machine, |spec| spec.schedulable = Schedulable::Cordoned);
            }
            ["uncordon", machine] => {
                self.specify(machine, |spec| spec.schedulable = Schedulable::Yes);
            }
            ["set", machine, ref pairs @ ..] => self.specify(machine, |spec| {
                let pairs = pairs_of(pairs)
                    .into_iter()
                    .map(|(key, value)| (key, Some(value)));
                spec.metadata.extend(pairs);
            }),
            ["unit", unit] => self.unit(unit, TargetState::Launched, options),
            ["unit", unit, target] => self.unit(unit, target.parse().unwrap(), options),
            ["target", unit, target] => {
                self.edit(unit, |unit| unit.target = target.parse().unwrap());
            }
            ["restart", unit] => self.edit(unit, |unit| unit.restart = unit.generation),
            ["move", unit, to] if self.records.units.contains_key(&name(unit)) => {
                let to = id(to);
                self.edit(unit, |unit| {
                    let generation = unit.generation;
                    unit.relocation = Some(Relocation { to, generation });
                });
            }
            ["move", _, _] => {}
            ["rebalance", most] => {
                let moves = engine::rebalance(&self.records, most.parse().unwrap());
                for it in moves.iter().filter(|it| it.round == 1) {
                    self.command(&format!("move {} {}", it.unit, it.to));
                }
            }
            ["ended", unit, machine] => {
                let there = &self.records.statuses[&name(unit)];
                let mut status = there.get(&id(machine)).unwrap().clone();
                status.active = ActiveState::Inactive;
                self.change(Change::Status(id(machine), name(unit), Some(status)));
            }
            ["restart-if-there", unit] if self.records.units.contains_key(&name(unit)) => {
                self.edit(unit, |unit| unit.restart = unit.generation);
            }
            ["lose-file-if-there", unit] if self.records.units.contains_key(&name(unit)) => {
                let file = self.records.units[&name(unit)].file;
                self.change(Change::File(file, None));
            }
            ["restart-if-there" | "lose-file-if-there", _] => {}
            ["destroy", unit] => self.change(Change::Unit(name(unit), None)),
            ["damage", unit] => {
                let record = Some(RecordKey::Unit(name(unit)));
                let problem = Quarantined {
                    key: format!("units/{unit}"),
                    reason: "not JSON".into(),
                };
                self.change(Change::Quarantined { record, problem });
            }
            ["damage-machine", machine] => {
                let record = Some(RecordKey::Machine(id(machine)));
                let problem = Quarantined {
                    key: format!("machines/{machine}"),
                    reason: "not JSON".into(),
                };
                self.change(Change::Quarantined { record, problem });
            }
            ["damage-status", unit, machine] => {
                let record = Some(RecordKey::Status(id(machine), name(unit)));
                let problem = Quarantined {
                    key: format!("states/{machine}/{unit}"),
                    reason: "not JSON".into(),
                };
                self.change(Change::Quarantined { record, problem });
            }
            ["forget-machine", machine] => {
                self.records.machines.remove(&id(machine));
            }
            ["forget-status", unit, machine] => {
                let statuses = self.records.statuses.get_mut(&name(unit)).unwrap();
                statuses.remove(&id(machine));
            }
            // A leader that starts after the damage was done never saw the unit.
            ["forget", unit] => {
                self.records.units.remove(&name(unit));
            }
            ["lose-file", unit] => {
                let file = self.records.units[&name(unit)].file;
                self.change(Change::File(file, None));
            }
            ["assign", unit, machine] => {
                let assignment = match self.records.units.get(&name(unit)) {
                    Some(unit) => Assignment {
                        target: TargetState::Launched,
                        ..Assignment::of(unit)
                    },
                    None => stray(),
                };
                self.change(Change::Assignment(
                    id(machine),
                    name(unit),
                    Some(assignment),
                ));
            }
            ["seen", unit, machine] => {
                let status = match self.records.units.get(&name(unit)) {
                    Some(unit) => status(unit),
                    None => UnitStatus {
                        hash: file(&[]).hash(),
                        ..status(&any_unit(unit))
                    },
                };
                self.change(Change::Status(id(machine), name(unit), Some(status)));
            }
            ["stopped", unit, machine] => {
                self.change(Change::Status(id(machine), name(unit), None));
            }
            ["settle"] => self.settle(),
            _ => panic!("not a command: {line}"),
        }
    }

    pub fn change(&mut self, change: Change) {
        self.changes.push(change.clone());
        self.records.apply(change);
    }

    /// Every live machine carries out its schedule and reports.
    pub fn settle(&mut self) {
        let mut statuses: BTreeMap<UnitName, PerMachine<UnitStatus>> = BTreeMap::new();
        for (unit_name, entries) in &self.records.schedule {
            let Some(unit) = self.records.units.get(unit_name) else {
                continue;
            };
            for machine in entries
                .keys()
                .filter(|id| self.records.machines.contains_key(*id))
            {
                statuses
                    .entry(unit_name.clone())
                    .or_default()
                    .insert(machine.clone(), status(unit));
            }
        }
        for (unit, seen) in &self.records.statuses.clone() {
            for machine in seen.keys() {
                let stays = statuses
                    .get(unit)
                    .is_some_and(|seen| seen.contains_key(machine));
                if !stays {
                    self.change(Change::Status(machine.clone(), unit.clone(), None));
                }
            }
        }
        for (unit, seen) in statuses {
            for (machine, status) in seen {
                self.change(Change::Status(machine, unit.clone(), Some(status)));
            }
        }
    }

    /// Carries out decisions, as the store would have it.
    pub fn apply(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            self.change(decision.clone().into_change());
        }
    }

    fn forget_statuses(&mut self, machine: &str) {
        for unit in self.records.statuses.keys().cloned().collect::<Vec<_>>() {
            self.change(Change::Status(id(machine), unit, None));
        }
    }

    fn specify(&mut self, machine: &str, edit: impl FnOnce(&mut MachineSpec)) {
        let mut spec = self
            .records
            .machine_specs
            .get(&id(machine))
            .cloned()
            .unwrap_or_default();
        edit(&mut spec);
        self.change(Change::MachineSpec(id(machine), Some(spec)));
    }

    fn unit(&mut self, unit: &str, target: TargetState, options: &str) {
        let options: Vec<&str> = options
            .split(';')
            .map(str::trim)
            .filter(|option| !option.is_empty())
            .collect();
        let file = file(&options);
        self.requests += 1;
        let unit = Unit {
            name: name(unit),
            file: file.file_hash(),
            hash: file.hash(),
            target,
            generation: Generation(self.requests),
            start: Generation(self.requests),
            restart: Generation(0),
            relocation: None,
        };
        self.change(Change::File(unit.file, Some(Arc::new(file))));
        self.change(Change::Unit(unit.name.clone(), Some(unit)));
    }

    fn edit(&mut self, unit: &str, edit: impl FnOnce(&mut Unit)) {
        let mut unit = self.records.units[&name(unit)].clone();
        self.requests += 1;
        unit.generation = Generation(self.requests);
        edit(&mut unit);
        self.change(Change::Unit(unit.name.clone(), Some(unit)));
    }
}

fn pairs_of(pairs: &[&str]) -> BTreeMap<String, String> {
    let pair = |pair: &&str| {
        let (key, value) = pair.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    pairs.iter().map(pair).collect()
}

fn any_unit(unit: &str) -> Unit {
    let file = file(&[]);
    Unit {
        name: name(unit),
        file: file.file_hash(),
        hash: file.hash(),
        target: TargetState::Launched,
        generation: Generation(1),
        start: Generation(1),
        restart: Generation(0),
        relocation: None,
    }
}

fn stray() -> Assignment {
    Assignment::of(&any_unit("stray.service"))
}

/// One line a decision.
pub fn written(decisions: &[Decision]) -> String {
    decisions
        .iter()
        .map(|decision| line(decision) + "\n")
        .collect()
}

fn line(decision: &Decision) -> String {
    match decision {
        Decision::Assign {
            unit,
            machine,
            assignment,
            reason,
        } => {
            let reason = match reason {
                AssignReason::LeastLoaded { load, candidates } => {
                    format!("{load} units there, {candidates} could")
                }
                AssignReason::Spread {
                    in_domain,
                    siblings,
                    preference,
                    load,
                    candidates,
                } => {
                    let domain = in_domain.map(|count| format!("{count} in its zone, "));
                    let domain = domain.unwrap_or_default();
                    format!(
                        "{domain}{siblings} siblings, preference {preference}, {load} units there, {candidates} could"
                    )
                }
                AssignReason::Global => "global".into(),
                AssignReason::Moved => "moved".into(),
                AssignReason::Requested => "there already".into(),
            };
            format!("+ {unit} {machine} {}: {reason}", assignment.target)
        }
        Decision::Unassign {
            unit,
            machine,
            reason,
        } => {
            let reason = match reason {
                UnassignReason::Inactive => "inactive".into(),
                UnassignReason::Destroyed => "destroyed".into(),
                UnassignReason::MachineGone => "machine gone".into(),
                UnassignReason::NoLongerFits(obstacle) => obstacle.to_string(),
                UnassignReason::Moved { to } => format!("moves to {to}"),
                UnassignReason::Duplicate { kept } => format!("also on {kept}"),
                UnassignReason::Unreadable => "unreadable".into(),
            };
            format!("- {unit} {machine}: {reason}")
        }
        Decision::Hold { unit, hold } => format!("? {unit}: {}", hold_line(hold)),
        Decision::Release { unit } => format!(". {unit}"),
        Decision::Brake(brake) => format!("! {brake:?}"),
    }
}

fn hold_line(hold: &Hold) -> String {
    let mut text = hold.reason.to_string();
    for (machine, obstacle) in &hold.obstacles {
        text.push_str(&format!(" | {machine} {obstacle}"));
    }
    text
}
