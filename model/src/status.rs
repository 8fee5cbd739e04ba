//! What a machine's agent observes of a unit and publishes under the machine's lease.

use std::fmt;

use unitfile::UnitHash;

use crate::{Generation, TargetState};

macro_rules! systemd_states {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum $name {
            $(#[doc = concat!("systemd's `", $word, "`.")] $variant,)+
            /// A word this version does not know; kept and shown as it is.
            Other(String),
        }

        impl $name {
            /// Returns the state systemd names `word`.
            pub fn from_word(word: &str) -> $name {
                match word {
                    $($word => $name::$variant,)+
                    other => $name::Other(other.to_owned()),
                }
            }

            /// systemd's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $word,)+
                    $name::Other(word) => word,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

systemd_states! {
    /// systemd's `LoadState` of a unit.
    LoadState {
        Stub = "stub",
        Loaded = "loaded",
        NotFound = "not-found",
        BadSetting = "bad-setting",
        Error = "error",
        Merged = "merged",
        Masked = "masked",
    }
}

systemd_states! {
    /// systemd's `ActiveState` of a unit.
    ActiveState {
        Active = "active",
        Reloading = "reloading",
        Inactive = "inactive",
        Failed = "failed",
        Activating = "activating",
        Deactivating = "deactivating",
        Maintenance = "maintenance",
    }
}

systemd_states! {
    /// How a systemd job ended (`JobRemoved`).
    JobResult {
        Done = "done",
        Canceled = "canceled",
        Timeout = "timeout",
        Failed = "failed",
        Dependency = "dependency",
        Skipped = "skipped",
        Invalid = "invalid",
        Assert = "assert",
        Unsupported = "unsupported",
        Collected = "collected",
        Once = "once",
    }
}

impl ActiveState {
    /// True while systemd is still on its way to another state by itself.
    pub fn is_transitional(&self) -> bool {
        matches!(
            self,
            ActiveState::Activating | ActiveState::Deactivating | ActiveState::Reloading
        )
    }

    /// True if nothing of the unit runs.
    pub fn is_stopped(&self) -> bool {
        matches!(self, ActiveState::Inactive | ActiveState::Failed)
    }
}

/// systemd's id of one activation of a unit: unchanged means "not touched".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InvocationId(pub String);

/// What was asked of systemd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// Putting the unit's file where systemd finds it.
    Load,
    /// `StartUnit`.
    Start,
    /// `StopUnit`.
    Stop,
    /// `RestartUnit`.
    Restart,
}

impl JobKind {
    /// The verb, as `fleetctl` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Load => "load",
            JobKind::Start => "start",
            JobKind::Stop => "stop",
            JobKind::Restart => "restart",
        }
    }
}

/// How the last thing asked of systemd for a unit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobReport {
    /// What was asked.
    pub kind: JobKind,
    /// The request it was asked for.
    pub generation: Generation,
    /// How it ended; `Failed` also when systemd refused the call.
    pub result: JobResult,
    /// What systemd or the file system said, where the result alone does not tell; empty if nothing.
    pub message: String,
}

/// A unit on a machine, as its agent sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitStatus {
    /// systemd's load state.
    pub load: LoadState,
    /// systemd's active state.
    pub active: ActiveState,
    /// systemd's sub state, such as `running`, `exited`, `dead`.
    pub sub: String,
    /// Hash of the file that is loaded.
    pub hash: UnitHash,
    /// How far the agent has brought it: `Loaded` or `Launched`.
    pub state: TargetState,
    /// The latest request the agent is through with, whether it ended well or not.
    pub generation: Generation,
    /// The last job's end.
    pub job: Option<JobReport>,
    /// systemd's id of this activation; none if never activated.
    pub invocation: Option<InvocationId>,
    /// When the active state last changed, in milliseconds since 1970, by the machine's clock; for people only.
    pub since_unix_ms: u64,
}
