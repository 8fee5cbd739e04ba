//! What systemd's own tools say of a unit. Only they know every way in which a journal may be stored.

use std::io;
use std::process::{ExitStatus, Stdio};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};
use model::{ANSWER_BYTES_MAX, Journal, JournalError, Question, Topic};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdout, Command};

use super::Bus;

/// What `systemctl status` exits with when it could tell: 0 of a unit that is active, 3 of one that is not. It has 4 for a unit
/// that it does not know, and 1 if it could not ask.
const STATUS_TOLD: [i32; 2] = [0, 3];

/// What is read at once of a journal that is followed: what a pipe holds.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What is kept of a tool's complaint, in bytes.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// systemd's tools, for the machine's units or a user's own.
#[derive(Clone, Debug)]
pub struct Journalctl {
    /// Whose units are meant.
    pub bus: Bus,
}

impl Journal for Journalctl {
    fn tell(
        &self,
        question: &Question,
    ) -> impl Stream<Item = Result<String, JournalError>> + Send + Unpin + 'static {
        match question.topic {
            Topic::Status => once("systemctl", self.status(question), &STATUS_TOLD),
            Topic::Journal(form) => {
                let words = self.journal(question, form.as_str());
                once("journalctl", words, &[0])
            }
            Topic::Following(form) => {
                let mut words = self.journal(question, form.as_str());
                words.push("--follow".to_owned());
                follow("journalctl", &words)
            }
        }
    }
}

impl Journalctl {
    fn journal(&self, question: &Question, form: &str) -> Vec<String> {
        let option = match self.bus {
            Bus::System | Bus::Address(_) => "--unit",
            Bus::User => "--user-unit",
        };
        vec![
            format!("{option}={}", question.unit),
            format!("--lines={}", question.lines),
            format!("--output={form}"),
        ]
    }

    fn status(&self, question: &Question) -> Vec<String> {
        let whose = match self.bus {
            Bus::System | Bus::Address(_) => "--system",
            Bus::User => "--user",
        };
        vec![
            whose.to_owned(),
            "status".to_owned(),
            "--full".to_owned(),
            format!("--lines={}", question.lines),
            "--".to_owned(),
            question.unit.to_string(),
        ]
    }
}

type Pieces = BoxStream<'static, Result<String, JournalError>>;

