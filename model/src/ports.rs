//! The ports: what engine, agent and API ask of the world, in our words. Each documents its promise; one contract suite per port
//! runs on every adapter.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_core::Stream;
use unitfile::{FileHash, UnitFile, UnitHash, UnitName};

use crate::{
    ActiveState, AskError, Change, ClockReading, Deadline, Explanation, Generation, InvocationId,
    JobResult, JournalError, LoadState, MachineId, MetadataEdit, Move, Outcome, Question, Records,
    Refusal, Removal, Revision, StoreHealth, TrialPlan, UnitRequest,
};

/// Wall time and boot time, for showing to people and for keeping across a restart of the process. Waiting is done with
/// `tokio::time`, which a simulation can drive.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970, UTC. Jumps when someone sets the clock: never decide anything by it.
    fn unix_ms(&self) -> u64;
    /// Milliseconds since this machine booted, suspend included (`CLOCK_BOOTTIME`). Never jumps.
    fn boot_ms(&self) -> u64;
}

/// What an agent remembers about a unit it loaded, kept where it survives fleetd and not a reboot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The file that was loaded.
    pub file: FileHash,
    /// The start request that was carried out last; 0 for none.
    pub start: Generation,
    /// The restart request that was carried out last; 0 for none.
    pub restart: Generation,
}

/// Stands for no start request: requests are numbered from 2 (the store's first revision is 1, a request's number one more).
const GIVEN_UP: Generation = Generation(1);

impl Mark {
    /// What is remembered of a unit that we stop by ourselves: it was started by us, but by no request that anybody makes. So it
    /// is started again by the next request that wants it running.
    #[must_use]
    pub fn given_up(&self) -> Mark {
        Mark {
            start: GIVEN_UP,
            ..self.clone()
        }
    }
}

/// A unit of ours as the service manager has it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceUnit {
    /// Its name.
    pub name: UnitName,
    /// The content address of the file on disk; none if the file is missing or cannot be read.
    pub file: Option<FileHash>,
    /// The hash of what the file on disk says; none if it is missing or is no unit file.
    pub hash: Option<UnitHash>,
    /// What was remembered; none if the unit was left half-loaded or its mark cannot be read.
    pub mark: Option<Mark>,
    /// systemd's load state.
    pub load: LoadState,
    /// systemd's active state.
    pub active: ActiveState,
    /// systemd's sub state.
    pub sub: String,
    /// systemd's id of this activation.
    pub invocation: Option<InvocationId>,
    /// When the active state last changed, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// True if systemd says that the file changed after it was read (`NeedDaemonReload`).
    pub needs_reload: bool,
}

/// How a job that systemd took on has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobEnd {
    /// systemd's result.
    pub result: JobResult,
    /// Why it did not end well, where systemd can tell, such as `exit-code: status 203/EXEC`; empty if there is nothing to add.
    pub message: String,
}

/// Something about our units changed; says which, not what: look it up. Events may be merged or repeated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceChange {
    /// The state of this unit may have changed.
    Unit(UnitName),
    /// Events may have been lost (connection to systemd broken and made again, daemon-reexec): look at everything.
    All,
}

/// Why the service manager did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The host has a unit of that name that is not ours.
    #[error("{unit} exists on this machine already at {path}: it is left alone")]
    Foreign {
        /// The unit.
        unit: UnitName,
        /// Where the host's own unit is.
        path: String,
    },
    /// The host's administrator masked the unit.
    #[error("{unit} is masked on this machine")]
    Masked {
        /// The unit.
        unit: UnitName,
    },
    /// systemd has no file for the unit, or for one that it requires. It may come.
    #[error("systemd: {message}")]
    NotFound {
        /// What it said.
        message: String,
    },
    /// systemd answered with an error.
    #[error("systemd: {message}")]
    Refused {
        /// What it said.
        message: String,
    },
    /// A file could not be written, read or removed.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        message: String,
    },
    /// systemd cannot be reached; it may be starting again.
    #[error("systemd cannot be reached: {message}")]
    Unreachable {
        /// What the system said.
        message: String,
    },
    /// No answer or no end of the job within the limit.
    #[error("{what} did not end within {limit_s} s")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        limit_s: u64,
    },
}

