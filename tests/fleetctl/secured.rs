//! `--endpoint=https://…`: a real TLS terminator before the API server, which wants client certificates.

use insta::assert_snapshot;
use tokio_rustls::rustls::version;

use crate::cluster::{Cluster, FILE, cluster};
use crate::terminator::{Terminator, VERSIONS, authority, certificate, expired, openssl};

/// Those whom everybody has in these stories.
const FILES: &str = "--ca-file=ours.pem --cert-file=me.pem --key-file=me.key";

const LOCAL: &str = "DNS:localhost,IP:127.0.0.1";

/// A cluster, and beside fleetctl an authority `ours`, which has signed `server` and `me`.
async fn secured() -> Option<Cluster> {
    if std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_err()
    {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        println!("SKIP: openssl is not installed");
        return None;
    }
    let cluster = cluster().await;
    authority(&cluster.folder, "ours");
    certificate(&cluster.folder, "ours", "server", LOCAL);
    certificate(&cluster.folder, "ours", "me", "DNS:me");
    Some(cluster)
}

impl Cluster {
    async fn terminator(&self, name: &str, clients: Option<&str>) -> Terminator {
        Terminator::start(&self.folder, name, clients, &VERSIONS, &self.address).await
    }

    /// As `run_at`; ports are not shown.
    async fn run_through(&self, host: &str, terminator: &Terminator, line: &str) -> String {
        let port = terminator.port();
        let seen = self.run_at(&format!("{host}:{port}"), line).await;
        seen.replace(&format!(":{port}"), ":PORT")
            .replace(&format!("port {port}"), "port PORT")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fleetctl_shows_its_certificate_and_checks_the_servers() {
    let Some(cluster) = secured().await else {
        return;
    };
    let terminator = cluster.terminator("server", Some("ours")).await;
    let port = terminator.port();
    let expected = cluster.run("fleetctl list-machines").await;
    for (host, line) in [
        ("https://localhost", format!("fleetctl {FILES} list-machines")),
        ("https://127.0.0.1", format!("fleetctl list-machines {FILES}")),
        (
            "https://localhost",
            "fleetctl --etcd-cafile=ours.pem --etcd-certfile=me.pem -etcd-keyfile me.key list-machines".to_owned(),
        ),
    ] {
        assert_eq!(cluster.run_through(host, &terminator, &line).await, expected);
    }
    let endpoint = format!("https://localhost:{port}");
    let mut environment = vec![
        ("FLEETCTL_ENDPOINT", endpoint.as_str()),
        ("FLEETCTL_CERT_FILE", "me.pem"),
        ("FLEETCTL_KEY_FILE", "me.key"),
        // Whom this system trusts.
        ("SSL_CERT_FILE", "ours.pem"),
    ];
    assert_eq!(
        cluster
            .run_with(&environment, "fleetctl list-machines")
            .await,
        expected
    );
    environment.pop();
    environment.push(("FLEETCTL_ETCD_CAFILE", "ours.pem"));
    assert_eq!(
        cluster
            .run_with(&environment, "fleetctl list-machines")
            .await,
        expected
    );

    println!("-- verbs that write, and wait on the stream of events");
    cluster.file("web.service", FILE);
    let line = format!("fleetctl {FILES} start web.service");
    assert_snapshot!(cluster.run_through("https://localhost", &terminator, &line).await, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    let line = format!("fleetctl {FILES} --debug journal web");
    assert_snapshot!(cluster.run_through("https://localhost", &terminator, &line).await, @r#"
    [stdout]
    one of 10 lines of web.service
    ExecStart failed: no such file
    [stderr]
    DEBUG https://localhost:PORT: where to find 1 unit
    [exit 0]
    "#);

    println!("-- TLS 1.2 alone");
    let older = Terminator::start(
        &cluster.folder,
        "server",
        Some("ours"),
        &[&version::TLS12],
        &cluster.address,
    )
    .await;
    let line = format!("fleetctl {FILES} list-machines");
    assert_eq!(
        cluster
            .run_through("https://localhost", &older, &line)
            .await,
        expected
    );

    println!("-- the next endpoint, if one shows a certificate that is not right");
    certificate(&cluster.folder, "ours", "other", "DNS:other.example");
    let other = cluster.terminator("other", None).await;
    let both = format!(
        "https://localhost:{},https://localhost:{port}",
        other.port()
    );
    assert_eq!(cluster.run_at(&both, &line).await, expected);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_what_they_should_be() {
    let Some(cluster) = secured().await else {
        return;
    };
    let https = "https://localhost";
    let line = format!("fleetctl {FILES} list-units");
    let folder = &cluster.folder;

    authority(folder, "theirs");
    certificate(folder, "theirs", "stranger", LOCAL);
    let stranger = cluster.terminator("stranger", None).await;
    assert_snapshot!(cluster.run_through(https, &stranger, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:PORT: its certificate is not from an authority of ours.pem
    --ca-file=FILE (FLEETCTL_CA_FILE) names the authority that signed it. If you expect no other than before, somebody may be listening in.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_through(https, &stranger, "fleetctl list-units").await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:PORT: its certificate is not from an authority that this system trusts
    --ca-file=FILE (FLEETCTL_CA_FILE) names the authority that signed it. If you expect no other than before, somebody may be listening in.
    [exit 1]
    "#);

    expired(folder, "ours", "old", LOCAL);
    let old = cluster.terminator("old", None).await;
    assert_snapshot!(cluster.run_through(https, &old, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:PORT: its certificate expired 2 days ago
    Whoever runs the server has to renew it, unless this machine's clock is wrong.
    [exit 1]
    "#);

    certificate(
        folder,
        "ours",
        "elsewhere",
        "DNS:elsewhere.example,IP:10.0.0.1",
    );
    let elsewhere = cluster.terminator("elsewhere", None).await;
    assert_snapshot!(cluster.run_through(https, &elsewhere, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:PORT: its certificate is for elsewhere.example, 10.0.0.1, not for localhost
    --endpoint must name the host as its certificate does (subjectAltName).
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_through("https://127.0.0.1", &elsewhere, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://127.0.0.1:PORT: its certificate is for elsewhere.example, 10.0.0.1, not for 127.0.0.1
    --endpoint must name the host as its certificate does (subjectAltName).
    [exit 1]
    "#);

    let itself = cluster.terminator("ours", None).await;
    assert_snapshot!(cluster.run_through(https, &itself, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:PORT: its certificate is an authority's own (CA:TRUE), not a server's
    Give the server a certificate that the authority has signed for its name, or one that is made with CA:FALSE.
    [exit 1]
    "#);

    println!("-- plain HTTP behind https://, and TLS behind http://");
    let endpoint = format!("https://{}", cluster.address);
    assert_snapshot!(cluster.run_at(&endpoint, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://ADDRESS: what listens there speaks no TLS
    If it speaks plain HTTP, write http:// instead of https://.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_through("http://localhost", &itself, &line).await, @r#"
    [stderr]
    Error retrieving list of units from repository: the connection to fleetd at http://localhost:PORT broke: invalid HTTP version parsed
    If what listens there speaks TLS, write https:// instead of http://.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_take_our_certificate() {
    let Some(cluster) = secured().await else {
        return;
    };
    authority(&cluster.folder, "theirs");
    certificate(&cluster.folder, "theirs", "foreign", "DNS:me");
    expired(&cluster.folder, "ours", "old", "DNS:me");
    for version in VERSIONS {
        let terminator = Terminator::start(
            &cluster.folder,
            "server",
            Some("ours"),
            &[version],
            &cluster.address,
        )
        .await;
        let run = async |files: &str| {
            let line = format!("fleetctl --ca-file=ours.pem {files} list-units");
            let seen = cluster
                .run_through("https://localhost", &terminator, &line)
                .await;
            format!("{version:?}\n{seen}")
        };
        for (name, files) in [
            ("none", ""),
            ("foreign", "--cert-file=foreign.pem --key-file=foreign.key"),
            ("old", "--cert-file=old.pem --key-file=old.key"),
        ] {
            insta::assert_snapshot!(format!("refused_{name}_{version:?}"), run(files).await);
        }
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_no_use_are_named() {
    let Some(cluster) = secured().await else {
        return;
    };
    certificate(&cluster.folder, "ours", "you", "DNS:you");
    cluster.file("nonsense.pem", "nonsense\n");
    cluster.file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    );
    openssl(
        &cluster.folder,
        &[
            "pkey",
            "-in",
            "me.key",
            "-aes256",
            "-passout",
            "pass:secret",
            "-out",
            "secret.key",
        ],
    );
    let run = |flags: &str| {
        let line = format!("fleetctl {flags} list-units");
        let cluster = &cluster;
        async move { cluster.run_at("https://localhost:1", &line).await }
    };
    assert_snapshot!(run("--ca-file=none.pem").await, @r#"
    [stderr]
    Unable to initialize client: cannot read authority none.pem: No such file or directory (os error 2)
    --ca-file=FILE (FLEETCTL_CA_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=/").await, @r#"
    [stderr]
    Unable to initialize client: cannot read authority /: it is no file
    --ca-file=FILE (FLEETCTL_CA_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=nonsense.pem").await, @r#"
    [stderr]
    Unable to initialize client: nonsense.pem holds no authority in PEM
    --ca-file=FILE (FLEETCTL_CA_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=broken.pem").await, @r#"
    [stderr]
    Unable to initialize client: the authority of broken.pem is of no use: BadEncoding
    --ca-file=FILE (FLEETCTL_CA_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--cert-file=me.pem").await, @r#"
    [stderr]
    Unable to initialize client: me.pem is given without a key
    --cert-file and --key-file go together: give --key-file=FILE (FLEETCTL_KEY_FILE), too.
    [exit 1]
    "#);
    assert_snapshot!(run("--key-file=me.key").await, @r#"
    [stderr]
    Unable to initialize client: me.key is given without a certificate
    --cert-file and --key-file go together: give --cert-file=FILE (FLEETCTL_CERT_FILE), too.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=ours.pem --cert-file=me.pem --key-file=you.key").await, @r#"
    [stderr]
    Unable to initialize client: the key of you.key does not belong to the certificate of me.pem
    --cert-file and --key-file must name the two halves of one pair.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=ours.pem --cert-file=me.pem --key-file=me.pem").await, @r#"
    [stderr]
    Unable to initialize client: me.pem holds no key in PEM
    --key-file=FILE (FLEETCTL_KEY_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=ours.pem --cert-file=me.key --key-file=me.key").await, @r#"
    [stderr]
    Unable to initialize client: me.key holds no certificate in PEM
    --cert-file=FILE (FLEETCTL_CERT_FILE) names it.
    [exit 1]
    "#);
    assert_snapshot!(run("--ca-file=ours.pem --cert-file=me.pem --key-file=secret.key").await, @r#"
    [stderr]
    Unable to initialize client: the key of secret.key is encrypted
    fleetctl asks for no passphrase here: openssl pkey -in secret.key -out FILE makes a key without one.
    [exit 1]
    "#);
    println!("-- nobody is there; files do not matter to other endpoints");
    assert_snapshot!(run("--ca-file=ours.pem").await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at https://localhost:1: Connection refused (os error 111)
    Is fleetd running on localhost, and does it listen on port 1? --endpoint or FLEETCTL_ENDPOINT names another.
    [exit 1]
    "#);
    let seen = cluster.run("fleetctl --ca-file=none.pem list-units").await;
    assert!(seen.ends_with("[exit 0]"), "{seen}");
    cluster.end().await;
}
