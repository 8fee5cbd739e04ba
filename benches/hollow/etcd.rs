//! An etcd for one measurement.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use testbed::until;

use crate::ports::free_port;

/// How long etcd may take to answer at all.
const ETCD_START_LIMIT: Duration = Duration::from_secs(30);

/// How long one answer may take before it is asked again.
const ETCD_ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A new etcd on loopback, killed and forgotten when this is dropped.
pub(crate) struct Etcd {
    process: Child,
    /// Where clients reach it.
    pub(crate) endpoint: String,
    _data: TempDir,
}

impl Etcd {
    /// Starts it, and returns once it is well.
    pub(crate) fn start() -> Result<Etcd> {
        let data = tempfile::tempdir()?;
        let (client, peer) = (free_port()?, free_port()?);
        let (endpoint, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let process = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(data.path())
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run etcd")?;
        let etcd = Etcd {
            process,
            endpoint,
            _data: data,
        };
        until("etcd to be well", ETCD_START_LIMIT, || {
            match health(client) {
                Ok(answer) if answer.contains("\"health\":\"true\"") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(etcd)
    }
}

/// What etcd says of itself.
fn health(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ETCD_ANSWER_LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("etcd could not be ended: {error}");
        }
    }
}
