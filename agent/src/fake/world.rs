//! The fake machine: files, what its systemd has in memory, and how that goes on as time passes. It lives on when an agent
//! dies. Everything that happens does so when somebody looks ([`World::settle`]), in the order of time, then of name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ActiveState, InvocationId, JobEnd, JobResult, LoadState, Mark, ServiceUnit};
use tokio::sync::oneshot;
use tokio::time::Instant;
use unitfile::{UnitFile, UnitName};

use super::behaviour::{
    Behaviour, Exit, RESTARTS_MAX, Restart, StartType, in_a_row, referred, status,
};
use super::history::{Happening, History, What};

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) files: BTreeMap<UnitName, UnitFile>,
    pub(super) marks: BTreeMap<UnitName, Mark>,
    /// Units of the host, and which of them are masked.
    pub(super) host: BTreeSet<String>,
    pub(super) masked: BTreeSet<String>,
    pub(super) memory: BTreeMap<UnitName, Memory>,
    /// What commands have ended, in order.
    pub(super) ended_commands: Vec<String>,
    pub(super) changed: BTreeSet<UnitName>,
    pub(super) history: History,
    activations: u64,
    pub(super) reloads: u64,
    /// Until when exclusive units may run; none if that was not said since the machine booted.
    pub(super) term: Option<Term>,
}

/// When exclusive units end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) stop: Instant,
    pub(super) kill: Instant,
}

/// A unit as systemd has it in memory, with the file as it was read.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) file: UnitFile,
    pub(super) behaviour: Behaviour,
    pub(super) active: ActiveState,
    pub(super) sub: &'static str,
    pub(super) invocation: Option<InvocationId>,
    pub(super) since_unix_ms: u64,
    pub(super) reason: String,
    restarts: u32,
    job: Option<Job>,
    next: Option<(Instant, Step)>,
    /// It is exclusive and was told to stop because the deadline has passed.
    ends: bool,
}

#[derive(Debug)]
struct Job {
    verb: Verb,
    waiting: Vec<oneshot::Sender<JobEnd>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

/// What happens next to a unit by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    PreEnded(Exit),
    MainEnded(Exit),
    Stopped { too_long: bool },
    AutoRestart,
}

/// What the caller has to know about now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) unix_ms: u64,
}

impl World {
    /// Everything stops at once, and what is on tmpfs is gone; the host's own units and the numbering of activations stay.
    pub(super) fn reboot(&mut self, now: Now) {
        for (name, unit) in &self.memory {
            if !unit.active.is_stopped() {
                self.history
                    .push(Happening::new(now.at, name, What::PoweredOff));
            }
        }
        *self = World {
            history: std::mem::take(&mut self.history),
            host: std::mem::take(&mut self.host),
            masked: std::mem::take(&mut self.masked),
            activations: self.activations,
            ..World::default()
        };
    }