fn command(tool: &str, words: &[String]) -> Command {
    let mut command = Command::new(tool);
    command
        .args(["--no-pager", "--quiet"])
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("SYSTEMD_COLORS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a tool to its end and gives the end of what it says. It has said what was asked if it exits with one of `told`.
fn once(tool: &'static str, words: Vec<String>, told: &'static [i32]) -> Pieces {
    let run = async move {
        let mut child = command(tool, &words).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let answer = last_of(stdout, ANSWER_BYTES_MAX);
        let complaint = last_of(stderr, COMPLAINT_BYTES_MAX);
        tokio::try_join!(answer, complaint, child.wait())
    };
    stream::once(async move {
        let ran: io::Result<_> = run.await;
        let (answer, said, status) = ran.map_err(|source| JournalError::Run { tool, source })?;
        if !status.code().is_some_and(|code| told.contains(&code)) {
            return Err(complaint(tool, &said, status));
        }
        Ok(end_of(&answer))
    })
    .boxed()
}

/// Reads to the end and keeps the last bytes of it: a tool may say any amount, and must not wait for us to read it.
async fn last_of(from: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut last = Vec::new();
    if let Some(mut from) = from {
        while read_more(&mut from, &mut last).await? > 0 {
            last.drain(..last.len().saturating_sub(bytes_max));
        }
    }
    Ok(last)
}

/// The end of a text, as long as an answer may be.
fn end_of(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    // What stands for a byte that is no letter is longer than that.
    let mut from = text.len().saturating_sub(ANSWER_BYTES_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.split_off(from)
}

fn complaint(tool: &'static str, said: &[u8], status: ExitStatus) -> JournalError {
    let said = String::from_utf8_lossy(said).trim().to_owned();
    let message = if said.is_empty() {
        status.to_string()
    } else {
        said
    };
    JournalError::Failed { tool, message }
}

/// A tool that runs on.
struct Following {
    tool: &'static str,
    child: Child,
    stdout: ChildStdout,
    /// What it complains of, once that has ended.
    complaint: BoxFuture<'static, io::Result<Vec<u8>>>,
    said: Option<io::Result<Vec<u8>>>,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
}

/// Runs a tool that says something now and then, and gives it in whole lines. The first piece is empty and comes at once.
fn follow(tool: &'static str, words: &[String]) -> Pieces {
    let spawned = command(tool, words).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(source) => {
            return stream::once(async move { Err(JournalError::Run { tool, source }) }).boxed();
        }
    };
    let (Some(stdout), stderr) = (child.stdout.take(), child.stderr.take()) else {
        return stream::empty().boxed();
    };
    let following = Following {
        tool,
        child,
        stdout,
        complaint: last_of(stderr, COMPLAINT_BYTES_MAX).boxed(),
        said: None,
        rest: Vec::new(),
    };
    let pieces = stream::unfold(Some(following), async |following| {
        let mut following = following?;
        match following.next().await {
            Some(Ok(text)) => Some((Ok(text), Some(following))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    stream::once(async { Ok(String::new()) })
        .chain(pieces)
        .boxed()
}

impl Following {
    async fn next(&mut self) -> Option<Result<String, JournalError>> {
        loop {
            let read = tokio::select! {
                read = read_more(&mut self.stdout, &mut self.rest) => read,
                said = &mut self.complaint, if self.said.is_none() => {
                    self.said = Some(said);
                    continue;
                }
            };
            let tool = self.tool;
            match read {
                Err(source) => return Some(Err(JournalError::Run { tool, source })),
                Ok(0) if self.rest.is_empty() => return self.end().await,
                Ok(0) => return Some(Ok(text(std::mem::take(&mut self.rest)))),
                Ok(_) => {}
            }
            let lines = match self.rest.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                // A line that is longer than what is read at once is told in parts.
                None if self.rest.len() >= READ_BYTES_MAX => self.rest.len(),
                None => continue,
            };
            let rest = self.rest.split_off(lines);
            return Some(Ok(text(std::mem::replace(&mut self.rest, rest))));
        }
    }

    async fn end(&mut self) -> Option<Result<String, JournalError>> {
        let tool = self.tool;
        let said = match self.said.take() {
            Some(said) => said,
            None => (&mut self.complaint).await,
        };
        let said = match said {
            Ok(said) => said,
            Err(source) => return Some(Err(JournalError::Run { tool, source })),
        };
        match self.child.wait().await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(Err(complaint(tool, &said, status))),
            Err(source) => Some(Err(JournalError::Run { tool, source })),
        }
    }
}

async fn read_more(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<usize> {
    into.reserve(READ_BYTES_MAX);
    let room = u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX);
    from.take(room).read_buf(into).await
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use model::JournalForm;
    use unitfile::UnitName;

    use super::*;

    async fn asked(bus: Bus, topic: Topic) -> Result<String, JournalError> {
        let unit = UnitName::parse("-fleet-test-no-such-unit.service").unwrap();
        let question = Question {
            unit,
            topic,
            lines: 3,
        };
        Journalctl { bus }.tell(&question).next().await.unwrap()
    }

    #[tokio::test]
    async fn journalctl_takes_our_options_and_has_nothing_of_an_unknown_unit() {
        for bus in [Bus::System, Bus::User] {
            match asked(bus.clone(), Topic::Journal(JournalForm::Short)).await {
                Ok(text) => assert_eq!(text, "", "{bus:?}"),
                // A machine without a journal: the tool got as far as looking for it.
                Err(JournalError::Failed { message, .. }) => {
                    println!("{bus:?}: {message}");
                    assert!(
                        message.to_lowercase().contains("no journal files"),
                        "{message}"
                    );
                }
                Err(JournalError::Run { source, .. }) => panic!("is systemd installed? {source}"),
            }
        }
    }

    #[tokio::test]
    async fn systemctl_takes_our_options_and_says_what_it_cannot_tell() {
        for bus in [Bus::System, Bus::User] {
            match asked(bus.clone(), Topic::Status).await {
                Err(JournalError::Failed { message, .. }) => {
                    println!("{bus:?}: {message}");
                    // Or there is no systemd here to be asked.
                    let unknown = message.contains("could not be found");
                    assert!(
                        unknown || message.contains("connect") || message.contains("booted"),
                        "{message}"
                    );
                }
                other => panic!("{bus:?}: {other:?}"),
            }
        }
    }

    async fn said(script: &str) -> Vec<Result<String, String>> {
        let mut child = Command::new("sh");
        child
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take();
        let mut following = Following {
            tool: "sh",
            child,
            stdout,
            complaint: last_of(stderr, COMPLAINT_BYTES_MAX).boxed(),
            said: None,
            rest: Vec::new(),
        };
        let mut all = Vec::new();
        while let Some(piece) = following.next().await {
            let failed = piece.is_err();
            all.push(piece.map_err(|error| error.to_string()));
            if failed {
                break;
            }
        }
        all
    }

    #[tokio::test]
    async fn what_is_followed_comes_in_whole_lines() {
        let pieces = said("printf 'one\\ntw'; sleep 0.05; printf 'o\\nthree'").await;
        assert!(pieces.iter().all(Result::is_ok), "{pieces:?}");
        let texts: Vec<String> = pieces.into_iter().map(Result::unwrap).collect();
        assert_eq!(texts.concat(), "one\ntwo\nthree");
        assert!(
            texts
                .iter()
                .all(|text| text.ends_with('\n') || text == "three"),
            "{texts:?}"
        );
        let long = said("head -c 200000 /dev/zero | tr '\\0' x").await;
        let length: usize = long.iter().map(|piece| piece.as_ref().unwrap().len()).sum();
        assert_eq!(length, 200_000);
        let failed = said("echo fine; echo wrong >&2; exit 3").await;
        assert_eq!(
            failed,
            [Ok("fine\n".to_owned()), Err("sh: wrong".to_owned())]
        );
        let complains = "head -c 200000 /dev/zero | tr '\\0' e >&2; echo told; exit 3";
        let pieces = said(complains).await;
        assert_eq!(pieces[0], Ok("told\n".to_owned()));
        let length = pieces[1].as_ref().unwrap_err().len();
        assert_eq!(length, "sh: ".len() + COMPLAINT_BYTES_MAX);
    }

    #[tokio::test]
    async fn of_a_stream_the_last_bytes_are_kept() {
        let long: &[u8] = &b"0123456789".repeat(20_000);
        for bytes_max in [0, 7, 300_000] {
            let last = last_of(Some(long), bytes_max).await.unwrap();
            assert_eq!(last, long[long.len().saturating_sub(bytes_max)..]);
        }
    }

    #[test]
    fn of_a_long_answer_the_end_is_given() {
        let bytes = "é".repeat(ANSWER_BYTES_MAX).into_bytes();
        let text = end_of(&bytes[1..]);
        assert!(text.len() <= ANSWER_BYTES_MAX && text.len() > ANSWER_BYTES_MAX - 8);
        assert!(text.ends_with("éé"));
    }
}
