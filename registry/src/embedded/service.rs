//! etcd's gRPC services on the shared state. What fleet and `etcdctl` do not need is answered with
//! `Unimplemented`.

use std::pin::Pin;
use std::sync::Arc;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbTxnRequest, PbTxnResponse, PbWatchRequest, PbWatchResponse, PbWatchService,
};
use futures_util::stream::{self, Stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Embedded;
use super::refusal::Refusal;
use super::session::Session;
use super::shared::Shared;
use super::state::{Answer, Command};
use super::txn::{Operation, OperationAnswer, Txn, TxnAnswer};
use super::wire::{self, MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX};

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// All services, for the clients of one channel or listener.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// A channel or listener keeps the store going, as every handle does.
    pub(crate) store: Embedded,
    /// Ends the streams of this channel or listener.
    pub(crate) ended: CancellationToken,
    /// Answers reads that need not be linearizable as of this revision, as a member that is behind does.
    pub(crate) behind: Option<i64>,
}

impl Service {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.store.shared
    }

    fn header(&self, revision: i64) -> etcd_client::proto::PbResponseHeader {
        wire::header(self.shared().identity(), revision)
    }

    pub(crate) fn header_now(&self) -> Option<etcd_client::proto::PbResponseHeader> {
        let visible = self.shared().lock().visible();
        Some(self.header(visible))
    }

    async fn transact(&self, txn: Txn) -> Result<TxnAnswer, Status> {
        match self.shared().submit(Command::Txn(txn)).await? {
            Answer::Txn(answer) => Ok(answer),
            Answer::Granted { .. } | Answer::Done => Err(mismatched()),
        }
    }

    /// A transaction of a single operation.
    async fn operate(&self, operation: Operation) -> Result<OperationAnswer, Status> {
        let txn = Txn {
            success: vec![operation],
            ..Txn::default()
        };
        self.transact(txn)
            .await?
            .answers
            .pop()
            .ok_or_else(mismatched)
    }
}

/// An answer that does not belong to its command: a defect of ours, not of the client.
fn mismatched() -> Status {
    Status::internal("the embedded etcd mixed up its answers; please report this")
}

fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Refusal::MessageTooLarge(bytes));
    }
    if bytes > REQUEST_BYTES_MAX {
        return Err(Refusal::RequestTooLarge);
    }
    Ok(())
}

#[tonic::async_trait]
impl PbKvService for Service {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let mut query = wire::range_query(request.get_ref())?;
        let behind = self.behind.filter(|_| request.get_ref().serializable);
        if let Some(behind) = behind
            && query.revision == 0
        {
            query.revision = behind;
        }
        let mut answer = self.shared().lock().read(&query)?;
        answer.revision = behind.unwrap_or(answer.revision);
        Ok(Response::new(wire::range_response(
            &answer,
            self.header(answer.revision),
        )))
    }

    type RangeStreamStream = Answers<PbRangeStreamResponse>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented(
            "the embedded etcd has no RangeStream: page with a limit",
        ))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        check_size(request.key.len() + request.value.len())?;
        match self.operate(Operation::Put(wire::put(request)?)).await? {
            OperationAnswer::Put { revision, previous } => Ok(Response::new(wire::put_response(
                previous.as_ref(),
                self.header(revision),
            ))),
            OperationAnswer::Range(_) | OperationAnswer::Delete { .. } => Err(mismatched()),
        }
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        check_size(request.key.len() + request.range_end.len())?;
        match self
            .operate(Operation::Delete(wire::delete(&request)?))
            .await?
        {
            OperationAnswer::Delete {
                revision,
                deleted,
                previous,
            } => Ok(Response::new(wire::delete_response(
                deleted,
                &previous,
                self.header(revision),
            ))),
            OperationAnswer::Range(_) | OperationAnswer::Put { .. } => Err(mismatched()),
        }
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        let bytes = wire::txn_bytes(&request);
        let txn = wire::txn(request)?;
        super::txn::check(&txn)?;
        check_size(bytes)?;
        let answer = self.transact(txn).await?;
        Ok(Response::new(wire::txn_response(
            &answer,
            self.header(answer.revision),
        )))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let revision = request.get_ref().revision;
        self.shared().submit(Command::Compact { revision }).await?;
        Ok(Response::new(PbCompactionResponse {
            header: self.header_now(),
        }))
    }
}

#[tonic::async_trait]
impl PbWatchService for Service {
    type WatchStream = Answers<PbWatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let shared = Arc::clone(self.shared());
        let mut session = Session::open(shared, request.into_inner(), self.ended.clone());
        session.take_waiting_requests().await?;
        Ok(Response::new(Box::pin(session.responses())))
    }
}

#[tonic::async_trait]
impl PbLeaseService for Service {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.get_ref();
        let command = Command::Grant {
            id: request.id,
            ttl_s: request.ttl,
        };
        match self.shared().submit(command).await? {
            Answer::Granted { id, ttl_s } => Ok(Response::new(PbLeaseGrantResponse {
                header: self.header_now(),
                id,
                ttl: ttl_s,
                error: String::new(),
            })),
            Answer::Txn(_) | Answer::Done => Err(mismatched()),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        self.shared()
            .submit(Command::Revoke {
                id: request.get_ref().id,
            })
            .await?;
        Ok(Response::new(PbLeaseRevokeResponse {
            header: self.header_now(),
        }))
    }

    type LeaseKeepAliveStream = Answers<PbLeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let start = Some((self.clone(), request.into_inner()));
        let answers = stream::unfold(start, |session| async move {
            let (service, mut requests) = session?;
            let request = tokio::select! {
                biased;
                () = service.ended.cancelled() => {
                    return Some((Err(Refusal::Stopped.into()), None));
                }
                received = requests.message() => match received {
                    Ok(received) => received?,
                    Err(status) => return Some((Err(status), None)),
                },
            };
            let kept = service
                .shared()
                .lock()
                .leases
                .keep_alive(request.id, Instant::now());
            let response = PbLeaseKeepAliveResponse {
                header: service.header_now(),
                id: request.id,
                // 0 tells the client that there is no such lease any more.
                ttl: kept.unwrap_or(0),
            };
            Some((Ok(response), Some((service, requests))))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.get_ref();
        let status = self
            .shared()
            .lock()
            .leases
            .status(request.id, Instant::now());
        let header = self.header_now();
        let id = request.id;
        Ok(Response::new(match status {
            Some(status) => PbLeaseTimeToLiveResponse {
                header,
                id,
                ttl: status.remaining_s,
                granted_ttl: status.ttl_s,
                keys: if request.keys {
                    status.keys.iter().map(|key| key.to_vec()).collect()
                } else {
                    Vec::new()
                },
            },
            // As etcd says that there is no such lease.
            None => PbLeaseTimeToLiveResponse {
                header,
                id,
                ttl: -1,
                granted_ttl: 0,
                keys: Vec::new(),
            },
        }))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let ids: Vec<i64> = self.shared().lock().leases.ids().collect();
        let leases = ids.into_iter().map(|id| PbLeaseStatus { id }).collect();
        Ok(Response::new(PbLeaseLeasesResponse {
            header: self.header_now(),
            leases,
        }))
    }
}