    /// When something happens next by itself.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let units = self.memory.values();
        let events = units.filter_map(|unit| unit.next.map(|(at, _)| at));
        events.chain(self.next_end()).min()
    }

    /// Lets everything happen that has come due.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            let next = self.memory.values().filter_map(|unit| unit.next);
            let next = next.map(|(at, _)| at).min();
            if let Some(at) = self.next_end()
                && at <= now.at
                && next.is_none_or(|next| at <= next)
            {
                self.end_exclusive(Now { at, ..now });
                continue;
            }
            let due = self.memory.iter().filter_map(|(name, unit)| {
                let (at, step) = unit.next?;
                (at <= now.at).then(|| (at, name.clone(), step))
            });
            let Some((at, name, step)) = due.min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1))) else {
                return;
            };
            self.step(&name, step, Now { at, ..now });
        }
    }

    /// True if the unit must never run twice, by its file as it was read or else as it is.
    pub(super) fn is_exclusive(&self, name: &UnitName) -> bool {
        match (self.memory.get(name), self.files.get(name)) {
            (Some(unit), _) => unit.behaviour.is_exclusive,
            (None, Some(file)) => Behaviour::of(name, file).is_exclusive,
            (None, None) => false,
        }
    }

    fn exclusive(&self) -> impl Iterator<Item = (&UnitName, &Memory)> {
        let running = self.memory.iter();
        running.filter(|(_, unit)| !unit.active.is_stopped() && unit.behaviour.is_exclusive)
    }

    /// When an exclusive unit is stopped or killed next.
    fn next_end(&self) -> Option<Instant> {
        let term = self.term?;
        let ends = self.exclusive().map(|(_, unit)| match unit.active {
            ActiveState::Deactivating if unit.ends => term.kill,
            _ => term.stop,
        });
        ends.min()
    }

    /// Stops the exclusive units, and kills those that have been stopping until now.
    fn end_exclusive(&mut self, now: Now) {
        let is_late = self.term.is_some_and(|term| term.kill <= now.at);
        let running: Vec<UnitName> = self.exclusive().map(|(name, _)| name.clone()).collect();
        for name in running {
            if let Some(mark) = self.marks.get_mut(&name) {
                *mark = mark.given_up();
            }
            self.enqueue(&name, Verb::Stop, oneshot::channel().0, now);
            let Some(unit) = self.memory.get_mut(&name) else {
                continue;
            };
            unit.ends = true;
            if is_late && unit.active == ActiveState::Deactivating {
                unit.next = None;
                self.stopped(&name, true, now);
            }
        }
    }

    /// Takes a job on; its end is told to `told`.
    pub(super) fn enqueue(
        &mut self,
        name: &UnitName,
        verb: Verb,
        told: oneshot::Sender<JobEnd>,
        now: Now,
    ) {
        let Some(unit) = self.memory.get_mut(name) else {
            drop(told.send(end(JobResult::Done, "")));
            return;
        };
        if let Some(job) = &mut unit.job
            && (job.verb == verb || (job.verb, verb) == (Verb::Restart, Verb::Start))
        {
            job.waiting.push(told);
            return;
        }
        unit.end_job(&JobResult::Canceled, "");
        unit.job = Some(Job {
            verb,
            waiting: vec![told],
        });
        let is_stopping = unit.active == ActiveState::Deactivating;
        match verb {
            Verb::Start if unit.active == ActiveState::Active => unit.end_job(&JobResult::Done, ""),
            // It begins when the unit has stopped.
            Verb::Start | Verb::Restart | Verb::Stop if is_stopping => {}
            Verb::Start => self.begin(name, now),
            Verb::Restart if unit.active.is_stopped() => self.begin(name, now),
            Verb::Stop if unit.active.is_stopped() => unit.end_job(&JobResult::Done, ""),
            Verb::Stop | Verb::Restart => self.begin_stop(name, now),
        }
        self.changed.insert(name.clone());
    }

    /// Reads the unit's file into memory unless it is there.
    pub(super) fn read(&mut self, name: &UnitName) {
        let Some(file) = self.files.get(name) else {
            return;
        };
        self.memory.entry(name.clone()).or_insert_with(|| Memory {
            file: file.clone(),
            behaviour: Behaviour::of(name, file),
            active: ActiveState::Inactive,
            sub: "dead",
            invocation: None,
            since_unix_ms: 0,
            reason: String::new(),
            restarts: 0,
            job: None,
            next: None,
            ends: false,
        });
    }

    /// systemd forgets what is stopped, has no job, did not fail, and is not referred to by what it keeps for one of these reasons.
    pub(super) fn collect(&mut self) {
        let at_rest = |unit: &Memory| unit.active == ActiveState::Inactive && unit.job.is_none();
        let kept = self.memory.values().filter(|unit| !at_rest(unit));
        let referred = referred(kept.map(|unit| &unit.file));
        (self.memory).retain(|name, unit| !at_rest(unit) || referred.contains(name.as_str()));
    }

    /// The process of a unit dies of a signal.
    pub(super) fn kill(&mut self, name: &UnitName, now: Now) {
        if let Some(unit) = self.memory.get_mut(name)
            && unit.active == ActiveState::Active
        {
            unit.next = None;
            self.main_ended(name, Exit::Status(137), now);
        }
    }

    /// The state of a unit as systemd tells it.
    pub(super) fn look(&self, name: &UnitName) -> ServiceUnit {
        let file = self.files.get(name);
        let memory = self.memory.get(name);
        let load = match (memory, file) {
            _ if self.masked.contains(name.as_str()) => LoadState::Masked,
            (Some(memory), _) if memory.behaviour.is_bad => LoadState::BadSetting,
            (Some(_), _) => LoadState::Loaded,
            (None, Some(file)) if Behaviour::of(name, file).is_bad => LoadState::BadSetting,
            (None, Some(_)) => LoadState::Loaded,
            (None, None) => LoadState::NotFound,
        };
        ServiceUnit {
            name: name.clone(),
            file: file.map(UnitFile::file_hash),
            hash: file.map(UnitFile::hash),
            mark: self.marks.get(name).cloned(),
            load,
            active: memory.map_or(ActiveState::Inactive, |memory| memory.active.clone()),
            sub: memory.map_or("dead", |memory| memory.sub).to_owned(),
            invocation: memory.and_then(|memory| memory.invocation.clone()),
            since_unix_ms: memory.map_or(0, |memory| memory.since_unix_ms),
            needs_reload: memory.is_some_and(|memory| {
                file.is_none_or(|file| file.file_hash() != memory.file.file_hash())
            }),
        }
    }

    fn begin(&mut self, name: &UnitName, now: Now) {
        self.activations += 1;
        let id = format!("{:032x}", self.activations);
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        let invocation = InvocationId(id);
        let file = unit.file.file_hash();
        unit.invocation = Some(invocation.clone());
        let began = What::Began { invocation, file };
        self.history.push(Happening::new(now.at, name, began));
        unit.reason.clear();
        unit.ends = false;
        unit.become_state(ActiveState::Activating, "start-pre", now);
        let (takes, exit) = in_a_row(&unit.behaviour.pre);
        unit.next = after(now, takes, exit, Step::PreEnded(exit));
        self.changed.insert(name.clone());
        if takes.is_zero() && exit != Exit::Never {
            self.step(name, Step::PreEnded(exit), now);
        }
    }

    fn begin_stop(&mut self, name: &UnitName, now: Now) {
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        // ExecStop= is run only for what was started in full.
        let commands = match unit.active {
            ActiveState::Active => unit.behaviour.stop.as_slice(),
            _ => &[],
        };
        let (takes, exit) = in_a_row(commands);
        let too_long = exit == Exit::Never || takes > unit.behaviour.stop_limit;
        let takes = if too_long {
            unit.behaviour.stop_limit
        } else {
            takes
        };
        self.history
            .push(Happening::new(now.at, name, What::Stopping));
        let was_unfinished = unit.active == ActiveState::Activating && unit.next.is_some();
        unit.become_state(ActiveState::Deactivating, "stop", now);
        if was_unfinished && unit.behaviour.start_type == StartType::Oneshot {
            // systemd counts a oneshot that is killed as failed.
            unit.reason = "signal: signal 15".to_owned();
        }
        unit.next = now
            .at
            .checked_add(takes)
            .map(|at| (at, Step::Stopped { too_long }));
        self.changed.insert(name.clone());
        if takes.is_zero() {
            self.step(name, Step::Stopped { too_long }, now);
        }
    }

    fn step(&mut self, name: &UnitName, step: Step, now: Now) {
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        unit.next = None;
        self.changed.insert(name.clone());
        match step {
            Step::PreEnded(Exit::Status(0)) => self.main(name, now),
            Step::PreEnded(exit) => {
                self.history.push(Happening::new(now.at, name, What::Ended));
                unit.fail(&format!("exit-code{}", status(exit)), now);
            }
            Step::MainEnded(exit) => self.main_ended(name, exit, now),
            Step::Stopped { too_long } => self.stopped(name, too_long, now),
            Step::AutoRestart => self.begin(name, now),
        }
    }

    /// The main commands begin.
    fn main(&mut self, name: &UnitName, now: Now) {
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        let done = unit
            .behaviour
            .pre
            .iter()
            .map(|command| command.text.clone());
        self.ended_commands.extend(done);
        let (takes, exit) = in_a_row(&unit.behaviour.main);
        unit.next = after(now, takes, exit, Step::MainEnded(exit));
        match unit.behaviour.start_type {
            StartType::Oneshot => unit.become_state(ActiveState::Activating, "start", now),
            StartType::Process => {
                let sub = if unit.behaviour.main.is_empty() {
                    "active"
                } else {
                    "running"
                };
                unit.become_state(ActiveState::Active, sub, now);
                unit.end_job(&JobResult::Done, "");
                if unit.behaviour.main.is_empty() {
                    unit.next = None;
                }
            }
        }
        if let Some((at, step)) = unit.next
            && at <= now.at
        {
            self.step(name, step, now);
        }
    }

    fn main_ended(&mut self, name: &UnitName, exit: Exit, now: Now) {
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        let well = exit == Exit::Status(0);
        let ended = unit
            .behaviour
            .main
            .iter()
            .map(|command| command.text.clone());
        self.ended_commands.extend(ended);
        self.changed.insert(name.clone());
        self.history.push(Happening::new(now.at, name, What::Ended));
        let again = match unit.behaviour.restart {
            Restart::Always => true,
            Restart::OnFailure => !well,
            Restart::No => false,
        };
        let was_starting = unit.behaviour.start_type == StartType::Oneshot;
        if well && unit.behaviour.remains {
            unit.become_state(ActiveState::Active, "exited", now);
            unit.end_job(&JobResult::Done, "");
        } else if again && unit.restarts < RESTARTS_MAX && !was_starting {
            unit.restarts += 1;
            unit.become_state(ActiveState::Activating, "auto-restart", now);
            let delay = unit.behaviour.restart_delay;
            unit.next = now.at.checked_add(delay).map(|at| (at, Step::AutoRestart));
        } else if well {
            unit.become_state(ActiveState::Inactive, "dead", now);
            unit.end_job(&JobResult::Done, "");
        } else {
            unit.fail(&format!("exit-code{}", status(exit)), now);
        }
        self.collect();
    }

    fn stopped(&mut self, name: &UnitName, too_long: bool, now: Now) {
        let Some(unit) = self.memory.get_mut(name) else {
            return;
        };
        if too_long {
            unit.reason = "timeout".to_owned();
        } else {
            let ended = unit
                .behaviour
                .stop
                .iter()
                .map(|command| command.text.clone());
            self.ended_commands.extend(ended);
        }
        self.history
            .push(Happening::new(now.at, name, What::Stopped));
        unit.restarts = 0;
        if unit.reason.is_empty() {
            unit.become_state(ActiveState::Inactive, "dead", now);
        } else {
            unit.become_state(ActiveState::Failed, "failed", now);
        }
        match unit.job.as_ref().map(|job| job.verb) {
            Some(Verb::Start | Verb::Restart) => self.begin(name, now),
            Some(Verb::Stop) | None => unit.end_job(&JobResult::Done, ""),
        }
        self.collect();
    }
}

