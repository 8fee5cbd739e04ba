//! The user: asks for things one after the other, and knows what may have come of them when an answer was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Action, ClusterStore, Done, MetadataEdit, Outcome, Refusal, StoreError, UnitRequest};
use registry::View;
use tokio::sync::mpsc;
use tokio::time::sleep;
use unitfile::FileHash;

use crate::history::History;

/// What a user asks.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Unit(Box<UnitRequest>),
    Machine(MetadataEdit),
    /// Nothing for so long.
    Wait(Duration),
}

/// What may be in the store of a unit: its target and file; none if there is no such unit.
pub(crate) type Possible = BTreeSet<Option<(String, FileHash)>>;

/// What has been asked for, as far as its user can know. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    inner: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    units: BTreeMap<String, Possible>,
    waiting: u64,
    /// What is still to be asked is asked at once.
    is_hurried: bool,
}

impl Asked {
    /// What may be in the store of each unit.
    pub(crate) fn units(&self) -> BTreeMap<String, Possible> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .units
            .clone()
    }

    /// True if everything that was asked has been answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            == 0
    }

    /// From now on there is no pause between requests.
    pub(crate) fn hurry(&self) {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_hurried = true;
    }

    fn is_patient(&self) -> bool {
        let state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        !state.is_hurried
    }

    /// Notes that something will be asked.
    pub(crate) fn queue(&self) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting += 1;
    }

    fn answered(&self) {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(1);
    }

    /// Takes in the answer to a request about a unit.
    fn learn(&self, request: &UnitRequest, answer: &Result<Result<Outcome, Refusal>, StoreError>) {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let possible = state
            .units
            .entry(request.name.to_string())
            .or_insert_with(|| BTreeSet::from([None]));
        let after = possible_after(request, possible);
        match answer {
            Ok(Ok(outcome)) => *possible = narrowed(request, outcome, after),
            Ok(Err(_refused)) => {}
            Err(_) => possible.extend(after),
        }
    }
}

/// What the request makes of what there may be, if it is carried out.
fn possible_after(request: &UnitRequest, before: &Possible) -> Possible {
    let target = match request.action {
        Action::Start | Action::Restart => Some("launched"),
        Action::Load | Action::Stop => Some("loaded"),
        Action::Unload => Some("inactive"),
        Action::Submit | Action::Destroy | Action::Set(_) | Action::Move(_) => None,
    };
    let own = request.file.as_ref().map(unitfile::UnitFile::file_hash);
    let mut after = Possible::new();
    for unit in before {
        match (unit, own) {
            _ if request.action == Action::Destroy => drop(after.insert(None)),
            (Some((was, file)), own) => {
                let target = target.unwrap_or(was).to_owned();
                after.insert(Some((target.clone(), *file)));
                after.extend(own.map(|own| Some((target, own))));
            }
            (None, Some(own)) => {
                let target = target.unwrap_or("inactive").to_owned();
                after.insert(Some((target, own)));
            }
            (None, None) => drop(after.insert(None)),
        }
    }
    after
}

/// What there may be after a request that is known to have been carried out.
fn narrowed(request: &UnitRequest, outcome: &Outcome, after: Possible) -> Possible {
    let own = request.file.as_ref().map(unitfile::UnitFile::file_hash);
    let is_new = matches!(outcome.done, Done::Created | Done::Replaced);
    let fits = |unit: &Option<(String, FileHash)>| match unit {
        None => outcome.done == Done::Destroyed,
        Some((target, file)) => {
            outcome.done != Done::Destroyed
                && *target == outcome.target.to_string()
                && (!is_new || Some(*file) == own)
        }
    };
    after.into_iter().filter(fits).collect()
}

/// Asks for everything in the queue, one after the other.
pub(crate) async fn client(
    view: View,
    mut queue: mpsc::UnboundedReceiver<Ask>,
    asked: Asked,
    history: History,
) {
    while let Some(ask) = queue.recv().await {
        match ask {
            Ask::Unit(request) => {
                let what = format!("{} {}", request.action.as_str(), request.name);
                history.note("user", format!("asks: {what}"));
                let answer = view.apply(vec![(*request).clone()]).await;
                let answer = answer.map(|mut answers| answers.remove(0));
                let told = match &answer {
                    Ok(Ok(outcome)) => {
                        format!("{:?}, request {}", outcome.done, outcome.generation)
                    }
                    Ok(Err(refusal)) => format!("refused: {refusal}"),
                    Err(error) => error.to_string(),
                };
                history.note("user", format!("is told of {what}: {told}"));
                asked.learn(&request, &answer);
            }
            Ask::Machine(edit) => {
                let what = format!("{}: {}={:?}", edit.machine, edit.key, edit.value);
                let answer = view.edit_machines(vec![edit]).await;
                history.note("user", format!("sets {what}: {answer:?}"));
            }
            Ask::Wait(pause) if asked.is_patient() => sleep(pause).await,
            Ask::Wait(_) => {}
        }
        asked.answered();
    }
}
