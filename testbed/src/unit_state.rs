//! What systemd says of a unit, read from `systemctl show`.

use std::collections::BTreeMap;

/// A unit as systemd sees it at one moment. What shows that a unit was left alone is an equal `invocation_id`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnitState {
    /// Another for every start of the unit; empty if it was never started.
    pub invocation_id: String,
    /// `loaded`, `not-found` and the like.
    pub load_state: String,
    /// `active`, `inactive`, `failed` and the like.
    pub active_state: String,
    /// `running`, `dead` and the like.
    pub sub_state: String,
    /// The main process, as the machine numbers it; 0 if there is none.
    pub main_pid: u32,
    /// How the last run ended: `success`, `exit-code` and the like.
    pub result: String,
}

/// The properties that [`parse`] reads.
pub(crate) const PROPERTIES: &str =
    "--property=Id,InvocationID,LoadState,ActiveState,SubState,MainPID,Result";

/// Reads the output of `systemctl show` with [`PROPERTIES`]: one paragraph a unit.
pub(crate) fn parse(text: &str) -> BTreeMap<String, UnitState> {
    let paragraphs = text
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs
        .map(|paragraph| {
            let values: BTreeMap<_, _> = paragraph
                .lines()
                .filter_map(|line| line.split_once('='))
                .collect();
            let value = |key: &str| values.get(key).copied().unwrap_or_default().to_owned();
            let state = UnitState {
                invocation_id: value("InvocationID"),
                load_state: value("LoadState"),
                active_state: value("ActiveState"),
                sub_state: value("SubState"),
                // Units without processes (sockets, timers) have no such line.
                main_pid: value("MainPID").parse().unwrap_or(0),
                result: value("Result"),
            };
            (value("Id"), state)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_paragraph_is_a_unit() {
        let text = "MainPID=42\nId=a.service\nInvocationID=abc\nActiveState=active\nSubState=running\n\
                    LoadState=loaded\nResult=success\n\nId=b.timer\nActiveState=inactive\n";
        let units = parse(text);
        assert_eq!(units.len(), 2);
        assert_eq!(units["a.service"].main_pid, 42);
        assert_eq!(units["a.service"].invocation_id, "abc");
        assert_eq!(units["b.timer"].main_pid, 0);
        assert_eq!(units["b.timer"].active_state, "inactive");
    }
}
