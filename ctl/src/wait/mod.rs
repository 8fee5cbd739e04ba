//! Waits for the machines to do what was asked: one stream of events for all units of a command, no polling.
//!
//! The stream begins with the present state. One that breaks is opened again, at another endpoint if there is one, and goes
//! on where it broke if that fleetd knows what happened since.

mod journal;
mod observed;
mod report;
mod verdict;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use api::client::ClientError;
use api::types::{Event, UnitName};
use futures_util::{Stream, StreamExt};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep, sleep_until};

use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::session::Session;
use crate::wait::observed::{Observed, Touched};
use crate::wait::verdict::{Failure, Pending, Verdict, judge};
pub(crate) use crate::wait::verdict::{Goal, Wish};
use crate::wait::waiting::Waiting;

/// One of `--block-attempts`, as long as in fleet 1.0.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a unit must have been without a machine that can run it before that is told. The engine may just be about to
/// free one: a unit in the way is being stopped, a machine is joining.
const HOLD_STANDS_AFTER: Duration = Duration::from_secs(2);

/// When to say that no engine has looked at a unit. Engines take over from each other within this time.
const UNPLACED_TOLD_AFTER: Duration = Duration::from_secs(10);

/// Pause before a broken stream is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// How long events that come one upon the other may put off what is due by time.
const READ_ON_MAX: Duration = Duration::from_millis(500);

/// A wait shorter than this shows no progress: it would only flicker.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Pause between two lines of progress, which say how many seconds it has been.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// Units whose failure is told in full; a person mends the first few, the rest are counted.
const TOLD_MAX: usize = 10;

/// The status of a command that SIGINT ended, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// What to say whenever a wait ends early.
const ACCEPTED: &str = "The request was accepted and will be carried out.";

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until it is clear how it ends.
    UntilClear,
    /// For this long.
    Limited(Duration),
}

impl Patience {
    /// What `--block-attempts` says.
    pub(crate) fn of_attempts(attempts: i64) -> Patience {
        match u32::try_from(attempts) {
            Ok(0) | Err(_) => Patience::UntilClear,
            Ok(attempts) => Patience::Limited(ATTEMPT.saturating_mul(attempts)),
        }
    }
}

/// Waits until all wishes are fulfilled, and says of each on stdout when it is.
///
/// # Errors
/// As soon as one will not be: `context` begins the message. Also if time is up, if no machine can run a unit, and if the
/// cluster cannot be reached any more.
pub(crate) async fn wait(
    session: &mut Session<'_>,
    context: &str,
    wishes: Vec<Wish>,
    patience: Patience,
) -> Result<(), CommandError> {
    let names: Vec<UnitName> = wishes.iter().map(|wish| wish.name.clone()).collect();
    let mut vigil = Vigil::new(context, wishes, patience);
    let result = tokio::select! {
        result = watch(session, &mut vigil, &names) => result,
        // Without a handler the signal ends the process, as it would without this.
        Ok(()) = ctrl_c(), if !names.is_empty() => Err(interrupted(context)),
    };
    session.output.wipe_progress();
    result
}

fn were(others: usize) -> String {
    let verb = if others == 1 { "was" } else { "were" };
    format!("{} {verb}", counted(others, "more unit"))
}

/// Somebody does not want to wait any longer.
fn interrupted(context: &str) -> CommandError {
    let kind = Kind::Exit(EXIT_INTERRUPTED);
    CommandError::new(kind, format!("{context}: interrupted while waiting")).with_hint(ACCEPTED)
}

async fn watch(
    session: &mut Session<'_>,
    vigil: &mut Vigil<'_>,
    names: &[UnitName],
) -> Result<(), CommandError> {
    let mut lost_at: Option<Instant> = None;
    let mut observed = Observed::default();
    while !vigil.pending.is_empty() {
        let after = observed.revision;
        let since = after.map_or(String::new(), |after| format!(" since {after}"));
        let units = counted(names.len(), "unit");
        session.debug(&format!("events of {units}{since}"));
        observed.open();
        let error = match session.client.events(names, after).await {
            Ok(mut events) => match vigil.follow(session, &mut events, &mut observed).await? {
                Followed::Done => return Ok(()),
                Followed::Ended(error) => {
                    if observed.synced {
                        lost_at = None;
                    }
                    error
                }
            },
            Err(error) => Some(error),
        };
        let lost = *lost_at.get_or_insert_with(Instant::now);
        if lost.elapsed() >= session.request_timeout() || vigil.is_late() {
            return Err(lost_touch(vigil.context, error));
        }
        vigil.show_lost(session);
        sleep(REOPEN_PAUSE).await;
    }
    Ok(())
}

fn lost_touch(context: &str, error: Option<ClientError>) -> CommandError {
    let context = format!("{context}: lost touch with the cluster while waiting");
    let error = match error {
        Some(error) => CommandError::request(context, error),
        None => CommandError::new(
            Kind::Cluster,
            format!("{context}: fleetd ended the connection"),
        ),
    };
    error.with_hint(ACCEPTED)
}

