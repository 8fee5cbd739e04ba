//! Decides whether a host is the one it should be, and remembers hosts that a person accepted.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::known_hosts::{self, Verdict};
use super::{Asking, Homeless, SshError, person};

/// Whether host keys are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// They are; who is unknown is asked about.
    Strict,
    /// Any key is right, and none is stored.
    Off,
}

/// A host that showed a key.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// How messages call it.
    pub(super) shown: String,
    /// How known_hosts may call it; what is learned is put down under the first.
    pub(super) names: Vec<String>,
}

/// The keys of hosts.
#[derive(Debug)]
pub(super) struct HostKeys {
    file: Result<PathBuf, Homeless>,
    checking: Checking,
    asking: Asking,
    /// Accepted in this run: the file may be one that cannot be written.
    accepted: Mutex<Vec<(String, PublicKey)>>,
}

impl HostKeys {
    /// Nothing is read before a host is asked about.
    pub(super) fn new(
        file: Result<PathBuf, Homeless>,
        checking: Checking,
        asking: Asking,
    ) -> HostKeys {
        HostKeys {
            file,
            checking,
            asking,
            accepted: Mutex::default(),
        }
    }

    /// Whether this is the host's key; what is wrong otherwise. None says that a person has to decide.
    pub(super) fn check(&self, host: &Host, key: &PublicKey) -> Option<Result<(), SshError>> {
        if self.checking == Checking::Off || self.was_accepted(host, key) {
            return Some(Ok(()));
        }
        let (text, file) = match (self.text(), self.file()) {
            (Ok(text), Ok(file)) => (text, file.to_path_buf()),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        };
        let shown = host.shown.clone();
        match known_hosts::judge(&text, &host.names, key) {
            Verdict::Known => Some(Ok(())),
            Verdict::Unknown => None,
            Verdict::Changed { line } => Some(Err(SshError::Changed {
                host: shown,
                key: fingerprint(key),
                file,
                line,
            })),
            Verdict::Revoked { line } => Some(Err(SshError::Revoked {
                host: shown,
                key: fingerprint(key),
                file,
                line,
            })),
        }
    }

    /// Asks the person whether the host is the right one, and remembers it. In fleet 1.0's words, but for the fingerprint.
    pub(super) async fn ask(&self, host: &Host, key: &PublicKey) -> Result<(), SshError> {
        let name = host.names.first().unwrap_or(&host.shown);
        let (kind, file) = (kind(key), self.file()?);
        let unauthorized = || SshError::Unauthorized {
            host: host.shown.clone(),
            name: name.clone(),
            key: fingerprint(key),
            file: file.to_path_buf(),
        };
        match self.asking {
            Asking::Person => {}
            Asking::Nobody => return Err(unauthorized()),
        }
        // What is meant to be known may stand on a line that is not understood.
        for line in known_hosts::unreadable(&self.text()?) {
            let file = file.display();
            person::tell(&format!(
                "WARNING: {file}:{line} - cannot be understood and counts for nothing"
            ));
        }
        let question = format!(
            "The authenticity of host '{name}' can't be established.\n{kind} key fingerprint is {}.\nAre you sure you want to continue connecting (yes/no)? ",
            key.fingerprint(HashAlg::Sha256)
        );
        match person::confirms(&question).await {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                // The question is a line of its own for whoever reads what comes.
                person::tell("\nHost key verification failed.");
                return Err(unauthorized());
            }
        }
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.clone(), key.clone()));
        match append(file, name, key) {
            Ok(()) => person::tell(&format!(
                "Warning: Permanently added '{name}' ({kind}) to the list of known hosts."
            )),
            Err(error) => person::tell(&format!(
                "Failed to add the host to the list of known hosts ({}): {error}",
                file.display()
            )),
        }
        Ok(())
    }

    /// The kinds of keys that are known of a host.
    pub(super) fn algorithms(&self, host: &Host) -> Result<Vec<Algorithm>, SshError> {
        match self.checking {
            Checking::Off => Ok(Vec::new()),
            Checking::Strict => Ok(known_hosts::algorithms(&self.text()?, &host.names)),
        }
    }

    fn was_accepted(&self, host: &Host, key: &PublicKey) -> bool {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted
            .iter()
            .any(|(name, known)| host.names.contains(name) && known.key_data() == key.key_data())
    }

    fn file(&self) -> Result<&Path, SshError> {
        match &self.file {
            Ok(file) => Ok(file),
            Err(Homeless { written }) => Err(SshError::NoHome {
                file: written.clone(),
            }),
        }
    }

    /// What the file says; a missing one is as good as an empty one.
    fn text(&self) -> Result<String, SshError> {
        let file = self.file()?;
        match fs::read(file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(SshError::KnownHosts {
                path: file.to_path_buf(),
                source,
            }),
        }
    }
}

