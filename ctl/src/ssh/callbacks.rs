//! What the SSH library asks and tells us while a connection lives.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Error};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::SshError;
use super::connection::{Tools, host};
use super::hop::Hop;
use super::host_key::{Host, HostKeys};

/// Programs of the host that may use our agent at once.
const AGENT_USERS_MAX: usize = 16;

/// Why a connection is no more.
pub(super) type Lost = Arc<Mutex<Option<String>>>;

/// What came of checking a host's key, if it was not found to be right.
pub(super) type Judged = Arc<Mutex<Option<Judgement>>>;

/// What is wrong with a host's key.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Nothing is known of the host.
    Unknown(Host, PublicKey),
    /// It is not the host's.
    Wrong(SshError),
}

/// What the SSH library calls.
#[derive(Debug)]
pub(super) struct Callbacks {
    /// The host, as far as it is known before its address is.
    pub(super) host: Host,
    host_keys: Arc<HostKeys>,
    judged: Judged,
    lost: Lost,
    limit: Duration,
    agent_socket: Option<PathBuf>,
    forwards_agent: Arc<AtomicBool>,
    /// Who uses our agent from the host.
    agent_users: JoinSet<()>,
}

impl Callbacks {
    /// For a connection to `hop`.
    pub(super) fn new(
        tools: &Tools,
        hop: &Hop,
        judged: &Judged,
        lost: &Lost,
        forwards_agent: &Arc<AtomicBool>,
    ) -> Callbacks {
        Callbacks {
            host: host(hop, None),
            host_keys: Arc::clone(&tools.host_keys),
            judged: Arc::clone(judged),
            lost: Arc::clone(lost),
            limit: tools.settings.timeout,
            agent_socket: hop.agent_socket.clone(),
            forwards_agent: Arc::clone(forwards_agent),
            agent_users: JoinSet::new(),
        }
    }
}

impl Handler for Callbacks {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            // Certificates are not offered in the negotiation, so that no honest host shows one.
            return Ok(false);
        };
        let judgement = match self.host_keys.check(&self.host, key) {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) => Judgement::Wrong(error),
            None => Judgement::Unknown(self.host.clone(), key.clone()),
        };
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(judgement);
        Ok(false)
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        while self.agent_users.try_join_next().is_some() {}
        let Some(socket) = self.agent_socket.clone() else {
            return Ok(());
        };
        let allowed = self.forwards_agent.load(Ordering::Relaxed);
        if !allowed || self.agent_users.len() >= AGENT_USERS_MAX {
            // Not answering is answered with a refusal.
            return Ok(());
        }
        reply.accept().await;
        self.agent_users.spawn(async move {
            let mut stream = channel.into_stream();
            // If our agent is gone the host sees its request end: that is the whole message there is.
            if let Ok(mut agent) = UnixStream::connect(socket).await {
                let copied = tokio::io::copy_bidirectional(&mut stream, &mut agent).await;
                drop(copied);
            }
        });
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(info) if info.message.is_empty() => {
                "the host ended it".to_owned()
            }
            DisconnectReason::ReceivedDisconnect(info) => {
                format!("the host ended it: {}", info.message)
            }
            DisconnectReason::Error(Error::KeepaliveTimeout) => {
                format!(
                    "the host does not answer any more (limit {} s)",
                    self.limit.as_secs_f64()
                )
            }
            DisconnectReason::Error(Error::Disconnect | Error::HUP) => {
                "the host closed it".to_owned()
            }
            DisconnectReason::Error(Error::IO(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                "the host closed it".to_owned()
            }
            DisconnectReason::Error(error) => error.to_string(),
        };
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}
