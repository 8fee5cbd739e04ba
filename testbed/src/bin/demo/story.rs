//! The story itself, chapter by chapter, in the order of telling.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testbed::{Config, Machine, Store, Testbed};

use crate::EXAMPLES;
use crate::cluster::{Placement, ask_systemd, home, homes, settle, wait_for_machines};
use crate::stage::{Stage, seconds};

const WEBS: [&str; 3] = ["web@1.service", "web@2.service", "web@3.service"];

/// Units that run on one machine and may move to another.
const MOVABLE: [&str; 4] = [
    "hello.service",
    "app.service",
    "app-sidekick.service",
    "db.service",
];

/// Boots the machines and returns when they are a cluster.
pub(crate) fn boot(stage: &Stage, config: &Config) -> Result<Testbed> {
    stage.chapter("Three machines boot: Debian, systemd, D-Bus, sshd, fleet")?;
    let started = Instant::now();
    let bed = Testbed::start(config)?;
    match config.store {
        Store::Etcd { .. } => stage.say(&format!("etcd   {}", bed.store_endpoints()))?,
        Store::Embedded => stage.say(
            "no etcd: fleetd on m1 keeps the store itself (standalone=true), m2 and m3 join it",
        )?,
        Store::None => {}
    }
    for (machine, described) in bed.machines().iter().zip(&config.machines) {
        let id = &machine.machine_id()[..8];
        stage.say(&format!(
            "{}     {}  machine-id {id}...  {}",
            machine.name(),
            machine.address(),
            described.metadata
        ))?;
        for (name, text) in EXAMPLES {
            machine.install_file(&format!("/examples/{name}"), text.as_bytes(), 0o644)?;
        }
    }
    stage.say(&format!(
        "({} from nothing to all up)",
        seconds(started.elapsed())
    ))?;
    if let Err(error) = wait_for_machines(first(&bed)?, bed.machines().len()) {
        eprintln!("{}", bed.diagnosis());
        return Err(error);
    }
    Ok(bed)
}

/// Tells the story; an error if anything in it is not as told.
pub(crate) fn tell(stage: &Stage, bed: &Testbed) -> Result<()> {
    start_units(stage, bed)?;
    lose_a_machine(stage, bed)?;
    restart_fleetd(stage, bed)
}

fn start_units(stage: &Stage, bed: &Testbed) -> Result<()> {
    let m1 = first(bed)?;
    stage.chapter("The cluster")?;
    let machines = stage.types(m1, "fleetctl list-machines")?;
    for machine in bed.machines() {
        ensure!(
            machines.stdout.contains(&machine.address().to_string()),
            "{machine:?} is not listed"
        );
    }

    stage.chapter("A plain service: fleet chooses the machine")?;
    stage.types(m1, "fleetctl start examples/hello.service")?;

    stage.chapter(
        "A template, three times, each in conflict with the others: one on each machine",
    )?;
    stage.types(m1, "grep Conflicts examples/web@.service")?;
    stage.types(m1, "fleetctl submit examples/web@.service")?;
    stage.types(m1, "fleetctl start web@1 web@2 web@3")?;

    stage.chapter("A pair that belongs together (MachineOf)")?;
    stage.types(m1, "grep MachineOf examples/app-sidekick.service")?;
    stage.types(
        m1,
        "fleetctl start examples/app.service examples/app-sidekick.service",
    )?;

    stage.chapter("A global unit: on every machine")?;
    stage.types(m1, "fleetctl start examples/node-agent.service")?;

    stage.chapter("A unit that asks for a machine with a fast disk")?;
    stage.types(m1, "grep MachineMetadata examples/db.service")?;
    stage.types(m1, "fleetctl start examples/db.service")?;

    let found = settle(bed, m1, "every unit where it belongs", |found| {
        all_in_place(bed, found)
    })?;
    stage.chapter("Where everything runs")?;
    stage.types(m1, "fleetctl list-units")?;
    stage.types(m1, "fleetctl list-unit-files")?;
    stage.praise(&format!(
        "webs apart, app and sidekick together on {}, db on a fast disk ({}), node-agent on all three",
        home(&found, "app.service")?,
        home(&found, "db.service")?,
    ))
}

