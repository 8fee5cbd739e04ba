//! Several endpoints, dead ones, silent ones, TLS, users, and what an error says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use model::{Action, ClusterStore, StoreError};
use registry::{Config, ConfigError, FollowEvent, Registry, RegistryError, Scope, TlsFiles, View};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::etcd::{DEAD, Etcd, config, soon};
use crate::proxy::Proxy;
use crate::sample::{file, request};

async fn failures(registry: &Registry, pings: usize) -> usize {
    let mut failures = 0;
    for _ in 0..pings {
        if let Err(error) = registry.ping().await {
            println!("failed: {error}");
            failures += 1;
        }
    }
    failures
}

#[tokio::test]
async fn a_refusing_endpoint_costs_no_request() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    for endpoints in [
        [DEAD.to_owned(), etcd.endpoint()],
        [etcd.endpoint(), DEAD.to_owned()],
    ] {
        let registry = Registry::connect(&config(&endpoints)).await.unwrap();
        assert_eq!(failures(&registry, 200).await, 0);
        let view = View::new(registry, CancellationToken::new());
        let answers = view
            .apply(vec![request(
                "a.service",
                Action::Submit,
                Some(file("true")),
            )])
            .await;
        assert!(answers.unwrap()[0].is_ok());
    }
}

#[tokio::test]
async fn a_silent_endpoint_costs_no_read() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [
        format!("http://{}", silent.local_addr().unwrap()),
        etcd.endpoint(),
    ];
    let registry = Registry::connect(&config(&endpoints)).await.unwrap();
    assert_eq!(failures(&registry, 50).await, 0);
    drop(silent);
}

#[tokio::test]
async fn the_death_of_the_endpoint_in_use_is_survived() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let (one, two) = (
        Proxy::to(etcd.address()).await,
        Proxy::to(etcd.address()).await,
    );
    let registry = Registry::connect(&config(&[one.endpoint(), two.endpoint()]))
        .await
        .unwrap();
    let mut follow = registry.follow(Scope::Leader);
    soon("the snapshot", follow.next()).await;
    for (dying, other) in [(&one, &two), (&two, &one)] {
        assert_eq!(failures(&registry, 20).await, 0);
        other.mend();
        dying.cut();
        assert!(failures(&registry, 50).await <= 1);
        let event = soon("the loss", follow.next()).await;
        assert!(
            matches!(event, FollowEvent::Disconnected { .. }),
            "{event:?}"
        );
        let event = soon("the return", follow.next()).await;
        assert!(matches!(event, FollowEvent::Snapshot { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_unreachable_for_reads_and_writes() {
    let registry = Registry::connect(&config(&[DEAD.to_owned()]))
        .await
        .unwrap();
    let error = registry.ping().await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, RegistryError::Unreachable { .. }));
    let error = registry
        .lease(Duration::from_secs(5), None)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }));
    let view = View::new(registry, CancellationToken::new());
    let error = view.read(|records| records.units.len()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_write_that_is_not_answered_may_have_been_done() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let mut config = config(&[etcd.endpoint()]);
    config.request_timeout = Duration::from_millis(500);
    let registry = Registry::connect(&config).await.unwrap();
    // By a registry that waits longer: this one is for what is not answered.
    let patient = etcd.registry().await;
    let lease = patient.lease(Duration::from_secs(60), None).await.unwrap();
    soon("a connection", async {
        while registry.ping().await.is_err() {}
    })
    .await;
    etcd.freeze();
    let error = registry
        .campaign(&crate::sample::id("m1"), &lease)
        .await
        .unwrap_err();
    println!("{error}");
    assert!(matches!(error, RegistryError::Unknown { .. }), "{error:?}");
    assert!(matches!(
        registry.ping().await.unwrap_err(),
        RegistryError::Unreachable { .. }
    ));
    etcd.thaw();
    let won = soon("an answer", async {
        loop {
            if let Ok(campaign) = registry.campaign(&crate::sample::id("m1"), &lease).await {
                break campaign;
            }
        }
    });
    assert!(
        matches!(won.await, registry::Campaign::Won(_)),
        "whether or not the first one was done"
    );
}

