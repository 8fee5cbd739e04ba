//! The story itself, chapter by chapter, in the order of telling.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use testbed::{Config, Machine, Placements, Store, Testbed, Witness};

use crate::EXAMPLES;
use crate::stage::{Stage, seconds};

const WEBS: [&str; 3] = ["web@1.service", "web@2.service", "web@3.service"];

/// How long anything in the story may take. Losing a machine is noticed after `agent_ttl`, 10 s; the
/// rest takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The machines whose metadata says disk=ssd.
const FAST_DISKS: [&str; 2] = ["m2", "m3"];

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
    if let Err(error) = bed.wait_for_machines(first(&bed)?, bed.machines().len(), PATIENCE) {
        eprintln!("{}", bed.diagnosis());
        return Err(error.into());
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
    stage.types(m1, "grep ^Conflicts examples/web@.service")?;
    stage.types(m1, "fleetctl submit examples/web@.service")?;
    stage.types(m1, "fleetctl start web@1 web@2 web@3")?;

    stage.chapter("A pair that belongs together (MachineOf)")?;
    stage.types(m1, "grep ^MachineOf examples/app-sidekick.service")?;
    stage.types(
        m1,
        "fleetctl start examples/app.service examples/app-sidekick.service",
    )?;

    stage.chapter("A global unit: on every machine")?;
    stage.types(m1, "fleetctl start examples/node-agent.service")?;

    stage.chapter("A unit that asks for a machine with a fast disk")?;
    stage.types(m1, "grep ^MachineMetadata examples/db.service")?;
    stage.types(m1, "fleetctl start examples/db.service")?;

    let found = settled(bed)?;
    stage.chapter("Where everything runs")?;
    stage.types(m1, "fleetctl list-units")?;
    stage.types(m1, "fleetctl list-unit-files")?;
    stage.praise(&format!(
        "webs apart, app and sidekick together on {}, db on a fast disk ({}), node-agent on all three",
        found.home("app.service").map_err(Error::msg)?,
        found.home("db.service").map_err(Error::msg)?,
    ))
}

/// Checks the rules that the unit files state; says what is not as it should be.
fn all_in_place(bed: &Testbed, found: &Placements) -> Result<(), String> {
    let on = bed.machines().iter().filter(|machine| machine.is_on());
    let machines: BTreeSet<_> = on.map(Machine::name).collect();
    for unit in MOVABLE {
        found.home(unit)?;
    }
    let webs: BTreeSet<_> = WEBS.iter().flat_map(|unit| found.homes(unit)).collect();
    let agents = found.homes("node-agent.service");
    for (unit, homes) in [("web", webs), ("node-agent", agents)] {
        if homes != machines {
            return Err(format!(
                "{unit} runs on {homes:?}, not on each of {machines:?}"
            ));
        }
    }
    if found.home("app-sidekick.service")? != found.home("app.service")? {
        return Err("app and its sidekick are apart".to_owned());
    }
    if !FAST_DISKS.contains(&found.home("db.service")?) {
        return Err("db is on a slow disk".to_owned());
    }
    Ok(())
}

/// Waits until the rules of the unit files hold, and returns where everything is.
fn settled(bed: &Testbed) -> Result<Placements> {
    let what = "every unit where it belongs";
    Ok(bed.settle(first(bed)?, what, PATIENCE, |found| {
        all_in_place(bed, found)
    })?)
}

fn lose_a_machine(stage: &Stage, bed: &Testbed) -> Result<()> {
    let m1 = first(bed)?;
    let before = settled(bed)?;
    // Never the first, which may keep the store. Each of the others has a twin with a fast disk, so all that it runs can move.
    let movable = |machine: &str| {
        MOVABLE
            .into_iter()
            .filter(|unit| before.on(machine).contains(unit))
            .count()
    };
    let lost = FAST_DISKS
        .into_iter()
        .max_by_key(|machine| movable(machine));
    let lost = lost
        .and_then(|name| bed.machine(name))
        .context("m2 and m3 are machines")?;
    let there = before.on(lost.name());
    let moving: Vec<_> = MOVABLE
        .into_iter()
        .filter(|unit| there.contains(unit))
        .collect();
    ensure!(
        !moving.is_empty(),
        "{} runs nothing that can move: {before:#?}",
        lost.name()
    );
    let web = WEBS
        .into_iter()
        .find(|unit| there.contains(unit))
        .context("a web runs on every machine")?;
    let others = before.without(lost.name());
    let witness = bed.witness(&others)?;

    stage.chapter("A machine is lost")?;
    let ran: Vec<_> = there.iter().copied().collect();
    stage.harm(&format!(
        "{} loses power: SIGKILL to all its processes. It ran {}",
        lost.name(),
        ran.join(", ")
    ))?;
    let killed = Instant::now();
    lost.kill()?;
    let after = bed.settle(m1, "its units to run elsewhere", PATIENCE, |found| {
        if found.on(lost.name()).is_empty() {
            moving
                .iter()
                .try_for_each(|unit| found.home(unit).map(drop))
        } else {
            Err(format!("units are still listed on {}", lost.name()))
        }
    })?;
    let took = seconds(killed.elapsed());
    show_moves(stage, bed, lost, &moving, &after)?;
    stage.praise(&format!("running again {took} after the loss (a machine may be silent for agent_ttl=10s before it counts as lost)"))?;
    ensure!(after.homes(web).is_empty(), "{web} runs beside another web");
    stage.say(&format!(
        "{web} waits: both machines left have a web already"
    ))?;
    stage.types(
        m1,
        "fleetctl list-unit-files --fields=unit,dstate,state,target",
    )?;
    unnoticed(bed, &witness, &others).context("units on the other machines")?;
    stage.praise("no unit on the other machines noticed (same InvocationID each)")?;
    welcome_it_back(stage, bed, lost, web, &after)
}

