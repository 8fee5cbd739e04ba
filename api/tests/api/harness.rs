//! A server on sockets of its own, and ways to talk to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::client::{Client, Endpoint};
use api::server::{Listener, Settings, router, serve};
use futures_util::Stream;
use model::{
    ActiveState, Assignment, BootId, Capacity, Change, Generation, InvocationId, JobKind,
    JobReport, JobResult, Journal, JournalError, LoadState, Machine, MachineId, Question,
    TargetState, Topic, UnitStatus,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use unitfile::{UnitFile, UnitName};

use crate::memory::Memory;

pub(crate) const HERE: &str = "aaaaaaaa000000000000000000000001";
pub(crate) const THERE: &str = "bbbbbbbb000000000000000000000002";

/// Long enough that no test ever meets it, unless it is about it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) store: Memory,
    pub(crate) socket: PathBuf,
    pub(crate) address: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

/// A journal that says what it was asked.
struct Echo;

impl Journal for Echo {
    fn tell(
        &self,
        question: &Question,
    ) -> impl Stream<Item = Result<String, JournalError>> + Send + Unpin + 'static {
        let Question { unit, topic, lines } = question;
        let pieces = match topic {
            Topic::Status => vec![Ok(format!("status of {unit} with {lines} lines\n"))],
            Topic::Journal(_) if unit.as_str() == "broken.service" => {
                vec![Err(JournalError::Failed {
                    tool: "journalctl",
                    message: "No journal files were found.".into(),
                })]
            }
            Topic::Journal(form) => vec![Ok(format!("{lines} lines of {unit}, {form}\n"))],
            // It has an end all the same.
            Topic::Following(form) => vec![
                Ok(String::new()),
                Ok(format!("{lines} lines of {unit}, {form}\n")),
                Ok("event: error\r\ndata: {}\n\n".to_owned()),
                Err(JournalError::Failed {
                    tool: "journalctl",
                    message: "killed".into(),
                }),
            ],
        };
        futures_util::stream::iter(pieces)
    }
}

pub(crate) fn settings() -> Settings {
    Settings::new(MachineId::parse(HERE).unwrap())
}

pub(crate) async fn server() -> Server {
    server_with(settings()).await
}

pub(crate) async fn server_with(settings: Settings) -> Server {
    server_over(Memory::new(), settings).await
}

/// A server of a cluster that may have others.
pub(crate) async fn server_over(store: Memory, settings: Settings) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("fleet.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let shutdown = CancellationToken::new();
    let router = router(store.clone(), Echo, settings, shutdown.clone());
    let listeners = vec![Listener::Unix(unix), Listener::Tcp(tcp)];
    let serving = tokio::spawn(serve(router, listeners, shutdown.clone()));
    Server {
        store,
        socket,
        address,
        shutdown,
        serving,
        _directory: directory,
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The message of an error; checks that the whole body has the form of one.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let message = json["error"]["message"].as_str().unwrap().to_owned();
        let expected = serde_json::json!({"error": {"code": self.status, "message": message}});
        assert_eq!(json, expected);
        message
    }
}

impl Server {
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.socket.clone())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(vec![self.endpoint()], PATIENCE)
    }

    /// Sends these bytes over TCP and reads until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        parse(&text)
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        self.request_with(method, path, &["Content-Type: application/json"], body)
            .await
    }

    pub(crate) async fn request_with(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    pub(crate) async fn put(&self, name: &str, body: &str) -> Answer {
        self.request("PUT", &format!("/fleet/v1/units/{name}"), body)
            .await
    }

    /// Submits a unit with the given file.
    pub(crate) async fn submit(&self, name: &str, content: &str) {
        use api::types::{BatchAction, BatchRequest};
        let request = BatchRequest {
            name: name.into(),
            action: BatchAction::Submit,
            content: Some(content.into()),
            template: None,
            replace: false,
        };
        let answer = self.client().batch(&[request]).await.unwrap();
        assert_eq!(answer.error, None, "{answer:?}");
    }
}

pub(crate) fn parse(text: &str) -> Answer {
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: body.to_owned(),
    }
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) fn machine_id(text: &str) -> MachineId {
    MachineId::parse(text).unwrap()
}

pub(crate) fn machine(id: &str, address: &str, metadata: &[(&str, &str)]) -> Change {
    let id = machine_id(id);
    let machine = Machine {
        id: id.clone(),
        boot: BootId("boot".into()),
        address: address.into(),
        metadata: metadata
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        version: "2.0.0".into(),
        capacity: Capacity::default(),
    };
    Change::Machine(id, Some(machine))
}

pub(crate) fn machine_gone(id: &str) -> Change {
    Change::Machine(machine_id(id), None)
}

pub(crate) fn assigned(unit: &str, machine: &str, target: TargetState) -> Change {
    let assignment = Assignment {
        file: file().file_hash(),
        target,
        generation: Generation(101),
        start: Generation(101),
        restart: Generation(0),
    };
    Change::Assignment(machine_id(machine), name(unit), Some(assignment))
}

pub(crate) fn reported(unit: &str, machine: &str, state: TargetState, sub: &str) -> Change {
    let status = UnitStatus {
        load: LoadState::Loaded,
        active: if sub == "running" {
            ActiveState::Active
        } else {
            ActiveState::Inactive
        },
        sub: sub.into(),
        hash: file().hash(),
        state,
        generation: Generation(101),
        job: Some(JobReport {
            kind: JobKind::Start,
            generation: Generation(101),
            result: JobResult::Done,
            message: String::new(),
        }),
        invocation: Some(InvocationId("00ff".into())),
        since_unix_ms: 1_700_000_000_000,
    };
    Change::Status(machine_id(machine), name(unit), Some(status))
}

pub(crate) const FILE: &str =
    "[Unit]\nDescription=A <sleep>\n# Not an option.\n[Service]\nExecStart=/bin/sleep 100\n";

pub(crate) fn file() -> Arc<UnitFile> {
    Arc::new(UnitFile::parse(FILE).unwrap())
}
