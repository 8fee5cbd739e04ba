//! What may be written into the store, and by whom: checked at every revision.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::catalog::Rule;
use crate::checker::{Checker, Place, STALE, State};
use crate::mirror::{Mirror, Noted, Timeline, Wanted};

/// Who writes by hand; may write anything.
pub(crate) const OPERATOR: &str = "operator";

/// Who ends leases.
pub(crate) const STORE: &str = "store";

impl Checker {
    /// `by` is who wrote it, and who led before.
    pub(crate) fn check_written(
        &self,
        state: &mut State,
        noted: &Noted,
        by: (&str, Option<&(String, String)>),
        now: Instant,
    ) {
        let (writer, leader) = by;
        match noted {
            Noted::Entry(machine, unit) => {
                self.check_leads(writer, leader, &format!("{machine}'s entry of {unit}"));
                if writer == OPERATOR {
                    return;
                }
                let place = (machine.clone(), unit.clone());
                state.take();
                match state
                    .mirror
                    .entries
                    .get(&place)
                    .and_then(Timeline::now)
                    .cloned()
                {
                    Some(wanted) => self.check_assigned(state, &place, &wanted, now),
                    None => self.check_unassigned(state, &place, now),
                }
            }
            Noted::Hold(unit) => self.check_leads(writer, leader, &format!("the hold of {unit}")),
            Noted::File(hash) => self.check_file(state, hash),
            Noted::Machine(machine) => self.take_machine(state, machine, writer, now),
            Noted::Status(machine, unit) => {
                let place = (machine.clone(), unit.clone());
                state.take();
                match writer {
                    // The lease is over, also of a machine that was on its way out.
                    STORE if state.ended_while_well.contains(machine) => {}
                    STORE => drop(state.lost_at.insert(machine.clone(), now)),
                    // Its lease was revoked by hand. The record of a machine that is leaving is gone already.
                    OPERATOR => {
                        let status = state.mirror.statuses.get(&place);
                        if status.and_then(Timeline::now).is_none() {
                            state.lost_at.insert(machine.clone(), now);
                            state.revoked_at.insert(machine.clone(), now);
                        }
                    }
                    _ => self.check_answer(state, &place),
                }
            }
            Noted::Leader if leader.is_some() && writer != STORE => {
                self.check_leads(writer, leader, "the leader's record");
            }
            Noted::Unit(_) | Noted::Spec(_) | Noted::Leader | Noted::Other => {}
        }
    }

    /// A machine has come, has changed or is gone.
    fn take_machine(&self, state: &mut State, machine: &str, writer: &str, now: Instant) {
        let is_there = state
            .mirror
            .machines
            .get(machine)
            .and_then(Timeline::now)
            .is_some();
        let by_itself = writer.starts_with(&format!("{machine}/agent"));
        let is_well = state.ended_while_well.contains(machine);
        if !is_there && !by_itself && !is_well {
            state.lost_at.insert(machine.to_owned(), now);
        }
        if !is_there && writer == OPERATOR {
            state.revoked_at.insert(machine.to_owned(), now);
        }
        if !is_there && (writer == OPERATOR || writer == STORE) {
            state.lease_lost.insert(machine.to_owned());
        } else if is_there && state.lease_lost.remove(machine) {
            self.check_clean(state, machine);
            state.comes_back(machine);
        }
    }

    /// I1: a unit is started under a status that took it for the machine: while its schedule had the unit.
    pub(crate) fn check_taken(&self, state: &State, place: &Place) {
        let (machine, unit) = place;
        let status = state.mirror.statuses.get(place).and_then(Timeline::now);
        if status.is_none() {
            let what =
                format!("{machine} starts {unit} before the cluster knows that it may run there");
            self.history.violation("I1 never two", what);
        } else if !state.taken.contains(place) && !state.running.contains_key(place) {
            let what = format!(
                "{machine} starts {unit}, which it has taken when its schedule had it no longer"
            );
            self.history.violation("I1 never two", what);
        }
    }

