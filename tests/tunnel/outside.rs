//! A person outside of the cluster: a home with keys and an ssh-agent, beside the bastion `m1`, which is all that is reached
//! from here. `m2` and `m3` answer to the bastion only.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use testbed::{Machine, Store, until};

use crate::lab::{LIMIT, Lab};
use crate::terminal::Terminal;

/// Where the person is on the testbed's network.
const HERE: &str = "10.77.0.1/32";

/// The machine lease here: no story waits for the end of one, and a machine that is held up is not to lose it.
const LEASE_TTL: &str = "agent_ttl=60s";

/// Limit of a connection that is to be noticed as lost; a busy machine must be able to log in within it.
pub(crate) const TIMEOUT: &str = "--ssh-timeout=10";

/// Limit of a connection to where nobody answers, so that it is never too short.
pub(crate) const TIMEOUT_OF_NOBODY: &str = "--ssh-timeout=4";

/// Lines of stdout that are shown of a command.
const LINES_SHOWN: usize = 30;

/// Whether an ssh-agent runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agent {
    /// None is there.
    Absent,
    /// One that has the key of all machines.
    WithKey,
    /// One that has a key that no machine knows.
    WithWrongKey,
}

/// The person outside, and the cluster.
pub(crate) struct Outside {
    /// The cluster.
    pub(crate) lab: Lab,
    /// The person's home.
    pub(crate) home: TempDir,
    agents: Vec<Child>,
}

/// What fleetctl said, and its status.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: i32,
}

impl Outside {
    /// Boots a cluster behind a bastion. None if this host cannot.
    pub(crate) fn start(story: &str) -> Option<Outside> {
        let store = Store::Etcd { members: 1 };
        let conf = ["listen=tcp://127.0.0.1:49153", LEASE_TTL];
        let lab = Lab::start_with(story, store, &conf)?;
        for inner in ["m2", "m3"] {
            let words = ["ip", "route", "add", "blackhole", HERE];
            lab.machine(inner).run(&words).unwrap().success().unwrap();
        }
        for machine in lab.bed.machines() {
            // What an administrator does for those who may use fleet and read journals.
            let words = [
                "usermod",
                "--append",
                "--groups",
                "fleet,systemd-journal",
                "core",
            ];
            machine.run(&words).unwrap().success().unwrap();
        }
        let outside = Outside {
            lab,
            home: tempfile::tempdir().unwrap(),
            agents: Vec::new(),
        };
        fs::create_dir(outside.file(".ssh")).unwrap();
        Some(outside)
    }

    /// The bastion.
    pub(crate) fn bastion(&self) -> &Machine {
        self.lab.machine("m1")
    }

    /// The bastion as `--tunnel` names it.
    pub(crate) fn tunnel(&self) -> String {
        format!("--tunnel={}", self.bastion().address())
    }

    /// A file in the person's home.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What fleetctl has learned of hosts.
    pub(crate) fn known_hosts(&self) -> String {
        fs::read_to_string(self.file(".fleetctl/known_hosts")).unwrap_or_default()
    }

    /// Puts the key that machines accept into the home, encrypted if there is a passphrase.
    pub(crate) fn key_file(&self, name: &str, passphrase: &str) -> PathBuf {
        let path = self.file(name);
        fs::copy(self.lab.bed.ssh_key(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if !passphrase.is_empty() {
            let text = path.to_string_lossy();
            tool(&[
                "ssh-keygen",
                "-q",
                "-p",
                "-P",
                "",
                "-N",
                passphrase,
                "-f",
                &text,
            ]);
        }
        path
    }

    /// Starts a real ssh-agent in the foreground and returns its socket.
    pub(crate) fn agent(&mut self, which: Agent) -> PathBuf {
        let socket = self.file(&format!("agent{}", self.agents.len()));
        if which == Agent::Absent {
            return socket;
        }
        let agent = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn();
        self.agents.push(agent.unwrap());
        // The socket is there before it is listened at.
        until("ssh-agent", LIMIT, || {
            UnixStream::connect(&socket).map(drop)
        })
        .unwrap();
        let key = match which {
            Agent::WithKey | Agent::Absent => self.key_file("key_of_agent", ""),
            Agent::WithWrongKey => {
                let path = self.file("wrong_key");
                let text = path.to_string_lossy();
                tool(&[
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ecdsa",
                    "-N",
                    "",
                    "-C",
                    "wrong",
                    "-f",
                    &text,
                ]);
                path
            }
        };
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(&key)
            .env("SSH_AUTH_SOCK", &socket)
            .status();
        assert!(added.unwrap().success());
        fs::remove_file(key).unwrap();
        socket
    }

    /// fleetctl as a command, outside, with this agent.
    pub(crate) fn command(&self, agent: &Path, words: &[&str]) -> Command {
        // A session of its own: without a terminal, wherever the test is run.
        let mut whole = vec!["setsid", "--wait", env!("CARGO_BIN_EXE_fleetctl")];
        whole.extend(words);
        println!("outside$ fleetctl {}", words.join(" "));
        let mut command = self.lab.bed.command(&whole);
        command
            .env("HOME", self.home.path())
            .env("SSH_AUTH_SOCK", agent)
            .env("TERM", "xterm")
            .current_dir(self.home.path());
        command
    }

    /// Runs fleetctl outside with this on its stdin.
    pub(crate) fn try_run(&self, agent: &Path, words: &[&str], input: &str) -> Said {
        let mut child = self.spawn(agent, words);
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // It may answer before it has read all, or end without.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            finish(child)
        })
    }