fn show_moves(
    stage: &Stage,
    bed: &Testbed,
    lost: &Machine,
    moved: &[&str],
    after: &Placements,
) -> Result<()> {
    stage.types(first(bed)?, "fleetctl list-machines")?;
    stage.types(first(bed)?, "fleetctl list-units")?;
    for unit in moved {
        stage.praise(&format!(
            "{unit}: {} -> {}",
            lost.name(),
            after.home(unit).map_err(Error::msg)?
        ))?;
    }
    Ok(())
}

fn welcome_it_back(
    stage: &Stage,
    bed: &Testbed,
    lost: &Machine,
    web: &str,
    meanwhile: &Placements,
) -> Result<()> {
    stage.chapter("The machine comes back")?;
    let state = lost.power_on()?;
    stage.say(&format!(
        "{} boots; systemd calls itself {state}",
        lost.name()
    ))?;
    let again = settled(bed)?;
    stage.types(first(bed)?, "fleetctl list-units")?;
    for unit in MOVABLE {
        ensure!(
            again.home(unit) == meanwhile.home(unit),
            "{unit} moved without need"
        );
    }
    stage.praise(&format!(
        "{web} has a machine again, node-agent is on all three; what had moved stays where it is"
    ))
}

fn restart_fleetd(stage: &Stage, bed: &Testbed) -> Result<()> {
    let m1 = first(bed)?;
    stage.chapter("fleetd restarts, as in an upgrade: no unit notices")?;
    if bed.etcd().is_empty() {
        stage.say("(m1's fleetd keeps the store, so the store restarts with it)")?;
    }
    let found = settled(bed)?;
    let witness = bed.witness(&found)?;
    let here: Vec<_> = found.on(m1.name()).into_iter().collect();
    let show = format!(
        "systemctl show --property=Id,InvocationID {} | xargs -n2",
        here.join(" ")
    );
    let shown_before = stage.types(m1, &show)?.stdout;
    let pid = m1.pid_of("fleetd")?;
    stage.types(m1, "systemctl restart fleet")?;
    ensure!(m1.pid_of("fleetd")? != pid, "fleetd was not restarted");
    bed.wait_for_machines(m1, bed.machines().len(), PATIENCE)?;
    let again = settled(bed)?;
    ensure!(
        stage.types(m1, &show)?.stdout == shown_before,
        "a unit on m1 was disturbed"
    );
    ensure!(again == found, "units moved: {found:#?} -> {again:#?}");
    unnoticed(bed, &witness, &found)?;
    stage.types(m1, "fleetctl list-machines")?;
    stage.praise(&format!(
        "{} units on three machines, every InvocationID as before",
        witness.0.len()
    ))
}

/// Removes all units, then the machines.
pub(crate) fn tidy_up(stage: &Stage, bed: Testbed) -> Result<()> {
    stage.chapter("Tidying up")?;
    let m1 = first(&bed)?;
    let units = "hello web@1 web@2 web@3 web@ app app-sidekick node-agent db";
    stage.types(m1, &format!("fleetctl destroy {units}"))?;
    bed.settle(m1, "an empty cluster", PATIENCE, |found| {
        if found.0.is_empty() {
            Ok(())
        } else {
            Err("units are left".to_owned())
        }
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

/// Checks that units are in the same run as in `before`.
fn unnoticed(bed: &Testbed, before: &Witness, placements: &Placements) -> Result<()> {
    let disturbed = before.disturbed(&bed.witness(placements)?);
    ensure!(disturbed.is_empty(), "disturbed: {disturbed:#?}");
    ensure!(
        before
            .0
            .values()
            .all(|state| !state.invocation_id.is_empty()),
        "units never ran: {before:#?}"
    );
    Ok(())
}
