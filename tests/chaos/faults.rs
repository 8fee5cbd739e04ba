//! The real faults: how each begins and how it is undone.

use std::time::{Duration, Instant as Timer};

use crate::history::{Fault, Harm, Instant, now};
use crate::lab::Lab;
use crate::network::{self, Way};
use crate::seed::Seed;

/// Of five packets one.
const FIFTH: &str = "numgen random mod 100 < 20";

/// Fills /run: makes it little larger than what is in it, so that no memory is spent, then fills the rest.
const FILL_RUN: &str = "mount -o remount,size=$(($(df --output=used -k /run | tail -1) + 256))k /run \
    && { dd if=/dev/zero of=/run/ballast bs=4k 2>/dev/null || true; }";
const EMPTY_RUN: &str = "rm -f /run/ballast && mount -o remount,size=2g /run";

/// Raises the alarm that etcd raises when its space is used up: no write succeeds until it is taken back.
const RAISE_ALARM: &str = "exec 3<>/dev/tcp/10.77.0.2/2379; \
    body='{\"action\":\"ACTIVATE\",\"memberID\":0,\"alarm\":\"NOSPACE\"}'; \
    printf 'POST /v3/maintenance/alarm HTTP/1.1\\r\\nHost: e\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \
    ${#body} \"$body\" >&3; head -1 <&3";

/// Forgets all of etcd's past but the present.
const COMPACT: &str = "etcdctl compact $(etcdctl get nothing --write-out=json | sed 's/.*\"revision\":\\([0-9]*\\).*/\\1/')";

/// etcd writes its data out at least so often: each 100 ms, and as much again on a busy machine, twice.
const ETCD_COMMITS: Duration = Duration::from_millis(400);

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    PowerLoss,
    FleetdKilled,
    FleetdFrozen,
    MachineFrozen,
    CutOff,
    /// What the machine sends is lost; what is sent to it arrives.
    Mute,
    /// What is sent to the machine is lost; what it sends arrives.
    Deaf,
    /// A fifth of all packets is lost, both ways.
    Lossy,
    /// All packets take long, both ways, and some are lost.
    Slow,
    Drained,
    Upgraded,
    DaemonReexec,
    DbusRestarted,
    RunFull,
    EtcdLeaderKilled,
    EtcdMemberFrozen,
    EtcdMajorityKilled,
    Compacted,
    QuotaAlarm,
}

/// Each kind as often as it is dealt before any is dealt again.
const ALL: &[What] = &[
    What::PowerLoss,
    What::PowerLoss,
    What::FleetdKilled,
    What::FleetdFrozen,
    What::MachineFrozen,
    What::CutOff,
    What::CutOff,
    What::Mute,
    What::Deaf,
    What::Lossy,
    What::Slow,
    What::Drained,
    What::Upgraded,
    What::DaemonReexec,
    What::DbusRestarted,
    What::RunFull,
    What::EtcdLeaderKilled,
    What::EtcdMemberFrozen,
    What::EtcdMajorityKilled,
    What::Compacted,
    What::QuotaAlarm,
];

/// Every run begins with these, each alone and for longer than a lease: what each run must have shown.
const FIRST: &[What] = &[What::PowerLoss, What::CutOff];

/// The kinds yet to come, in a random order: all of them before one comes again.
#[derive(Debug)]
pub(crate) struct Deck {
    /// The next is the last.
    left: Vec<What>,
    /// The machines of the first faults, so that each is on another: one that has just come back has no units that could move.
    first: Vec<String>,
}

impl Deck {
    /// A deck that begins with [`FIRST`].
    pub(crate) fn new() -> Deck {
        Deck {
            left: FIRST.iter().rev().copied().collect(),
            first: Vec::new(),
        }
    }

    fn deal(&mut self, seed: &mut Seed) -> What {
        if self.left.is_empty() {
            self.left = ALL.to_vec();
            for index in (1..self.left.len()).rev() {
                let other = usize::try_from(seed.within(0..index as u64 + 1)).unwrap();
                self.left.swap(index, other);
            }
        }
        self.left.pop().unwrap()
    }
}

/// A fault that has begun.
#[derive(Debug)]
pub(crate) struct Injected {
    what: What,
    pub(crate) kind: &'static str,
    /// The machine, or `etcd`.
    pub(crate) on: String,
    pub(crate) until: Timer,
    members: Vec<usize>,
    begun: Instant,
    done: Instant,
}

