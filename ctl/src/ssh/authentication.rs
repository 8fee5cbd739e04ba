//! Logs in: with the keys of ssh-agent first, then those in files, then those that need a passphrase, which is only asked for
//! if the host would take the key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, SendError, Signer};
use tokio::net::UnixStream;
use tokio::sync::RwLockReadGuard;
use tokio::time::{Instant, timeout, timeout_at};

use super::SshError;
use super::callbacks::Callbacks;
use super::connection::{Tools, timed_out};
use super::hop::{AgentKeys, Hop};
use super::key_ring::{FileKey, public_of};

/// The part of the time for a login that ssh-agent has to name its keys: without it there may be key files.
const AGENT_SHARE: f64 = 0.3;

type Agent = AgentClient<UnixStream>;

/// Logs in, until `deadline`; the time that a person takes for a passphrase does not count.
pub(super) async fn log_in<'a>(
    handle: &'a mut Handle<Callbacks>,
    hop: &'a Hop,
    tools: &'a Tools,
    deadline: Instant,
    quiet: RwLockReadGuard<'a, ()>,
) -> Result<(), SshError> {
    let mut login = Login {
        quiet: Some(quiet),
        handle,
        hop,
        tools,
        deadline,
        rsa_hash: None,
        tried: Vec::new(),
        agent_error: None,
    };
    match (login.run().await?, login.agent_error.take()) {
        (Outcome::In, _) => Ok(()),
        (Outcome::Out, Some(error)) if login.tried.is_empty() => Err(error),
        (Outcome::Out, _) if login.tried.is_empty() => Err(SshError::NoKeys {
            host: hop.shown(),
            agent: hop.agent_socket.clone(),
        }),
        (Outcome::Out, error) => {
            let error = error.map(|error| error.to_string());
            login.tried.extend(error);
            Err(SshError::Refused {
                host: hop.shown(),
                tried: login.tried.join(", "),
            })
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    In,
    Out,
}

struct Login<'a> {
    /// None while a person is asked.
    quiet: Option<RwLockReadGuard<'a, ()>>,
    handle: &'a mut Handle<Callbacks>,
    hop: &'a Hop,
    tools: &'a Tools,
    deadline: Instant,
    /// How the host wants RSA signatures, once it was asked.
    rsa_hash: Option<Option<HashAlg>>,
    /// What was tried, for the message.
    tried: Vec<String>,
    /// Why the agent could not be asked: key files may do without it.
    agent_error: Option<SshError>,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<Outcome, SshError> {
        let of_files: Vec<PublicKey> = self
            .hop
            .key_files
            .iter()
            .filter_map(|path| public_of(path))
            .collect();
        let mut of_agent = Vec::new();
        if let Some((mut agent, keys)) = self.agent().await {
            for identity in in_order(keys, &of_files, self.hop.agent_keys) {
                of_agent.push(identity.public_key().key_data().clone());
                if self.try_agent_key(&mut agent, identity).await? == Outcome::In {
                    return Ok(Outcome::In);
                }
            }
        }
        let mut locked = Vec::new();
        for path in &self.hop.key_files {
            match self.tools.key_ring.read(path) {
                // The next one may do.
                Err(error) => self.tried.push(error.to_string()),
                Ok(None) => {}
                Ok(Some(FileKey::Open(key))) => {
                    let known = of_agent.contains(key.public_key().key_data());
                    if !known && self.try_key(path, key).await? == Outcome::In {
                        return Ok(Outcome::In);
                    }
                }
                Ok(Some(FileKey::Locked(public))) => {
                    let known = public
                        .as_ref()
                        .is_some_and(|key| of_agent.contains(key.key_data()));
                    if !known {
                        locked.push((path.clone(), public));
                    }
                }
            }
        }
        for (path, public) in locked {
            if self.try_locked_key(&path, public).await? == Outcome::In {
                return Ok(Outcome::In);
            }
        }
        Ok(Outcome::Out)
    }

    async fn try_agent_key(
        &mut self,
        agent: &mut Agent,
        identity: AgentIdentity,
    ) -> Result<Outcome, SshError> {
        let key = identity.public_key().into_owned();
        let hash = self.hash_for(&key).await?;
        self.tried.push(format!("{} of ssh-agent", describe(&key)));
        let (user, deadline) = (self.hop.user.clone(), self.deadline);
        let answered = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                let work = self
                    .handle
                    .authenticate_publickey_with(user, key, hash, agent);
                timeout_at(deadline, work).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let work =
                    self.handle
                        .authenticate_certificate_with(user, certificate, hash, agent);
                timeout_at(deadline, work).await
            }
        };
        match answered {
            Ok(Ok(result)) => self.outcome(&result),
            // The agent has the key and does not sign with it: its owner said no, or it is locked.
            Ok(Err(error)) => {
                self.tried
                    .push(format!("(ssh-agent does not sign with it: {error})"));
                self.outcome(&AuthResult::Failure {
                    remaining_methods: (&[MethodKind::PublicKey][..]).into(),
                    partial_success: false,
                })
            }
            Err(_elapsed) => Err(timed_out(self.hop, self.tools)),
        }
    }

    async fn try_key(&mut self, path: &Path, key: Arc<PrivateKey>) -> Result<Outcome, SshError> {
        let hash = self.hash_for(key.public_key()).await?;
        self.tried.push(format!(
            "{} of {}",
            describe(key.public_key()),
            path.display()
        ));
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let work = self.handle.authenticate_publickey(&self.hop.user, key);
        match timeout_at(self.deadline, work).await {
            Ok(Ok(result)) => self.outcome(&result),
            Ok(Err(source)) => Err(SshError::Protocol {
                host: self.hop.shown(),
                source,
            }),
            Err(_elapsed) => Err(timed_out(self.hop, self.tools)),
        }
    }

    async fn try_locked_key(
        &mut self,
        path: &Path,
        public: Option<PublicKey>,
    ) -> Result<Outcome, SshError> {
        if let Some(public) = public {
            let hash = self.hash_for(&public).await?;
            let (user, mut signer) = (self.hop.user.clone(), NotYet);
            let work =
                self.handle
                    .authenticate_publickey_with(user, public.clone(), hash, &mut signer);
            match timeout_at(self.deadline, work).await {
                Ok(Ok(result)) => {
                    self.tried
                        .push(format!("{} of {}", describe(&public), path.display()));
                    return self.outcome(&result);
                }
                // The host waits for a signature: it takes the key.
                Ok(Err(Wanted)) => {}
                Err(_elapsed) => return Err(timed_out(self.hop, self.tools)),
            }
        }
        let opened = self.opened(path).await;
        // A person may have taken a while.
        self.deadline = Instant::now() + self.tools.settings.timeout;
        match opened {
            Err(error) => {
                self.tried.push(error.to_string());
                Ok(Outcome::Out)
            }
            Ok(None) => {
                let text = format!(
                    "{}, encrypted, and there is no terminal to ask for its passphrase",
                    path.display()
                );
                self.tried.push(text);
                Ok(Outcome::Out)
            }
            Ok(Some(key)) => self.try_key(path, key).await,
        }
    }

    /// The key behind a passphrase, which a person is asked for while no other host waits; none if there is nobody to ask.
    async fn opened(&mut self, path: &Path) -> Result<Option<Arc<PrivateKey>>, SshError> {
        self.quiet = None;
        let alone = self.tools.quiet.write().await;
        // Another connection may have asked.
        let key = match self.tools.key_ring.read(path) {
            Ok(Some(FileKey::Open(key))) => Ok(Some(key)),
            Ok(Some(FileKey::Locked(_)) | None) => self.tools.key_ring.open(path).await,
            Err(error) => Err(error),
        };
        drop(alone);
        self.quiet = Some(self.tools.quiet.read().await);
        key
    }

    fn outcome(&self, result: &AuthResult) -> Result<Outcome, SshError> {
        let refused = |tried: &str| SshError::Refused {
            host: self.hop.shown(),
            tried: format!("{}; {tried}", self.tried.join(", ")),
        };
        match result {
            AuthResult::Success => Ok(Outcome::In),
            AuthResult::Failure { .. } if self.handle.is_closed() => {
                Err(refused("it closed the connection after these"))
            }
            AuthResult::Failure {
                remaining_methods, ..
            } if !remaining_methods.contains(&MethodKind::PublicKey) => {
                let wanted: Vec<String> = remaining_methods
                    .iter()
                    .map(<&'static str>::from)
                    .map(str::to_owned)
                    .collect();
                Err(refused(&format!(
                    "it wants {}, which fleetctl has not",
                    wanted.join(" or ")
                )))
            }
            AuthResult::Failure { .. } => Ok(Outcome::Out),
        }
    }

    /// The hash with which a signature of this key is made; only RSA leaves a choice.
    async fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, SshError> {
        if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        if let Some(hash) = self.rsa_hash {
            return Ok(hash);
        }
        let asked = self.handle.best_supported_rsa_hash();
        let hash = match timeout_at(self.deadline, asked).await {
            Ok(Ok(Some(hash))) => hash,
            // A host that does not say is tried with what every host of the last ten years takes.
            Ok(Ok(None) | Err(_)) => Some(HashAlg::Sha256),
            Err(_elapsed) => return Err(timed_out(self.hop, self.tools)),
        };
        self.rsa_hash = Some(hash);
        Ok(hash)
    }

    /// The agent and its keys; none if there is no agent or it does not answer.
    async fn agent(&mut self) -> Option<(Agent, Vec<AgentIdentity>)> {
        let socket = self.hop.agent_socket.as_ref()?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let error = match timeout(left.mul_f64(AGENT_SHARE), ask_agent(socket)).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error)) => error,
            Err(_elapsed) => SshError::Agent {
                socket: socket.clone(),
                reason: "it takes too long".to_owned(),
            },
        };
        self.agent_error = Some(error);
        None
    }
}

