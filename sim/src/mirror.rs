//! The store as the checker knows it: every record at every revision, read with no code of the product.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;
use tokio::time::Instant;
use unitfile::FileHash;

use crate::written::OPERATOR;

/// A unit's record, or its entry in a machine's schedule: what is wanted of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) file: FileHash,
    pub(crate) target: String,
    pub(crate) generation: u64,
    pub(crate) start: u64,
    pub(crate) restart: u64,
}

impl Wanted {
    pub(crate) fn is_launched(&self) -> bool {
        self.target == "launched"
    }

    fn read(value: &Value) -> Option<Wanted> {
        let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        Some(Wanted {
            file: FileHash::from_str(value.get("file")?.as_str()?).ok()?,
            target: value.get("target")?.as_str()?.to_owned(),
            generation: number("generation"),
            start: number("start"),
            restart: number("restart"),
        })
    }
}

/// What a machine reports of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reported {
    pub(crate) active: String,
    pub(crate) state: String,
    pub(crate) generation: u64,
    pub(crate) job_result: String,
    pub(crate) invocation: String,
}

impl Reported {
    fn read(value: &Value) -> Option<Reported> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Some(Reported {
            active: text(value.get("active"))?,
            state: text(value.get("state"))?,
            generation: value.get("generation").and_then(Value::as_u64).unwrap_or(0),
            job_result: text(value.get("job").and_then(|job| job.get("result")))
                .unwrap_or_default(),
            invocation: text(value.get("invocation")).unwrap_or_default(),
        })
    }
}

/// Everything that was so of one record, oldest first, each with the time from which on.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<T> {
    moments: Vec<(Instant, Option<T>)>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Timeline<T> {
        Timeline {
            moments: Vec::new(),
        }
    }
}

impl<T: Clone + PartialEq> Timeline<T> {
    pub(crate) fn set(&mut self, at: Instant, value: Option<T>) {
        if self.now() != value.as_ref() {
            self.moments.push((at, value));
        }
    }

    pub(crate) fn now(&self) -> Option<&T> {
        self.moments.last().and_then(|(_, value)| value.as_ref())
    }

    /// True if this was ever so of it.
    pub(crate) fn has_been(&self, is_so: impl Fn(&T) -> bool) -> bool {
        let mut values = self.moments.iter().filter_map(|(_, value)| value.as_ref());
        values.any(is_so)
    }

    /// When it last changed.
    pub(crate) fn changed_at(&self) -> Option<Instant> {
        self.moments.last().map(|(at, _)| *at)
    }

    /// What there was last, also if it is not there any more.
    pub(crate) fn last(&self) -> Option<&T> {
        self.moments
            .iter()
            .rev()
            .find_map(|(_, value)| value.as_ref())
    }

    /// Since when it has been there; none if it is not.
    pub(crate) fn present_since(&self) -> Option<Instant> {
        self.start_of_presence(self.moments.len())
    }

    /// It is not there any more: since when it had been before that.
    pub(crate) fn present_before(&self) -> Option<Instant> {
        self.start_of_presence(self.moments.len().checked_sub(1)?)
    }

    fn start_of_presence(&self, end: usize) -> Option<Instant> {
        let present = self.moments[..end].iter().rev();
        let present = present.take_while(|(_, value)| value.is_some());
        present.last().map(|(at, _)| *at)
    }

    /// It was gone, and is again what it was: that does not count.
    pub(crate) fn overlook_gap(&mut self) {
        if let [.., (_, before), (_, None), (_, after)] = self.moments.as_slice()
            && before == after
        {
            self.moments.truncate(self.moments.len() - 2);
        }
    }

    /// Everything that was so at some time since `from`.
    pub(crate) fn since(&self, from: Instant) -> Vec<Option<T>> {
        let first = self.moments.partition_point(|(at, _)| *at < from);
        let before = match first {
            0 => None,
            _ => self.moments[first - 1].1.clone(),
        };
        let mut values = vec![before];
        values.extend(self.moments[first..].iter().map(|(_, value)| value.clone()));
        values
    }

