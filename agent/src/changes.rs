//! Merges news about units until someone reads them, so that a slow reader costs memory for each unit once and nothing else.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use model::ServiceChange;
use unitfile::UnitName;

/// Tells every [`Changes`] made from it what happened.
#[derive(Debug, Default)]
pub(crate) struct ChangeHub {
    readers: Mutex<Vec<Weak<Mutex<Pending>>>>,
}

/// The changes since the last read, merged; never ends.
#[derive(Debug)]
pub(crate) struct Changes {
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Everything may have changed; then `units` says nothing more.
    all: bool,
    units: BTreeSet<UnitName>,
    reader: Option<Waker>,
}

impl ChangeHub {
    /// A reader of what happens from now on.
    pub(crate) fn subscribe(&self) -> Changes {
        let pending = Arc::new(Mutex::new(Pending::default()));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&pending));
        Changes { pending }
    }

    /// Tells all readers.
    pub(crate) fn tell(&self, change: &ServiceChange) {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in readers.iter().filter_map(Weak::upgrade) {
            let waker = {
                let mut pending = reader.lock().unwrap_or_else(PoisonError::into_inner);
                match change {
                    ServiceChange::All => {
                        pending.all = true;
                        pending.units.clear();
                    }
                    ServiceChange::Unit(name) if !pending.all => {
                        pending.units.insert(name.clone());
                    }
                    ServiceChange::Unit(_) => {}
                }
                pending.reader.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Stream for Changes {
    type Item = ServiceChange;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServiceChange>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut pending.all) {
            return Poll::Ready(Some(ServiceChange::All));
        }
        if let Some(name) = pending.units.pop_first() {
            return Poll::Ready(Some(ServiceChange::Unit(name)));
        }
        pending.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    fn changed(name: &str) -> ServiceChange {
        ServiceChange::Unit(UnitName::parse(name).unwrap())
    }

    #[test]
    fn repeated_news_are_merged_and_all_covers_the_rest() {
        let hub = ChangeHub::default();
        let mut reader = hub.subscribe();
        for name in ["b.service", "a.service", "b.service"] {
            hub.tell(&changed(name));
        }
        assert_eq!(
            reader.next().now_or_never(),
            Some(Some(changed("a.service")))
        );
        assert_eq!(
            reader.next().now_or_never(),
            Some(Some(changed("b.service")))
        );
        assert_eq!(reader.next().now_or_never(), None);
        hub.tell(&changed("a.service"));
        hub.tell(&ServiceChange::All);
        hub.tell(&changed("c.service"));
        assert_eq!(reader.next().now_or_never(), Some(Some(ServiceChange::All)));
        assert_eq!(
            reader.next().now_or_never(),
            None,
            "All covers what was told before it was read"
        );
    }
}
