//! Starts a real etcd for a test, on free ports with a folder of its own, and ends it with the test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;

use crate::ports::free_port;

/// Where Debian's package etcd-server puts it.
const BINARY: &str = "/usr/bin/etcd";

/// How long it may take to answer on a busy machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running etcd.
#[derive(Debug)]
pub(crate) struct RealEtcd {
    process: Child,
    client_port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl RealEtcd {
    /// Starts it and waits until it answers. Says why and gives nothing where it is not installed,
    /// but on CI that is a failure.
    pub(crate) async fn start() -> Option<RealEtcd> {
        if !std::path::Path::new(BINARY).exists() {
            assert!(std::env::var_os("CI").is_none(), "{BINARY} is missing");
            println!("SKIP: {BINARY} is missing (apt-get install etcd-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (client_port, peer_port) = (free_port().unwrap(), free_port().unwrap());
        let log = folder.path().join("log");
        let output = File::create(&log).unwrap();
        let client_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let process = Command::new(BINARY)
            .args(["--name", "real", "--log-level", "error"])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("real={peer_url}")])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut etcd = RealEtcd {
            process,
            client_port,
            log,
            _folder: folder,
        };
        etcd.wait_until_it_answers().await;
        Some(etcd)
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    async fn wait_until_it_answers(&mut self) {
        let endpoint = self.endpoint();
        let answers = async {
            loop {
                if let Ok(mut client) = Client::connect([endpoint.as_str()], None).await
                    && client.get("ready", None).await.is_ok()
                {
                    return;
                }
                if let Some(status) = self.process.try_wait().unwrap() {
                    let output = fs::read_to_string(&self.log).unwrap();
                    panic!("etcd has ended ({status}) and not answered:\n{output}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers)
            .await
            .expect("etcd does not answer");
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
