//! The way to a host: what `~/.ssh/config` says of it and of the hosts on the way. OpenSSH itself is asked (`ssh -G`), so that
//! `Include`, `Match` and patterns mean what they mean there; without OpenSSH there is no configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::config_path::Surroundings;
use super::hop::{self, Asked, Hop, HopError, USER_DEFAULT, defaults};
use super::spec::HostSpec;
use super::{SshError, SshSettings};
use crate::account;

/// The longest way, in hosts. More are a circle.
const HOPS_MAX: usize = 8;

/// All hosts on the way to `spec`, which is the last.
pub(super) async fn route(settings: &SshSettings, spec: &HostSpec) -> Result<Vec<Hop>, SshError> {
    let mut hops = Vec::new();
    let mut next = Some(spec.clone());
    while let Some(spec) = next.take() {
        let (hop, jumps) = look_up(settings, &spec).await?;
        hops.push(hop);
        // Of several jump hosts only the first is reached as the configuration says: the others are reached through it.
        if let Some((first, others)) = jumps.split_first() {
            for other in others.iter().rev() {
                hops.push(look_up(settings, other).await?.0);
            }
            next = Some(first.clone());
        }
        if hops.len() > HOPS_MAX {
            return Err(SshError::Jumps {
                host: spec.host,
                limit: HOPS_MAX,
            });
        }
    }
    hops.reverse();
    Ok(hops)
}

/// The host alone, reached through whatever the caller says.
pub(super) async fn last_hop(settings: &SshSettings, spec: &HostSpec) -> Result<Hop, SshError> {
    Ok(look_up(settings, spec).await?.0)
}

async fn look_up(
    settings: &SshSettings,
    spec: &HostSpec,
) -> Result<(Hop, Vec<HostSpec>), SshError> {
    let failed = |reason: String| SshError::Configuration {
        host: spec.host.clone(),
        reason,
    };
    let asked = timeout(settings.timeout, ask_openssh(settings, spec)).await;
    let text = match asked {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_elapsed) => return Err(failed("it takes too long".to_owned())),
    };
    let asked = Asked {
        spec,
        username: settings.username.as_deref(),
        home: settings.home.as_deref(),
        agent_socket: settings.agent_socket.as_deref(),
        here: &Here,
    };
    let text = text.unwrap_or_else(defaults);
    hop::read(&asked, &text).map_err(|error| match error {
        HopError::ProxyCommand => SshError::ProxyCommand {
            host: spec.host.clone(),
        },
        HopError::Jump { text, reason } => SshError::Spec { text, reason },
        HopError::Path { text, reason } => failed(format!("it names the file {text}: {reason}")),
    })
}

/// The machine on which this runs.
#[derive(Debug)]
struct Here;

impl Surroundings for Here {
    fn home_of(&self, user: &str) -> Option<PathBuf> {
        account::named(user).map(|account| account.home)
    }

    fn variable(&self, name: &str) -> Option<String> {
        // What is no text is as good as unset: it stands in a file of text.
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn user(&self) -> Option<String> {
        account::mine().map(|account| account.name)
    }

    fn user_id(&self) -> u32 {
        account::user_id()
    }

    fn host_name(&self) -> String {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    }
}

/// Runs `ssh -G`; none if there is no OpenSSH.
async fn ask_openssh(settings: &SshSettings, spec: &HostSpec) -> io::Result<Option<String>> {
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/stdin", "-G"]);
    let user = spec.user.as_ref().or(settings.username.as_ref());
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = spec.port {
        command.args(["-p", &port.to_string()]);
    }
    let spawned = command
        .args(["--", &spec.host])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(configuration(settings.home.as_deref()).as_bytes())
            .await?;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty());
    Err(io::Error::other(
        first.unwrap_or("it does not say why").to_owned(),
    ))
}

