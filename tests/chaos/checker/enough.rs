//! Whether enough happened for a run to mean anything. Modest, as on a slow machine less happens; but a run in which nothing
//! happened proves nothing.

use super::Report;
use crate::history::Kind;

/// Of a run of the length that `make test` has: twice as many faults are usual. A run goes on for longer to have them.
pub(crate) const FAULTS_MIN: usize = 5;
pub(crate) const KINDS_MIN: usize = 4;
const SETTLED_MIN: usize = 3;
const ACKNOWLEDGED_MIN: usize = 1;

/// Every run begins with a power loss and a cut link, each alone and for longer than the lease.
const WAYS: &[&str] = &["power loss", "link down"];

impl Report {
    /// What there was too little of, beyond the `units` activations that any run begins with.
    pub(crate) fn shortfalls(&self, units: usize) -> Vec<String> {
        let faults: usize = self.faults.values().sum();
        let moved = |way: &str, kind: Kind| {
            let failovers = self.failovers.iter();
            failovers
                .filter(|(by, of, _)| *by == way && *of == kind)
                .count()
        };
        let mut least: Vec<(String, usize, usize)> = vec![
            ("faults".to_owned(), faults, FAULTS_MIN),
            ("kinds of faults".to_owned(), self.faults.len(), KINDS_MIN),
            ("activations".to_owned(), self.activations, units + 2),
            (
                "requests done".to_owned(),
                self.acknowledged,
                ACKNOWLEDGED_MIN,
            ),
            (
                "times as wanted".to_owned(),
                self.settled.len(),
                SETTLED_MIN,
            ),
            ("duplicates stopped".to_owned(), self.duplicates.len(), 1),
        ];
        for way in WAYS {
            let text = format!("units that moved after {way}");
            least.push((text, moved(way, Kind::Single), 1));
        }
        let too_few = least.into_iter().filter(|(_, seen, least)| seen < least);
        too_few
            .map(|(what, seen, least)| format!("{what}: {seen}, at least {least} expected"))
            .collect()
    }
}
