//! A cluster to run fleetctl against: an API server, and two machines whose behaviour depends on the names of units.
//!
//! | name begins with | what happens when it is to be launched |
//! |---|---|
//! | `broken` | its start job fails |
//! | `flapping` | systemd starts it over and over |
//! | `dying` | its start job is done, then it fails |
//! | `slow` | it stays in `activating` |
//! | `oneshot` | it runs and ends |
//! | `nowhere` | no machine can run it |
//! | `ignored` | nothing: there is no engine |
//! | `unloadable` | its file cannot be put in place |
//! | anything else | it runs |

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use api::server::{Listener, Settings, router, serve};
use futures_util::{Stream, StreamExt};
use model::{
    ActiveState, Assignment, BootId, Capacity, Change, ClusterStore, Generation, Hold, HoldReason,
    JobKind, JobReport, JobResult, Journal, JournalError, Leader, LoadState, Machine, MachineId,
    Obstacle, PerMachine, Question, Records, TargetState, Topic, Unit, UnitStatus,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use unitfile::{Requirements, UnitName};

use crate::memory::Memory;

pub(crate) const FIRST: &str = "aaaaaaaa000000000000000000000001";
pub(crate) const SECOND: &str = "bbbbbbbb000000000000000000000002";

/// A unit that no test looks into.
pub(crate) const FILE: &str = "[Service]\nExecStart=/bin/sleep 100\n";

pub(crate) struct Cluster {
    pub(crate) store: Memory,
    /// Where fleetctl runs.
    pub(crate) folder: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) address: String,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// A fleetd that was started again, or beside the first.
pub(crate) struct Again {
    /// Where it listens, if over TCP.
    pub(crate) address: String,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Again {
    /// Lets the machines of `cluster` do what they are told, until this ends.
    pub(crate) fn wake_machines(&self, cluster: &Cluster) -> JoinHandle<()> {
        tokio::spawn(run_machines(cluster.store.clone(), self.shutdown.clone()))
    }

    /// Ends it, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// The journal of the first machine, where the server is.
struct Diary;

impl Journal for Diary {
    fn tell(
        &self,
        question: &Question,
    ) -> impl Stream<Item = Result<String, JournalError>> + Send + Unpin + 'static {
        let Question { unit, topic, lines } = question;
        let text = match topic {
            Topic::Journal(_) | Topic::Following(_) => {
                format!("one of {lines} lines of {unit}\nExecStart failed: no such file\n")
            }
            Topic::Status => {
                let active = if unit.as_str().starts_with("oneshot") {
                    "inactive (dead)"
                } else {
                    "active (running)"
                };
                format!("* {unit}\n     Active: {active}\n")
            }
        };
        futures_util::stream::iter([Ok(text)])
    }
}

/// Starts a cluster whose machines do what they are told.
pub(crate) async fn cluster() -> Cluster {
    let cluster = machines_asleep().await;
    cluster.store.change([Change::Leader(Some(Leader {
        machine: machine_id(FIRST),
    }))]);
    let machines = run_machines(cluster.store.clone(), cluster.shutdown.clone());
    Cluster {
        tasks: cluster
            .tasks
            .into_iter()
            .chain([tokio::spawn(machines)])
            .collect(),
        ..cluster
    }
}

/// Starts a cluster whose machines are there and do nothing.
pub(crate) async fn machines_asleep() -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("work");
    std::fs::create_dir(&folder).unwrap();
    let socket = directory.path().join("fleet.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let store = Memory::new();
    store.change(vec![
        machine(FIRST, "10.0.0.1", &[("region", "eu"), ("disk", "ssd")]),
        machine(SECOND, "10.0.0.2", &[]),
    ]);
    let shutdown = CancellationToken::new();
    let settings = Settings {
        placement: Some(Arc::new(engine::Advisor::default())),
        ..Settings::new(machine_id(FIRST))
    };
    let routes = router(store.clone(), Diary, settings, shutdown.clone());
    let listeners = vec![Listener::Unix(unix), Listener::Tcp(tcp)];
    let tasks = vec![tokio::spawn(serve(routes, listeners, shutdown.clone()))];
    Cluster {
        store,
        folder,
        socket,
        address,
        shutdown,
        tasks,
        _directory: directory,
    }
}

impl Cluster {
    /// Writes a file where fleetctl runs.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        println!("file {name}");
        std::fs::write(self.folder.join(name), content).unwrap();
    }

    /// Runs fleetctl on the cluster's socket and returns what a user sees.
    pub(crate) async fn run(&self, line: &str) -> String {
        let endpoint = format!("unix://{}", self.socket.display());
        self.run_at(&endpoint, line).await
    }

    /// Runs fleetctl with this endpoint in its environment and returns what a user sees.
    pub(crate) async fn run_at(&self, endpoint: &str, line: &str) -> String {
        self.run_with(&[("FLEETCTL_ENDPOINT", endpoint)], line)
            .await
    }

    /// Runs fleetctl on the cluster's socket, with the tools that are in `folder` instead of systemd's.
    pub(crate) async fn run_with_tools(&self, folder: &Path, line: &str) -> String {
        let endpoint = format!("unix://{}", self.socket.display());
        let path = format!("{}:/usr/bin:/bin", folder.display());
        self.run_with(&[("FLEETCTL_ENDPOINT", &endpoint), ("PATH", &path)], line)
            .await
    }

    /// Runs fleetctl with this environment and returns what a user sees.
    pub(crate) async fn run_with(&self, environment: &[(&str, &str)], line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(
            words.first().map(String::as_str),
            Some("fleetctl"),
            "{line}"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        command
            .args(&words[1..])
            .env_clear()
            .envs(environment.iter().copied());
        command.current_dir(&self.folder).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let seen = seen(&output);
        println!("$ {line:.200}\n{seen:.5000}");
        seen.replace(&self.socket.display().to_string(), "SOCKET")
            .replace(&self.address, "ADDRESS")
    }

    /// Lets machines that are asleep do what they are told, until the cluster's end.
    pub(crate) fn wake_machines(&self) -> JoinHandle<()> {
        tokio::spawn(run_machines(self.store.clone(), self.shutdown.clone()))
    }

    /// Returns once this many machines report the unit.
    pub(crate) async fn until_reported(&self, name: &str, machines: usize) {
        let name = UnitName::parse(name).unwrap();
        let mut updates = self.store.subscribe().await.unwrap();
        while self
            .store
            .records()
            .statuses
            .get(&name)
            .map(PerMachine::len)
            != Some(machines)
        {
            updates.next().await;
        }
    }

    /// Returns once the engine has said why the unit waits.
    pub(crate) async fn until_held(&self, name: &str) {
        let name = UnitName::parse(name).unwrap();
        let mut updates = self.store.subscribe().await.unwrap();
        while !self.store.records().holds.contains_key(&name) {
            updates.next().await;
        }
    }

    /// Ends the server, as a stop of fleetd does; machines too.
    pub(crate) fn stop_fleetd(&self) {
        println!("fleetd stops");
        self.shutdown.cancel();
    }

    /// Ends the server and returns once nobody is served any more.
    pub(crate) async fn stopped_fleetd(&self) {
        self.stop_fleetd();
        while !self.tasks.iter().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }

    /// Serves at the same socket again, with machines that do what they are told.
    pub(crate) fn start_fleetd(&self) -> Again {
        println!("fleetd starts");
        std::fs::remove_file(&self.socket).unwrap();
        let mut again = self.serve_at(Listener::Unix(UnixListener::bind(&self.socket).unwrap()));
        let machines = again.wake_machines(self);
        again.tasks.push(machines);
        again
    }

    /// Serves over TCP too, from another process as it were.
    pub(crate) async fn another_fleetd(&self) -> Again {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        Again {
            address,
            ..self.serve_at(Listener::Tcp(tcp))
        }
    }

    fn serve_at(&self, listener: Listener) -> Again {
        let shutdown = CancellationToken::new();
        let settings = Settings::new(machine_id(FIRST));
        let routes = router(self.store.clone(), Diary, settings, shutdown.clone());
        let serving = tokio::spawn(serve(routes, vec![listener], shutdown.clone()));
        Again {
            address: String::new(),
            shutdown,
            tasks: vec![serving],
        }
    }

    /// Ends everything, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// An output of fleetctl as text. What is empty is left out.
pub(crate) fn seen(output: &std::process::Output) -> String {
    let mut text = String::new();
    for (bytes, name) in [(&output.stdout, "stdout"), (&output.stderr, "stderr")] {
        if !bytes.is_empty() {
            let content = String::from_utf8_lossy(bytes).replace('\t', "⇥");
            text.push_str(&format!("[{name}]\n{content}"));
        }
    }
    text + &format!("[exit {}]", output.status.code().unwrap())
}

/// Puts `content` at `folder/name` and returns the path.
pub(crate) fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn machine(id: &str, address: &str, metadata: &[(&str, &str)]) -> Change {
    let id = machine_id(id);
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let machine = Machine {
        id: id.clone(),
        boot: BootId("boot".into()),
        address: address.into(),
        metadata,
        version: "2.0.0".into(),
        capacity: Capacity::default(),
    };
    Change::Machine(id, Some(machine))
}

pub(crate) fn machine_id(text: &str) -> MachineId {
    MachineId::parse(text).unwrap()
}

/// Engine and agents in one: after every change, does what is still to be done.
async fn run_machines(store: Memory, shutdown: CancellationToken) {
    let mut updates = store.subscribe().await.unwrap();
    loop {
        let changes = plan(&store.records());
        let nothing_to_do = changes.is_empty();
        store.change(changes);
        tokio::select! {
            () = shutdown.cancelled() => return,
            _update = updates.next(), if nothing_to_do => {}
            () = std::future::ready(()), if !nothing_to_do => {}
        }
    }
}

fn plan(records: &Records) -> Vec<Change> {
    let mut changes: Vec<Change> = records
        .units
        .values()
        .flat_map(|unit| plan_unit(records, unit))
        .collect();
    let names = records.schedule.keys().chain(records.statuses.keys());
    for name in names.filter(|name| !records.units.contains_key(name)) {
        changes.extend(removal(records, name));
    }
    changes
}

/// First the entry goes, then the machine's report of it.
fn removal(records: &Records, name: &UnitName) -> Vec<Change> {
    let none = PerMachine::new();
    let entries = records.schedule.get(name).unwrap_or(&none);
    if !entries.is_empty() {
        return entries
            .keys()
            .map(|id| Change::Assignment(id.clone(), name.clone(), None))
            .collect();
    }
    let statuses = records
        .statuses
        .get(name)
        .into_iter()
        .flat_map(PerMachine::keys);
    statuses
        .map(|id| Change::Status(id.clone(), name.clone(), None))
        .collect()
}

fn plan_unit(records: &Records, unit: &Unit) -> Vec<Change> {
    let name = &unit.name;
    if unit.target == TargetState::Inactive {
        let mut changes = removal(records, name);
        changes.extend(
            records
                .holds
                .get(name)
                .map(|_| Change::Hold(name.clone(), None)),
        );
        return changes;
    }
    if name.as_str().starts_with("ignored") {
        return Vec::new();
    }
    if name.as_str().starts_with("nowhere") {
        let hold = hold(records);
        let known = records.holds.get(name) == Some(&hold);
        return if known {
            Vec::new()
        } else {
            vec![Change::Hold(name.clone(), Some(hold))]
        };
    }
    let file = &records.files[&unit.file];
    let global = Requirements::of_stored(name, file).0.global;
    let machines = records
        .machines
        .keys()
        .take(if global { usize::MAX } else { 1 });
    machines.flat_map(|id| plan_on(records, unit, id)).collect()
}

/// First the entry, then the machine's answer.
fn plan_on(records: &Records, unit: &Unit, id: &MachineId) -> Option<Change> {
    let name = &unit.name;
    let entry = Assignment::of(unit);
    if records
        .schedule
        .get(name)
        .and_then(|entries| entries.get(id))
        != Some(&entry)
    {
        return Some(Change::Assignment(id.clone(), name.clone(), Some(entry)));
    }
    let status = status(unit);
    if records
        .statuses
        .get(name)
        .and_then(|statuses| statuses.get(id))
        != Some(&status)
    {
        return Some(Change::Status(id.clone(), name.clone(), Some(status)));
    }
    None
}

fn hold(records: &Records) -> Hold {
    let obstacle = |machine: &Machine| {
        let actual = machine.metadata.get("region").cloned();
        (
            machine.id.clone(),
            Obstacle::Metadata {
                wanted: "region=us".into(),
                actual,
            },
        )
    };
    Hold {
        reason: HoldReason::NothingFits,
        obstacles: records.machines.values().map(obstacle).collect(),
        machines: records.machines.len(),
    }
}

fn status(unit: &Unit) -> UnitStatus {
    let behaviour = unit
        .name
        .as_str()
        .split(['.', '@', '-'])
        .next()
        .unwrap_or_default();
    let (kind, result, active, sub) = match (unit.target, behaviour) {
        (_, "unloadable") => (
            JobKind::Load,
            JobResult::Failed,
            ActiveState::Inactive,
            "dead",
        ),
        (TargetState::Launched, "broken") => (
            JobKind::Start,
            JobResult::Failed,
            ActiveState::Failed,
            "failed",
        ),
        (TargetState::Launched, "flapping") => (
            JobKind::Start,
            JobResult::Done,
            ActiveState::Activating,
            "auto-restart",
        ),
        (TargetState::Launched, "dying") => (
            JobKind::Start,
            JobResult::Done,
            ActiveState::Failed,
            "failed",
        ),
        (TargetState::Launched, "slow") => (
            JobKind::Start,
            JobResult::Done,
            ActiveState::Activating,
            "start-pre",
        ),
        (TargetState::Launched, "oneshot") => (
            JobKind::Start,
            JobResult::Done,
            ActiveState::Inactive,
            "dead",
        ),
        (TargetState::Launched, _) => (
            JobKind::Start,
            JobResult::Done,
            ActiveState::Active,
            "running",
        ),
        (TargetState::Loaded | TargetState::Inactive, _) => (
            JobKind::Stop,
            JobResult::Done,
            ActiveState::Inactive,
            "dead",
        ),
    };
    let message = match behaviour {
        "unloadable" => "No space left on device",
        _ => "",
    };
    UnitStatus {
        load: LoadState::Loaded,
        active,
        sub: sub.into(),
        hash: unit.hash,
        state: unit.target,
        generation: unit.generation,
        job: Some(JobReport {
            kind,
            generation: unit.generation,
            result,
            message: message.into(),
        }),
        invocation: None,
        since_unix_ms: 0,
    }
}

/// The generation of a unit's last request.
pub(crate) fn generation(cluster: &Cluster, name: &str) -> Generation {
    cluster.store.records().units[&UnitName::parse(name).unwrap()].generation
}