/// The user's and the system's configuration, and behind them fleet's default user: OpenSSH takes the first that it finds.
fn configuration(home: Option<&Path>) -> String {
    let own = match home.and_then(Path::to_str) {
        Some(home) if !home.contains(['"', '\n']) => {
            format!("Include \"{home}/.ssh/config\"\n")
        }
        Some(_) | None => String::new(),
    };
    format!("{own}Match all\nInclude /etc/ssh/ssh_config\nMatch all\nUser {USER_DEFAULT}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::signals::Signals;
    use crate::ssh::{Asking, Checking};

    fn settings(home: &Path, username: Option<&str>) -> SshSettings {
        SshSettings {
            tunnel: None,
            username: username.map(str::to_owned),
            timeout: std::time::Duration::from_secs(60),
            known_hosts_file: Ok(home.join("known_hosts")),
            checking: Checking::Strict,
            asking: Asking::Person,
            home: Some(home.to_path_buf()),
            agent_socket: Some("/agent".into()),
            signals: Signals::default(),
        }
    }

    /// The way to `host` as messages would show it; with a real `ssh` if there is one.
    async fn way(config: &str, username: Option<&str>, host: &str) -> Result<Vec<Hop>, String> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        fs::write(home.path().join(".ssh/config"), config).unwrap();
        let settings = settings(home.path(), username);
        let hops = route(&settings, &host.parse().unwrap()).await;
        hops.map_err(|error| {
            error
                .to_string()
                .replace(&home.path().display().to_string(), "~")
        })
    }

    fn shown(hops: &[Hop]) -> String {
        let shown: Vec<_> = hops.iter().map(Hop::shown).collect();
        shown.join(" ")
    }

    const CONFIG: &str = "Host inner*\n ProxyJump me@outer,second:33\n\
        Host outer\n HostName 10.0.0.1\n Port 2222\n User you\n IdentityFile ~/.ssh/%r_key\n\
        Host second\n IdentityAgent none\n ProxyJump ignored\n\
        Host circle\n ProxyJump circle\n\
        Host command\n ProxyCommand nc %h %p\n";

    #[tokio::test]
    async fn the_configuration_is_that_of_openssh() {
        let hops = way(CONFIG, None, "inner1").await.unwrap();
        assert_eq!(shown(&hops), "me@10.0.0.1:2222 core@second:33 core@inner1");
        assert!(hops[0].key_files[0].ends_with(".ssh/me_key"), "{hops:?}");
        assert_eq!(hops[0].agent_socket, Some(PathBuf::from("/agent")));
        assert_eq!(hops[1].agent_socket, None);
        assert!(
            hops[2]
                .key_files
                .iter()
                .any(|file| file.ends_with(".ssh/id_ed25519"))
        );
    }

    #[tokio::test]
    async fn the_user_is_the_one_written_then_the_flags_then_the_files_then_core() {
        let user = async |username, host| shown(&way(CONFIG, username, host).await.unwrap());
        assert_eq!(user(None, "outer").await, "you@10.0.0.1:2222");
        assert_eq!(user(Some("flag"), "outer").await, "flag@10.0.0.1:2222");
        assert_eq!(user(Some("flag"), "it@outer:1").await, "it@10.0.0.1:1");
        assert_eq!(user(None, "[::1]:22").await, "core@::1");
        assert_eq!(user(None, "root@[::1]:222").await, "root@[::1]:222");
    }

    #[tokio::test]
    async fn what_leads_nowhere_is_an_error() {
        // OpenSSH notices a host that is reached through itself, and not a longer circle.
        let error = way(CONFIG, None, "circle").await.unwrap_err();
        assert!(
            error.starts_with("ssh cannot say how to reach circle: "),
            "{error}"
        );
        assert_eq!(
            way("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", None, "a")
                .await
                .unwrap_err(),
            "a is to be reached through more than 8 hosts"
        );
        let error = way(CONFIG, None, "command").await.unwrap_err();
        assert!(error.contains("ProxyCommand"), "{error}");
        let error = way("Nonsense yes\n", None, "h").await.unwrap_err();
        assert_eq!(
            error,
            "ssh cannot say how to reach h: ~/.ssh/config: line 1: Bad configuration option: nonsense"
        );
    }
}
