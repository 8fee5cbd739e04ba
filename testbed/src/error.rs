//! What can go wrong in a testbed. Every variant names the thing and carries what its output said.

use std::io;
use std::path::{Path, PathBuf};

/// Why a testbed could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host lacks something that machines need.
    #[error("this host cannot boot machines: {reason}")]
    Unavailable {
        /// What is missing and what to do.
        reason: String,
    },
    /// A file or directory of the testbed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// "write", "create" and the like.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that could not be started, fed or waited for.
    #[error("cannot run `{command}`")]
    Run {
        /// As a person would type it.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that ended badly.
    #[error("`{command}` ended with {status}\n{output}")]
    Failed {
        /// As a person would type it.
        command: String,
        /// Exit code or signal.
        status: String,
        /// Its standard output and standard error.
        output: String,
    },
    /// A program that said something else than it always does.
    #[error("`{command}` was expected to print {what}")]
    Unexpected {
        /// As a person would type it.
        command: String,
        /// What, and what came instead.
        what: String,
    },
    /// A machine that is off was asked to do something.
    #[error("machine {machine} is off")]
    Off {
        /// Its name.
        machine: String,
    },
    /// A machine or etcd member that is on was powered on.
    #[error("{name} is already running")]
    On {
        /// Its name.
        name: String,
    },
    /// Something did not come about in time.
    #[error("{what} did not come about within {limit_s} s\n{last}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit_s: u64,
        /// What was seen last: an error, a console, a log.
        last: String,
    },
    /// Something ended while it was waited for.
    #[error("{name} ended while it was starting\n{log}")]
    Ended {
        /// The machine or etcd member.
        name: String,
        /// The end of its console or log.
        log: String,
    },
}

impl Error {
    /// Returns a closure that turns an [`io::Error`] on `path` into an [`Error::File`].
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
