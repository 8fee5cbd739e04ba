//! The user's own keys: those of ssh-agent, those in files, and those that a passphrase opens, which is asked for once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{self, PrivateKey, PublicKey, decode_secret_key};

use crate::signals::Signals;

use super::{Asking, SshError, person};

/// The longest key file that is read, in bytes. The largest keys take a few thousand.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key in a file.
#[derive(Debug, Clone)]
pub(super) enum FileKey {
    /// Ready to be used.
    Open(Arc<PrivateKey>),
    /// A passphrase opens it. Its public half may be known.
    Locked(Option<PublicKey>),
}

/// The keys that were opened in this run.
#[derive(Debug)]
pub(super) struct KeyRing {
    asking: Asking,
    signals: Signals,
    opened: Mutex<BTreeMap<PathBuf, Arc<PrivateKey>>>,
}

impl KeyRing {
    /// Without keys so far.
    pub(super) fn new(asking: Asking, signals: Signals) -> KeyRing {
        KeyRing {
            asking,
            signals,
            opened: Mutex::default(),
        }
    }

    /// Reads a key file; none if it is not there, or has a public key only, which says which of the agent's to use.
    pub(super) fn read(&self, path: &Path) -> Result<Option<FileKey>, SshError> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = opened.get(path) {
            return Ok(Some(FileKey::Open(Arc::clone(key))));
        }
        let Some(text) = text(path)? else {
            return Ok(None);
        };
        if public_text(&text).is_some() {
            return Ok(None);
        }
        match decode_secret_key(&text, None) {
            Ok(key) => Ok(Some(FileKey::Open(Arc::new(key)))),
            Err(keys::Error::KeyIsEncrypted) => Ok(Some(FileKey::Locked(public_half(path, &text)))),
            Err(error) => Err(unusable(path, error.to_string())),
        }
    }

    /// Asks the person for a key's passphrase and opens it.
    ///
    /// # Errors
    /// If the passphrase is wrong. None is returned if there is nobody to ask.
    pub(super) async fn open(&self, path: &Path) -> Result<Option<Arc<PrivateKey>>, SshError> {
        match self.asking {
            Asking::Person => {}
            Asking::Nobody => return Ok(None),
        }
        let Some(text) = text(path)? else {
            return Ok(None);
        };
        let question = format!("Enter passphrase for key '{}': ", path.display());
        let asked = person::passphrase(&question, &self.signals).await;
        let asked = asked
            .map_err(|error| unusable(path, format!("cannot ask for its passphrase: {error}")))?;
        let Some(passphrase) = asked else {
            return Ok(None);
        };
        let key = decode_secret_key(&text, Some(&passphrase))
            .map_err(|_| unusable(path, "the passphrase is wrong".to_owned()))?;
        let key = Arc::new(key);
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_path_buf(), Arc::clone(&key));
        Ok(Some(key))
    }
}

/// The public key of a file, whatever has to be done to use its private one: OpenSSH's own format has it in the clear, beside
/// other files there is often a `.pub`, and the file may be such a one itself.
pub(super) fn public_of(path: &Path) -> Option<PublicKey> {
    match text(path) {
        Ok(Some(text)) => public_half(path, &text),
        Ok(None) | Err(_) => public_file(path),
    }
}

fn public_half(path: &Path, text: &str) -> Option<PublicKey> {
    match PrivateKey::from_openssh(text) {
        Ok(key) => Some(key.public_key().clone()),
        Err(_) => public_text(text).or_else(|| public_file(path)),
    }
}

fn public_file(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    match text(Path::new(&name)) {
        Ok(Some(text)) => public_text(&text),
        Ok(None) | Err(_) => None,
    }
}

/// The public key that a text is; none if it is anything else.
fn public_text(text: &str) -> Option<PublicKey> {
    text.parse().ok()
}

fn text(path: &Path) -> Result<Option<String>, SshError> {
    match std::fs::metadata(path) {
        Ok(about) if about.len() > FILE_BYTES_MAX => {
            return Err(unusable(path, "it is too long for a key".to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, error.to_string())),
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(unusable(path, error.to_string())),
    }
}

fn unusable(path: &Path, reason: String) -> SshError {
    SshError::KeyFile {
        path: path.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn generate(path: &Path, passphrase: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(path)
            .status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn a_public_key_file_names_a_key_and_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (path, public) = (folder.path().join("key"), folder.path().join("key.pub"));
        generate(&path, "");
        let key = public_of(&path).unwrap();
        assert_eq!(public_of(&public).unwrap().key_data(), key.key_data());
        let ring = KeyRing::new(Asking::Nobody, Signals::default());
        assert!(matches!(ring.read(&path), Ok(Some(FileKey::Open(_)))));
        assert!(matches!(ring.read(&public), Ok(None)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ring.read(&path), Ok(None)));
        assert_eq!(public_of(&public).unwrap().key_data(), key.key_data());
        std::fs::write(&path, "no key").unwrap();
        let error = ring.read(&path).unwrap_err().to_string();
        assert!(error.starts_with("key file "), "{error}");
    }

    #[tokio::test]
    async fn where_nobody_is_asked_a_locked_key_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        generate(&path, "open sesame");
        let ring = KeyRing::new(Asking::Nobody, Signals::default());
        assert!(matches!(
            ring.read(&path),
            Ok(Some(FileKey::Locked(Some(_))))
        ));
        assert!(matches!(ring.open(&path).await, Ok(None)));
    }
}
