//! What the checker knows and is told: the store's history from a watch of its own, systemd's from the fakes themselves, and
//! what was done to the world. It shares no code with what it checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::fake::{FakeSystemd, Happening, What};
use model::{Mark, ServiceError};
use tokio::time::Instant;
use unitfile::{FileHash, UnitName};

use crate::catalog::{Catalog, Fate, Rule};
use crate::history::History;
use crate::mirror::{Mirror, Noted, Wanted};

/// How old what somebody acts upon may be: an event that was slow (at most 1.5 s each way), a write that was (as much, and
/// its timeout), in the worst order.
pub(crate) const STALE: Duration = Duration::from_secs(12);

/// Calls to systemd that one agent may make in a second: eleven units with some calls each are far below.
const CALLS_PER_S_MAX: u32 = 400;

/// How often one agent may ask for the stop of one unit in a second: what does not succeed is tried again after a pause.
const STOPS_PER_S_MAX: u32 = 10;

/// A machine and a unit.
pub(crate) type Place = (String, String);

/// One activation that runs now.
#[derive(Clone, Debug)]
pub(crate) struct Activation {
    pub(crate) invocation: String,
    pub(crate) file: FileHash,
    pub(crate) began: Instant,
}

/// Checks while things happen. Clones are the same checker.
#[derive(Clone)]
pub(crate) struct Checker {
    inner: Arc<Mutex<State>>,
    pub(crate) history: History,
    pub(crate) catalog: Arc<Catalog>,
    /// Machines with their systemd.
    fakes: Arc<Vec<(String, FakeSystemd)>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) mirror: Mirror,
    pub(crate) running: BTreeMap<Place, Activation>,
    /// Start and restart requests that the agent knows to have carried out, since the unit was loaded.
    pub(crate) asked: BTreeMap<Place, BTreeSet<(u64, u64)>>,
    /// Exclusive units that the machine has ended: the same request may start them once more.
    ended: BTreeSet<Place>,
    /// Starts that systemd may not have heard of, as its bus was lost.
    unheard: BTreeSet<Place>,
    /// Exclusive units that are being started once more.
    repeated: BTreeSet<Place>,
    /// When somebody ended a machine's lease by hand: nothing is promised of exclusive units then.
    pub(crate) revoked_at: BTreeMap<String, Instant>,
    /// When the agent last had it started.
    pub(crate) started_at: BTreeMap<Place, Instant>,
    /// Units that somebody else put down, by the requests that were carried out then.
    pub(crate) put_down: BTreeMap<Place, BTreeSet<(u64, u64)>>,
    /// When a machine's place in the cluster was last lost without its doing.
    pub(crate) lost_at: BTreeMap<String, Instant>,
    /// Machines that do without the store, by their own copy of their schedule.
    by_copy: BTreeSet<String>,
    /// When a machine last booted: what its agent had under way comes to the store after that.
    pub(crate) booted_at: BTreeMap<String, Instant>,
    /// Machines that are leaving in order.
    pub(crate) leaving: BTreeSet<String>,
    /// Machines whose systemd cannot be reached, until when.
    pub(crate) deaf_until: BTreeMap<String, Instant>,
    /// Stopped by an operator just now.
    by_hand: Option<Place>,
    calls: BTreeMap<String, (u64, u32)>,
    stops: BTreeMap<Place, (u64, u32)>,
    /// The agent has it restarted just now.
    restarting: BTreeSet<Place>,
    /// Whose status was written while the schedule had the unit, or that the schedule has had since.
    pub(crate) taken: BTreeSet<Place>,
    /// Machines whose lease was lost, until they have joined again.
    pub(crate) lease_lost: BTreeSet<String>,
    /// Machines that are well, and whose lease etcd has ended, until they have joined again.
    pub(crate) ended_while_well: BTreeSet<String>,
    /// When anything but the collection of files was last written.
    pub(crate) written_at: Option<Instant>,
}

impl Checker {
    pub(crate) fn new(
        history: History,
        catalog: Arc<Catalog>,
        fakes: Vec<(String, FakeSystemd)>,
    ) -> Checker {
        Checker {
            inner: Arc::default(),
            history,
            catalog,
            fakes: Arc::new(fakes),
        }
    }

