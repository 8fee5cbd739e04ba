//! Writes log events to systemd's journal in its native protocol: every field as a field of its own, and all of them in the message
//! too, because people read `journalctl -u fleet` before they know what to filter for.

use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Longer values are cut: a datagram has to fit into the socket's buffer (about 200 KiB).
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Sends events to the journal.
#[derive(Debug)]
pub(crate) struct Journal(UnixDatagram);

impl Journal {
    /// Connects to the journal.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn connect() -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Journal(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let record = record(
            *event.metadata().level(),
            event.metadata().target(),
            &fields,
        );
        // There is nowhere left to say that the journal does not listen.
        drop(self.0.send(&record));
    }
}

#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, mut value: String) {
        while value.len() > VALUE_BYTES_MAX {
            value.pop();
        }
        if field.name() == "message" {
            self.message = value;
        } else if !field.name().starts_with("log.") {
            self.others.push((field.name().to_owned(), value));
        }
    }
}

/// One datagram in the journal's native protocol.
fn record(level: Level, target: &str, fields: &Fields) -> Vec<u8> {
    let mut message = fields.message.clone();
    for (name, value) in &fields.others {
        for part in [" ", name, "=", value] {
            message.push_str(part);
        }
    }
    let mut record = Vec::new();
    put(&mut record, "PRIORITY", priority(level));
    put(&mut record, "SYSLOG_IDENTIFIER", "fleetd");
    put(&mut record, "TARGET", target);
    put(&mut record, "MESSAGE", &message);
    for (name, value) in &fields.others {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        put(&mut record, &format!("FLEET_{name}"), value);
    }
    record
}

/// `NAME=value`, or with its length before it if the value has several lines.
fn put(record: &mut Vec<u8>, name: &str, value: &str) {
    record.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        record.push(b'\n');
        record.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        record.push(b'=');
    }
    record.extend_from_slice(value.as_bytes());
    record.push(b'\n');
}

/// syslog's number for a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_the_message_and_by_themselves() {
        let fields = Fields {
            message: "assigned".to_owned(),
            others: vec![
                ("unit".to_owned(), "web.service".to_owned()),
                ("why".to_owned(), "two\nlines".to_owned()),
            ],
        };
        let record = record(Level::WARN, "engine::log", &fields);
        let mut expected =
            b"PRIORITY=4\nSYSLOG_IDENTIFIER=fleetd\nTARGET=engine::log\nMESSAGE\n".to_vec();
        let message = b"assigned unit=web.service why=two\nlines";
        expected.extend_from_slice(&(message.len() as u64).to_le_bytes());
        expected.extend_from_slice(message);
        expected.extend_from_slice(b"\nFLEET_UNIT=web.service\nFLEET_WHY\n");
        expected.extend_from_slice(&9_u64.to_le_bytes());
        expected.extend_from_slice(b"two\nlines\n");
        assert_eq!(record, expected);
    }
}
