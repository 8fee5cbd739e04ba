//! PURE. The last changes to the cluster, for those who were away for a moment and ask what they missed.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Change, Revision};

/// Changes that are kept: one `fleetctl start` of 1,000 units makes about 4,000, and a few hundred bytes each are some MiB.
const CHANGES_MAX: usize = 8192;

/// What happened since a revision.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Every change after this revision is there; none while nothing is known.
    from: Option<Revision>,
    entries: VecDeque<(Revision, Arc<[Change]>)>,
    /// Changes in all entries.
    length: usize,
}

impl History {
    /// A history that begins after `revision`.
    pub(crate) fn from(revision: Revision) -> History {
        History {
            from: Some(revision),
            ..History::default()
        }
    }

    /// Adds what changed at `revision`, which is later than all before, and forgets the oldest if there is too much.
    pub(crate) fn push(&mut self, revision: Revision, changes: Arc<[Change]>) {
        self.length += changes.len();
        self.entries.push_back((revision, changes));
        while self.length > CHANGES_MAX
            && let Some((revision, changes)) = self.entries.pop_front()
        {
            self.length -= changes.len();
            self.from = Some(revision);
        }
    }

    /// Every change after `revision`, in order; none if that is not known.
    pub(crate) fn since(&self, revision: Revision) -> Option<Vec<Arc<[Change]>>> {
        if revision < self.from? {
            return None;
        }
        let first = self.entries.partition_point(|(at, _)| *at <= revision);
        let later = self.entries.range(first..);
        Some(later.map(|(_, changes)| Arc::clone(changes)).collect())
    }
}

#[cfg(test)]
mod tests {
    use model::MachineId;

    use super::*;

    fn change(number: usize) -> Change {
        let id = MachineId::parse(&format!("{number:032x}")).unwrap();
        Change::Machine(id, None)
    }

    #[test]
    fn it_tells_what_came_after_and_knows_what_it_does_not_know() {
        assert_eq!(History::default().since(Revision(0)), None);
        let mut history = History::from(Revision(10));
        history.push(Revision(12), [change(1), change(2)].into());
        history.push(Revision(15), [change(3)].into());
        let since = |revision| history.since(Revision(revision)).map(|all| all.concat());
        assert_eq!(since(9), None);
        for revision in [10, 11] {
            assert_eq!(since(revision), Some(vec![change(1), change(2), change(3)]));
        }
        for revision in [12, 14] {
            assert_eq!(since(revision), Some(vec![change(3)]));
        }
        assert_eq!(since(15), Some(Vec::new()));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut history = History::from(Revision(0));
        for number in 1..=CHANGES_MAX + 3 {
            history.push(Revision(number as u64), [change(number)].into());
        }
        assert_eq!(history.since(Revision(2)), None);
        assert_eq!(history.since(Revision(3)).unwrap().len(), CHANGES_MAX);
        // More at once than may be kept: nothing is left of it, and it is known that nothing is.
        let many: Vec<_> = (0..=CHANGES_MAX).map(change).collect();
        history.push(Revision(20_000), many.into());
        assert_eq!(history.since(Revision(19_999)), None);
        assert_eq!(history.since(Revision(20_000)), Some(Vec::new()));
    }
}