#[tokio::test]
async fn a_full_store_says_so() {
    let Some(mut etcd) = Etcd::prepare(&["--quota-backend-bytes", "200000"]) else {
        return;
    };
    etcd.boot().await;
    let mut raw = etcd.raw().await;
    while raw.put("/filler", vec![b'x'; 50_000], None).await.is_ok() {}
    let view = View::new(etcd.registry().await, CancellationToken::new());
    let error = view
        .apply(vec![request(
            "a.service",
            Action::Submit,
            Some(file("true")),
        )])
        .await
        .unwrap_err();
    println!("{error}");
    assert!(
        matches!(&error, StoreError::Refused(reason) if reason.contains("space")),
        "{error}"
    );
    assert_eq!(
        view.read(|records| records.units.len()).await,
        Ok(0),
        "reads go on"
    );
}

#[tokio::test]
async fn a_bad_configuration_is_named() {
    let good = config(&["127.0.0.1:2379".to_owned()]);
    let refused = async |config: Config| Registry::connect(&config).await.unwrap_err();
    let no_endpoints = refused(Config {
        endpoints: vec![],
        ..good.clone()
    })
    .await;
    assert!(matches!(no_endpoints, ConfigError::NoEndpoints));
    let nonsense = refused(Config {
        endpoints: vec!["http://".to_owned()],
        ..good.clone()
    })
    .await;
    assert!(
        matches!(nonsense, ConfigError::Endpoint { .. }),
        "{nonsense}"
    );
    let half = refused(Config {
        username: Some("me".to_owned()),
        ..good.clone()
    })
    .await;
    assert!(matches!(half, ConfigError::HalfUser));
    let tls = TlsFiles {
        ca: Some("/nowhere/ca.pem".into()),
        ..TlsFiles::default()
    };
    let missing = refused(Config {
        tls: tls.clone(),
        ..good.clone()
    })
    .await;
    assert!(missing.to_string().contains("/nowhere/ca.pem"), "{missing}");
    let plain = refused(Config {
        endpoints: vec!["http://a:1".to_owned()],
        tls,
        ..good.clone()
    })
    .await;
    assert!(matches!(plain, ConfigError::PlainWithTls { .. }));
    assert!(Registry::connect(&good).await.is_ok());
}

/// Makes a certificate authority and a certificate from it for 127.0.0.1.
fn certificates(folder: &Path, authority: &str) -> bool {
    certificates_for(folder, authority, "2")
}

/// The same, valid for so many days; for less than none if they have expired. The authority is made once.
fn certificates_for(folder: &Path, authority: &str, days: &str) -> bool {
    let path = |name: &str| {
        folder
            .join(format!("{authority}-{name}"))
            .display()
            .to_string()
    };
    let openssl = |arguments: &[&str]| {
        Command::new("openssl")
            .args(arguments)
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|it| it.success())
    };
    let extensions = path("extensions");
    std::fs::write(
        &extensions,
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    let (ca_key, ca, key, request, cert) = (
        path("ca.key"),
        path("ca.pem"),
        path("key.pem"),
        path("csr"),
        path("cert.pem"),
    );
    let ca_name = format!("/CN={authority}");
    let is_made = Path::new(&ca).exists();
    (is_made
        || openssl(&[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &ca_name,
            "-keyout", &ca_key, "-out", &ca,
        ]))
        && openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            &key,
            "-out",
            &request,
        ])
        && openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &extensions,
            "-out",
            &cert,
        ])
}