    /// Takes in what has happened on all machines, in the order of time.
    pub(crate) fn hear(&self) {
        let mut heard = Vec::new();
        for (machine, fake) in self.fakes.iter() {
            heard.extend(fake.take_history().into_iter().map(|it| (machine, it)));
        }
        heard.sort_by_key(|(_, happening)| happening.at);
        for (machine, happening) in heard {
            self.happens(machine, &happening);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent called systemd.
    pub(crate) fn tell(&self, who: &str, what: &str, error: Option<&ServiceError>) {
        match error {
            Some(error) => self.history.note(who, format!("{what}: {error}")),
            None => self.history.note(who, what),
        }
    }

    /// I19: nobody asks without end.
    pub(crate) fn count_call(&self, machine: &str) {
        let mut state = self.lock();
        let second = self.history.second();
        let calls = state.calls.entry(machine.to_owned()).or_default();
        if calls.0 != second {
            *calls = (second, 0);
        }
        calls.1 += 1;
        if calls.1 == CALLS_PER_S_MAX {
            self.history.violation(
                "I19 bounded",
                format!("{machine}'s agent made {CALLS_PER_S_MAX} calls to systemd in a second"),
            );
        }
    }

    /// I19: what cannot be stopped is not tried again at once.
    pub(crate) fn count_stop(&self, machine: &str, name: &UnitName) {
        let second = self.history.second();
        let mut state = self.lock();
        let stops = state.stops.entry((machine.to_owned(), name.to_string()));
        let stops = stops.or_default();
        if stops.0 != second {
            *stops = (second, 0);
        }
        stops.1 += 1;
        if stops.1 == STOPS_PER_S_MAX {
            let what =
                format!("{machine} asked {STOPS_PER_S_MAX} times in a second to stop {name}");
            self.history.violation("I19 bounded", what);
        }
    }

    /// An agent has a unit started: once for each request, not before the cluster knows of it, and only what is scheduled.
    pub(crate) fn starts(&self, machine: &str, name: &UnitName, mark: &Mark, verb: &str) {
        self.hear();
        let mut state = self.lock();
        let now = Instant::now();
        let place = (machine.to_owned(), name.to_string());
        let request = (mark.start.0, mark.restart.0);
        let is_repeated = state.ended.remove(&place);
        match is_repeated {
            true => state.repeated.insert(place.clone()),
            false => state.repeated.remove(&place),
        };
        self.history.note(
            machine,
            format!(
                "{verb} {name} for start {}, restart {}",
                request.0, request.1
            ),
        );
        let is_unheard = state.unheard.remove(&place);
        let asked = state.asked.get(&place);
        if !is_repeated && !is_unheard && asked.is_some_and(|asked| asked.contains(&request)) {
            self.history.violation(
                "I6 hands off",
                format!("{machine} starts {name} a second time for one request ({request:?})"),
            );
        }
        let asked_of = state.asked.entry(place.clone()).or_default();
        asked_of.insert(request);
        // An agent that dies while it waits for a bus that is lost may not have asked.
        if state.deaf_until.get(machine).is_some_and(|it| *it >= now) {
            state.unheard.insert(place.clone());
        }
        state.started_at.insert(place.clone(), now);
        if verb == "restart" {
            state.restarting.insert(place.clone());
        }
        if state.by_copy.contains(machine) {
            return self.check_by_copy(&state, &place, &mark.file);
        }
        if state.is_cut_off(machine, now) {
            return;
        }
        self.check_taken(&state, &place);
        let entry = state.mirror.entries.entry(place).or_default();
        let recent = entry.since(now - STALE);
        let mut recent = recent.iter().flatten();
        if !recent.any(|entry| entry.is_launched() && entry.file == mark.file) {
            self.history.violation(
                "I4 schedule",
                format!("{machine} starts {name}, which is not scheduled there with that file"),
            );
        }
    }

    /// A machine starts by its own copy only what it once had, and nothing that is exclusive.
    fn check_by_copy(&self, state: &State, place: &Place, file: &FileHash) {
        let entry = state.mirror.entries.get(place);
        let was_here = |entry: &Wanted| entry.is_launched() && entry.file == *file;
        let (machine, unit) = place;
        if self.catalog.rule(file) == Rule::Sole {
            let what = format!("{machine} starts {unit} without asking the cluster");
            self.history.violation("I1 never two", what);
        } else if !entry.is_some_and(|entry| entry.has_been(was_here)) {
            let what = format!("{machine} starts {unit}, which it never had with that file");
            self.history.violation("I4 schedule", what);
        }
    }

    /// The machine does without the store from now on, or does so no longer.
    pub(crate) fn goes_by_copy(&self, machine: &str, goes: bool) {
        let mut state = self.lock();
        match goes {
            true => state.by_copy.insert(machine.to_owned()),
            false => state.by_copy.remove(machine),
        };
    }

    /// The agent's mark of a unit was written.
    pub(crate) fn marks(&self, machine: &str, name: &UnitName, mark: &Mark) {
        let place = (machine.to_owned(), name.to_string());
        let mut state = self.lock();
        state.unheard.remove(&place);
        let asked = state.asked.entry(place).or_default();
        if mark.start.0 == 0 {
            asked.clear();
        } else {
            asked.retain(|request| *request <= (mark.start.0, mark.restart.0));
            asked.insert((mark.start.0, mark.restart.0));
        }
    }

    /// systemd did not take the start on, or the mark could not be written: it may be asked again.
    pub(crate) fn refused(&self, machine: &str, name: &UnitName, mark: &Mark, why: &ServiceError) {
        let place = (machine.to_owned(), name.to_string());
        let mut state = self.lock();
        let request = (mark.start.0, mark.restart.0);
        if state.repeated.remove(&place) {
            state.ended.insert(place.clone());
        } else if let Some(asked) = state.asked.get_mut(&place) {
            asked.remove(&request);
        }
        if !matches!(
            why,
            ServiceError::Unreachable { .. } | ServiceError::File { .. }
        ) {
            state.put_down.entry(place).or_default().insert(request);
        }
    }

    /// The unit was unloaded, and its mark with it.
    pub(crate) fn forgets(&self, machine: &str, name: &UnitName) {
        self.hear();
        let place = (machine.to_owned(), name.to_string());
        let mut state = self.lock();
        state.asked.remove(&place);
        state.put_down.remove(&place);
        if state.running.contains_key(&place) {
            self.history.violation(
                "I1 never two",
                format!("{machine} forgets {name} while it runs"),
            );
        }
    }

    /// An operator or a fault puts a unit down.
    pub(crate) fn puts_down(&self, machine: &str, name: &UnitName) {
        let place = (machine.to_owned(), name.to_string());
        let mut state = self.lock();
        let asked = state.asked.get(&place).cloned().unwrap_or_default();
        state
            .put_down
            .entry(place.clone())
            .or_default()
            .extend(asked);
        state.by_hand = Some(place);
    }

    pub(crate) fn hands_off(&self) {
        self.lock().by_hand = None;
    }

    /// The machine is told to leave in order, or has come back.
    pub(crate) fn leaves(&self, machine: &str, leaves: bool) {
        let mut state = self.lock();
        match leaves {
            true => state.leaving.insert(machine.to_owned()),
            false => state.leaving.remove(machine),
        };
    }

    /// The machine boots again: nothing of what was there is.
    pub(crate) fn reboots(&self, machine: &str) {
        let mut state = self.lock();
        state.asked.retain(|(at, _), _| at != machine);
        state.ended.retain(|(at, _)| at != machine);
        state.put_down.retain(|(at, _), _| at != machine);
        state.booted_at.insert(machine.to_owned(), Instant::now());
    }

    /// Something happened to a unit on a machine.
    fn happens(&self, machine: &str, happening: &Happening) {
        let mut state = self.lock();
        let place = (machine.to_owned(), happening.unit.to_string());
        let who = format!("{machine}/systemd");
        match &happening.what {
            What::Began { invocation, file } => {
                let number = invocation.0.trim_start_matches('0').to_owned();
                self.history.note(
                    &who,
                    format!("{} runs (activation {number})", happening.unit),
                );
                let activation = Activation {
                    invocation: invocation.0.clone(),
                    file: *file,
                    began: happening.at,
                };
                self.check_alone(&state, &place, &activation);
                state.running.insert(place, activation);
            }
            What::Stopping => {
                self.history
                    .note(&who, format!("{} is being stopped", happening.unit));
                let running = state.running.get(&place);
                let is_sole = running.is_some_and(|it| self.catalog.rule(&it.file) == Rule::Sole);
                let is_restart = state.restarting.remove(&place);
                if is_sole {
                    state.ended.insert(place);
                } else {
                    self.check_stop(&state, &place, is_restart);
                }
            }
            What::Stopped | What::Ended | What::PoweredOff => {
                let how = match happening.what {
                    What::Stopped => "has stopped",
                    What::Ended => "has ended by itself",
                    What::PoweredOff | What::Began { .. } | What::Stopping => "lost its machine",
                };
                self.history.note(&who, format!("{} {how}", happening.unit));
                state.running.remove(&place);
            }
        }
    }

    /// I1, I2: never two copies, but for a machine that was cut off.
    fn check_alone(&self, state: &State, place: &Place, activation: &Activation) {
        if self.catalog.rule(&activation.file) == Rule::Everywhere {
            return;
        }
        let others = state.running.iter().filter(|((machine, unit), other)| {
            *unit == place.1
                && *machine != place.0
                && self.catalog.rule(&other.file) != Rule::Everywhere
        });
        for (other, _) in others {
            let is_sole = self.catalog.rule(&activation.file) == Rule::Sole;
            let by_hand = state.is_revoked(&other.0) || state.is_revoked(&place.0);
            let explained = (!is_sole || by_hand)
                && (state.was_cut_off_since_start(other) || state.was_cut_off_since_start(place));
            let what = format!("{} runs on {} and on {}", place.1, other.0, place.0);
            if explained {
                self.history
                    .note("checker", format!("{what}: one of them was cut off"));
            } else {
                self.history.violation("I1 never two", what);
            }
        }
    }

    /// I6: what runs is stopped only for a reason.
    fn check_stop(&self, state: &State, place: &Place, is_restart: bool) {
        let Some(activation) = state.running.get(place) else {
            return;
        };
        if state.leaving.contains(&place.0) || state.by_hand.as_ref() == Some(place) {
            return;
        }
        let before = |at: Instant| at.checked_sub(STALE).unwrap_or(at);
        let entry = state.mirror.entries.get(place);
        // A restart may be carried out long after it was asked for; what else was so long ago is no reason any more.
        let of_its_life = entry.map(|entry| entry.since(before(activation.began)));
        let restarts: BTreeSet<u64> = of_its_life
            .iter()
            .flatten()
            .flatten()
            .map(|it| it.restart)
            .collect();
        // A call to systemd may hang as long again.
        let recent = before(before(Instant::now()));
        let wanted = entry.map(|entry| entry.since(recent));
        let wanted = wanted.unwrap_or_else(|| vec![None]);
        // That it was not wanted before it was is none either.
        let first = wanted.iter().position(Option::is_some).unwrap_or(0);
        // An agent that died before it had remembered the first start does a restart.
        let is_repeated = is_restart && restarts.iter().any(|restart| *restart > 0);
        let is_asked = restarts.len() > 1
            || is_repeated
            || wanted[first..].iter().any(|wanted| match wanted {
                Some(wanted) => !wanted.is_launched() || wanted.file != activation.file,
                None => true,
            });
        self.check_kept(state, place, activation);
        if !is_asked {
            self.history.violation(
                "I6 hands off",
                format!(
                    "{} is stopped on {}, where it has been wanted all the time (activation {})",
                    place.1,
                    place.0,
                    activation.invocation.trim_start_matches('0')
                ),
            );
        }
    }

    /// True for what is written while nobody does anything: unreferenced files are collected, units end by themselves.
    fn is_own_life(&self, state: &State, noted: &Noted) -> bool {
        match noted {
            Noted::File(_) => true,
            Noted::Status(machine, unit) => {
                let entry = state.mirror.entries.get(&(machine.clone(), unit.clone()));
                let wanted = entry.and_then(|entry| entry.now());
                wanted.is_some_and(|wanted| self.catalog.fate(&wanted.file) == Fate::Ends)
            }
            Noted::Unit(_)
            | Noted::Entry(..)
            | Noted::Machine(_)
            | Noted::Spec(_)
            | Noted::Hold(_)
            | Noted::Leader
            | Noted::Other => false,
        }
    }

    /// The store has come to a new revision.
    pub(crate) fn revises(
        &self,
        revision: i64,
        writer: &str,
        events: &[(String, Option<Vec<u8>>)],
    ) {
        let mut state = self.lock();
        let now = Instant::now();
        let leader = state.mirror.leader.clone();
        let mut noted = Vec::new();
        for (key, value) in events {
            let text = value.as_ref().map_or_else(
                || "deleted".to_owned(),
                |value| shortened(&String::from_utf8_lossy(value)),
            );
            self.history
                .note(writer, format!("r{revision} {key} {text}"));
            noted.push(state.mirror.apply(now, key, value.as_deref(), writer));
        }
        for noted in noted {
            if !self.is_own_life(&state, &noted) {
                state.written_at = Some(now);
            }
            self.check_written(&mut state, &noted, (writer, leader.as_ref()), now);
        }
    }
}

/// Records can be long; what matters is at their beginning.
fn shortened(text: &str) -> String {
    let line = text.replace('\n', " ");
    match line.char_indices().nth(220) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