async fn ask_agent(socket: &PathBuf) -> Result<(Agent, Vec<AgentIdentity>), SshError> {
    let failed = |reason: String| SshError::Agent {
        socket: socket.clone(),
        reason,
    };
    let stream = UnixStream::connect(socket).await;
    let mut agent = AgentClient::connect(stream.map_err(|error| failed(error.to_string()))?);
    let keys = agent.request_identities().await;
    let keys = keys.map_err(|error| failed(error.to_string()))?;
    Ok((agent, keys))
}

/// The agent's keys that are in files first, as hosts do not listen to many; the others if they may be used at all.
fn in_order(
    keys: Vec<AgentIdentity>,
    of_files: &[PublicKey],
    which: AgentKeys,
) -> Vec<AgentIdentity> {
    let is_of_file = |identity: &AgentIdentity| {
        let key = identity.public_key().into_owned();
        of_files
            .iter()
            .any(|file| file.key_data() == key.key_data())
    };
    let (mut first, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_of_file);
    match which {
        AgentKeys::All => first.extend(others),
        AgentKeys::OfFiles => {}
    }
    first
}

fn describe(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        key.fingerprint(HashAlg::Sha256)
    )
}

/// Says that the host takes a key, and signs nothing.
struct NotYet;

/// The host waits for a signature.
struct Wanted;

impl From<SendError> for Wanted {
    fn from(_gone: SendError) -> Wanted {
        Wanted
    }
}

impl Signer for NotYet {
    type Error = Wanted;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        _to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Wanted> {
        Err(Wanted)
    }
}

#[cfg(test)]
mod tests;