    /// True if it changed since `from`.
    pub(crate) fn changed_since(&self, from: Instant) -> bool {
        self.changed_at().is_some_and(|at| at >= from)
    }

    /// What has been so all the time since `from`; none if it changed, or is not there.
    pub(crate) fn steady_since(&self, from: Instant) -> Option<&T> {
        match self.changed_at() {
            Some(at) if at < from => self.now(),
            Some(_) | None => None,
        }
    }
}

/// What one change of one key was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Noted {
    Unit(String),
    Entry(String, String),
    Status(String, String),
    Machine(String),
    Spec(String),
    File(String),
    Hold(String),
    Leader,
    Other,
}

impl Noted {
    /// What a record is, by its key without the cluster's prefix.
    fn of(key: &str) -> Noted {
        let parts: Vec<&str> = key.split('/').collect();
        match parts.as_slice() {
            ["units", unit] => Noted::Unit((*unit).to_owned()),
            ["schedule", machine, unit] => Noted::Entry((*machine).to_owned(), (*unit).to_owned()),
            ["states", machine, unit] => Noted::Status((*machine).to_owned(), (*unit).to_owned()),
            ["machines", machine] => Noted::Machine((*machine).to_owned()),
            ["machine-specs", machine] => Noted::Spec((*machine).to_owned()),
            ["files", hash] => Noted::File((*hash).to_owned()),
            ["holds", unit] => Noted::Hold((*unit).to_owned()),
            ["leader"] => Noted::Leader,
            _ => Noted::Other,
        }
    }
}

/// The records. Damaged values leave what was known before, as they must for everybody.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) units: BTreeMap<String, Timeline<Wanted>>,
    /// Where units were last asked to move, and by which request.
    pub(crate) moves: BTreeMap<String, (String, u64)>,
    /// By machine and unit.
    pub(crate) entries: BTreeMap<(String, String), Timeline<Wanted>>,
    pub(crate) statuses: BTreeMap<(String, String), Timeline<Reported>>,
    /// Machines' metadata by their own word.
    pub(crate) machines: BTreeMap<String, Timeline<BTreeMap<String, String>>>,
    pub(crate) specs: BTreeMap<String, Timeline<BTreeMap<String, Option<String>>>>,
    pub(crate) holds: BTreeMap<String, Timeline<String>>,
    pub(crate) files: BTreeMap<String, bool>,
    /// What each file is, as it was written first: its key is its hash.
    contents: BTreeMap<String, Vec<u8>>,
    /// The machine that leads, and by whom its record was written.
    pub(crate) leader: Option<(String, String)>,
    /// Keys whose value cannot be read now.
    pub(crate) damaged: BTreeMap<String, String>,
    /// When those that could not be read were whole again, or gone.
    mended_at: BTreeMap<String, Instant>,
}