/// Checks the rules that the unit files state; says what is not as it should be.
fn all_in_place(bed: &Testbed, found: &[Placement]) -> Result<()> {
    let machines: BTreeSet<_> = bed
        .machines()
        .iter()
        .filter(|machine| machine.is_on())
        .map(Machine::name)
        .collect();
    for unit in MOVABLE {
        home(found, unit)?;
    }
    let webs: BTreeSet<_> = WEBS.iter().flat_map(|unit| homes(found, unit)).collect();
    ensure!(
        webs == machines,
        "webs run on {webs:?}, not one on each of {machines:?}"
    );
    let app = home(found, "app.service")?;
    ensure!(
        home(found, "app-sidekick.service")? == app,
        "app and its sidekick are apart"
    );
    ensure!(
        ["m2", "m3"].contains(&home(found, "db.service")?),
        "db is on a slow disk"
    );
    let agents = homes(found, "node-agent.service");
    ensure!(
        agents == machines,
        "node-agent runs on {agents:?}, not on {machines:?}"
    );
    Ok(())
}

fn lose_a_machine(stage: &Stage, bed: &Testbed) -> Result<()> {
    let m1 = first(bed)?;
    let before = settle(bed, m1, "every unit where it belongs", |found| {
        all_in_place(bed, found)
    })?;
    // Never the first, which may keep the store; and db must have somewhere else to go.
    let lost = bed
        .machine(home(&before, "db.service")?)
        .context("db runs on a machine")?;
    let there = before
        .iter()
        .filter(|placement| placement.machine == lost.name());
    let there: Vec<_> = there.map(|placement| placement.unit.as_str()).collect();
    let moving: Vec<_> = MOVABLE
        .into_iter()
        .filter(|unit| there.contains(unit))
        .collect();
    let web = WEBS
        .into_iter()
        .find(|unit| there.contains(unit))
        .context("a web runs on every machine")?;
    let witness = ask_systemd(bed, &elsewhere(&before, lost))?;

    stage.chapter("A machine is lost")?;
    stage.harm(&format!(
        "{} loses power: SIGKILL to all its processes. It ran {}",
        lost.name(),
        there.join(", ")
    ))?;
    let killed = Instant::now();
    lost.kill()?;
    let after = settle(bed, m1, "its units to run elsewhere", |found| {
        for unit in &moving {
            ensure!(
                home(found, unit)? != lost.name(),
                "{unit} is still listed on {}",
                lost.name()
            );
        }
        ensure!(
            found
                .iter()
                .all(|placement| placement.machine != lost.name()),
            "{} is still listed",
            lost.name()
        );
        Ok(())
    })?;
    let took = killed.elapsed();
    stage.types(m1, "fleetctl list-machines")?;
    stage.types(m1, "fleetctl list-units")?;
    for unit in &moving {
        stage.praise(&format!(
            "{unit}: {} -> {}",
            lost.name(),
            home(&after, unit)?
        ))?;
    }
    stage.praise(&format!(
        "all running again {} after the loss; agent_ttl=10s of it is how long a silent machine is waited for",
        seconds(took)
    ))?;
    ensure!(
        homes(&after, web).is_empty(),
        "{web} runs beside another web"
    );
    stage.say(&format!(
        "{web} waits: both machines left have a web already. fleet says so:"
    ))?;
    stage.types(
        m1,
        &format!(
            "fleetctl list-unit-files --fields=unit,dstate,state,target | grep -e UNIT -e {web}"
        ),
    )?;
    unnoticed(bed, &witness, &elsewhere(&before, lost)).context("units on the other machines")?;
    stage.praise("no unit on the other machines noticed (same InvocationID each)")?;

    stage.chapter("The machine comes back")?;
    let state = lost.power_on()?;
    stage.say(&format!(
        "{} boots; systemd calls itself {state}",
        lost.name()
    ))?;
    settle(bed, m1, "every unit where it belongs", |found| {
        all_in_place(bed, found)
    })?;
    stage.types(m1, "fleetctl list-units")?;
    stage.praise(&format!(
        "{web} has a machine again, node-agent is on all three; what had moved stays where it is"
    ))
}