/// How following one stream ended.
enum Followed {
    /// All wishes are fulfilled.
    Done,
    /// The stream ended before; the error is none if fleetd ended it.
    Ended(Option<ClientError>),
}

/// The wishes that are not fulfilled yet.
struct Vigil<'c> {
    context: &'c str,
    pending: BTreeMap<UnitName, Waiting>,
    patience: Patience,
    deadline: Option<Instant>,
    began: Instant,
    unplaced_told: bool,
    /// Units of which fleetd was asked why they wait.
    explained: usize,
    total: usize,
    progress_due: Instant,
}

impl<'c> Vigil<'c> {
    fn new(context: &'c str, wishes: Vec<Wish>, patience: Patience) -> Vigil<'c> {
        let began = Instant::now();
        let deadline = match patience {
            Patience::UntilClear => None,
            Patience::Limited(limit) => began.checked_add(limit),
        };
        let waiting = |wish: Wish| (wish.name.clone(), Waiting::of(wish));
        let pending: BTreeMap<_, _> = wishes.into_iter().map(waiting).collect();
        Vigil {
            context,
            total: pending.len(),
            pending,
            patience,
            deadline,
            began,
            unplaced_told: false,
            explained: 0,
            progress_due: began + PROGRESS_AFTER,
        }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    async fn follow(
        &mut self,
        session: &mut Session<'_>,
        events: &mut (impl Stream<Item = Result<Event, ClientError>> + Unpin),
        observed: &mut Observed,
    ) -> Result<Followed, CommandError> {
        let mut overdue_since: Option<Instant> = None;
        loop {
            let wake = self.next_wake(session.output.shows_progress());
            if wake <= Instant::now() {
                overdue_since.get_or_insert_with(Instant::now);
            }
            let event = tokio::select! {
                // What has come already counts also if this was held up until time is up.
                biased;
                event = events.next() => event,
                () = sleep_until(wake) => {
                    overdue_since = None;
                    self.check_time(session, observed).await?;
                    continue;
                }
            };
            let touched = match event {
                Some(Ok(event)) => observed.take_in(event),
                Some(Err(error)) => return Ok(Followed::Ended(Some(error))),
                None => return Ok(Followed::Ended(None)),
            };
            if !observed.synced {
                continue;
            }
            let names: Vec<UnitName> = match touched {
                Touched::Unit(name) => vec![name],
                Touched::All => self.pending.keys().cloned().collect(),
                Touched::Nothing => Vec::new(),
            };
            self.judge(session, observed, &names).await?;
            if self.pending.is_empty() {
                return Ok(Followed::Done);
            }
            if overdue_since.is_some_and(|since| since.elapsed() >= READ_ON_MAX) {
                overdue_since = None;
                self.check_time(session, observed).await?;
            }
        }
    }

    async fn judge(
        &mut self,
        session: &mut Session<'_>,
        observed: &Observed,
        names: &[UnitName],
    ) -> Result<(), CommandError> {
        let mut failures: Vec<(Wish, Failure)> = Vec::new();
        for name in names {
            let Some(waiting) = self.pending.get_mut(name) else {
                continue;
            };
            match judge(&waiting.wish, observed) {
                Verdict::Pending(pending) => waiting.now(pending),
                Verdict::Reached { state, machine } => {
                    let line =
                        report::reached(&waiting.wish, state, machine.as_ref(), &observed.machines);
                    session.output.line(&line)?;
                    self.pending.remove(name);
                }
                Verdict::Failed(failure) => failures.push((waiting.wish.clone(), failure)),
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(self.failed(session, observed, &failures).await)
    }

    async fn failed(
        &self,
        session: &mut Session<'_>,
        observed: &Observed,
        failures: &[(Wish, Failure)],
    ) -> CommandError {
        let mut texts = Vec::new();
        for (wish, failure) in failures.iter().take(TOLD_MAX) {
            let mut text = report::failed(wish, failure, &observed.machines);
            if let Failure::OnMachine(state) = failure {
                text.push_str(&journal::last_lines(session, &wish.name, &state.machine_id).await);
            }
            texts.push(text);
        }
        let error = CommandError::new(Kind::Outcome, self.joined(&texts, failures.len()));
        match self.pending.len() - failures.len() {
            0 => error,
            others => error.with_hint(&format!(
                "{} not waited for; see fleetctl list-units.",
                were(others)
            )),
        }
    }

    /// When there is next something to do that no event tells of.
    fn next_wake(&self, progress: bool) -> Instant {
        let all_held = self
            .pending
            .values()
            .all(|waiting| waiting.held_since.is_some() && waiting.needs_change());
        let ends = all_held && self.patience == Patience::UntilClear;
        let holds = self.pending.values().filter_map(|waiting| {
            let due = ends || waiting.held_told.is_none();
            waiting
                .held_since
                .filter(|_| due)
                .map(|since| since + HOLD_STANDS_AFTER)
        });
        let unplaced = (!self.unplaced_told).then(|| self.began + UNPLACED_TOLD_AFTER);
        let progress = progress.then_some(self.progress_due);
        let wake = holds
            .chain(self.deadline)
            .chain(unplaced)
            .chain(progress)
            .min();
        wake.unwrap_or_else(|| Instant::now() + UNPLACED_TOLD_AFTER)
    }

    /// Does what is due at this time.
    async fn check_time(
        &mut self,
        session: &mut Session<'_>,
        observed: &Observed,
    ) -> Result<(), CommandError> {
        if self.is_late() {
            return Err(self.late(session, observed).await);
        }
        let now = Instant::now();
        if !self.unplaced_told && now >= self.began + UNPLACED_TOLD_AFTER {
            self.unplaced_told = true;
            self.tell_unplaced(session);
        }
        let stands = |waiting: &Waiting| {
            waiting
                .held_since
                .is_some_and(|since| since + HOLD_STANDS_AFTER <= now)
        };
        // What only needs time is waited for: it ends by itself.
        let all_stand = self
            .pending
            .values()
            .all(|waiting| stands(waiting) && waiting.needs_change());
        if all_stand && self.patience == Patience::UntilClear {
            return Err(self.nothing_fits(session, observed).await);
        }
        for waiting in self.pending.values_mut().filter(|waiting| stands(waiting)) {
            if waiting
                .tell_hold(session, observed, self.explained < TOLD_MAX)
                .await
            {
                self.explained += 1;
            }
        }
        if now >= self.progress_due {
            self.progress_due = now + PROGRESS_PAUSE;
            self.show_progress(session, observed);
        }
        Ok(())
    }

    /// Shows a person how many units are still waited for, for how long, and what the first of them is at.
    fn show_progress(&self, session: &mut Session<'_>, observed: &Observed) {
        let Some(first) = self.pending.values().next() else {
            return;
        };
        let doing = report::pending(&first.pending, &observed.machines);
        let text = format!("{}: {doing}", first.wish.name);
        self.show(session, &text);
    }

    fn show_lost(&self, session: &mut Session<'_>) {
        if self.began.elapsed() >= PROGRESS_AFTER {
            self.show(session, "the connection to fleetd is lost, trying again");
        }
    }

    fn show(&self, session: &mut Session<'_>, what: &str) {
        let left = self.pending.len();
        let seconds = self.began.elapsed().as_secs();
        let units = match self.total {
            1 => "unit".to_owned(),
            total => format!("{left} of {total} units"),
        };
        session
            .output
            .progress(&format!("Waiting for {units}, {seconds} s. {what}"));
    }

    async fn late(&self, session: &mut Session<'_>, observed: &Observed) -> CommandError {
        let mut texts = Vec::new();
        for waiting in self.pending.values().take(TOLD_MAX) {
            let why = waiting.explanation(session).await;
            let Waiting { wish, pending, .. } = waiting;
            let machines = &observed.machines;
            texts.push(report::timed_out(wish, pending, why.as_ref(), machines));
        }
        CommandError::new(Kind::Outcome, self.joined(&texts, self.pending.len()))
    }

    async fn nothing_fits(&self, session: &mut Session<'_>, observed: &Observed) -> CommandError {
        let mut texts = Vec::new();
        for waiting in self.pending.values().take(TOLD_MAX) {
            let name = &waiting.wish.name;
            texts.push(match &waiting.pending {
                // What was said already is not said again in full.
                Pending::Held(hold) if waiting.held_told.as_ref() == Some(hold) => {
                    format!("unit {name} waits: {}", hold.reason)
                }
                Pending::Held(hold) => {
                    let why = waiting.explanation(session).await;
                    report::held(&waiting.wish, hold, why.as_ref(), &observed.machines)
                }
                Pending::Unseen
                | Pending::Unplaced
                | Pending::OnMachine(_)
                | Pending::InSystemd(_) => format!("unit {name} waits"),
            });
        }
        CommandError::new(Kind::Outcome, self.joined(&texts, self.pending.len())).with_hint(
            "It stays submitted, and goes on as soon as a machine can run it. --block-attempts=N waits for that, --no-block does not wait at all.",
        )
    }

    fn tell_unplaced(&self, session: &mut Session<'_>) {
        let mut unplaced = self
            .pending
            .values()
            .filter(|waiting| waiting.pending == Pending::Unplaced);
        if let Some(first) = unplaced.next() {
            let others = match unplaced.count() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            session.output.note(&format!(
                "Still waiting: no engine has placed unit {}{others}. Does a fleetd with its engine enabled run?",
                first.wish.name
            ));
        }
    }

    fn joined(&self, texts: &[String], count: usize) -> String {
        let mut text = format!("{}: {}", self.context, texts.join("\n"));
        if count > texts.len() {
            let others = counted(count - texts.len(), "more unit");
            text.push_str(&format!("\nand {others}"));
        }
        text
    }
}
