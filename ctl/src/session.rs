//! What a verb works with: the connection to the cluster and the outputs.

use std::time::Duration;

use api::client::{Client, Endpoint, Scheme, Tls, Ways};

use crate::error::CommandError;
use crate::output::Output;
use crate::settings::Settings;
use crate::ssh::Remote;
use crate::tls;

/// How many units of a batch one request timeout is meant for. Writing one takes the store well under a millisecond.
const UNITS_PER_TIMEOUT: usize = 500;

/// What a verb works with.
pub(crate) struct Session<'a> {
    /// Asks fleetd.
    pub(crate) client: Client,
    /// stdout and stderr.
    pub(crate) output: &'a mut Output,
    /// The machines, by SSH.
    pub(crate) remote: Remote,
    settings: Settings,
}

impl Session<'_> {
    /// A session that has not connected yet, but for the tunnel if there is one.
    pub(crate) async fn open(
        settings: Settings,
        output: &mut Output,
    ) -> Result<Session<'_>, CommandError> {
        // Whoever has no use for TLS needs none of its files.
        let tls = match settings.endpoints.iter().any(needs_tls) {
            true => Some(
                Tls::new(settings.tls.clone())
                    .await
                    .map_err(tls::unusable)?,
            ),
            false => None,
        };
        let remote = Remote::new(settings.ssh.clone());
        let dialler = remote.dialler().await.map_err(|error| {
            CommandError::ssh(
                "Unable to initialize client: failed initializing SSH client",
                error,
            )
        })?;
        let endpoints = settings.endpoints.clone();
        let client = Client::through(Ways { dialler, tls }, endpoints, settings.request_timeout);
        Ok(Session {
            client,
            output,
            remote,
            settings,
        })
    }

    /// A client that gives a request about this many units the time it needs.
    pub(crate) fn client_for(&self, units: usize) -> Client {
        let timeouts = u32::try_from(1 + units / UNITS_PER_TIMEOUT).unwrap_or(u32::MAX);
        if timeouts == 1 {
            return self.client.clone();
        }
        let limit = self.settings.request_timeout.saturating_mul(timeouts);
        self.client.patient(limit)
    }

    /// The limit of one request.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// Says what is being done, if `--debug` asks for it.
    pub(crate) fn debug(&mut self, what: &str) {
        if self.settings.debug {
            let endpoint = match self.client.endpoint() {
                Some(endpoint) => endpoint.to_string(),
                None => String::new(),
            };
            self.output.note(&format!("DEBUG {endpoint}: {what}"));
        }
    }
}

fn needs_tls(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Tcp {
            scheme: Scheme::Https,
            ..
        }
    )
}
