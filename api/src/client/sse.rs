//! PURE. Reads Server-Sent Events from pieces of bytes, wherever they are cut.

/// The longest line and the longest event that are read, in bytes: far more than a unit has to say.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event as it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Message {
    /// The last `id:` so far.
    pub(super) id: String,
    /// `event:`; empty if there was none.
    pub(super) name: String,
    /// The `data:` lines, joined by line feeds.
    pub(super) data: String,
}

/// Why the bytes are not events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum SseError {
    #[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("an event is not UTF-8")]
    NotUtf8,
}

/// What is known of the event that is coming.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// A line feed that comes next belongs to the carriage return before it.
    after_return: bool,
    coming: Message,
    has_data: bool,
}

impl Parser {
    /// Takes in some bytes and returns the events that are complete now.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, SseError> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => complete.extend(self.end_line()?),
                _ if self.line.len() + self.coming.data.len() >= EVENT_BYTES_MAX => {
                    return Err(SseError::TooLong);
                }
                _ => self.line.push(byte),
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Result<Option<Message>, SseError> {
        let line = String::from_utf8(std::mem::take(&mut self.line))
            .map_err(|_invalid| SseError::NotUtf8)?;
        if line.is_empty() {
            let id = self.coming.id.clone();
            let message = std::mem::replace(
                &mut self.coming,
                Message {
                    id,
                    ..Message::default()
                },
            );
            return Ok(std::mem::take(&mut self.has_data).then_some(message));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.coming.id = value.to_owned(),
            "event" => self.coming.name = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.coming.data.push('\n');
                }
                self.coming.data.push_str(value);
            }
            // A comment has an empty field name; unknown fields are for newer readers.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(id: &str, name: &str, data: &str) -> Message {
        Message {
            id: id.into(),
            name: name.into(),
            data: data.into(),
        }
    }

    #[test]
    fn fields_comments_and_line_ends_are_read_as_the_standard_says() {
        let text = ": hello\n\nid: 7\nevent: unit\ndata: {\"a\":1}\n\n\
                    data:one\r\ndata:  two\r\n\r\nevent: nothing\n\nunknown: x\ndata\rid:8\r\rdata: cut";
        let read = Parser::default().feed(text.as_bytes()).unwrap();
        let expected = [
            message("7", "unit", "{\"a\":1}"),
            message("7", "", "one\n two"),
            message("8", "", ""),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_does_not_end_or_is_no_text_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(
            parser.feed(&vec![b'x'; EVENT_BYTES_MAX + 1]),
            Err(SseError::TooLong)
        );
        assert_eq!(
            Parser::default().feed(b"data: \xff\n"),
            Err(SseError::NotUtf8)
        );
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            messages in prop::collection::vec(("[0-9]{1,4}", "[a-z]{1,6}", "[ -~é\u{2028}]{0,40}"), 0..8),
            line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut text = String::new();
            for (id, name, data) in &messages {
                for line in [format!("id: {id}"), format!("event: {name}"), format!("data: {data}"), ": x".into()] {
                    text.push_str(&line);
                    text.push_str(line_end);
                }
                text.push_str(line_end);
            }
            let bytes = text.as_bytes();
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut parser = Parser::default();
            let mut read = Vec::new();
            for piece in at.windows(2) {
                read.extend(parser.feed(&bytes[piece[0]..piece[1]]).unwrap());
            }
            let expected: Vec<_> =
                messages.iter().map(|(id, name, data)| message(id, name, data)).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
