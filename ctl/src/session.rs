//! What a verb works with: the connection to the cluster and the outputs.

use std::time::Duration;

use api::client::Client;

use crate::output::Output;
use crate::settings::Settings;

/// How many units of a batch one request timeout is meant for. Writing one takes the store well under a millisecond.
const UNITS_PER_TIMEOUT: usize = 500;

/// What a verb works with.
pub(crate) struct Session<'a> {
    /// Asks fleetd.
    pub(crate) client: Client,
    /// stdout and stderr.
    pub(crate) output: &'a mut Output,
    settings: Settings,
}

impl Session<'_> {
    /// A session that has not connected yet.
    pub(crate) fn new(settings: Settings, output: &mut Output) -> Session<'_> {
        let client = Client::new(settings.endpoints.clone(), settings.request_timeout);
        Session {
            client,
            output,
            settings,
        }
    }

    /// A client that gives a request about this many units the time it needs.
    pub(crate) fn client_for(&self, units: usize) -> Client {
        let timeouts = u32::try_from(1 + units / UNITS_PER_TIMEOUT).unwrap_or(u32::MAX);
        if timeouts == 1 {
            return self.client.clone();
        }
        let limit = self.settings.request_timeout.saturating_mul(timeouts);
        Client::new(self.settings.endpoints.clone(), limit)
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