fn append(path: &Path, name: &str, key: &PublicKey) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)?;
    let key = PublicKey::from(key.key_data().clone());
    let key = key.to_openssh().map_err(io::Error::other)?;
    let end = if ends_open(&mut file)? { "\n" } else { "" };
    // One write: other runs may be adding, too.
    file.write_all(format!("{end}{name} {}\n", key.trim()).as_bytes())
}

/// Whether the last line lacks its end.
fn ends_open(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A key as fleet 1.0 called its kind.
fn kind(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Dsa => "DSA".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Ed25519 => "ED25519".to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// A key as messages name it.
fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", kind(key), key.fingerprint(HashAlg::Sha256))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6UTvOMm6lQ46VXx05sn87+4dU0PcL72xXw84fpRFmy";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFnwsllE/ldusHqFaLknmg20ekbcyQRCTGo2OyWJkyr6";

    fn host() -> Host {
        Host {
            shown: "core@10.0.0.1".to_owned(),
            names: vec!["10.0.0.1".to_owned()],
        }
    }

    #[tokio::test]
    async fn what_is_learned_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/known_hosts");
        let keys = HostKeys::new(Ok(path.clone()), Checking::Strict, Asking::Nobody);
        let (one, two) = (ONE.parse().unwrap(), TWO.parse().unwrap());
        assert!(keys.check(&host(), &one).is_none());
        // Nobody is asked where nobody sees the question: stdin stays as it is.
        let error = keys.ask(&host(), &one).await.unwrap_err();
        assert!(matches!(error, SshError::Unauthorized { .. }), "{error}");
        append(&path, "10.0.0.1", &one).unwrap();
        assert!(keys.check(&host(), &one).unwrap().is_ok());
        let error = keys.check(&host(), &two).unwrap().unwrap_err();
        assert!(
            matches!(error, SshError::Changed { line: 1, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("known_hosts:1"), "{error}");
        assert!(error.hint().unwrap().contains("delete line 1 of"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o700));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("10.0.0.1 {ONE}\n")
        );
    }

    #[test]
    fn a_line_without_an_end_stays_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        fs::write(&path, format!("other {TWO}")).unwrap();
        append(&path, "10.0.0.1", &ONE.parse().unwrap()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("other {TWO}\n10.0.0.1 {ONE}\n")
        );
    }

    #[test]
    fn without_checking_any_key_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = Ok(folder.path().join("none"));
        let keys = HostKeys::new(file, Checking::Off, Asking::Nobody);
        assert!(keys.check(&host(), &ONE.parse().unwrap()).unwrap().is_ok());
        assert!(!folder.path().join("none").exists());
    }

    #[tokio::test]
    async fn without_a_home_there_is_no_trust() {
        let homeless = Homeless {
            written: "~/.fleetctl/known_hosts".to_owned(),
        };
        let keys = HostKeys::new(Err(homeless.clone()), Checking::Strict, Asking::Person);
        let key = ONE.parse().unwrap();
        let error = keys.check(&host(), &key).unwrap().unwrap_err();
        assert!(matches!(error, SshError::NoHome { .. }), "{error}");
        assert!(keys.algorithms(&host()).is_err());
        assert!(keys.ask(&host(), &key).await.is_err());
        // Where nothing is checked, nothing is read.
        let keys = HostKeys::new(Err(homeless), Checking::Off, Asking::Person);
        assert!(keys.check(&host(), &key).unwrap().is_ok());
    }
}