/// One machine's systemd, as far as fleet needs it. Methods may be called concurrently for different units; for one unit the
/// caller waits for each to end.
pub trait ServiceManager: Send + Sync + 'static {
    /// All units that we loaded, whatever state they are in, also half-loaded ones (a file without a mark).
    fn list(&self) -> impl Future<Output = Result<Vec<ServiceUnit>, ServiceError>> + Send;

    /// One unit of ours; none if we have nothing under that name.
    fn unit(
        &self,
        name: &UnitName,
    ) -> impl Future<Output = Result<Option<ServiceUnit>, ServiceError>> + Send;

    /// Puts `file` where systemd finds it under `name`, atomically, and remembers `mark`. Takes the place of an earlier file of
    /// ours. Does not reload and does not start.
    ///
    /// Refuses a name that the host has already ([`ServiceError::Foreign`]); then nothing is changed.
    fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
        mark: &Mark,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Remembers `mark` for a loaded unit.
    fn mark(
        &self,
        name: &UnitName,
        mark: &Mark,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Takes away what [`ServiceManager::load`] put there, so that systemd forgets the unit. The unit must be stopped.
    /// Unloading what is not there is no error.
    fn unload(&self, name: &UnitName) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// True if systemd has this name in memory, from whatever file: it keeps what a unit that runs refers to, also once that was
    /// unloaded, and then reads a new file only when it is told to ([`ServiceUnit::needs_reload`]). Asking makes it read nothing.
    fn knows(&self, name: &UnitName) -> impl Future<Output = Result<bool, ServiceError>> + Send;

    /// Makes systemd read all unit files again.
    fn reload(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Starts a loaded unit, forgetting an earlier failure first, remembers `mark` as soon as systemd has taken the job on, and
    /// waits for the job's end, however long that takes. A unit that runs already is not touched and gives `Done`.
    ///
    /// If systemd refuses, nothing is remembered; a unit that it requires and that is not there gives [`ServiceError::NotFound`]. Dropping the future stops the wait, not the job.
    fn start(
        &self,
        name: &UnitName,
        mark: &Mark,
    ) -> impl Future<Output = Result<JobEnd, ServiceError>> + Send;

    /// Stops a unit and waits for the job's end. A unit that does not run, or that systemd does not know, gives `Done`.
    fn stop(&self, name: &UnitName) -> impl Future<Output = Result<JobEnd, ServiceError>> + Send;

    /// Stops and starts a unit; otherwise as [`ServiceManager::start`]. A unit that does not run is started.
    fn restart(
        &self,
        name: &UnitName,
        mark: &Mark,
    ) -> impl Future<Output = Result<JobEnd, ServiceError>> + Send;

    /// This machine's exclusive units (`Exclusive=yes` in the file that was loaded) may run until `deadline`. If no later one is
    /// set before it passes, the machine stops them by itself, whatever has become of this process, and by force those that do not
    /// stop; what was remembered of each becomes [`Mark::given_up`]. An exclusive unit is not started after the deadline, nor
    /// before one was set: that gives [`ServiceError::Unreachable`].
    fn extend(&self, deadline: Deadline) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Lets the deadline pass now, and returns when no exclusive unit runs. Does nothing if none does.
    fn give_up_exclusive(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Changes of our units from now on, without end. What is not read is merged, not queued. That a start or restart was remembered
    /// is one, also if systemd itself has nothing new to tell then: an earlier start of the unit may still be under way.
    fn changes(&self) -> impl Stream<Item = ServiceChange> + Send + Unpin + 'static;
}

/// What one machine's systemd and its journal say of units, for people.
pub trait Journal: Send + Sync + 'static {
    /// The answer, in pieces of text of no particular size. After an error there is nothing more. Dropping it ends the tool.
    ///
    /// [`Topic::Following`](crate::Topic::Following) begins with a piece at once, empty if need be: so the asker knows that it is heard.
    /// Every other answer ends, and has at most [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX) bytes.
    fn tell(
        &self,
        question: &Question,
    ) -> impl Stream<Item = Result<String, JournalError>> + Send + Unpin + 'static;
}

/// Why the cluster's store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No endpoint answered in time.
    #[error("the cluster store cannot be reached: {0}")]
    Unreachable(String),
    /// The store answered, but refused (no space, no permission, a limit).
    #[error("the cluster store refused: {0}")]
    Refused(String),
    /// The answer to a write is unknown: it may or may not have been done.
    #[error("the cluster store did not answer in time; whether it was done is not known: {0}")]
    Unknown(String),
}

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum Update {
    /// These changes, of one revision.
    Changes(Revision, Arc<[Change]>),
    /// Some changes may have been missed: read again from here.
    Resync(Revision),
}

