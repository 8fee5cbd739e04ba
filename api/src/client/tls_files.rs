//! The files that TLS needs: who is trusted, and who we say we are. Every reason for which they are of no use names the file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, InconsistentKeys, RootCertStore};

/// The longest file that is read, in bytes: all authorities of a system together take a third of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What begins a private key that is encrypted.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Names of files, all in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities of which one must have signed the server's certificate; none means the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that we show, and those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPart {
    /// Who is trusted.
    Authority,
    /// What we show.
    Certificate,
    /// The key of what we show.
    Key,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// A file cannot be read.
    #[error("cannot read {part} {}", path.display())]
    Unreadable {
        /// What it is for.
        part: TlsPart,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file has not what it is to have.
    #[error("{} holds no {part} in PEM", path.display())]
    Empty {
        /// What it is for.
        part: TlsPart,
        /// The file.
        path: PathBuf,
    },
    /// What a file has cannot be used.
    #[error("the {part} of {} is of no use: {reason}", path.display())]
    Unusable {
        /// What it is for.
        part: TlsPart,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key needs a passphrase.
    #[error("the key of {} is encrypted", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// One of certificate and key, without the other.
    #[error("{} is given without a {missing}", path.display())]
    Half {
        /// The file that is given.
        path: PathBuf,
        /// What is missing.
        missing: TlsPart,
    },
    /// Certificate and key do not belong together.
    #[error("the key of {} does not belong to the certificate of {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no authorities (package ca-certificates){}",
        after_colon(reason)
    )]
    NoAuthorities {
        /// What is wrong with those it has; may be empty.
        reason: String,
    },
}

impl fmt::Display for TlsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsPart::Authority => "authority",
            TlsPart::Certificate => "certificate",
            TlsPart::Key => "key",
        })
    }
}

impl TlsFiles {
    /// Reads the files and makes of them what a client needs.
    pub(super) async fn read(&self) -> Result<ClientConfig, TlsFilesError> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(path), None) => return Err(half(path, TlsPart::Key)),
            (None, Some(path)) => return Err(half(path, TlsPart::Certificate)),
        };
        let roots = match &self.ca {
            Some(path) => authorities(path).await?,
            None => authorities_of_system()?,
        };
        let provider = Arc::new(ring::default_provider());
        let shown = |reason: String| match &self.ca {
            Some(path) => unusable(TlsPart::Authority, path, reason),
            None => TlsFilesError::NoAuthorities { reason },
        };
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| shown(error.to_string()))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| shown(error.to_string()))?
            .with_webpki_verifier(verifier);
        let Some((cert, key)) = identity else {
            return Ok(config.with_no_client_auth());
        };
        let chain = certificates(TlsPart::Certificate, cert).await?;
        config
            .with_client_auth_cert(chain, private_key(key).await?)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsFilesError::Mismatch {
                        cert: cert.clone(),
                        key: key.clone(),
                    }
                }
                other => unusable(TlsPart::Key, key, other.to_string()),
            })
    }
}

async fn authorities(path: &Path) -> Result<RootCertStore, TlsFilesError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(TlsPart::Authority, path).await? {
        roots
            .add(certificate)
            .map_err(|error| unusable(TlsPart::Authority, path, of_authority(&error)))?;
    }
    Ok(roots)
}

fn of_authority(error: &rustls::Error) -> String {
    match error {
        // That it would be a peer's is the library's guess.
        rustls::Error::InvalidCertificate(reason) => reason.to_string(),
        other => other.to_string(),
    }
}

/// Those that cannot be understood are left out: there are some on many systems, and what they would sign is not trusted then.
fn authorities_of_system() -> Result<RootCertStore, TlsFilesError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reason = reasons.join("; ");
        return Err(TlsFilesError::NoAuthorities { reason });
    }
    Ok(roots)
}

async fn certificates(
    part: TlsPart,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let bytes = read(part, path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| unusable(part, path, error.to_string()))?;
    match found.is_empty() {
        true => Err(TlsFilesError::Empty {
            part,
            path: path.to_owned(),
        }),
        false => Ok(found),
    }
}

async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
    let bytes = read(TlsPart::Key, path).await?;
    // Of the older form only a header says that it is encrypted.
    if bytes.windows(ENCRYPTED.len()).any(|at| at == ENCRYPTED) {
        return Err(TlsFilesError::Encrypted {
            path: path.to_owned(),
        });
    }
    match PrivateKeyDer::pem_slice_iter(&bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(unusable(TlsPart::Key, path, error.to_string())),
        None => Err(TlsFilesError::Empty {
            part: TlsPart::Key,
            path: path.to_owned(),
        }),
    }
}

async fn read(part: TlsPart, path: &Path) -> Result<Vec<u8>, TlsFilesError> {
    let reading = async {
        let about = tokio::fs::metadata(path).await?;
        if !about.is_file() {
            // A pipe would be waited for.
            return Err(io::Error::other("it is no file"));
        }
        if about.len() > FILE_BYTES_MAX {
            let reason = format!("it is longer than {FILE_BYTES_MAX} bytes");
            return Err(io::Error::other(reason));
        }
        tokio::fs::read(path).await
    };
    reading.await.map_err(|source| TlsFilesError::Unreadable {
        part,
        path: path.to_owned(),
        source,
    })
}

fn half(path: &Path, missing: TlsPart) -> TlsFilesError {
    TlsFilesError::Half {
        path: path.to_owned(),
        missing,
    }
}

fn unusable(part: TlsPart, path: &Path, reason: String) -> TlsFilesError {
    TlsFilesError::Unusable {
        part,
        path: path.to_owned(),
        reason,
    }
}

fn after_colon(reason: &str) -> String {
    match reason.is_empty() {
        true => String::new(),
        false => format!(": {reason}"),
    }
}
