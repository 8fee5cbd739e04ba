//! SSH: the way to the cluster (`--tunnel`) and to its machines. Host keys are checked against fleetctl's own list.
//!
//! [`Remote`] is all that verbs see. Below it: where a host is and how to log in (`spec`, `hop`, `config_path`, `route`), one connection (`connection`,
//! `callbacks`, `authentication`, `key_ring`, `host_key`, `known_hosts`), and what runs through it (`stream`, `tunnel`,
//! `execution`, `shell`). No connection is made before it is needed, and each only once.

mod spec;

mod config_path;
mod hop;
mod route;

mod authentication;
mod callbacks;
mod connection;
mod host_key;
mod key_ring;
mod known_hosts;
mod person;

mod execution;
mod quote;
mod shell;
mod stream;
mod tunnel;

mod error;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::client::Dialler;
use tokio::sync::{Mutex, RwLock, Semaphore};

pub(crate) use error::SshError;
pub(crate) use execution::{Execution, Piece};
pub(crate) use host_key::Checking;
pub(crate) use shell::AgentForwarding;
pub(crate) use spec::HostSpec;

use crate::signals::Signals;

use connection::{Connection, Tools};
use host_key::HostKeys;
use key_ring::KeyRing;
use tunnel::Tunnel;

/// What the flags and the environment say of SSH.
#[derive(Debug, Clone)]
pub(crate) struct SshSettings {
    /// The host through which everything goes.
    pub(crate) tunnel: Option<HostSpec>,
    /// Whom to log in as, if that was said.
    pub(crate) username: Option<String>,
    /// Limit for making one connection, and for noticing that one is lost.
    pub(crate) timeout: Duration,
    /// The keys of hosts.
    pub(crate) known_hosts_file: Result<PathBuf, Homeless>,
    /// Whether they are checked.
    pub(crate) checking: Checking,
    /// Whether there may be a person to ask.
    pub(crate) asking: Asking,
    /// The user's home.
    pub(crate) home: Option<PathBuf>,
    /// Where ssh-agent listens.
    pub(crate) agent_socket: Option<PathBuf>,
    /// What would end us while the terminal is not as it was.
    pub(crate) signals: Signals,
}

/// A file in a home that there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Homeless {
    /// The file as it was written.
    pub(crate) written: String,
}

/// Whether questions are asked: whether a host is the right one, and for passphrases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// They are.
    Person,
    /// Nobody sees them: the person is in the middle of typing something else.
    Nobody,
}

/// The machines of the cluster, as far as SSH leads to them. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Remote {
    inner: Arc<Inner>,
}

/// Address and port of a machine.
type Address = (String, u16);

/// A connection once it is made. Locked while it is being made, so that it is made once.
type Slot = Arc<Mutex<Option<Arc<Connection>>>>;

/// Connections that are made at the same time: OpenSSH's server begins to refuse at ten that are not logged in yet, and a bastion
/// sees all of them.
const CONNECTING_MAX: usize = 8;

