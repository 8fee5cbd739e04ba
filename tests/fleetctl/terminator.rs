//! What stands before a fleetd on an open network: a TLS terminator that may want certificates of its clients, and the authorities
//! and certificates it needs, made by openssl.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// Both that there are.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// How openssl signs: `openssl x509` cannot be told from when.
const SIGNING: &str = "\
[ca]
default_ca = ours
[ours]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
";

/// Makes `NAME.pem` and `NAME.key` in `folder`: an authority.
pub(crate) fn authority(folder: &Path, name: &str) {
    let (cert, key, subject) = (
        format!("{name}.pem"),
        format!("{name}.key"),
        format!("/CN={name}"),
    );
    #[rustfmt::skip]
    openssl(folder, &[
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", &subject, "-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out", &cert,
    ]);
}

/// Makes `NAME.pem` and `NAME.key` in `folder`: what `authority` has signed, with these names (`DNS:a,IP:127.0.0.1`).
pub(crate) fn certificate(folder: &Path, authority: &str, name: &str, names: &str) {
    signed(folder, authority, name, names, ["-1 hour", "+2 days"]);
}

/// Makes one that has expired two and a half days ago.
pub(crate) fn expired(folder: &Path, authority: &str, name: &str, names: &str) {
    signed(folder, authority, name, names, ["-99 hours", "-60 hours"]);
}

fn signed(folder: &Path, authority: &str, name: &str, names: &str, valid: [&str; 2]) {
    let file = |extension: &str| format!("{name}.{extension}");
    let (cert, key, request, extensions) = (
        file("pem"),
        file("key"),
        file("request"),
        file("extensions"),
    );
    let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
    let text = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
    std::fs::write(folder.join(&extensions), text).unwrap();
    std::fs::write(folder.join("signing"), SIGNING).unwrap();
    std::fs::write(folder.join("index"), "").unwrap();
    #[rustfmt::skip]
    openssl(folder, &[
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=somebody",
        "-keyout", &key, "-out", &request,
    ]);
    let [from, until] = valid.map(moment);
    #[rustfmt::skip]
    openssl(folder, &[
        "ca", "-batch", "-notext", "-config", "signing", "-cert", &ca, "-keyfile", &ca_key, "-in", &request,
        "-startdate", &from, "-enddate", &until, "-extfile", &extensions, "-out", &cert,
    ]);
}

/// A time from now, as openssl wants it.
fn moment(from_now: &str) -> String {
    let mut date = Command::new("date");
    let output = date.args(["-u", "-d", from_now, "+%Y%m%d%H%M%SZ"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.trim().to_owned()
}

/// Runs openssl in `folder`.
pub(crate) fn openssl(folder: &Path, words: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(words).current_dir(folder);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {said}");
}

/// Ends TLS and passes on what was in it, until it is dropped.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Terminator {
    /// Shows `NAME.pem` of `folder`, wants a certificate that `clients` (`NAME.pem` as well) has signed, if given, and passes on to
    /// `address`.
    pub(crate) async fn start(
        folder: &Path,
        name: &str,
        clients: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
        address: &str,
    ) -> Terminator {
        let provider = Arc::new(ring::default_provider());
        let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
            let file = CertificateDer::pem_file_iter(folder.join(format!("{name}.pem")));
            file.unwrap().map(Result::unwrap).collect()
        };
        let building = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let building = match clients {
            None => building.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(clients));
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                building.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
        let config = building.with_single_cert(certificates(name), key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Terminator {
            address: listener.local_addr().unwrap(),
            serving: tokio::spawn(serve(listener, acceptor, address.to_owned())),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, address: String) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, address) = (acceptor.clone(), address.clone());
        connections.spawn(async move {
            match acceptor.accept(stream).await {
                Ok(mut inside) => {
                    let mut fleetd = TcpStream::connect(address).await.unwrap();
                    let ended = copy_bidirectional(&mut inside, &mut fleetd).await;
                    println!("terminator: {ended:?}");
                }
                Err(error) => println!("terminator: {error}"),
            }
        });
    }
}
