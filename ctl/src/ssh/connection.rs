//! One SSH connection to one host: made, checked and logged in within the limit, and noticed when it is lost.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle, Msg};
use russh::keys::Algorithm;
use russh::{Channel, Preferred};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout, timeout_at};

use super::callbacks::{Callbacks, Judged, Judgement, Lost};
use super::hop::Hop;
use super::host_key::{Host, HostKeys};
use super::key_ring::KeyRing;
use super::known_hosts::names;
use super::stream::ChannelIo;
use super::{SshError, SshSettings, authentication};

/// A host that says nothing is asked whether it is there this many times per `--ssh-timeout`: one that is reached through another
/// less often, so that it is not taken for lost when it is the other that is.
const QUESTIONS_PER_TIMEOUT: u32 = 12;
const QUESTIONS_PER_TIMEOUT_THROUGH: u32 = 10;

/// Questions without an answer after which a host is given up, when the next would be due. The first is asked one interval after
/// the last word of the host, so that nine intervals are over then.
const QUESTIONS_UNANSWERED_MAX: usize = 8;

/// Messages of one channel that wait to be read. A channel that is full stops all others of its connection, and fleetctl makes a
/// request while events of another are not read: so many that a cluster's worth of them fits.
const MESSAGES_WAITING_MAX: usize = 4096;

/// Handshakes until a new host is known: one shows its key to the person, the next is with a known host.
const HANDSHAKES_MAX: usize = 2;

/// What connections are made with.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) settings: SshSettings,
    pub(super) host_keys: Arc<HostKeys>,
    pub(super) key_ring: KeyRing,
    /// Held for writing while a person is asked, for reading while a host is talked to: a person takes the time it takes, and no
    /// host's time may run out meanwhile.
    pub(super) quiet: RwLock<()>,
}

/// A connection that is logged in.
pub(super) struct Connection {
    handle: Handle<Callbacks>,
    shown: String,
    limit: Duration,
    lost: Lost,
    /// Whether the host may use our agent.
    forwards_agent: Arc<AtomicBool>,
    /// What it runs through, which must live as long.
    through: Option<Arc<Connection>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.shown)
    }
}

impl Connection {
    /// Connects to a host, through another one if so, and logs in.
    pub(super) async fn open(
        tools: &Tools,
        hop: &Hop,
        through: Option<Arc<Connection>>,
    ) -> Result<Arc<Connection>, SshError> {
        let mut asked = 0;
        loop {
            let judged = Judged::default();
            let lost = Lost::default();
            let forwards_agent = Arc::new(AtomicBool::new(false));
            let callbacks = Callbacks::new(tools, hop, &judged, &lost, &forwards_agent);
            let quiet = tools.quiet.read().await;
            let deadline = Instant::now() + tools.settings.timeout;
            let work = shake_hands(tools, hop, through.as_ref(), callbacks);
            let error = match timeout_at(deadline, work).await {
                Ok(Ok(mut handle)) => {
                    authentication::log_in(&mut handle, hop, tools, deadline, quiet).await?;
                    return Ok(Arc::new(Connection {
                        handle,
                        shown: hop.shown(),
                        limit: tools.settings.timeout,
                        lost,
                        forwards_agent,
                        through,
                    }));
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(timed_out(hop, tools)),
            };
            drop(quiet);
            let judgement = judged.lock().unwrap_or_else(PoisonError::into_inner).take();
            match judgement {
                None => return Err(error),
                Some(Judgement::Wrong(error)) => return Err(error),
                Some(Judgement::Unknown(host, key)) => {
                    let _alone = tools.quiet.write().await;
                    // Another connection may have asked.
                    match tools.host_keys.check(&host, &key) {
                        Some(judged) => judged?,
                        None => tools.host_keys.ask(&host, &key).await?,
                    }
                }
            }
            asked += 1;
            if asked >= HANDSHAKES_MAX {
                return Err(error);
            }
        }
    }

    /// How messages call the host.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Why the connection is no more; none while it is.
    pub(super) fn lost(&self) -> Option<SshError> {
        // What is behind a lost host cannot be told from lost itself.
        if let Some(lost) = self.through.as_ref().and_then(|outer| outer.lost()) {
            return Some(lost);
        }
        let reason = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let reason = match reason {
            Some(reason) => reason,
            None if self.handle.is_closed() => "it was closed".to_owned(),
            None => return None,
        };
        Some(SshError::Lost {
            host: self.shown.clone(),
            reason,
        })
    }

    /// Lets the host use our agent from now on.
    pub(super) fn forward_agent(&self) {
        self.forwards_agent.store(true, Ordering::Relaxed);
    }

    /// Opens a channel to run something in.
    pub(super) async fn session(&self) -> Result<Channel<Msg>, SshError> {
        self.opened("a session", self.handle.channel_open_session())
            .await
    }

    /// Opens a stream to a unix socket of the host.
    pub(super) async fn to_socket(&self, path: &Path) -> Result<Channel<Msg>, SshError> {
        let shown = path.display().to_string();
        let opening = self.handle.channel_open_direct_streamlocal(shown.clone());
        self.opened(&shown, opening).await
    }

    /// Opens a stream to a port that the host can reach.
    pub(super) async fn to_port(&self, host: &str, port: u16) -> Result<Channel<Msg>, SshError> {
        let opening = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        self.opened(&format!("{host}, port {port}"), opening).await
    }

    async fn opened(
        &self,
        target: &str,
        opening: impl Future<Output = Result<Channel<Msg>, russh::Error>>,
    ) -> Result<Channel<Msg>, SshError> {
        let reason = match timeout(self.limit, opening).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => match reason {
                russh::ChannelOpenFailure::AdministrativelyProhibited => {
                    "sshd there does not allow it".to_owned()
                }
                russh::ChannelOpenFailure::ConnectFailed => "nothing answers there".to_owned(),
                other => format!("{other:?}"),
            },
            Ok(Err(error)) => match self.lost() {
                Some(lost) => return Err(lost),
                None => error.to_string(),
            },
            Err(_elapsed) => format!("no answer within {} s", self.limit.as_secs_f64()),
        };
        Err(SshError::Channel {
            host: self.shown.clone(),
            target: target.to_owned(),
            reason,
        })
    }
}