impl Mirror {
    /// Takes in that a key has a value, or none, from now on.
    pub(crate) fn apply(
        &mut self,
        at: Instant,
        key: &str,
        value: Option<&[u8]>,
        writer: &str,
    ) -> Noted {
        let json: Option<Value> = value.and_then(|value| serde_json::from_slice(value).ok());
        if self.damaged.remove(key).is_some() {
            self.mended_at.insert(key.to_owned(), at);
        }
        let noted = Noted::of(key);
        let json = json.as_ref();
        if let (Noted::Unit(unit), Some(to)) = (&noted, json.and_then(relocation)) {
            self.moves.insert(unit.clone(), to);
        }
        let is_read = match &noted {
            Noted::Unit(unit) => set(
                &mut self.units,
                unit,
                at,
                value,
                json.and_then(Wanted::read),
            ),
            Noted::Entry(machine, unit) => {
                let key = (machine.clone(), unit.clone());
                set(
                    &mut self.entries,
                    &key,
                    at,
                    value,
                    json.and_then(Wanted::read),
                )
            }
            Noted::Status(machine, unit) => {
                let key = (machine.clone(), unit.clone());
                set(
                    &mut self.statuses,
                    &key,
                    at,
                    value,
                    json.and_then(Reported::read),
                )
            }
            Noted::Machine(machine) => {
                let read = json.filter(|json| json.get("boot").is_some());
                set(&mut self.machines, machine, at, value, read.map(metadata))
            }
            Noted::Spec(machine) => set(&mut self.specs, machine, at, value, json.map(overlay)),
            Noted::Hold(unit) => set(&mut self.holds, unit, at, value, json.map(Value::to_string)),
            Noted::File(hash) => {
                self.files.insert(hash.clone(), value.is_some());
                value.is_none_or(|value| {
                    let content = self.contents.entry(hash.clone());
                    content.or_insert_with(|| value.to_vec()) == value
                })
            }
            Noted::Leader => {
                let machine = json.and_then(|json| json.get("machine")?.as_str());
                self.lead(machine, value.is_some(), writer)
            }
            Noted::Other => true,
        };
        if !is_read {
            let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
            self.damaged
                .insert(key.to_owned(), text.unwrap_or_default());
        }
        noted
    }

    /// Takes in who leads; false if that cannot be read. A record that was overwritten by hand is still its leader's.
    fn lead(&mut self, machine: Option<&str>, is_there: bool, writer: &str) -> bool {
        if !is_there {
            self.leader = None;
        } else if writer != OPERATOR {
            self.leader = machine.map(|machine| (machine.to_owned(), writer.to_owned()));
        }
        machine.is_some() || !is_there
    }

    /// A machine's metadata with what operators set laid over it; none if it is not there.
    pub(crate) fn metadata(&self, machine: &str) -> Option<BTreeMap<String, String>> {
        let mut metadata = self.machines.get(machine)?.now()?.clone();
        let spec = self.specs.get(machine).and_then(Timeline::now);
        for (key, value) in spec.into_iter().flatten() {
            match value {
                Some(value) => metadata.insert(key.clone(), value.clone()),
                None => metadata.remove(key),
            };
        }
        Some(metadata)
    }

    /// True if a record whose key ends so could not be read at some time since `from`.
    pub(crate) fn was_damaged(&self, end: &str, from: Instant) -> bool {
        let of_late = self.mended_at.iter().filter(|(_, at)| **at >= from);
        let mut keys = self.damaged.keys().chain(of_late.map(|(key, _)| key));
        keys.any(|key| key.ends_with(end))
    }

    /// The machines that have this unit in their schedule.
    pub(crate) fn scheduled_on(&self, unit: &str) -> Vec<&str> {
        let has = self
            .entries
            .iter()
            .filter(|((_, name), entry)| name == unit && entry.now().is_some());
        has.map(|((machine, _), _)| machine.as_str()).collect()
    }
}

/// Sets what could be read; false if there is a value that could not.
fn set<K: Ord + Clone, T: Clone + PartialEq>(
    map: &mut BTreeMap<K, Timeline<T>>,
    key: &K,
    at: Instant,
    value: Option<&[u8]>,
    read: Option<T>,
) -> bool {
    if value.is_some() && read.is_none() {
        return false;
    }
    map.entry(key.clone()).or_default().set(at, read);
    true
}

fn relocation(json: &Value) -> Option<(String, u64)> {
    let relocation = json.get("relocation")?;
    let to = relocation.get("to")?.as_str()?.to_owned();
    Some((to, relocation.get("generation")?.as_u64()?))
}

fn metadata(json: &Value) -> BTreeMap<String, String> {
    let pairs = json.get("metadata").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs = pairs.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

fn overlay(json: &Value) -> BTreeMap<String, Option<String>> {
    let pairs = json.get("metadata").and_then(Value::as_object);
    let pairs = pairs.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned)))
        .collect()
}
