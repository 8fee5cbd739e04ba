//! etcd's maintenance and cluster services, as far as `etcdctl endpoint status`, `endpoint health`
//! and `member list` need them.

use etcd_client::AlarmAction;
use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbClusterService, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMember, PbMemberAddRequest, PbMemberAddResponse,
    PbMemberListRequest, PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse,
    PbMemberRemoveRequest, PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
    PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest, PbSnapshotResponse,
    PbStatusRequest, PbStatusResponse,
};
use tonic::{Request, Response, Status};

use super::service::{Answers, Service};
use super::wire;

/// What the embedded etcd says that it is: the version whose protocol it speaks, and whose it is.
pub(crate) const VERSION: &str = "3.4.0-fleet";

/// Its name in `member list`.
const MEMBER_NAME: &str = "fleet-embedded";

fn one_node<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(
        "the embedded etcd is a single node without this call: use an etcd cluster for it",
    ))
}

#[tonic::async_trait]
impl PbMaintenanceService for Service {
    async fn alarm(
        &self,
        request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        match AlarmAction::try_from(request.get_ref().action) {
            // There are no alarms: a full disk refuses writes one by one, until there is room.
            Ok(AlarmAction::Get) => Ok(Response::new(PbAlarmResponse {
                header: self.header_now(),
                alarms: Vec::new(),
            })),
            Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_) => one_node(),
        }
    }

    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let identity = self.shared().identity();
        let visible = self.shared().lock().visible();
        let bytes = self.shared().file_bytes().await;
        Ok(Response::new(PbStatusResponse {
            header: Some(wire::header(identity, visible)),
            version: VERSION.to_owned(),
            db_size: bytes,
            db_size_in_use: bytes,
            leader: identity.member_id,
            raft_index: visible.cast_unsigned(),
            raft_applied_index: visible.cast_unsigned(),
            raft_term: identity.term,
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        one_node()
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        one_node()
    }

    async fn hash_kv(
        &self,
        _: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        one_node()
    }

    type SnapshotStream = Answers<PbSnapshotResponse>;

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        one_node()
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        one_node()
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        one_node()
    }
}

#[tonic::async_trait]
impl PbClusterService for Service {
    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let member = PbMember {
            id: self.shared().identity().member_id,
            name: MEMBER_NAME.to_owned(),
            peer_ur_ls: Vec::new(),
            client_ur_ls: self.shared().addresses(),
            is_learner: false,
        };
        let header = self.header_now();
        Ok(Response::new(PbMemberListResponse {
            header,
            members: vec![member],
        }))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        one_node()
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        one_node()
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        one_node()
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        one_node()
    }
}