impl What {
    fn kind(self) -> &'static str {
        match self {
            What::PowerLoss => "power loss",
            What::FleetdKilled => "kill -9 of fleetd",
            What::FleetdFrozen => "SIGSTOP of fleetd",
            What::MachineFrozen => "frozen machine",
            What::CutOff => "link down",
            What::Mute => "loss of all it sends",
            What::Deaf => "loss of all sent to it",
            What::Lossy => "loss of a fifth of packets",
            What::Slow => "delay",
            What::Drained => "systemctl stop fleet",
            What::Upgraded => "upgrade of fleetd",
            What::DaemonReexec => "daemon-reexec",
            What::DbusRestarted => "kill -9 of D-Bus",
            What::RunFull => "full /run",
            What::EtcdLeaderKilled => "etcd leader killed",
            What::EtcdMemberFrozen => "etcd member frozen",
            What::EtcdMajorityKilled => "two of three etcd members killed",
            What::Compacted => "compaction",
            What::QuotaAlarm => "quota alarm",
        }
    }

    fn of_etcd(self) -> bool {
        match self {
            What::EtcdLeaderKilled
            | What::EtcdMemberFrozen
            | What::EtcdMajorityKilled
            | What::Compacted
            | What::QuotaAlarm => true,
            What::PowerLoss
            | What::FleetdKilled
            | What::FleetdFrozen
            | What::MachineFrozen
            | What::CutOff
            | What::Mute
            | What::Deaf
            | What::Lossy
            | What::Slow
            | What::Drained
            | What::Upgraded
            | What::DaemonReexec
            | What::DbusRestarted
            | What::RunFull => false,
        }
    }

    /// What units may suffer by it.
    fn harm(self) -> Harm {
        match self {
            What::PowerLoss => Harm::Death,
            What::Drained => Harm::Drain,
            What::FleetdFrozen | What::MachineFrozen | What::CutOff | What::Mute => Harm::CutOff,
            What::Deaf => Harm::Deaf,
            What::Lossy | What::Slow => Harm::Hampered,
            What::FleetdKilled
            | What::Upgraded
            | What::EtcdLeaderKilled
            | What::EtcdMemberFrozen
            | What::EtcdMajorityKilled => Harm::Unconfirmed,
            What::QuotaAlarm | What::RunFull | What::DbusRestarted => Harm::Blocked,
            What::DaemonReexec | What::Compacted => Harm::None,
        }
    }

    /// True if it is over as soon as it is done.
    fn is_of_a_moment(self) -> bool {
        match self {
            What::FleetdKilled
            | What::Upgraded
            | What::DaemonReexec
            | What::DbusRestarted
            | What::Compacted => true,
            What::PowerLoss
            | What::FleetdFrozen
            | What::MachineFrozen
            | What::CutOff
            | What::Mute
            | What::Deaf
            | What::Lossy
            | What::Slow
            | What::Drained
            | What::RunFull
            | What::EtcdLeaderKilled
            | What::EtcdMemberFrozen
            | What::EtcdMajorityKilled
            | What::QuotaAlarm => false,
        }
    }
}

/// Begins the next fault of the deck on something that none of `others` is on; none if its place is taken.
pub(crate) fn inject(
    lab: &mut Lab,
    seed: &mut Seed,
    deck: &mut Deck,
    lasts: Duration,
    others: &[Injected],
) -> Option<Injected> {
    let what = deck.deal(seed);
    let on = if what.of_etcd() {
        "etcd".to_owned()
    } else {
        let mut names = lab.names();
        if deck.first.len() < FIRST.len() {
            names.retain(|name| !deck.first.contains(name));
            deck.first.push(seed.one_of(&names).clone());
            deck.first.last().cloned().unwrap()
        } else {
            seed.one_of(&names).clone()
        }
    };
    if others.iter().any(|other| other.on == on) {
        deck.left.push(what);
        return None;
    }
    let begun = now();
    let mut injected = Injected {
        what,
        kind: what.kind(),
        on,
        until: Timer::now() + lasts,
        members: Vec::new(),
        begun,
        done: begun,
    };
    begin(lab, seed, &mut injected);
    if what != What::PowerLoss {
        injected.done = now();
    }
    Some(injected)
}