    /// I2: a machine that was lost begins anew with nothing exclusive: that may run elsewhere by now.
    fn check_clean(&self, state: &State, machine: &str) {
        for ((_, unit), activation) in state.running.iter().filter(|((at, _), _)| at == machine) {
            if self.catalog.rule(&activation.file) == Rule::Sole {
                let what = format!("{machine} has joined again while {unit} runs on it");
                self.history.violation("I2 exclusive", what);
            }
        }
    }

    /// I7: only the leader writes the schedule, and only while it leads.
    fn check_leads(&self, writer: &str, leader: Option<&(String, String)>, what: &str) {
        let leads = leader.is_some_and(|(_, by)| by == writer || by == OPERATOR);
        if !leads && writer != OPERATOR {
            let leader = leader.map_or("nobody", |(_, by)| by);
            self.history.violation(
                "I7 one writer",
                format!("{writer} writes {what} while {leader} leads"),
            );
        }
    }

    /// I5: a file that a unit refers to is kept.
    fn check_file(&self, state: &State, hash: &str) {
        if state.mirror.files.get(hash) == Some(&true) {
            return;
        }
        for (unit, record) in &state.mirror.units {
            if record
                .now()
                .is_some_and(|record| record.file.to_string() == hash)
            {
                self.history
                    .violation("I5 nothing lost", format!("the file of {unit} is deleted"));
            }
        }
    }

    /// I1, I3, I4: what may be in a machine's schedule.
    fn check_assigned(&self, state: &State, place: &Place, wanted: &Wanted, now: Instant) {
        let (machine, unit) = place;
        let from = now.checked_sub(STALE).unwrap_or(now);
        let mirror = &state.mirror;
        let asked = mirror
            .units
            .get(unit)
            .map(|it| it.since(from))
            .unwrap_or_default();
        if !asked.iter().flatten().any(|asked| asked == wanted) {
            let what = format!("{unit} is scheduled on {machine} as nobody asked: {wanted:?}");
            self.history.violation("I5 nothing lost", what);
        }
        let was_there = mirror
            .machines
            .get(machine)
            .map(|it| it.since(from))
            .unwrap_or_default();
        if was_there.iter().flatten().next().is_none() {
            let what = format!("{unit} is scheduled on {machine}, which is not there");
            self.history.violation("I4 schedule", what);
        }
        let entry = mirror.entries.get(place);
        let is_new = entry.is_some_and(|it| it.present_since() == it.changed_at());
        if !is_new {
            self.check_stays(state, place, wanted, from);
            return;
        }
        if self.catalog.rule(&wanted.file) != Rule::Everywhere {
            self.check_single(state, place, (from, now));
        }
        if !self.may_be_on(state, place, wanted, from) {
            let rule = self.catalog.rule(&wanted.file);
            let what = format!("{unit} is scheduled on {machine} against {rule:?}");
            self.history.violation("I4 schedule", what);
        }
        for ((at, other), entry) in &mirror.entries {
            if at == machine
                && other != unit
                && let Some(entry) = entry.steady_since(from)
                && mirror
                    .units
                    .get(other)
                    .and_then(|it| it.steady_since(from))
                    .is_some()
                && self
                    .catalog
                    .conflict((unit, &wanted.file), (other, &entry.file))
            {
                let what = format!("{unit} is scheduled on {machine}, where {other} is");
                self.history.violation("I3 conflicts", what);
            }
        }
    }