#[tokio::test]
async fn the_store_is_verified_and_verifies_us() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path(), "ours") || !certificates(folder.path(), "theirs") {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        println!("SKIP: openssl is not installed");
        return;
    }
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let arguments = [
        "--cert-file".to_owned(),
        text("ours-cert.pem"),
        "--key-file".to_owned(),
        text("ours-key.pem"),
        "--trusted-ca-file".to_owned(),
        text("ours-ca.pem"),
        "--client-cert-auth".to_owned(),
    ];
    let Some(mut etcd) = Etcd::prepare(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    else {
        return;
    };
    etcd.spawn_tls();
    let address = etcd.address();
    let with = async |ca: &str, cert: Option<&str>| {
        let tls = TlsFiles {
            ca: Some(path(&format!("{ca}-ca.pem"))),
            cert: cert.map(|cert| path(&format!("{cert}-cert.pem"))),
            key: cert.map(|cert| path(&format!("{cert}-key.pem"))),
        };
        Registry::connect(&Config {
            tls,
            ..config(std::slice::from_ref(&address))
        })
        .await
        .unwrap()
    };
    let good = with("ours", Some("ours")).await;
    etcd.until_it_answers(&good).await;
    for bad in [
        with("theirs", Some("ours")).await,
        with("ours", None).await,
        with("ours", Some("theirs")).await,
    ] {
        let error = bad.ping().await.unwrap_err();
        println!("{error}");
        assert!(
            matches!(error, RegistryError::Unreachable { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let hand_over = || {
        for name in ["cert.pem", "key.pem"] {
            std::fs::copy(
                path(&format!("ours-{name}")),
                path(&format!("client-{name}")),
            )
            .unwrap();
        }
    };
    if !certificates_for(folder.path(), "ours", "-1") {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        println!("SKIP: openssl is not installed");
        return;
    }
    hand_over();
    assert!(certificates_for(folder.path(), "ours", "2"));
    let arguments = [
        "--cert-file",
        &text("ours-cert.pem"),
        "--key-file",
        &text("ours-key.pem"),
        "--trusted-ca-file",
        &text("ours-ca.pem"),
        "--client-cert-auth",
    ];
    let Some(mut etcd) = Etcd::prepare(&arguments) else {
        return;
    };
    etcd.spawn_tls();
    let tls = |side: &str| TlsFiles {
        ca: Some(path("ours-ca.pem")),
        cert: Some(path(&format!("{side}-cert.pem"))),
        key: Some(path(&format!("{side}-key.pem"))),
    };
    let address = etcd.address();
    let connect = async |side: &str| {
        let config = Config {
            tls: tls(side),
            ..config(std::slice::from_ref(&address))
        };
        Registry::connect(&config).await.unwrap()
    };
    let good = connect("ours").await;
    etcd.until_it_answers(&good).await;
    let expired = connect("client").await;
    let error = expired.ping().await.unwrap_err();
    println!("{error}");
    assert!(
        matches!(error, RegistryError::Unreachable { .. }),
        "{error:?}"
    );
    hand_over();
    etcd.until_it_answers(&expired).await;
}

#[tokio::test]
async fn a_user_is_authenticated_again_when_its_token_ends() {
    let Some(mut etcd) = Etcd::prepare(&["--auth-token", "simple", "--auth-token-ttl", "1"]) else {
        return;
    };
    etcd.boot().await;
    let mut raw = etcd.raw().await;
    raw.user_add("root", "secret", None).await.unwrap();
    raw.role_add("root").await.unwrap();
    raw.user_grant_role("root", "root").await.unwrap();
    raw.auth_enable().await.unwrap();
    let proxy = Proxy::to(etcd.address()).await;
    let user = |password: &str| Config {
        username: Some("root".to_owned()),
        password: Some(password.to_owned()),
        ..config(&[proxy.endpoint()])
    };
    let wrong = Registry::connect(&user("wrong"))
        .await
        .unwrap()
        .ping()
        .await
        .unwrap_err();
    println!("{wrong}");
    assert!(matches!(wrong, RegistryError::Denied { .. }), "{wrong:?}");
    let registry = Registry::connect(&user("secret")).await.unwrap();
    let lease = registry.lease(Duration::from_secs(20), None).await.unwrap();
    let mut follow = registry.follow(Scope::Cluster);
    soon("the snapshot", follow.next()).await;
    for _ in 0..2 {
        // Longer than the token lives; there is no event to wait for.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        proxy.cut();
        let event = soon("the loss", follow.next()).await;
        assert!(
            matches!(event, FollowEvent::Disconnected { .. }),
            "{event:?}"
        );
        let mended = tokio::time::Instant::now();
        proxy.mend();
        let event = soon("the return", follow.next()).await;
        assert!(matches!(event, FollowEvent::Synced { .. }), "{event:?}");
        registry.ping().await.unwrap();
        soon("a keep-alive", async {
            while lease.confirmed_at() < mended {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}
