//! The streams: answers that do not end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::connection::{Ask, Connection};
use super::requests::{journal_path, names_query};
use super::sse::{Message, Parser};
use super::{Client, ClientError};
use crate::types::{ErrorBody, Event, EventKind, JournalForm, JournalLines, MachineId, UnitName};

/// How long a stream may be silent. The server says something every 15 s, so three of those were lost.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Server-Sent Events as they come.
struct Messages {
    client: Client,
    /// Which endpoint sends them.
    index: usize,
    connection: Connection,
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Message>,
}

struct Events {
    messages: Messages,
    /// Narrows what the server sends, if it could not be asked to.
    only: Option<BTreeSet<UnitName>>,
}

impl Client {
    /// The present state of `units` (empty for all), then `Synced`, then changes as they happen, without end.
    ///
    /// `after` is the revision of the last event of a stream that has ended. If the server still knows what happened since, it
    /// says `Resumed` and tells only that; otherwise all is told again, and what is not was forgotten meanwhile.
    ///
    /// # Errors
    /// See [`ClientError`]; after an error in the stream it ends. That the server ended it is no error. However it ended, the
    /// next request is made at the next endpoint.
    pub async fn events(
        &self,
        units: &[UnitName],
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + Unpin + 'static, ClientError>
    {
        let query = names_query(units);
        let only = query.is_none().then(|| units.iter().cloned().collect());
        let mut ask = Ask::get(format!("/events?{}", query.unwrap_or_default()));
        ask.last_event = after;
        let messages = self.messages(&ask).await?;
        let events = Events { messages, only };
        let stream = try_unfold(events, async |mut events| {
            Ok(events.next().await?.map(|event| (event, events)))
        });
        Ok(Box::pin(stream))
    }

    /// The last `lines` lines of a unit's journal on `machine`, or wherever it runs, and what it writes from now on, without end.
    ///
    /// # Errors
    /// As of [`journal`](Client::journal); after an error in the stream it ends.
    pub async fn follow_journal(
        &self,
        name: &UnitName,
        machine: Option<&MachineId>,
        lines: usize,
        form: JournalForm,
    ) -> Result<impl Stream<Item = Result<String, ClientError>> + Send + Unpin + 'static, ClientError>
    {
        let path = journal_path(name, machine, lines, form);
        let messages = self
            .messages(&Ask::get(format!("{path}&follow=true")))
            .await?;
        let stream = try_unfold(messages, async |mut messages| {
            Ok(messages.lines().await?.map(|text| (text, messages)))
        });
        Ok(Box::pin(stream))
    }

    async fn messages(&self, ask: &Ask) -> Result<Messages, ClientError> {
        let (response, connection, index) = self.open(ask).await?;
        Ok(Messages {
            client: self.clone(),
            index,
            connection,
            body: response.into_body(),
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }
}

impl Messages {
    /// The next message; none at the end. After the end another endpoint is asked first.
    async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        let next = self.read().await;
        if !matches!(next, Ok(Some(_))) {
            self.client.move_on_from(self.index);
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let frame = self.connection.drive(self.body.frame());
            let Ok(frame) = timeout(SILENCE_MAX, frame).await else {
                return Err(self.client.timed_out(self.index, SILENCE_MAX));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| self.client.broken(self.index, source))?;
            if let Some(data) = frame.data_ref() {
                let complete = self
                    .parser
                    .feed(data)
                    .map_err(|error| self.malformed(&error))?;
                self.ready.extend(complete);
            }
        }
    }

    /// The next lines of a journal; none at the end.
    async fn lines(&mut self) -> Result<Option<String>, ClientError> {
        while let Some(message) = self.next().await? {
            match message.name.as_str() {
                "lines" => {
                    let lines: JournalLines = serde_json::from_str(&message.data)
                        .map_err(|error| self.malformed(&error))?;
                    return Ok(Some(lines.text));
                }
                "error" => {
                    let ErrorBody { code, message } = serde_json::from_str(&message.data)
                        .map_err(|error| self.malformed(&error))?;
                    return Err(ClientError::Api { code, message });
                }
                // For newer readers.
                _ => {}
            }
        }
        Ok(None)
    }

    fn malformed(&self, error: &impl ToString) -> ClientError {
        self.client.nonsense(self.index, error.to_string())
    }
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(message) = self.messages.next().await? {
            if let Some(event) = self.read(&message)?
                && self.wanted(&event)
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn read(&self, message: &Message) -> Result<Option<Event>, ClientError> {
        let revision = message.id.parse().unwrap_or_default();
        match EventKind::read(&message.name, &message.data) {
            Ok(Some(EventKind::Failed(error))) => Err(ClientError::Api {
                code: error.code,
                message: error.message,
            }),
            Ok(kind) => Ok(kind.map(|kind| Event { revision, kind })),
            Err(error) => Err(self.messages.malformed(&error)),
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
            | EventKind::Record(_)
            | EventKind::RecordGone(_)
            | EventKind::Resumed
            | EventKind::Synced
            | EventKind::Failed(_) => return true,
        };
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }
}
