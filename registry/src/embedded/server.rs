//! The ways in: a channel without a socket, TCP, a unix socket.

use std::convert::Infallible;
use std::time::Duration;

use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer,
};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tower::util::BoxCloneSyncService;

use super::error::EmbeddedError;
use super::service::Service;

/// What is decoded at all. Above etcd's limit of a request, so that a request between the two gets
/// etcd's own error, and low enough that nobody fills our memory.
const DECODE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An idle client is asked whether it is still there, so that one that vanished costs nothing.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a listener that was told to stop waits for calls under way. They take milliseconds;
/// longer means a client that does not read.
const STOP_GRACE: Duration = Duration::from_secs(2);

fn routes(service: &Service) -> Routes {
    Routes::new(PbKvServer::new(service.clone()).max_decoding_message_size(DECODE_BYTES_MAX))
        .add_service(
            PbWatchServer::new(service.clone()).max_decoding_message_size(DECODE_BYTES_MAX),
        )
        .add_service(PbLeaseServer::new(service.clone()))
        .add_service(PbMaintenanceServer::new(service.clone()))
        .add_service(PbClusterServer::new(service.clone()))
        .prepare()
}

/// A channel for clients in this process.
pub(crate) fn channel(service: &Service) -> etcd_client::Channel {
    let routes = tower::util::MapErr::new(routes(service), |impossible: Infallible| {
        // There is no network between, so nothing but an answer can come.
        match impossible {}
    });
    etcd_client::Channel::Custom(BoxCloneSyncService::new(routes))
}

/// Serves connections until `shutdown`; ends the streams of its clients then.
pub(crate) async fn serve<I, C, E>(
    service: Service,
    incoming: I,
    shutdown: &CancellationToken,
) -> Result<(), EmbeddedError>
where
    I: Stream<Item = Result<C, E>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<tower::BoxError>,
{
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_routes(routes(&service))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled());
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        served = serving => served.map_err(|source| EmbeddedError::Serve { source }),
        () = late => {
            tracing::warn!("clients of the embedded store were cut off: they did not read");
            Ok(())
        }
    }
}
