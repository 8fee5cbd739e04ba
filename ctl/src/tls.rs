//! What to do about TLS that does not come about: which flag, which file, or whom to ask.

use api::client::{ClientError, Endpoint, Scheme, TlsError, TlsFilesError, TlsPart};

use crate::error::CommandError;

/// Files that are of no use. Nothing has been asked of the cluster.
pub(crate) fn unusable(error: TlsFilesError) -> CommandError {
    let hint = match &error {
        TlsFilesError::Unreadable { part, .. }
        | TlsFilesError::Empty { part, .. }
        | TlsFilesError::Unusable { part, .. } => {
            format!("{} names it.", flag(*part))
        }
        TlsFilesError::Encrypted { path } => format!(
            "fleetctl asks for no passphrase here: openssl pkey -in {} -out FILE makes a key without one.",
            path.display()
        ),
        TlsFilesError::Half { missing, .. } => {
            format!(
                "--cert-file and --key-file go together: give {}, too.",
                flag(*missing)
            )
        }
        TlsFilesError::Mismatch { .. } => {
            "--cert-file and --key-file must name the two halves of one pair.".to_owned()
        }
        TlsFilesError::NoAuthorities { .. } => {
            format!("{} names whom to trust.", flag(TlsPart::Authority))
        }
    };
    CommandError::client_with(Box::new(error)).with_hint(&hint)
}

/// What to do about a request that got no answer because of TLS; none if that is not why.
pub(crate) fn hint(error: &ClientError) -> Option<String> {
    if let Some(tls) = TlsError::behind(error) {
        return of_endpoint(tls);
    }
    match error {
        ClientError::Broken { endpoint, .. } => match scheme(endpoint)? {
            Scheme::Http if error.is_no_http() => Some(
                "If what listens there speaks TLS, write https:// instead of http://.".to_owned(),
            ),
            Scheme::Https => Some(
                "Servers that want a client certificate (--cert-file, --key-file) end connections without one, or with one they do not know; others when they are overloaded."
                    .to_owned(),
            ),
            Scheme::Http => None,
        },
        ClientError::Unreachable { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Api { .. }
        | ClientError::Foreign { .. }
        | ClientError::Malformed { .. } => None,
    }
}

fn of_endpoint(error: &TlsError) -> Option<String> {
    match error {
        TlsError::Plain | TlsError::Closed => {
            Some("If it speaks plain HTTP, write http:// instead of https://.".to_owned())
        }
        TlsError::UnknownAuthority { .. } => Some(format!(
            "{} names the authority that signed it. If you expect no other than before, somebody may be listening in.",
            flag(TlsPart::Authority),
        )),
        TlsError::WrongName { .. } | TlsError::Unnameable { .. } => Some(
            "--endpoint must name the host as its certificate does (subjectAltName).".to_owned(),
        ),
        TlsError::AuthorityItself => Some(
            "Give the server a certificate that the authority has signed for its name, or one that is made with CA:FALSE."
                .to_owned(),
        ),
        TlsError::Demanded => Some(format!(
            "{} and {} name yours.",
            flag(TlsPart::Certificate),
            flag(TlsPart::Key)
        )),
        TlsError::Refused { .. } => Some(
            "It takes certificates of an authority of its own: ask whoever runs it for one."
                .to_owned(),
        ),
        TlsError::Expired { .. } => {
            Some("Whoever runs the server has to renew it, unless this machine's clock is wrong.".to_owned())
        }
        TlsError::NotSetUp
        | TlsError::NotYetValid { .. }
        | TlsError::Certificate { .. }
        | TlsError::NoAgreement { .. } => None,
    }
}

fn scheme(endpoint: &Endpoint) -> Option<Scheme> {
    match endpoint {
        Endpoint::Tcp { scheme, .. } => Some(*scheme),
        Endpoint::Unix(_) => None,
    }
}

/// The flag of a file, and its variable.
fn flag(part: TlsPart) -> &'static str {
    match part {
        TlsPart::Authority => "--ca-file=FILE (FLEETCTL_CA_FILE)",
        TlsPart::Certificate => "--cert-file=FILE (FLEETCTL_CERT_FILE)",
        TlsPart::Key => "--key-file=FILE (FLEETCTL_KEY_FILE)",
    }
}
