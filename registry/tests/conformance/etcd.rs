//! Starts a real etcd for a test, on free ports with a folder of its own, and ends it with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;

/// Where Debian's package etcd-server puts it.
const BINARY: &str = "/usr/bin/etcd";

/// A running etcd.
#[derive(Debug)]
pub(crate) struct RealEtcd {
    process: Child,
    client_port: u16,
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
        // Both at once, so that they differ.
        let (client, peer) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let client_port = client.local_addr().unwrap().port();
        let peer_port = peer.local_addr().unwrap().port();
        drop((client, peer));
        let client_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let process = Command::new(BINARY)
            .args(["--name", "real", "--log-level", "error"])
            .arg("--data-dir")
            .arg(folder.path())
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
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let etcd = RealEtcd {
            process,
            client_port,
            _folder: folder,
        };
        etcd.wait_until_it_answers().await;
        Some(etcd)
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    async fn wait_until_it_answers(&self) {
        let answers = async {
            loop {
                if let Ok(mut client) = Client::connect([self.endpoint()], None).await
                    && client.get("ready", None).await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answers)
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
