//! What the story asks the cluster: where units are, and what systemd itself says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Machine, Testbed, UnitState, until};

/// How long anything in the story may take. Losing a machine is noticed after `agent_ttl`, 10 s; the
/// rest takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A unit on a machine, as `fleetctl list-units` shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Placement {
    pub(crate) unit: String,
    /// Machine name in the testbed.
    pub(crate) machine: String,
    /// systemd's active state.
    pub(crate) active: String,
}

/// Asks `through` for the units of the cluster.
pub(crate) fn placements(bed: &Testbed, through: &Machine) -> Result<Vec<Placement>> {
    let listed = through
        .run(&[
            "fleetctl",
            "list-units",
            "--full",
            "--no-legend",
            "--fields=unit,machine,active",
        ])?
        .success()?;
    let mut found = Vec::new();
    for line in listed.stdout.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [unit, place, active] = words[..] else {
            anyhow::bail!("list-units printed {line:?}, not unit, machine and active state");
        };
        let id = place.split('/').next().unwrap_or(place);
        let machine = bed
            .machines()
            .iter()
            .find(|machine| machine.machine_id() == id);
        let machine = machine.map_or("-", Machine::name).to_owned();
        found.push(Placement {
            unit: unit.to_owned(),
            machine,
            active: active.to_owned(),
        });
    }
    found.sort();
    Ok(found)
}

/// Waits until the cluster's units are as `wanted` says, and returns them. `wanted` says what is missing.
pub(crate) fn settle(
    bed: &Testbed,
    through: &Machine,
    what: &str,
    wanted: impl Fn(&[Placement]) -> Result<()>,
) -> Result<Vec<Placement>> {
    let found = until(what, PATIENCE, || {
        let found = placements(bed, through).map_err(|error| format!("{error:#}"))?;
        match wanted(&found) {
            Ok(()) => Ok(found),
            Err(missing) => Err(format!("{missing:#}; list-units: {found:#?}")),
        }
    })?;
    Ok(found)
}

/// Waits until `fleetctl list-machines` on `through` shows so many machines.
pub(crate) fn wait_for_machines(through: &Machine, count: usize) -> Result<()> {
    until(&format!("a cluster of {count} machines"), PATIENCE, || {
        let listed = through
            .run(&["fleetctl", "list-machines", "--no-legend"])
            .and_then(testbed::Output::success);
        let listed = listed.map_err(|error| error.to_string())?.stdout;
        if listed.lines().count() == count {
            Ok(())
        } else {
            Err(listed)
        }
    })?;
    Ok(())
}

/// Returns the machines that run `unit`.
pub(crate) fn homes<'a>(found: &'a [Placement], unit: &str) -> BTreeSet<&'a str> {
    let here = found
        .iter()
        .filter(|placement| placement.unit == unit && placement.active == "active");
    here.map(|placement| placement.machine.as_str()).collect()
}

/// Returns the one machine that runs `unit`.
pub(crate) fn home<'a>(found: &'a [Placement], unit: &str) -> Result<&'a str> {
    let homes = homes(found, unit);
    ensure!(
        homes.len() == 1,
        "{unit} is active on {homes:?}, not on one machine"
    );
    homes.into_iter().next().context("one was counted")
}

/// What systemd says, machine by machine, of every unit that the cluster runs.
pub(crate) type Seen = BTreeMap<(String, String), UnitState>;

/// Asks the systemd of every machine for the units that `found` places there.
pub(crate) fn ask_systemd(bed: &Testbed, found: &[Placement]) -> Result<Seen> {
    let mut seen = Seen::new();
    for machine in bed.machines().iter().filter(|machine| machine.is_on()) {
        let here = found
            .iter()
            .filter(|placement| placement.machine == machine.name());
        let units: Vec<_> = here.map(|placement| placement.unit.as_str()).collect();
        if units.is_empty() {
            continue;
        }
        for (unit, state) in machine.unit_states(&units)? {
            seen.insert((machine.name().to_owned(), unit), state);
        }
    }
    Ok(seen)
}