fn restart_fleetd(stage: &Stage, bed: &Testbed) -> Result<()> {
    let m1 = first(bed)?;
    stage.chapter("fleetd restarts, as in an upgrade: no unit notices")?;
    let found = settle(bed, m1, "every unit where it belongs", |found| {
        all_in_place(bed, found)
    })?;
    let before = ask_systemd(bed, &found)?;
    let here: Vec<_> = found
        .iter()
        .filter(|placement| placement.machine == m1.name())
        .collect();
    let units: Vec<_> = here
        .iter()
        .map(|placement| placement.unit.as_str())
        .collect();
    ensure!(!units.is_empty(), "m1 runs no unit");
    let show = format!(
        "systemctl show --property=Id,InvocationID {} | xargs -n2",
        units.join(" ")
    );
    let shown_before = stage.types(m1, &show)?.stdout;
    let pid = m1.pid_of("fleetd")?;
    stage.types(m1, "systemctl restart fleet")?;
    ensure!(m1.pid_of("fleetd")? != pid, "fleetd was not restarted");
    wait_for_machines(m1, bed.machines().len())?;
    let again = settle(bed, m1, "every unit where it belongs", |found| {
        all_in_place(bed, found)
    })?;
    let shown_after = stage.types(m1, &show)?.stdout;
    ensure!(shown_after == shown_before, "a unit on m1 was disturbed");
    ensure!(again == found, "units moved: {found:#?} -> {again:#?}");
    unnoticed(bed, &before, &found)?;
    stage.types(m1, "fleetctl list-machines")?;
    stage.praise(&format!(
        "{} units on three machines, every InvocationID as before",
        before.len()
    ))
}

/// Removes all units, then the machines.
pub(crate) fn tidy_up(stage: &Stage, bed: Testbed) -> Result<()> {
    stage.chapter("Tidying up")?;
    let m1 = first(&bed)?;
    let units = "hello web@1 web@2 web@3 web@ app app-sidekick node-agent db";
    stage.types(m1, &format!("fleetctl destroy {units}"))?;
    settle(&bed, m1, "an empty cluster", |found| {
        ensure!(found.is_empty(), "units are left");
        Ok(())
    })?;
    stage.types(m1, "fleetctl list-unit-files")?;
    for machine in bed.machines() {
        let left = machine.unit_states(&WEBS)?;
        let left: Vec<_> = left
            .iter()
            .filter(|(_, state)| state.active_state != "inactive")
            .collect();
        ensure!(
            left.is_empty(),
            "still running on {}: {left:?}",
            machine.name()
        );
    }
    drop(bed);
    stage.say("machines and network are gone; nothing is left on this host but a cached image")
}

/// Leaves the cluster up and says how to use it and how to end it.
pub(crate) fn keep(stage: &Stage, bed: Testbed) -> Result<()> {
    stage.chapter("The cluster stays up")?;
    for machine in bed.machines() {
        let leader = machine.leader().context("every machine is on")?;
        stage.say(&format!(
            "{}: nsenter -t {leader} -m -u -i -n -p bash",
            machine.name()
        ))?;
    }
    let leader = first(&bed)?.leader().context("every machine is on")?;
    let (namespace, key) = (bed.network_namespace().to_owned(), bed.ssh_key());
    let address = first(&bed)?.address();
    let endpoints = bed.store_endpoints();
    let end = bed.keep()?;
    stage.say(&format!(
        "one command:  nsenter -t {leader} -m -u -i -n -p fleetctl list-units"
    ))?;
    stage.say(&format!(
        "by ssh:       ip netns exec {namespace} ssh -i {} root@{address}",
        key.display()
    ))?;
    stage.say(&format!(
        "the store:    ETCDCTL_API=3 ip netns exec {namespace} etcdctl --endpoints {endpoints} get --prefix --keys-only /"
    ))?;
    stage.say(&format!("to end it:    sh {}", end.display()))
}

fn first(bed: &Testbed) -> Result<&Machine> {
    bed.machines().first().context("the testbed has machines")
}

fn elsewhere(found: &[Placement], lost: &Machine) -> Vec<Placement> {
    found
        .iter()
        .filter(|placement| placement.machine != lost.name())
        .cloned()
        .collect()
}

/// Checks that units are in the same run as in `before`.
fn unnoticed(bed: &Testbed, before: &crate::cluster::Seen, found: &[Placement]) -> Result<()> {
    let after = ask_systemd(bed, found)?;
    for (place, state) in before {
        let now = after
            .get(place)
            .with_context(|| format!("{place:?} is gone"))?;
        ensure!(
            now.invocation_id == state.invocation_id,
            "{place:?} was disturbed: {state:?} -> {now:?}"
        );
        ensure!(!now.invocation_id.is_empty(), "{place:?} never ran");
    }
    Ok(())
}