struct Inner {
    tools: Tools,
    /// Connections by where they lead to; none is the tunnel's.
    connections: std::sync::Mutex<BTreeMap<Option<Address>, Slot>>,
    /// One permit for each that is being made.
    connecting: Semaphore,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: SshSettings) -> Remote {
        let file = settings.known_hosts_file.clone();
        let asking = settings.asking;
        let key_ring = KeyRing::new(asking, settings.signals.clone());
        let host_keys = Arc::new(HostKeys::new(file, settings.checking, asking));
        let tools = Tools {
            settings,
            host_keys,
            key_ring,
            quiet: RwLock::default(),
        };
        Remote {
            inner: Arc::new(Inner {
                tools,
                connections: std::sync::Mutex::default(),
                connecting: Semaphore::new(CONNECTING_MAX),
            }),
        }
    }

    fn slot(&self, to: Option<Address>) -> Slot {
        let connections = self.inner.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(connections.entry(to).or_default())
    }

    /// What opens connections to fleetd through the tunnel, which is made now; none without `--tunnel`.
    pub(crate) async fn dialler(&self) -> Result<Option<Arc<dyn Dialler>>, SshError> {
        match self.tunnel().await? {
            Some(connection) => Ok(Some(Arc::new(Tunnel::new(connection)))),
            None => Ok(None),
        }
    }

    /// Runs `command`, a line for the shell, on the machine with this address; its stdin is empty. Through the tunnel, if there
    /// is one. `port` is where the machine's sshd listens.
    pub(crate) async fn exec(
        &self,
        address: &str,
        port: u16,
        command: &str,
    ) -> Result<Execution, SshError> {
        let connection = self.machine(address, port).await?;
        Execution::start(connection, command).await
    }

    /// Runs `command`, or a shell without one, at this terminal, on the machine with this address. Returns its status.
    pub(crate) async fn shell(
        &self,
        address: &str,
        port: u16,
        command: Option<&str>,
        forwarding: AgentForwarding,
    ) -> Result<u8, SshError> {
        let connection = self.machine(address, port).await?;
        let signals = &self.inner.tools.settings.signals;
        shell::run(&connection, command, forwarding, signals).await
    }

    async fn tunnel(&self) -> Result<Option<Arc<Connection>>, SshError> {
        let tools = &self.inner.tools;
        let Some(spec) = &tools.settings.tunnel else {
            return Ok(None);
        };
        let slot = self.slot(None);
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| open.lost().is_none()) {
            return Ok(Some(Arc::clone(open)));
        }
        Ok(Some(Arc::clone(slot.insert(self.along(spec).await?))))
    }

    async fn machine(&self, address: &str, port: u16) -> Result<Arc<Connection>, SshError> {
        let tunnel = self.tunnel().await?;
        let tools = &self.inner.tools;
        let slot = self.slot(Some((address.to_owned(), port)));
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| open.lost().is_none()) {
            return Ok(Arc::clone(open));
        }
        // It is never closed, so it is never refused.
        let _place = self.inner.connecting.acquire().await;
        let spec = HostSpec {
            user: None,
            host: address.to_owned(),
            // The usual port leaves it to ~/.ssh/config.
            port: (port != spec::PORT).then_some(port),
        };
        let open = match tunnel {
            Some(tunnel) => {
                let hop = route::last_hop(&tools.settings, &spec).await?;
                Connection::open(tools, &hop, Some(tunnel)).await?
            }
            None => self.along(&spec).await?,
        };
        Ok(Arc::clone(slot.insert(open)))
    }

    /// Connects to one host after the other on the way to `spec`.
    async fn along(&self, spec: &HostSpec) -> Result<Arc<Connection>, SshError> {
        let tools = &self.inner.tools;
        let mut hops = route::route(&tools.settings, spec).await?.into_iter();
        let Some(first) = hops.next() else {
            // A way has at least its own end.
            return Err(SshError::Jumps {
                host: spec.host.clone(),
                limit: 0,
            });
        };
        let mut open = Connection::open(tools, &first, None).await?;
        for hop in hops {
            open = Connection::open(tools, &hop, Some(open)).await?;
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Longer than any test waits; a way to connect to one host after the other would end only after that.
    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn machines_are_connected_to_at_the_same_time() {
        let remote = Remote::new(SshSettings {
            tunnel: None,
            username: Some("core".to_owned()),
            timeout: LIMIT,
            known_hosts_file: Ok(PathBuf::from("/nonexistent/known_hosts")),
            asking: Asking::Nobody,
            checking: Checking::Strict,
            home: None,
            agent_socket: None,
            signals: Signals::default(),
        });
        let mut hosts = Vec::new();
        for _ in 0..CONNECTING_MAX {
            hosts.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let ports: Vec<u16> = hosts
            .iter()
            .map(|host| host.local_addr().unwrap().port())
            .collect();
        let attempts = ports
            .iter()
            .map(|port| remote.exec("127.0.0.1", *port, "true"));
        // Each takes the connection and says nothing.
        let taken = async {
            let mut streams = Vec::new();
            for host in &hosts {
                streams.push(host.accept().await.unwrap());
            }
            streams.len()
        };
        tokio::select! {
            taken = taken => assert_eq!(taken, CONNECTING_MAX),
            ended = futures_util::future::select_all(attempts.map(Box::pin)) => {
                panic!("one ended before all were connected to: {:?}", ended.0.err())
            }
        }
    }
}