    /// Starts fleetctl outside.
    pub(crate) fn spawn(&self, agent: &Path, words: &[&str]) -> Child {
        self.command(agent, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs fleetctl outside; it must succeed and say nothing on stderr. Returns its stdout.
    pub(crate) fn run(&self, agent: &Path, words: &[&str]) -> String {
        let said = self.try_run(agent, words, "");
        assert_eq!(
            (said.status, said.stderr.as_str()),
            (0, ""),
            "{said:?}\n{}",
            self.lab.bed.diagnosis()
        );
        said.stdout
    }

    /// Runs fleetctl outside; it must fail with this first line and nothing on stdout. Returns what follows.
    pub(crate) fn fails(&self, agent: &Path, words: &[&str], line: &str) -> String {
        let said = self.try_run(agent, words, "");
        let (first, rest) = said.stderr.split_once('\n').unwrap();
        let shown = self.plain(first);
        assert_eq!(
            (shown.as_str(), said.stdout.as_str()),
            (line, ""),
            "{said:?}"
        );
        assert_ne!(said.status, 0);
        self.plain(rest)
    }

    /// Learns the bastion's key, and that of the machines behind it, as a person who says yes.
    pub(crate) fn learn(&self, agent: &Path) {
        let tunnel = self.tunnel();
        for id in ["m1", "m2", "m3"].map(|name| self.lab.machine(name).machine_id()) {
            let words = [&tunnel, "ssh", &id[..8], "true"];
            let said = self.try_run(agent, &words, "yes\nyes\n");
            assert_eq!(said.status, 0, "{said:?}");
        }
    }

    /// fleetctl at a terminal.
    pub(crate) fn terminal(&self, agent: &Path, words: &[&str], columns: u16) -> Terminal {
        let program = env!("CARGO_BIN_EXE_fleetctl");
        let mut whole = vec!["setsid", "--ctty", "--wait", program];
        whole.extend(words);
        let mut command = self.lab.bed.command(&whole);
        command
            .env("HOME", self.home.path())
            .env("SSH_AUTH_SOCK", agent)
            .env("TERM", "xterm")
            .env("PS1", "$ ");
        Terminal::run(command, columns)
    }

    /// Text without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        let text = text.replace(&self.home.path().display().to_string(), "~");
        let words = text.split(' ').map(|word| match word.find("SHA256:") {
            Some(at) => {
                let end = word[at + 7..]
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/');
                let rest = end.map_or("", |end| &word[at + 7 + end..]);
                format!("{}SHA256:…{rest}", &word[..at])
            }
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }
}

/// Waits for fleetctl's end.
pub(crate) fn finish(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        status: output.status.code().unwrap(),
    };
    for line in said
        .stdout
        .lines()
        .take(LINES_SHOWN)
        .chain(said.stderr.lines())
    {
        println!("    {line}");
    }
    println!("    [{}]", said.status);
    said
}

/// Reads lines of a child's stdout until one has `text` in it.
pub(crate) fn read_until(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains(text));
    println!("    {}", line.expect("the line appears").unwrap());
}

/// Runs a tool of OpenSSH.
pub(crate) fn tool(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(status.success(), "{words:?}");
}
