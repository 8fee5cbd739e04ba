//! Where the cluster is kept: an etcd cluster, or this process itself (standalone).

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use registry::embedded::Embedded;
use registry::{Registry, TlsFiles};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::boot_clock::BootClock;
use crate::config::Config;

/// Tried when no etcd is configured.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// The standalone store's file in the data directory.
const STORE_FILE: &str = "store.redb";

/// The endpoints of etcd to try.
pub(crate) fn endpoints(config: &Config) -> Vec<String> {
    if config.etcd_servers.is_empty() {
        vec![DEFAULT_ENDPOINT.to_owned()]
    } else {
        config.etcd_servers.clone()
    }
}

/// A reachable store, and what has to be ended with it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) registry: Registry,
    /// How to speak of it in messages.
    pub(crate) name: String,
    embedded: Option<Embedded>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Store {
    /// Opens the store. Does not wait for an etcd to answer.
    pub(crate) async fn open(config: &Config) -> Result<Store> {
        if config.standalone {
            Store::standalone(config).await
        } else {
            Store::etcd(config).await
        }
    }

    async fn etcd(config: &Config) -> Result<Store> {
        let endpoints = endpoints(config);
        let configured = if config.etcd_servers.is_empty() {
            " (the default: etcd_servers is not set)"
        } else {
            ""
        };
        let name = format!("etcd at {}{configured}", endpoints.join(", "));
        let settings = registry::Config {
            endpoints,
            key_prefix: config.etcd_key_prefix.clone(),
            tls: TlsFiles {
                ca: config.etcd_cafile.clone(),
                cert: config.etcd_certfile.clone(),
                key: config.etcd_keyfile.clone(),
            },
            username: config.etcd_username.clone(),
            password: config.etcd_password.clone(),
            request_timeout: config.etcd_request_timeout,
        };
        let registry = Registry::connect(&settings).await?.with_clock(clock());
        Ok(Store {
            registry,
            name,
            embedded: None,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        })
    }

    async fn standalone(config: &Config) -> Result<Store> {
        let directory = &config.data_directory;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("data_directory: cannot create {}", directory.display()))?;
        let path = directory.join(STORE_FILE);
        let embedded = Embedded::open(&path)
            .await
            .with_context(|| format!("cannot open the standalone store {}", path.display()))?;
        let address: SocketAddr = config.standalone_listen;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("standalone_listen: cannot serve on {address}; is an etcd running there? Then use etcd_servers= instead")
        })?;
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (served, until) = (embedded.clone(), shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = served.serve(listener, until).await {
                tracing::error!(%error, "the standalone store can no longer be reached by other machines");
            }
        });
        tracing::info!(%address, path = %path.display(), "standalone: keeping the cluster's store here, in one copy");
        Ok(Store {
            registry: Registry::embedded(&embedded, &config.etcd_key_prefix).with_clock(clock()),
            name: "the standalone store".to_owned(),
            embedded: Some(embedded),
            tasks,
            shutdown,
        })
    }

    /// Ends what was started. Everything acknowledged is on disk.
    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.tasks.close();
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        self.tasks.wait().await;
    }
}

/// What leases are counted by: it goes on while the machine sleeps.
fn clock() -> Arc<BootClock> {
    Arc::new(BootClock)
}
