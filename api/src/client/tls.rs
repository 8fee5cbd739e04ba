//! TLS with an endpoint: what is spoken, and what is wrong if one of the two sides is not content with the other.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use super::dial::ByteStream;
use super::{ClientError, TlsFiles, TlsFilesError};

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Speaks TLS, at least 1.2, with whoever shows a certificate that we trust.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    files: TlsFiles,
}

/// Why TLS is not spoken with an endpoint. No request has been read by it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The client was made without [`Tls`].
    #[error("TLS has not been set up")]
    NotSetUp,
    /// The other side speaks something else.
    #[error("what listens there speaks no TLS")]
    Plain,
    /// The other side went away.
    #[error("it closed the connection instead of agreeing on TLS")]
    Closed,
    /// No certificate could have this name.
    #[error("\"{host}\" is no name that a certificate could have")]
    Unnameable {
        /// The host.
        host: String,
    },
    /// Nobody we trust has signed its certificate.
    #[error("its certificate is not from {}", trusted(ca.as_ref()))]
    UnknownAuthority {
        /// Where those stand whom we trust; none means the system's.
        ca: Option<PathBuf>,
    },
    /// It is somebody else's certificate.
    #[error("its certificate is {}, not for {host}", for_names(names))]
    WrongName {
        /// The host.
        host: String,
        /// The names that the certificate has.
        names: Vec<String>,
    },
    /// Its certificate is too old.
    #[error("its certificate expired {} ago", days(*seconds))]
    Expired {
        /// Since when, in seconds.
        seconds: u64,
    },
    /// Its certificate is too new.
    #[error("its certificate is valid only in {}: is this machine's clock right?", days(*seconds))]
    NotYetValid {
        /// From when, in seconds.
        seconds: u64,
    },
    /// Its certificate is one that signs others.
    #[error("its certificate is an authority's own (CA:TRUE), not a server's")]
    AuthorityItself,
    /// Its certificate cannot be used for another reason.
    #[error("its certificate is of no use: {reason}")]
    Certificate {
        /// The reason.
        reason: String,
    },
    /// We showed no certificate.
    #[error("it wants a client certificate")]
    Demanded,
    /// It does not accept the certificate that we showed.
    #[error("it does not accept the client certificate {}: {reason}", cert.display())]
    Refused {
        /// The certificate's file.
        cert: PathBuf,
        /// What it said.
        reason: String,
    },
    /// There is no way to speak that both know.
    #[error("TLS could not be agreed on: {reason}")]
    NoAgreement {
        /// What was said.
        reason: String,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. They are not read again: a client lives as long as a command.
    ///
    /// # Errors
    /// If a file cannot be read or used, or the system has nobody to trust.
    pub async fn new(files: TlsFiles) -> Result<Tls, TlsFilesError> {
        let connector = TlsConnector::from(Arc::new(files.read().await?));
        Ok(Tls { connector, files })
    }

    /// Agrees with the other side of `stream`, which must have a certificate for `host`.
    pub(super) async fn connect(
        &self,
        stream: Box<dyn ByteStream>,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Unnameable {
            host: host.to_owned(),
        })?;
        match self.connector.connect(name, stream).await {
            Ok(agreed) => Ok(Box::new(agreed)),
            Err(error) => Err(self.reason(&error, host)),
        }
    }

    /// The other side's refusal of our certificate, if that is why a connection ended. Since TLS 1.3 it comes when we believe
    /// to have agreed already; what was sent meanwhile is not read.
    pub(super) fn refusal(&self, ended: &(dyn Error + 'static)) -> Option<TlsError> {
        match said(ended)? {
            rustls::Error::AlertReceived(alert) => Some(self.of_alert(*alert)),
            _other => None,
        }
    }

    fn reason(&self, error: &io::Error, host: &str) -> TlsError {
        match said(error) {
            Some(rustls::Error::InvalidMessage(_)) => TlsError::Plain,
            Some(rustls::Error::InvalidCertificate(reason)) => self.of_certificate(reason, host),
            Some(rustls::Error::AlertReceived(alert)) => self.of_alert(*alert),
            Some(other) => TlsError::NoAgreement {
                reason: other.to_string(),
            },
            None if error.kind() == io::ErrorKind::UnexpectedEof
                || error.kind() == io::ErrorKind::ConnectionReset =>
            {
                TlsError::Closed
            }
            None => TlsError::NoAgreement {
                reason: error.to_string(),
            },
        }
    }

    fn of_certificate(&self, reason: &CertificateError, host: &str) -> TlsError {
        match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsError::UnknownAuthority {
                    ca: self.files.ca.clone(),
                }
            }
            CertificateError::ExpiredContext { time, not_after } => TlsError::Expired {
                seconds: time.as_secs().saturating_sub(not_after.as_secs()),
            },
            CertificateError::NotValidYetContext { time, not_before } => TlsError::NotYetValid {
                seconds: not_before.as_secs().saturating_sub(time.as_secs()),
            },
            // Of one that ends before it begins no time is told.
            CertificateError::Expired => TlsError::Certificate {
                reason: "it has expired".to_owned(),
            },
            CertificateError::NotValidForNameContext { presented, .. } => TlsError::WrongName {
                host: host.to_owned(),
                names: presented.iter().map(|name| plain(name)).collect(),
            },
            // The verifier has no word of its own for it.
            CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
                TlsError::AuthorityItself
            }
            other => TlsError::Certificate {
                reason: other.to_string(),
            },
        }
    }

    fn of_alert(&self, alert: AlertDescription) -> TlsError {
        let reason = match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                return TlsError::Demanded;
            }
            AlertDescription::UnknownCA => "it does not know the authority that signed it",
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::CertificateRevoked => "it has been revoked",
            AlertDescription::AccessDenied => "access denied",
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            // What servers of TLS 1.2 say if they miss one.
            | AlertDescription::HandshakeFailure => "it says no more than that",
            other => {
                let reason = format!("it said {other:?}");
                return TlsError::NoAgreement { reason };
            }
        };
        match (&self.files.cert, alert) {
            (Some(cert), _) => TlsError::Refused {
                cert: cert.clone(),
                reason: reason.to_owned(),
            },
            (None, _) => TlsError::Demanded,
        }
    }
}

impl TlsError {
    /// The one that is why a request got no answer.
    pub fn behind(error: &ClientError) -> Option<&TlsError> {
        let ClientError::Unreachable { source, .. } = error else {
            return None;
        };
        source.get_ref()?.downcast_ref()
    }
}

/// What TLS says in an error of a stream, or of HTTP on it.
fn said<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.downcast_ref() {
            return Some(said);
        }
        // What is within an error of input and output is not its source, but what it is.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// `DnsName("a")` or `IpAddress(10.0.0.1)` as people write it.
fn plain(name: &str) -> String {
    let within = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    within.unwrap_or(name).trim_matches('"').to_owned()
}

fn trusted(ca: Option<&PathBuf>) -> String {
    match ca {
        Some(path) => format!("an authority of {}", path.display()),
        None => "an authority that this system trusts".to_owned(),
    }
}

fn for_names(names: &[String]) -> String {
    match names {
        [] => "for no host (it has no subjectAltName)".to_owned(),
        names => format!("for {}", names.join(", ")),
    }
}

fn days(seconds: u64) -> String {
    match seconds / DAY_S {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}