/// The cluster's store, as far as the API needs it.
pub trait ClusterStore: Clone + Send + Sync + 'static {
    /// Calls `look` with records that hold every write acknowledged before this call. Must not be slow: others wait.
    fn read<T: Send>(
        &self,
        look: impl FnOnce(&Records) -> T + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Carries out requests in their order, all in as few transactions as the store allows, each transaction wholly or not at
    /// all. One answer per request. A refused request does not stop the others.
    ///
    /// # Errors
    /// If the store failed; some transactions may have been done.
    fn apply(
        &self,
        requests: Vec<UnitRequest>,
    ) -> impl Future<Output = Result<Vec<Result<Outcome, Refusal>>, StoreError>> + Send;

    /// Changes what operators set on machines.
    fn edit_machines(
        &self,
        edits: Vec<MetadataEdit>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the record of this key if it cannot be understood; any other is left alone.
    fn remove_quarantined(
        &self,
        key: String,
    ) -> impl Future<Output = Result<Removal, StoreError>> + Send;

    /// Returns if the store answers now. Costs it less than a read: nothing is kept up to date for it.
    ///
    /// # Errors
    /// If it does not, with the reason.
    fn reach(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How the store itself is, member by member. A store in trouble is an answer, not an error.
    fn health(&self) -> impl Future<Output = StoreHealth> + Send;

    /// Asks these machines what their wall clocks say. One that does not answer within some seconds is left out.
    ///
    /// # Errors
    /// If the store failed.
    fn clocks(
        &self,
        machines: Vec<MachineId>,
    ) -> impl Future<Output = Result<BTreeMap<MachineId, ClockReading>, StoreError>> + Send;

    /// Every change after `revision`, in order, up to every write acknowledged before this call; none if it is not known any
    /// more what happened since, or if the store has never been there.
    fn changes_since(
        &self,
        revision: Revision,
    ) -> impl Future<Output = Result<Option<Vec<Arc<[Change]>>>, StoreError>> + Send;

    /// Has the fleetd of `machine` answer `question`. Pieces come as [`Journal::tell`] gives them there; dropping it withdraws
    /// the question. After an error there is nothing more.
    fn ask(
        &self,
        machine: MachineId,
        question: Question,
    ) -> impl Stream<Item = Result<String, AskError>> + Send + Unpin + 'static;

    /// All changes after the moment of the call, in order. A subscriber that reads too slowly gets [`Update::Resync`].
    fn subscribe(
        &self,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Update> + Send + Unpin + 'static, StoreError>,
    > + Send;
}

/// What the engine would say of a cluster. It knows nothing but the records it is given, writes nothing and does not wait.
/// May take longer than a plan from scratch: 0.5 s in a cluster of 100,000 units.
pub trait Placement: fmt::Debug + Send + Sync + 'static {
    /// Why the unit is where it is, or why it waits; none if there is no such unit.
    fn explain(&self, records: Records, unit: &UnitName) -> Option<Explanation>;

    /// The same from what is kept of the last time; none if that was of another revision, or if there is no such unit.
    fn explain_again(&self, revision: Revision, unit: &UnitName) -> Option<Explanation>;

    /// Which units would be better off elsewhere, in the order in which they could go there; at most `moves_max`.
    fn rebalance(&self, records: &Records, moves_max: usize) -> Vec<Move>;

    /// What would become of the cluster if these requests were carried out and every machine did what it is told.
    fn trial(&self, records: Records, requests: &[UnitRequest]) -> TrialPlan;
}