    /// A unit that is asked to move, and is told to stay instead, could not be taken by the other machine.
    fn check_stays(&self, state: &State, place: &Place, wanted: &Wanted, from: Instant) {
        let (machine, unit) = place;
        let mirror = &state.mirror;
        let Some((to, generation)) = mirror.moves.get(unit) else {
            return;
        };
        // Another may not be beside this one.
        let is_free = unit != "db.service"
            && matches!(self.catalog.rule(&wanted.file), Rule::Anywhere | Rule::Sole);
        // What cannot be read is not moved.
        let file = wanted.file.to_string();
        let is_whole = [unit, to, &file]
            .iter()
            .all(|end| !mirror.was_damaged(end, from));
        let other = mirror.machines.get(to);
        let is_there = other.is_some_and(|it| it.steady_since(from).is_some());
        if wanted.generation == *generation && to != machine && is_free && is_there && is_whole {
            let what = format!("{unit} was to move to {to}, and is told to stay on {machine}");
            self.history.violation("I4 schedule", what);
        }
    }

    /// It is neither scheduled elsewhere nor reported from there.
    fn check_single(&self, state: &State, place: &Place, (from, now): (Instant, Instant)) {
        let (machine, unit) = place;
        let others = |at: &Place| at.1 == *unit && at.0 != *machine;
        for (at, entry) in state.mirror.entries.iter().filter(|(at, _)| others(at)) {
            if let Some(entry) = entry.steady_since(from)
                && self.catalog.rule(&entry.file) != Rule::Everywhere
            {
                let what = format!("{unit} is scheduled on {machine} and on {}", at.0);
                self.history.violation("I1 never two", what);
            }
        }
        for (at, status) in state.mirror.statuses.iter().filter(|(at, _)| others(at)) {
            let entry = state.mirror.entries.get(at);
            let is_moved =
                entry.is_some_and(|it| it.now().is_none() && it.changed_at() == Some(now));
            let is_whole = !state
                .mirror
                .damaged
                .contains_key(&format!("states/{}/{unit}", at.0));
            if is_moved && is_whole && status.now().is_some() && state.taken.contains(at) {
                let what = format!("{unit} is given to {machine} though {} has taken it", at.0);
                self.history.violation("I1 never two", what);
            }
            if status.present_since().is_some_and(|since| since < from) {
                let what = format!("{unit} is scheduled on {machine} while {} reports it", at.0);
                self.history.violation("I1 never two", what);
            }
        }
    }

    /// True if the machine fits by what was so at some time of late.
    fn may_be_on(&self, state: &State, place: &Place, wanted: &Wanted, from: Instant) -> bool {
        let (machine, _) = place;
        let mirror = &state.mirror;
        match self.catalog.rule(&wanted.file) {
            Rule::Anywhere | Rule::Everywhere | Rule::NotWith(_) | Rule::Sole => true,
            Rule::Machine(id) => machine == id,
            Rule::Metadata(key, value) => {
                let fits = mirror
                    .metadata(machine)
                    .is_some_and(|metadata| metadata.get(key).is_some_and(|it| it == value));
                fits || machine_changed(mirror, machine, from)
            }
            Rule::Beside(peer) => {
                let peer = mirror.entries.get(&(machine.clone(), peer.to_owned()));
                let recent = peer.map(|it| it.since(from)).unwrap_or_default();
                recent.iter().any(Option::is_some)
            }
        }
    }