pub(super) fn timed_out(hop: &Hop, tools: &Tools) -> SshError {
    SshError::TimedOut {
        host: hop.shown(),
        seconds: tools.settings.timeout.as_secs_f64(),
    }
}

async fn shake_hands(
    tools: &Tools,
    hop: &Hop,
    through: Option<&Arc<Connection>>,
    mut callbacks: Callbacks,
) -> Result<Handle<Callbacks>, SshError> {
    let unreachable = |source| SshError::Unreachable {
        host: hop.shown(),
        source,
    };
    let shaken = match through {
        None => {
            let stream = TcpStream::connect((hop.host.as_str(), hop.port))
                .await
                .map_err(unreachable)?;
            prepare(&stream, tools.settings.timeout).map_err(unreachable)?;
            let address = stream.peer_addr().map_err(unreachable)?.ip();
            callbacks.host = host(hop, Some(address.to_canonical()));
            let config = config(tools, &callbacks.host, QUESTIONS_PER_TIMEOUT)?;
            client::connect_stream(config, stream, callbacks).await
        }
        Some(outer) => {
            let channel = outer.to_port(&hop.host, hop.port).await?;
            callbacks.host = host(hop, None);
            let config = config(tools, &callbacks.host, QUESTIONS_PER_TIMEOUT_THROUGH)?;
            let stream = ChannelIo::new(channel, Arc::clone(outer));
            client::connect_stream(config, stream, callbacks).await
        }
    };
    shaken.map_err(
        |error| match (through.and_then(|outer| outer.lost()), error) {
            (Some(lost), _) => lost,
            (None, russh::Error::IO(source)) => unreachable(source),
            (None, source) => SshError::Protocol {
                host: hop.shown(),
                source,
            },
        },
    )
}

/// Small messages go at once, and bytes that nobody acknowledges end the connection: the library would wait for them.
fn prepare(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, limit_ms)?)
}

fn config(tools: &Tools, host: &Host, questions: u32) -> Result<Arc<client::Config>, SshError> {
    let known = tools.host_keys.algorithms(host)?;
    // SHA-1 signatures (plain ssh-rsa) are not safe any more.
    let safe = Preferred::DEFAULT
        .key
        .iter()
        .filter(|kind| **kind != Algorithm::Rsa { hash: None });
    let (mut kinds, others): (Vec<_>, Vec<_>) = safe.cloned().partition(|kind| {
        known.iter().any(|known| match (kind, known) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (kind, known) => kind == known,
        })
    });
    kinds.extend(others);
    Ok(Arc::new(client::Config {
        channel_buffer_size: MESSAGES_WAITING_MAX,
        keepalive_interval: Some(tools.settings.timeout / questions),
        keepalive_max: QUESTIONS_UNANSWERED_MAX,
        preferred: Preferred {
            key: kinds.into(),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }))
}

pub(super) fn host(hop: &Hop, address: Option<IpAddr>) -> Host {
    let address = address.map(|address| address.to_string());
    let names = match &hop.key_alias {
        Some(alias) => vec![alias.clone()],
        None => names(&hop.host, address.as_deref(), hop.port),
    };
    Host {
        shown: hop.shown(),
        names,
    }
}
