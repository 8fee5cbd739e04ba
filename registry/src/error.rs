//! What can go wrong with the store, and what is then known: nothing was done, it was refused, or the outcome of a write is
//! not known.

use std::error::Error as _;

use model::StoreError;
use tonic::Code;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No endpoint answered; nothing was done.
    #[error("no etcd endpoint answered: {reason}")]
    Unreachable {
        /// What the last endpoint tried said.
        reason: String,
    },
    /// The connection broke or time ran out after a write was sent: it may or may not have been done.
    #[error("etcd did not answer a write, which may or may not have been done: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The store refused; nothing was done.
    #[error("etcd refused: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The store's space is used up; it takes no writes until someone makes room.
    #[error(
        "etcd has no space left and takes no writes: compact and defragment it, then clear its alarm (etcdctl alarm disarm)"
    )]
    NoSpace,
    /// The store's user may not do this, or its password is wrong.
    #[error("etcd denies it: {reason}: check etcd_username, etcd_password and the user's roles")]
    Denied {
        /// What it said.
        reason: String,
    },
    /// The lease is gone.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The history asked for has been compacted, or the store went back in time.
    #[error("the history asked for is gone")]
    Compacted,
    /// An answer is larger than is accepted.
    #[error("etcd's answer is too large: {reason}")]
    TooLarge {
        /// What it said.
        reason: String,
    },
    /// The record cannot be understood.
    #[error("the record {key} in etcd is damaged: {reason}")]
    Damaged {
        /// Its key, in full.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store answered something that the protocol does not allow.
    #[error("etcd answered something unexpected: {reason}")]
    Protocol {
        /// What is odd about it.
        reason: String,
    },
}

/// Why a fenced write was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The record that gives the right to write is no longer ours: nothing of this and of later transactions was done.
    #[error("another has taken over: the record that gives the right to write is no longer ours")]
    Deposed,
    /// A machine has begun to report what this rests on its not reporting: decide again, by what the store has now.
    #[error("what was decided rests on what is no longer so")]
    Contested,
    /// The store did not take it: surely nothing of it was written.
    #[error(transparent)]
    Undone(RegistryError),
    /// The store failed; some of it may have been written.
    #[error(transparent)]
    Store(#[from] RegistryError),
}

impl RegistryError {
    /// True if a write that ended in this surely changed nothing.
    pub(crate) fn is_undone(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. }
            | RegistryError::Refused { .. }
            | RegistryError::NoSpace
            | RegistryError::Denied { .. } => true,
            RegistryError::Unknown { .. }
            | RegistryError::LeaseEnded
            | RegistryError::Compacted
            | RegistryError::TooLarge { .. }
            | RegistryError::Damaged { .. }
            | RegistryError::Protocol { .. } => false,
        }
    }
}

impl From<RegistryError> for StoreError {
    fn from(error: RegistryError) -> StoreError {
        match error {
            RegistryError::Unreachable { reason } => StoreError::Unreachable(reason),
            RegistryError::Unknown { reason } => StoreError::Unknown(reason),
            RegistryError::Refused { reason } => StoreError::Refused(reason),
            other @ (RegistryError::NoSpace
            | RegistryError::Denied { .. }
            | RegistryError::LeaseEnded
            | RegistryError::Compacted
            | RegistryError::TooLarge { .. }
            | RegistryError::Damaged { .. }
            | RegistryError::Protocol { .. }) => StoreError::Refused(other.to_string()),
        }
    }
}

/// Whether a request changes something, and so whether its outcome matters after it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only reads, or may be repeated without harm.
    None,
    /// It writes.
    Write,
}

/// The error for an answer that did not come in time.
pub(crate) fn timed_out(effect: Effect, what: &str) -> RegistryError {
    let reason = format!("no answer within {what}");
    match effect {
        Effect::None => RegistryError::Unreachable { reason },
        Effect::Write => RegistryError::Unknown { reason },
    }
}

/// What an error of the etcd client means for a request of this effect.
pub(crate) fn classify(error: &etcd_client::Error, effect: Effect) -> RegistryError {
    match error {
        etcd_client::Error::GRpcStatus(status) => classify_status(status, effect),
        etcd_client::Error::TransportError(source) => lost(effect, source.to_string()),
        etcd_client::Error::LeaseKeepAliveError(reason) if reason == "lease not found" => {
            RegistryError::LeaseEnded
        }
        other => lost(effect, other.to_string()),
    }
}

fn classify_status(status: &tonic::Status, effect: Effect) -> RegistryError {
    let message = status.message();
    // etcd's own words are more telling than its codes, several of which depend on the way a request took.
    if message.contains("database space exceeded") {
        return RegistryError::NoSpace;
    }
    if message.contains("requested lease not found") {
        return RegistryError::LeaseEnded;
    }
    if message.contains("required revision") {
        return RegistryError::Compacted;
    }
    if message.contains("no leader") {
        return RegistryError::Unreachable {
            reason: "etcd has no leader".to_owned(),
        };
    }
    if message.contains("message length too large") {
        return RegistryError::TooLarge {
            reason: message.to_owned(),
        };
    }
    let reason = describe(status);
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => RegistryError::Denied { reason },
        _ if message.contains("invalid auth token")
            || message.contains("authentication failed") =>
        {
            RegistryError::Denied { reason }
        }
        Code::Unavailable if never_sent(status) => RegistryError::Unreachable { reason },
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Aborted => lost(effect, reason),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => RegistryError::Refused { reason },
    }
}

/// Loss of the connection (or of time), which tells nothing of a write under way.
fn lost(effect: Effect, reason: String) -> RegistryError {
    match effect {
        Effect::None => RegistryError::Unreachable { reason },
        Effect::Write => RegistryError::Unknown { reason },
    }
}

/// True if the request cannot have reached a server: no connection could be made.
fn never_sent(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() || error.is::<crate::endpoints::NotSent>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The status's message and what lies behind it, which for a failed connection is the only telling part.
fn describe(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !more.is_empty() && !text.contains(&more) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        source = error.source();
    }
    if text.is_empty() {
        status.code().to_string()
    } else {
        text
    }
}
