//! What must be so once the faults have ended: desired is actual, on every machine, and everybody says the truth about it.

use std::collections::BTreeMap;

use model::{ActiveState, ServiceUnit};

use crate::catalog::{Fate, Rule};
use crate::checker::{Checker, Place, State};
use crate::client::Possible;
use crate::mirror::{Timeline, Wanted};

/// What each live machine's systemd has.
pub(crate) type Seen = BTreeMap<String, Vec<ServiceUnit>>;

impl Checker {
    /// Everything that is not yet as it is to be, in words.
    pub(crate) fn problems(&self, seen: &Seen, asked: &BTreeMap<String, Possible>) -> Vec<String> {
        let state = self.lock();
        let mut problems = Vec::new();
        for machine in seen.keys() {
            if state.mirror.metadata(machine).is_none() {
                problems.push(format!("{machine} is not part of the cluster"));
            }
        }
        for (machine, record) in &state.mirror.machines {
            if record.now().is_some() && !seen.contains_key(machine) {
                problems.push(format!("{machine} is gone, and still part of the cluster"));
            }
        }
        if state.mirror.leader.is_none() {
            problems.push("nobody leads".to_owned());
        }
        self.lost(&state, asked, &mut problems);
        for (unit, record) in &state.mirror.units {
            if let Some(record) = record.now() {
                self.placed(&state, seen, (unit, record), &mut problems);
            }
        }
        for ((machine, unit), entry) in &state.mirror.entries {
            let is_unit = state
                .mirror
                .units
                .get(unit)
                .is_some_and(|it| it.now().is_some());
            if entry.now().is_some() && !is_unit {
                problems.push(format!("{unit} is on {machine}, and does not exist"));
            }
        }
        for (machine, units) in seen {
            self.on_machine(&state, machine, units, &mut problems);
        }
        problems
    }

    /// I5: the store has what was asked for, as far as that is known.
    fn lost(&self, state: &State, asked: &BTreeMap<String, Possible>, problems: &mut Vec<String>) {
        for (unit, possible) in asked {
            let is = state.mirror.units.get(unit).and_then(Timeline::now);
            let is = is.map(|record| (record.target.clone(), record.file));
            if !possible.contains(&is) {
                problems.push(format!(
                    "{unit} was lost: it is {is:?}, asked for was {possible:?}"
                ));
            }
        }
    }

    /// I1, I4, I14: a unit is where it is to be.
    fn placed(
        &self,
        state: &State,
        seen: &Seen,
        (unit, record): (&str, &Wanted),
        problems: &mut Vec<String>,
    ) {
        let on = state.mirror.scheduled_on(unit);
        let rule = self.catalog.rule(&record.file);
        if record.target == "inactive" {
            if !on.is_empty() {
                problems.push(format!("{unit} is to be inactive, and on {on:?}"));
            }
            return;
        }
        for machine in &on {
            let entry = state
                .mirror
                .entries
                .get(&((*machine).to_owned(), unit.to_owned()));
            if entry.and_then(Timeline::now) != Some(record) {
                problems.push(format!(
                    "{machine}'s entry of {unit} is not what was asked for"
                ));
            }
            if !self.fits(state, (unit, record), machine) {
                problems.push(format!("{unit} is on {machine}, against {rule:?}"));
            }
        }
        let fitting = seen
            .keys()
            .filter(|machine| self.fits(state, (unit, record), machine));
        let fitting: Vec<&str> = fitting.map(String::as_str).collect();
        if rule == Rule::Everywhere {
            if on != fitting {
                problems.push(format!("{unit} is to be on {fitting:?}, and is on {on:?}"));
            }
        } else if on.len() > 1 {
            problems.push(format!("{unit} is on {on:?}"));
        } else if on.is_empty() && !fitting.is_empty() {
            problems.push(format!(
                "{unit} is on no machine, and could be on {fitting:?}"
            ));
        } else if on.is_empty()
            && state
                .mirror
                .holds
                .get(unit)
                .and_then(Timeline::now)
                .is_none()
        {
            problems.push(format!("{unit} is on no machine, and nobody says why"));
        }
    }

