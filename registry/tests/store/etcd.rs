//! A real etcd on loopback, started, killed, frozen and started again by a test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry::{Config, Registry, TlsFiles};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::ports::free_port;

pub(crate) const PREFIX: &str = "/fleet-test/";

/// How long anything a test waits for may take on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Etcd {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
    peer_port: u16,
    arguments: Vec<String>,
}

/// An endpoint at which nobody listens: the lowest port is one that no process is given without asking for it.
pub(crate) const DEAD: &str = "http://127.0.0.1:1";

/// One that waits for an answer longer than a busy machine stands still.
pub(crate) fn config(endpoints: &[String]) -> Config {
    Config {
        endpoints: endpoints.to_vec(),
        key_prefix: PREFIX.to_owned(),
        tls: TlsFiles::default(),
        username: None,
        password: None,
        request_timeout: Duration::from_secs(20),
    }
}

pub(crate) async fn connect(endpoint: &str) -> Registry {
    Registry::connect(&config(&[endpoint.to_owned()]))
        .await
        .unwrap()
}

/// Waits for `future`; fails the test if it takes too long.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

impl Etcd {
    /// One that is not running yet; none if it is not installed.
    pub(crate) fn prepare(arguments: &[&str]) -> Option<Etcd> {
        if Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            assert!(std::env::var_os("CI").is_none(), "etcd is not installed");
            println!("SKIP: etcd is not installed");
            return None;
        }
        Some(Etcd {
            process: None,
            folder: tempfile::tempdir().unwrap(),
            port: free_port().unwrap(),
            peer_port: free_port().unwrap(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        })
    }

    /// One that answers.
    pub(crate) async fn start() -> Option<Etcd> {
        let mut etcd = Etcd::prepare(&[])?;
        etcd.boot().await;
        Some(etcd)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn spawn(&mut self) {
        self.spawn_at(&self.endpoint());
    }

    /// The same for one that was given certificates.
    pub(crate) fn spawn_tls(&mut self) {
        self.spawn_at(&format!("https://{}", self.address()));
    }

    fn spawn_at(&mut self, client: &str) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        println!("etcd starts at {client}");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let process = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(self.data())
            .args([
                "--listen-client-urls",
                client,
                "--advertise-client-urls",
                client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("one={peer}")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn boot(&mut self) {
        self.spawn();
        let registry = self.registry().await;
        self.until_it_answers(&registry).await;
    }

    /// Waits until it answers to `registry`; fails the test with its output if it ends first.
    pub(crate) async fn until_it_answers(&mut self, registry: &Registry) {
        let log = self.log();
        let process = self.process.as_mut().unwrap();
        soon("etcd to answer", async {
            while registry.ping().await.is_err() {
                if let Some(status) = process.try_wait().unwrap() {
                    let output = fs::read_to_string(&log).unwrap();
                    panic!("etcd has ended ({status}) and not answered:\n{output}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where it writes what it says, in all its lives.
    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            println!("etcd is killed");
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Takes away all that it has stored.
    pub(crate) fn wipe(&mut self) {
        println!("etcd loses everything");
        fs::remove_dir_all(self.data().join("member")).unwrap();
    }

    pub(crate) fn freeze(&self) {
        println!("etcd is frozen");
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        println!("etcd goes on");
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    pub(crate) async fn registry(&self) -> Registry {
        connect(&self.endpoint()).await
    }

    /// A client that knows nothing of fleet.
    pub(crate) async fn raw(&self) -> etcd_client::Client {
        etcd_client::Client::connect([self.endpoint()], None)
            .await
            .unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
