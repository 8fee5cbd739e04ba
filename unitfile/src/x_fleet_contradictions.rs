//! PURE. What in one `[X-Fleet]` no machine could ever satisfy, though each option by itself is well formed.

use crate::error::{ErrorKind, excerpt};
use crate::metadata::{MetadataTest, contradicting_key};
use crate::x_fleet_reader::{Located, Occurrence, Reader};
use crate::{Comparison, Decimal, Demand, Glob, MetadataTerm, UnitName};

impl Reader<'_> {
    /// Terms, in order of their keys, the last of which stands on this line.
    pub(crate) fn check_metadata(&mut self, line: u32, terms: &[MetadataTerm]) {
        if let Some(key) = contradicting_key(terms) {
            let kind = ErrorKind::ContradictingMetadata { key: excerpt(key) };
            self.error(line, kind, "Remove one of its terms");
        }
    }

    /// Counted resources, which machines state as metadata: so many must be allowed to be there.
    pub(crate) fn check_counted(
        &mut self,
        texts: &[Occurrence],
        demand: &Demand,
        metadata: &[MetadataTerm],
    ) {
        for (name, count) in &demand.counted {
            let mut terms: Vec<MetadataTerm> = metadata
                .iter()
                .filter(|term| term.key == *name)
                .cloned()
                .collect();
            // What is wrong with the terms by themselves is said of them.
            if terms.is_empty() || contradicting_key(&terms).is_some() {
                continue;
            }
            let Some(least) = Decimal::parse(&count.to_string()) else {
                continue;
            };
            terms.push(MetadataTerm {
                key: name.clone(),
                test: MetadataTest::Number(Comparison::GreaterOrEqual, least),
            });
            if contradicting_key(&terms).is_some() {
                let kind = ErrorKind::ResourceMatchesNoMetadata {
                    name: excerpt(name),
                    count: *count,
                };
                let line = texts.last().map_or(0, |last| last.line);
                self.error(line, kind, "Ask for less of it, or change MachineMetadata");
            }
        }
    }

    /// Other units by name: nobody can be with one that it refuses or drives away.
    pub(crate) fn check_names(
        &mut self,
        peers: &[Located<UnitName>],
        conflicts: &[Located<Glob>],
        replaces: &[Located<Glob>],
    ) {
        for peer in peers {
            let name = peer.value.to_string();
            if peer.value == *self.name {
                let kind = ErrorKind::PeerIsSelf { peer: name.clone() };
                self.error(peer.line, kind, "Name other units only");
            }
            for conflict in conflicts
                .iter()
                .filter(|conflict| conflict.value.matches(&name))
            {
                let conflict = conflict.value.to_string();
                let kind = ErrorKind::PeerMatchesConflict {
                    peer: name.clone(),
                    conflict,
                };
                self.error(
                    peer.line,
                    kind,
                    "Remove it from MachineOf or from Conflicts",
                );
            }
            for replace in replaces
                .iter()
                .filter(|replace| replace.value.matches(&name))
            {
                let replace = replace.value.to_string();
                let kind = ErrorKind::PeerMatchesReplace {
                    peer: name.clone(),
                    replace,
                };
                self.error(peer.line, kind, "Remove it from MachineOf or from Replaces");
            }
        }
        for conflict in conflicts {
            if replaces
                .iter()
                .any(|replace| replace.value == conflict.value)
            {
                let kind = ErrorKind::ConflictIsReplace {
                    pattern: conflict.value.to_string(),
                };
                self.error(
                    conflict.line,
                    kind,
                    "Remove it from Conflicts or from Replaces",
                );
            }
        }
    }
}
