//! One unit that is waited for, and what was said of it.

use api::types::{Explanation, Hold, Needs};
use tokio::time::Instant;

use crate::session::Session;
use crate::wait::observed::Observed;
use crate::wait::report;
use crate::wait::verdict::{Pending, Wish};
use crate::why;

/// See the file.
pub(super) struct Waiting {
    /// What is waited for.
    pub(super) wish: Wish,
    /// What it is at.
    pub(super) pending: Pending,
    /// Since when no machine can run it.
    pub(super) held_since: Option<Instant>,
    /// What was said of that already.
    pub(super) held_told: Option<Hold>,
}

impl Waiting {
    /// Of a wish of which nothing is known yet.
    pub(super) fn of(wish: Wish) -> Waiting {
        Waiting {
            wish,
            pending: Pending::Unseen,
            held_since: None,
            held_told: None,
        }
    }

    /// Takes note of what it is at now.
    pub(super) fn now(&mut self, pending: Pending) {
        match &pending {
            Pending::Held(hold) => {
                self.held_since.get_or_insert_with(Instant::now);
                if self.held_told.as_ref().is_some_and(|told| told != hold) {
                    self.held_told = None;
                }
            }
            Pending::Unseen | Pending::Unplaced | Pending::OnMachine(_) | Pending::InSystemd(_) => {
                self.held_since = None;
                self.held_told = None;
            }
        }
        self.pending = pending;
    }

    /// Whether it will go on waiting unless somebody changes something.
    pub(super) fn needs_change(&self) -> bool {
        match &self.pending {
            Pending::Held(hold) => hold.needs == Needs::Change,
            Pending::Unseen | Pending::Unplaced | Pending::OnMachine(_) | Pending::InSystemd(_) => {
                false
            }
        }
    }

    /// Says why no machine can run the unit, once for each reason. Returns whether fleetd was asked for the whole
    /// explanation, as it is if `ask`.
    pub(super) async fn tell_hold(
        &mut self,
        session: &mut Session<'_>,
        observed: &Observed,
        ask: bool,
    ) -> bool {
        let Pending::Held(hold) = &self.pending else {
            return false;
        };
        if self.held_told.as_ref() == Some(hold) {
            return false;
        }
        let why = match ask {
            true => self.explanation(session).await,
            false => None,
        };
        let text = report::held(&self.wish, hold, why.as_ref(), &observed.machines);
        session.output.note(&text);
        self.held_told = Some(hold.clone());
        ask
    }

    /// The whole of why it waits, if it does and fleetd can tell.
    pub(super) async fn explanation(&self, session: &mut Session<'_>) -> Option<Explanation> {
        match &self.pending {
            Pending::Held(_) => why::explanation(session, &self.wish.name).await,
            Pending::Unseen | Pending::Unplaced | Pending::OnMachine(_) | Pending::InSystemd(_) => {
                None
            }
        }
    }
}
