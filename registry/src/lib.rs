//! Where the cluster is kept: records in etcd v3, reached over the network or embedded in this process.
//!
//! The only crate that names etcd. Everything else sees the types of `model`.
//!
//! [`Registry`] is one connection to the store, whichever it is. From it come [`Follow`] (everything that happens, in order,
//! across every loss of the connection), [`Lease`] (being alive), [`Membership`] (this machine's own records),
//! [`Leadership`] (fenced writes of the engine), [`Inbox`] (what other
//! machines ask this one) and [`View`] (the API's port, [`model::ClusterStore`]).

mod asking;
mod audit;
mod backoff;
mod batch;
mod certificates;
mod chunks;
mod clock;
mod clocks;
mod config;
mod connection;
mod endpoints;
mod error;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod history;
mod inbox;
mod join;
mod known;
mod layout;
mod leadership;
mod lease;
mod listing;
mod membership;
mod quarantine;
mod stream;
mod view;

pub mod embedded;

pub use config::{Config, ConfigError, TlsFiles};
pub use connection::Registry;
pub use error::{RegistryError, WriteError};
pub use follow::{Follow, FollowEvent, Scope};
pub use inbox::{Asked, Inbox, Matter, PIECE_BYTES_MAX, Reply, ReplyError, Unanswerable};
pub use join::Join;
pub use leadership::{Campaign, Leadership};
pub use lease::{Lease, LeaseId, LeaseLost, Origin};
pub use membership::{Confirmations, Membership};
pub use view::View;