    /// I6, I15: a unit leaves a machine only for a reason.
    fn check_unassigned(&self, state: &State, place: &Place, now: Instant) {
        let (machine, unit) = place;
        let mirror = &state.mirror;
        let Some(was_there) = mirror.entries.get(place).and_then(Timeline::present_before) else {
            return;
        };
        let from = was_there.checked_sub(STALE).unwrap_or(was_there);
        let unit_changed = |unit: &str| {
            mirror
                .units
                .get(unit)
                .is_none_or(|it| it.changed_since(from))
        };
        // What is asked for now is what the entry said.
        let asked = mirror.units.get(unit).and_then(Timeline::now);
        let said = mirror.entries.get(place).and_then(Timeline::last);
        let is_asked_anew = asked != said;
        let partners = ["web@1.service", "web@2.service", "db.service"];
        let partner_changed = partners.contains(&unit.as_str())
            && partners.iter().any(|partner| unit_changed(partner));
        let peer = mirror
            .entries
            .get(&(machine.clone(), "db.service".to_owned()));
        let peer_moved = unit == "app.service" && peer.is_none_or(|it| it.changed_since(from));
        let elsewhere = mirror.entries.iter().any(|(at, entry)| {
            let is_new = entry.present_since() == Some(now);
            at.1 == *unit
                && at.0 != *machine
                && !is_new
                && entry.since(from).iter().any(Option::is_some)
        });
        let explained = is_asked_anew
            || machine_gave_reason(state, machine, from)
            || partner_changed
            || peer_moved
            || elsewhere;
        if !explained {
            let (invariant, why) = match state.ended_while_well.contains(machine) {
                true => ("I6 hands off", "whose lease has ended, and which is well"),
                false => ("I15 no thrash", "and nothing has changed"),
            };
            let after = (now - was_there).as_secs();
            let what = format!("{unit} is taken from {machine} after {after} s, {why}");
            self.history.violation(invariant, what);
        }
    }

    /// I16: what a machine says it is through with, it is through with.
    fn check_answer(&self, state: &State, place: &Place) {
        let mirror = &state.mirror;
        let (Some(status), Some(entry)) = (
            mirror.statuses.get(place).and_then(Timeline::now),
            mirror.entries.get(place).and_then(Timeline::now),
        ) else {
            return;
        };
        // While its systemd cannot be reached, a machine knows only what was so before.
        let is_deaf = state.deaf_until.get(&place.0);
        let is_deaf = is_deaf.is_some_and(|until| Instant::now() < *until);
        if status.generation != entry.generation || !entry.is_launched() || is_deaf {
            return;
        }
        // What it had said before its power was lost may arrive late: what was asked of it then is not known any more.
        // So may what it had said before it left.
        let booted = state.booted_at.get(&place.0);
        let is_old = booted.is_some_and(|at| *at + STALE >= Instant::now());
        if is_old || state.leaving.contains(&place.0) {
            return;
        }
        let started = state.asked.get(place);
        let started = started.is_some_and(|asked| asked.iter().any(|asked| asked.0 == entry.start));
        if !started && status.job_result != "failed" {
            let what = format!(
                "{} says that it is through with start {} of {}, which it has not begun",
                place.0, entry.start, place.1
            );
            self.history.violation("I16 truth", what);
        }
    }
}

/// True if the machine was gone at some time since it was there first, or its metadata is not what it was.
fn machine_gave_reason(state: &State, machine: &str, from: Instant) -> bool {
    let mirror = &state.mirror;
    let was = mirror.machines.get(machine).map(|it| it.since(from));
    let was = was.into_iter().flatten().skip_while(Option::is_none);
    let mut was: BTreeSet<_> = was.collect();
    if state.ended_while_well.contains(machine) {
        was.remove(&None);
    }
    let edited = mirror.specs.get(machine);
    was.len() != 1 || was.contains(&None) || edited.is_some_and(|it| it.changed_since(from))
}

/// True if the machine has come, gone or changed, or its metadata was edited.
fn machine_changed(mirror: &Mirror, machine: &str, from: Instant) -> bool {
    let machine_changed = mirror.machines.get(machine);
    let edited = mirror.specs.get(machine);
    machine_changed.is_none_or(|it| it.changed_since(from))
        || edited.is_some_and(|it| it.changed_since(from))
}

impl State {
    /// Notes which machines have taken which units.
    fn take(&mut self) {
        let mirror = &self.mirror;
        let is_there = |place: &Place| {
            let status = mirror.statuses.get(place);
            status.is_some_and(|status| status.now().is_some())
        };
        self.taken.retain(is_there);
        let entries = mirror.entries.iter();
        let entries = entries.filter(|(place, entry)| entry.now().is_some() && is_there(place));
        self.taken.extend(entries.map(|(place, _)| place.clone()));
    }
}
