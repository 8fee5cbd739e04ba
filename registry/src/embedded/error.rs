//! What can go wrong with the embedded etcd itself, as opposed to a refused request.

use std::path::{Path, PathBuf};

use super::refusal::Refusal;

/// The embedded etcd cannot be opened, served or driven.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process, or this one, has the file open.
    #[error(
        "the embedded store {path} is in use by another process: \
         stop the other fleetd, or give this one a store of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened, created or read.
    #[error("cannot open the embedded store {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// The file holds something that this fleet did not write.
    #[error(
        "the embedded store {path} holds a record at revision {revision} that cannot be read: \
         it was written by a newer fleet, or is damaged; restore it from a backup"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The revision of the record.
        revision: i64,
    },
    /// A listener failed.
    #[error("cannot serve the embedded store")]
    Serve {
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A task of the store ended abnormally.
    #[error("a task of the embedded store ended abnormally")]
    Task {
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The request was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl EmbeddedError {
    pub(crate) fn open(path: &Path, source: redb::Error) -> EmbeddedError {
        let path = path.to_path_buf();
        match source {
            redb::Error::DatabaseAlreadyOpen => EmbeddedError::InUse { path },
            source => EmbeddedError::Open {
                path,
                source: Box::new(source),
            },
        }
    }
}
