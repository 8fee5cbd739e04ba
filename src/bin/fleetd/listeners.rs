//! The sockets the API is served on: those systemd passed, or our own.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::server::Listener;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::{Config, Listen};

/// Where fleetctl looks by default (`/var/run` is `/run`).
const DEFAULT_SOCKET: &str = "/run/fleet.sock";

/// Members of this group may use the API.
const API_GROUP: &str = "fleet";

/// Owner and group may talk to the API; whoever may is root on every machine.
const SOCKET_MODE: u32 = 0o660;

/// The API's sockets, bound.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// All of them.
    pub(crate) sockets: Vec<Listener>,
    /// Sockets to remove at the end: those we made ourselves.
    pub(crate) owned: OwnedSockets,
}

/// Socket files of our own, removed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct OwnedSockets(Vec<PathBuf>);

/// The sockets systemd passed. Reads and clears `LISTEN_*`, so it must run before other threads start.
pub(crate) fn passed() -> listenfd::ListenFd {
    listenfd::ListenFd::from_env()
}

/// Binds what the configuration asks for; without that, takes the sockets systemd passed, or else the default socket.
pub(crate) async fn bind(config: &Config, mut passed: listenfd::ListenFd) -> Result<Listeners> {
    let mut listeners = Listeners::default();
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            socket.set_nonblocking(true)?;
            listeners
                .sockets
                .push(Listener::Unix(UnixListener::from_std(socket)?));
        } else if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            socket.set_nonblocking(true)?;
            listeners
                .sockets
                .push(Listener::Tcp(TcpListener::from_std(socket)?));
        } else {
            bail!(
                "socket {index} passed by systemd is neither a unix nor a TCP stream socket: see fleet.socket"
            );
        }
    }
    let default = [Listen::Unix(PathBuf::from(DEFAULT_SOCKET))];
    let own: &[Listen] = match &config.listen {
        Some(list) => list,
        None if listeners.sockets.is_empty() => &default,
        None => &[],
    };
    for listen in own {
        match listen {
            Listen::Unix(path) => {
                listeners
                    .sockets
                    .push(Listener::Unix(bind_unix(path).await?));
                listeners.owned.0.push(path.clone());
            }
            Listen::Tcp(address) => {
                let socket = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("listen: cannot serve on {address}"))?;
                listeners.sockets.push(Listener::Tcp(socket));
            }
        }
    }
    Ok(listeners)
}

async fn bind_unix(path: &Path) -> Result<UnixListener> {
    let describe = || format!("listen: cannot serve on {}", path.display());
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            bail!(
                "listen: {} exists and is no socket: remove it or choose another path",
                path.display()
            );
        }
        if UnixStream::connect(path).await.is_ok() {
            bail!(
                "listen: another process serves on {} already: is fleetd running?",
                path.display()
            );
        }
        // Left over by a fleetd that was killed.
        std::fs::remove_file(path).with_context(describe)?;
    }
    let socket = UnixListener::bind(path).with_context(describe)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
        .with_context(describe)?;
    if let Some(group) = group_id(API_GROUP) {
        std::os::unix::fs::chown(path, None, Some(group)).with_context(describe)?;
    }
    Ok(socket)
}

/// The number of a group of `/etc/group`; none if there is no such group.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

impl Drop for OwnedSockets {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "the API socket is gone already");
            }
        }
    }
}
