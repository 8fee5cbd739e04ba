//! Reads systemd's own signals on one machine, over its D-Bus, as long as the machine is on. It shares nothing with fleet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use zbus::wire::{OwnedObjectPath, OwnedVariant, Variant};
use zbus::{Connection, MatchRule, MessageStream, Proxy};

use crate::history::{Activation, Instant, now};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Only units of this test are of interest.
const OURS: &str = "chaos-";

/// How long between two attempts to reach a D-Bus that is starting again.
const RETRY: Duration = Duration::from_millis(100);

/// How many signals may wait to be taken in.
const SIGNALS_MAX: NonZero<usize> = NonZero::new(4096).unwrap();

type Listed = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// What was seen, by unit and invocation.
pub(crate) type Seen = Arc<Mutex<BTreeMap<(String, String), Activation>>>;

/// A recorder at work, in a thread of its own.
#[derive(Debug)]
pub(crate) struct Recorder {
    seen: Seen,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Recorder {
    /// Records a machine whose PID 1 the host knows by `leader`.
    pub(crate) fn start(machine: &str, leader: u32) -> Recorder {
        let (seen, stop) = (Seen::default(), CancellationToken::new());
        let (into, until, machine) = (Arc::clone(&seen), stop.clone(), machine.to_owned());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = until.cancelled() => {}
                    () = record(&machine, leader, &into) => {}
                }
            });
        });
        Recorder { seen, stop, thread }
    }

    /// Ends it and returns what it saw.
    pub(crate) fn end(self) -> Vec<Activation> {
        self.stop.cancel();
        self.thread.join().unwrap();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().cloned().collect()
    }
}

/// Never returns: a broken connection is made again.
async fn record(machine: &str, leader: u32, seen: &Seen) {
    loop {
        if let Err(error) = follow(machine, leader, seen).await {
            println!("recorder of {machine}: {error}");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(machine: &str, leader: u32, seen: &Seen) -> zbus::Result<()> {
    let address = format!("unix:path=/proc/{leader}/root/run/dbus/system_bus_socket");
    let connection = zbus::connection::Builder::address(address.as_str())
        .build()
        .await?;
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(SYSTEMD)
        .interface("org.freedesktop.DBus.Properties")
        .path_namespace("/org/freedesktop/systemd1/unit")
        .build()?;
    let mut signals = MessageStream::for_match_rule(rule, &connection, Some(SIGNALS_MAX)).await?;
    // A second connection asks, because an unread stream of signals would block answers on the first.
    let asking = zbus::connection::Builder::address(address.as_str())
        .build()
        .await?;
    manager(&connection)
        .await?
        .call_method("Subscribe", &())
        .await?;
    look(machine, &asking, seen).await?;
    while let Some(message) = signals.next().await {
        let message = message?;
        let header = message.header();
        let Some(path) = header.path() else { continue };
        let name = unescape(path.as_str());
        if !name.starts_with(OURS) {
            continue;
        }
        let body = message.body();
        let (interface, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
            body.deserialize()?;
        if interface == UNIT {
            note(machine, &name, &changed, seen);
        }
    }
    Ok(())
}

async fn manager(connection: &Connection) -> zbus::Result<Proxy<'static>> {
    Proxy::new(
        connection,
        SYSTEMD,
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
    )
    .await
}

/// Takes in what is there now: what was said before the recorder listened.
async fn look(machine: &str, connection: &Connection, seen: &Seen) -> zbus::Result<()> {
    let none: Vec<String> = Vec::new();
    let pattern = vec![format!("{OURS}*")];
    let manager = manager(connection).await?;
    let units: Vec<Listed> = manager
        .call("ListUnitsByPatterns", &(none, pattern))
        .await?;
    let mut present: BTreeSet<String> = BTreeSet::new();
    for unit in units {
        let properties = Proxy::new(
            connection,
            SYSTEMD,
            unit.6,
            "org.freedesktop.DBus.Properties",
        )
        .await?;
        let all: zbus::Result<HashMap<String, OwnedVariant>> =
            properties.call("GetAll", &(UNIT,)).await;
        // It may be gone by now, which a signal tells.
        if let Ok(all) = all {
            note(machine, &unit.0, &all, seen);
            present.extend(all.get("InvocationID").and_then(hexadecimal));
        }
    }
    // What ended while nobody listened, and is forgotten by systemd: by now it is surely over.
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for ((_, invocation), activation) in seen.iter_mut() {
        if !present.contains(invocation) && activation.ended.is_none() {
            activation.ended = Some(now());
        }
    }
    Ok(())
}

/// Takes in what systemd says of one unit.
fn note(machine: &str, unit: &str, said: &HashMap<String, OwnedVariant>, seen: &Seen) {
    let stamp = |name: &str| -> Option<Instant> {
        let value = said.get(name)?;
        let us = u64::try_from(value.clone()).ok()?;
        (us > 0).then_some(us)
    };
    let Some(invocation) = said.get("InvocationID").and_then(hexadecimal) else {
        return;
    };
    let Some(begun) = stamp("InactiveExitTimestampMonotonic") else {
        return;
    };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (unit.to_owned(), invocation.clone());
    let activation = seen.entry(key).or_insert_with(|| Activation {
        machine: machine.to_owned(),
        unit: unit.to_owned(),
        invocation,
        begun,
        active: None,
        ended: None,
    });
    let after = |stamp: Option<Instant>| stamp.filter(|at| *at >= activation.begun);
    let (active, ended) = (
        after(stamp("ActiveEnterTimestampMonotonic")),
        after(stamp("InactiveEnterTimestampMonotonic")),
    );
    activation.active = activation.active.or(active);
    activation.ended = activation.ended.or(ended);
}

/// The invocation id as systemd prints it; none while a unit has none.
fn hexadecimal(value: &OwnedVariant) -> Option<String> {
    let Variant::Array(bytes) = &**value else {
        return None;
    };
    let bytes: Vec<u8> = bytes
        .iter()
        .filter_map(|byte| u8::try_from(byte.clone()).ok())
        .collect();
    (bytes.len() == 16).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A unit's name from its object path, in which systemd writes all but letters and digits as `_` and two hexadecimal digits.
fn unescape(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let mut name = String::new();
    let mut rest = last;
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        let byte = rest.get(at + 1..at + 3).unwrap_or("5f");
        name.push(char::from(u8::from_str_radix(byte, 16).unwrap_or(b'_')));
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    name + rest
}
