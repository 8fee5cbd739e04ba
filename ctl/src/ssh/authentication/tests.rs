//! Logging in to a real sshd on the loopback, with keys that are of no use in front of those that are, and with nobody to ask.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::account;
use crate::error::chain;
use crate::signals::Signals;
use crate::ssh::{Asking, Checking, Remote, SshSettings};

const SSHD: &str = "/usr/sbin/sshd";

/// What the slowest machine may take for what is done at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// An sshd that takes the key `good`, and the home of a person.
struct Host {
    home: tempfile::TempDir,
    port: u16,
    sshd: Child,
}

impl Host {
    /// None if there is no sshd on this machine.
    async fn start() -> Option<Host> {
        if !Path::new(SSHD).exists() {
            println!("SKIPPED: there is no {SSHD}");
            return None;
        }
        // An sshd of root's insists on its folder, which systemd makes elsewhere.
        if account::user_id() == 0 {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name);
        for (name, passphrase) in [("host", ""), ("good", ""), ("other", ""), ("locked", "pw")] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
                .arg(file(name))
                .status();
            assert!(made.unwrap().success());
        }
        fs::write(file("no_key"), "no key").unwrap();
        fs::create_dir(file(".ssh")).unwrap();
        let (sshd, port) = listening(home.path()).await;
        Some(Host { home, port, sshd })
    }

    /// Logs in with this in `~/.ssh/config`.
    async fn log_in(&self, config: &str, agent: Option<PathBuf>) -> Result<(), String> {
        // Of this an agent that hangs has three tenths.
        let limit = Duration::from_secs(if agent.is_some() { 20 } else { 60 });
        fs::write(self.home.path().join(".ssh/config"), config).unwrap();
        let user = account::mine().unwrap().name;
        let tunnel = format!("{user}@127.0.0.1:{}", self.port);
        let remote = Remote::new(SshSettings {
            tunnel: Some(tunnel.parse().unwrap()),
            username: None,
            timeout: limit,
            known_hosts_file: Ok(self.home.path().join("known_hosts")),
            checking: Checking::Off,
            asking: Asking::Nobody,
            home: Some(self.home.path().to_path_buf()),
            agent_socket: agent,
            signals: Signals::default(),
        });
        let dialler = remote.dialler().await;
        dialler.map(drop).map_err(|error| chain(&error))
    }
}

/// Starts an sshd and waits until it is the one that listens at its port.
async fn listening(home: &Path) -> (Child, u16) {
    let log = home.join("sshd.log");
    let starts = async {
        loop {
            let (mut sshd, port) = start_sshd(home, &log);
            let listens = format!("Server listening on 127.0.0.1 port {port}.");
            // Another may have taken the port meanwhile: then this sshd ends, and whoever answers there is not it.
            while sshd.try_wait().unwrap().is_none() {
                if fs::read_to_string(&log).unwrap().contains(&listens) {
                    return (sshd, port);
                }
                sleep(Duration::from_millis(20)).await;
            }
            let said = fs::read_to_string(&log).unwrap();
            assert!(said.contains("Address already in use"), "no sshd: {said}");
            println!("another has port {port}");
        }
    };
    timeout(PATIENCE, starts).await.unwrap()
}

/// An sshd at a port that was free a moment ago.
fn start_sshd(home: &Path, log: &Path) -> (Child, u16) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let sshd = Command::new(SSHD)
        .args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string()])
        .args(["-o", "ListenAddress=127.0.0.1", "-o", "StrictModes=no"])
        .args(["-o", "PidFile=none", "-o", "UsePAM=no"])
        .args(["-o", "PermitRootLogin=yes", "-o"])
        .arg(format!("HostKey={}", home.join("host").display()))
        .arg("-o")
        .arg(format!(
            "AuthorizedKeysFile={}",
            home.join("good.pub").display()
        ))
        .stderr(fs::File::create(log).unwrap())
        .spawn()
        .unwrap();
    (sshd, port)
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sshd.kill().unwrap();
        self.sshd.wait().unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_used_does_not_stand_before_what_can() {
    let Some(host) = Host::start().await else {
        return;
    };
    println!(
        "a folder, a file that is no key, a locked one and a wrong one, then the right one by its tokens"
    );
    let bad =
        "IdentityFile ~/.ssh\nIdentityFile ~/no_key\nIdentityFile ~/locked\nIdentityFile ~/other\n";
    let unset = format!("{bad}IdentityFile %d/go${{NOTHING_OF_THE_KIND}}\n");
    let error = host.log_in(&unset, None).await.unwrap_err();
    assert!(error.contains("NOTHING_OF_THE_KIND is not set"), "{error}");
    host.log_in(&format!("{bad}IdentityFile %d/good\n"), None)
        .await
        .unwrap();

    println!("without the right one all are named");
    let error = host.log_in(bad, None).await.unwrap_err();
    for named in [".ssh: ", "no_key: ", "other"] {
        assert!(error.contains(named), "{named}: {error}");
    }

    println!("an agent that accepts and says nothing");
    let socket = host.home.path().join("silent");
    let _silent = UnixListener::bind(&socket).unwrap();
    let remote = host.log_in("IdentityFile ~/good\n", Some(socket));
    timeout(PATIENCE, remote).await.unwrap().unwrap();
}
