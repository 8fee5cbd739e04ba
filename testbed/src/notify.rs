//! Receives what a process says of itself in the way of sd_notify(3): that it is ready, its leader's PID.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::Error;

/// How often a process that says nothing is looked at, to see that it still lives.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A socket that a process reports to.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notify {
    /// Opens the socket at `path`, in place of one that an earlier process reported to.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(path).map_err(Error::file("listen on", path))?;
        socket
            .set_read_timeout(Some(LOOK_INTERVAL))
            .map_err(Error::file("set up", path))?;
        Ok(Self {
            socket,
            path: path.to_path_buf(),
        })
    }

    /// Returns the path, for the environment variable `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a line that begins with `key` and `=` from `child` and returns the line's value.
    ///
    /// `name` and `log` (asked for when needed) are what an error tells.
    pub(crate) fn wait(
        &self,
        key: &str,
        child: &mut Child,
        name: &str,
        limit: Duration,
        log: impl Fn() -> String,
    ) -> Result<String, Error> {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    let value = text
                        .lines()
                        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                    if let Some(value) = value {
                        return Ok(value.to_owned());
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    let failed = |source| Error::Run {
                        command: name.to_owned(),
                        source,
                    };
                    if child.try_wait().map_err(failed)?.is_some() {
                        return Err(Error::Ended {
                            name: name.to_owned(),
                            log: log(),
                        });
                    }
                }
                Err(error) => return Err(Error::file("read", &self.path)(error)),
            }
            if start.elapsed() >= limit {
                let what = format!("{key} from {name}");
                return Err(Error::Late {
                    what,
                    limit_s: limit.as_secs(),
                    last: log(),
                });
            }
        }
    }
}
