//! The certificates that we show and those that we trust: read when the store is first talked to, and again when it refuses us, as
//! they may have been renewed. So a renewal needs no restart.

use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};

use crate::config::{ConfigError, TlsFiles};

/// What the files held.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// Reads the files that are named.
    pub(crate) async fn read(files: &TlsFiles) -> Result<Certificates, ConfigError> {
        let ca = match &files.ca {
            Some(ca) => Some(read(ca).await?),
            None => None,
        };
        let identity = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => Some((read(cert).await?, read(key).await?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ConfigError::HalfIdentity),
        };
        Ok(Certificates { ca, identity })
    }

    /// What TLS needs; the server is verified whatever is given.
    pub(crate) fn options(&self) -> TlsOptions {
        let options = match &self.ca {
            Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
            None => TlsOptions::new().with_enabled_roots(),
        };
        match &self.identity {
            Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
            None => options,
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })
}