    /// The brute-force oracle of placement.
    fn fits(&self, state: &State, (unit, record): (&str, &Wanted), machine: &str) -> bool {
        let Some(metadata) = state.mirror.metadata(machine) else {
            return false;
        };
        let by_rule = match self.catalog.rule(&record.file) {
            Rule::Anywhere | Rule::Everywhere | Rule::NotWith(_) | Rule::Sole => true,
            Rule::Machine(id) => machine == id,
            Rule::Metadata(key, value) => metadata.get(key).is_some_and(|it| it == value),
            Rule::Beside(peer) => {
                let peer = state
                    .mirror
                    .entries
                    .get(&(machine.to_owned(), peer.to_owned()));
                peer.is_some_and(|it| it.now().is_some())
            }
        };
        let clash = state.mirror.entries.iter().any(|((at, other), entry)| {
            at == machine
                && other != unit
                && entry.now().is_some_and(|it| {
                    self.catalog
                        .conflict((unit, &record.file), (other, &it.file))
                })
        });
        by_rule && !clash
    }

    /// I13, I16: the machine has what it is to have, and says so.
    fn on_machine(
        &self,
        state: &State,
        machine: &str,
        units: &[ServiceUnit],
        problems: &mut Vec<String>,
    ) {
        for unit in units {
            let place = (machine.to_owned(), unit.name.to_string());
            match state.mirror.entries.get(&place).and_then(Timeline::now) {
                Some(wanted) => self.brought(state, &place, wanted, (unit, problems)),
                None => problems.push(format!("{} is still on {machine}", unit.name)),
            }
        }
        let has = |name: &str| units.iter().any(|unit| unit.name.as_str() == name);
        for ((at, unit), entry) in &state.mirror.entries {
            if at == machine && entry.now().is_some() && !has(unit) {
                problems.push(format!("{machine} does not have {unit}"));
            }
        }
        for ((at, unit), status) in &state.mirror.statuses {
            if at == machine && status.now().is_some() && !has(unit) {
                problems.push(format!("{machine} reports {unit}, and does not have it"));
            }
        }
        for (at, unit) in state.running.keys() {
            if at == machine && !has(unit) {
                problems.push(format!("{unit} runs on {machine}, and nobody knows"));
            }
        }
    }

    /// One unit on one machine is as it is to be.
    fn brought(
        &self,
        state: &State,
        place: &Place,
        wanted: &Wanted,
        (unit, problems): (&ServiceUnit, &mut Vec<String>),
    ) {
        let (machine, name) = place;
        let running = state.running.get(place);
        let fate = self.catalog.fate(&wanted.file);
        let requests = state.put_down.get(place);
        let is_down = requests.is_some_and(|it| it.contains(&(wanted.start, wanted.restart)));
        let as_wanted = match (wanted.is_launched(), fate) {
            (false, _) => unit.active.is_stopped(),
            (true, Fate::Ends) => true,
            (true, Fate::Runs) => unit.active == ActiveState::Active || is_down,
            (true, Fate::Hangs) => unit.active == ActiveState::Activating || is_down,
        };
        if !as_wanted {
            problems.push(format!("{name} on {machine} is {}", unit.active));
        }
        if running.is_some_and(|it| it.file != wanted.file) || unit.file != Some(wanted.file) {
            problems.push(format!("{name} on {machine} runs by an old file"));
        }
        let Some(status) = state.mirror.statuses.get(place).and_then(Timeline::now) else {
            problems.push(format!("{machine} does not report {name}"));
            return;
        };
        if status.active != unit.active.as_str() {
            problems.push(format!(
                "{name} on {machine} is {}, reported {}",
                unit.active, status.active
            ));
        }
        let invocation = unit.invocation.as_ref().map_or("", |it| it.0.as_str());
        if running.is_some() && status.invocation != invocation {
            problems.push(format!(
                "{name} on {machine}: another activation is reported"
            ));
        }
        // A start that never ends is not answered.
        if status.generation != wanted.generation && fate != Fate::Hangs {
            let (is, asked) = (status.generation, wanted.generation);
            problems.push(format!(
                "{machine} is at request {is} of {name}, asked is {asked}"
            ));
        }
        let has_mark = unit.mark.as_ref().is_some_and(|mark| mark.start.0 > 0);
        if (status.state == "launched") != has_mark {
            problems.push(format!("{name} on {machine} is reported {}", status.state));
        }
    }
}
