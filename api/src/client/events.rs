//! The stream of events: an answer that does not end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::connection::{Ask, Connection};
use super::requests::names_query;
use super::sse::{Message, Parser};
use super::{Client, ClientError, Endpoint};
use crate::types::{Event, EventKind, UnitName};

/// How long a stream may be silent. The server says something every 15 s, so three of those were lost.
const SILENCE_MAX: Duration = Duration::from_secs(45);

struct Events {
    endpoint: Endpoint,
    connection: Connection,
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Message>,
    /// Narrows what the server sends, if it could not be asked to.
    only: Option<BTreeSet<UnitName>>,
}

impl Client {
    /// The present state of `units` (empty for all), then `Synced`, then changes as they happen, without end.
    ///
    /// # Errors
    /// See [`ClientError`]; after an error in the stream it ends. That the server ended it is no error.
    pub async fn events(
        &self,
        units: &[UnitName],
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + Unpin + 'static, ClientError>
    {
        let query = names_query(units);
        let only = query.is_none().then(|| units.iter().cloned().collect());
        let ask = Ask::get(format!("/events?{}", query.unwrap_or_default()));
        let (response, connection, endpoint) = self.open(&ask).await?;
        let events = Events {
            endpoint,
            connection,
            body: response.into_body(),
            parser: Parser::default(),
            ready: VecDeque::new(),
            only,
        };
        let stream = try_unfold(events, async |mut events| {
            Ok(events.next().await?.map(|event| (event, events)))
        });
        Ok(Box::pin(stream))
    }
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(message) = self.ready.pop_front() {
                if let Some(event) = self.read(&message)?
                    && self.wanted(&event)
                {
                    return Ok(Some(event));
                }
            }
            let frame = self.connection.drive(self.body.frame());
            let Ok(frame) = timeout(SILENCE_MAX, frame).await else {
                let seconds = SILENCE_MAX.as_secs_f64();
                return Err(ClientError::TimedOut {
                    endpoint: self.endpoint.clone(),
                    seconds,
                });
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| ClientError::Broken {
                endpoint: self.endpoint.clone(),
                source,
            })?;
            if let Some(data) = frame.data_ref() {
                let complete = self
                    .parser
                    .feed(data)
                    .map_err(|error| self.malformed(&error))?;
                self.ready.extend(complete);
            }
        }
    }

    fn read(&self, message: &Message) -> Result<Option<Event>, ClientError> {
        let revision = message.id.parse().unwrap_or_default();
        match EventKind::read(&message.name, &message.data) {
            Ok(Some(EventKind::Failed(error))) => Err(ClientError::Api {
                code: error.code,
                message: error.message,
            }),
            Ok(kind) => Ok(kind.map(|kind| Event { revision, kind })),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn wanted(&self, event: &Event) -> bool {
        let name = match &event.kind {
            EventKind::Unit(row) => &row.name,
            EventKind::State(row) => &row.name,
            EventKind::UnitGone(name)
            | EventKind::StateGone(name, _)
            | EventKind::Hold(name, _)
            | EventKind::HoldGone(name) => name,
            EventKind::Machine(_)
            | EventKind::MachineGone(_)
            | EventKind::Brake(_)
            | EventKind::BrakeGone
            | EventKind::Synced
            | EventKind::Failed(_) => return true,
        };
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    fn malformed(&self, error: &impl ToString) -> ClientError {
        ClientError::Malformed {
            endpoint: self.endpoint.clone(),
            reason: error.to_string(),
        }
    }
}