fn begin(lab: &mut Lab, seed: &mut Seed, fault: &mut Injected) {
    let on = fault.on.clone();
    match fault.what {
        What::PowerLoss => fault.done = lab.kill(&on),
        What::FleetdKilled => lab
            .machine(&on)
            .signal_unit("fleet.service", "KILL")
            .unwrap(),
        What::FleetdFrozen => lab
            .machine(&on)
            .signal_unit("fleet.service", "STOP")
            .unwrap(),
        What::MachineFrozen => lab.machine(&on).freeze().unwrap(),
        What::CutOff => lab.machine(&on).partition().unwrap(),
        What::Mute => network::lose(lab, &on, Way::From, ""),
        What::Deaf => network::lose(lab, &on, Way::To, ""),
        What::Lossy => {
            network::lose(lab, &on, Way::From, FIFTH);
            network::lose(lab, &on, Way::To, FIFTH);
        }
        What::Slow => network::delay(lab, &on),
        What::Drained => lab.machine(&on).stop_unit("fleet.service").unwrap(),
        What::Upgraded => {
            // A new inode under the same name, as a package's upgrade leaves it.
            let line = "cp /usr/bin/fleetd /usr/bin/fleetd.new && mv /usr/bin/fleetd.new /usr/bin/fleetd \
                        && systemctl restart fleet.service";
            shell(lab, &on, line);
        }
        What::DaemonReexec => shell(lab, &on, "systemctl daemon-reexec"),
        What::DbusRestarted => {
            shell(
                lab,
                &on,
                "systemctl kill --signal=KILL dbus.service; systemctl start dbus.service",
            );
        }
        What::RunFull => shell(lab, &on, FILL_RUN),
        What::EtcdLeaderKilled => {
            fault.members = vec![leader(lab)];
            kill_members(lab, fault);
        }
        What::EtcdMajorityKilled => {
            let whole = usize::try_from(seed.within(0..3)).unwrap();
            fault.members = (0..3).filter(|member| *member != whole).collect();
            kill_members(lab, fault);
        }
        What::EtcdMemberFrozen => {
            fault.members = vec![usize::try_from(seed.within(0..3)).unwrap()];
            lab.bed.etcd()[fault.members[0]].freeze().unwrap();
        }
        What::Compacted => etcd(lab, &["sh", "-c", COMPACT]),
        What::QuotaAlarm => etcd(lab, &["bash", "-c", RAISE_ALARM]),
    }
}

/// Undoes a fault.
pub(crate) fn heal(lab: &mut Lab, fault: Injected) {
    let on = fault.on.as_str();
    let healing = now();
    match fault.what {
        What::PowerLoss => {
            lab.machine(on).power_on().unwrap();
            lab.record(on);
        }
        What::FleetdFrozen => lab
            .machine(on)
            .signal_unit("fleet.service", "CONT")
            .unwrap(),
        What::MachineFrozen => lab.machine(on).thaw().unwrap(),
        What::CutOff => lab.machine(on).heal().unwrap(),
        What::Mute | What::Deaf | What::Lossy => network::lose_no_more(lab, on),
        What::Slow => network::delay_no_more(lab, on),
        What::Drained => lab.machine(on).start_unit("fleet.service").unwrap(),
        What::RunFull => shell(lab, on, EMPTY_RUN),
        What::EtcdLeaderKilled | What::EtcdMajorityKilled => {
            // At the same time: one of two alone waits for the other.
            std::thread::scope(|scope| {
                for member in &fault.members {
                    let etcd = &lab.bed.etcd()[*member];
                    scope.spawn(move || etcd.start().unwrap());
                }
            });
        }
        What::EtcdMemberFrozen => lab.bed.etcd()[fault.members[0]].thaw().unwrap(),
        What::QuotaAlarm => {
            etcd(lab, &["etcdctl", "alarm", "disarm"]);
            // etcd 3.4 has a fault of its own here, see docs/guarantees.md: a member killed between this and the next write
            // that it has on its disk takes in, when it is started again, what all had refused.
            etcd(lab, &["etcdctl", "put", "/chaos/after-the-alarm", "x"]);
            std::thread::sleep(ETCD_COMMITS);
        }
        What::FleetdKilled
        | What::Upgraded
        | What::DaemonReexec
        | What::DbusRestarted
        | What::Compacted => {}
    }
    let is_over = fault.what.is_of_a_moment();
    lab.history.faults.push(Fault {
        kind: fault.kind,
        on: fault.on,
        harm: fault.what.harm(),
        begun: fault.begun,
        done: fault.done,
        healing: if is_over { fault.done } else { healing },
        healed: if is_over { fault.done } else { now() },
    });
}

fn shell(lab: &Lab, on: &str, line: &str) {
    let output = lab.machine(on).shell(line).unwrap();
    assert!(output.status.success(), "{on}: {line}: {output:?}");
}

fn etcd(lab: &Lab, words: &[&str]) {
    let output = lab.bed.run(words).unwrap();
    // With another member away etcdctl complains of that one; the rest did it.
    if !output.status.success() {
        println!("  {words:?}: {}", output.stderr.trim());
    }
}

fn kill_members(lab: &Lab, fault: &Injected) {
    for member in &fault.members {
        lab.bed.etcd()[*member].kill().unwrap();
    }
}

/// Which member leads; the first if none says so.
fn leader(lab: &Lab) -> usize {
    let words = ["etcdctl", "endpoint", "status", "--write-out=fields"];
    let output = lab.bed.run(&words).unwrap();
    let mut members = Vec::new();
    let mut leads = None;
    for line in output.stdout.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match key.trim_matches(['"', ' ']) {
            "MemberID" => members.push(value.trim().to_owned()),
            "Leader" => leads = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    members
        .iter()
        .position(|member| Some(member) == leads.as_ref())
        .unwrap_or(0)
}
