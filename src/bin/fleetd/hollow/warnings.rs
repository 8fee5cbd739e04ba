//! Counts warnings instead of printing them: what a thousand machines say at once is told as one line with a number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Different warnings that are told apart; fleet's own code has fewer. Those beyond it are counted together.
const KINDS_MAX: usize = 100;

/// Warnings and errors so far, by their text, with the details of the last one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings(Arc<Mutex<BTreeMap<String, Kind>>>);

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    last: String,
}

impl Warnings {
    /// One line for each kind; forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *kinds)
            .into_iter()
            .map(|(text, kind)| format!("{} × {text} (the last:{})", kind.count, kind.last))
            .collect()
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut told = Told::default();
        event.record(&mut told);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if kinds.len() < KINDS_MAX || kinds.contains_key(&told.text) {
            told.text
        } else {
            "other warnings".to_owned()
        };
        let kind = kinds.entry(text).or_default();
        kind.count += 1;
        kind.last = told.details;
    }
}

/// An event's text and its other fields.
#[derive(Default)]
struct Told {
    text: String,
    details: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        } else {
            self.details += &format!(" {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_same_warning_is_told_once_with_its_number() {
        let warnings = Warnings::default();
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::with_default(subscriber, || {
            for unit in 1..=3 {
                tracing::warn!(unit, "cannot be done");
            }
            tracing::info!("all is well");
        });
        assert_eq!(warnings.take(), ["3 × cannot be done (the last: unit=3)"]);
        assert!(warnings.take().is_empty());
    }
}