impl Memory {
    /// True if starting it needs no more than forgetting its failure.
    pub(super) fn reset_failed(&mut self) {
        self.restarts = 0;
        if self.active == ActiveState::Failed {
            self.active = ActiveState::Inactive;
            self.sub = "dead";
        }
    }

    fn become_state(&mut self, active: ActiveState, sub: &'static str, now: Now) {
        self.active = active;
        self.sub = sub;
        self.since_unix_ms = now.unix_ms;
    }

    fn fail(&mut self, reason: &str, now: Now) {
        self.reason = reason.to_owned();
        self.become_state(ActiveState::Failed, "failed", now);
        self.end_job(&JobResult::Failed, reason);
    }

    fn end_job(&mut self, result: &JobResult, message: &str) {
        for waiting in self.job.take().map(|job| job.waiting).unwrap_or_default() {
            // Whoever no longer listens does not need to know.
            drop(waiting.send(end(result.clone(), message)));
        }
    }
}

fn end(result: JobResult, message: &str) -> JobEnd {
    JobEnd {
        result,
        message: message.to_owned(),
    }
}

fn after(now: Now, takes: Duration, exit: Exit, step: Step) -> Option<(Instant, Step)> {
    match exit {
        Exit::Never => None,
        Exit::Status(_) => now.at.checked_add(takes).map(|at| (at, step)),
    }
}
