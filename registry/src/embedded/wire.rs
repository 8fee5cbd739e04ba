//! Translates between etcd's protobufs and our own types: the one place that knows both.

use etcd_client::proto::{
    PbCompare, PbCompareTarget, PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbResponseHeader, PbResponseOp,
    PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use etcd_client::{CompareOp, EventType, SortOrder, SortTarget as PbSortTarget};
use tonic::{Code, Status};

use super::disk::Identity;
use super::hub::WatchEvent;
use super::mvcc::KeyVersion;
use super::range::KeyRange;
use super::refusal::Refusal;
use super::txn::{
    Compare, Delete, Operand, Operation, OperationAnswer, Order, Put, RangeAnswer, RangeQuery,
    Relation, RevisionBounds, SortTarget, Txn, TxnAnswer,
};

/// etcd's default limit of a request, `--max-request-bytes`.
pub(crate) const REQUEST_BYTES_MAX: usize = 1536 * 1024;

/// What etcd's transport takes at all: half a MiB more than a request.
pub(crate) const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 512 * 1024;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let code = match &refusal {
            Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOperations
            | Refusal::DuplicateKey
            | Refusal::InvalidSortOption
            | Refusal::RequestTooLarge => Code::InvalidArgument,
            Refusal::NestedTransaction => Code::Unimplemented,
            Refusal::Compacted | Refusal::FutureRevision | Refusal::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            Refusal::LeaseNotFound => Code::NotFound,
            Refusal::LeaseExists => Code::FailedPrecondition,
            Refusal::NoSpace | Refusal::TooManyRequests | Refusal::MessageTooLarge(_) => {
                Code::ResourceExhausted
            }
            Refusal::Storage(_) | Refusal::Stopped => Code::Unavailable,
        };
        Status::new(code, refusal.to_string())
    }
}

/// The header of an answer about `revision`.
pub(crate) fn header(identity: Identity, revision: i64) -> PbResponseHeader {
    PbResponseHeader {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        revision,
        raft_term: identity.term,
    }
}

/// The header within a transaction: etcd fills in the revision alone.
fn inner_header(revision: i64) -> PbResponseHeader {
    PbResponseHeader {
        revision,
        ..PbResponseHeader::default()
    }
}

/// Reads a range request.
pub(crate) fn range_query(request: &PbRangeRequest) -> Result<RangeQuery, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order).map_err(|_| Refusal::InvalidSortOption)?;
    let target =
        PbSortTarget::try_from(request.sort_target).map_err(|_| Refusal::InvalidSortOption)?;
    Ok(RangeQuery {
        range: KeyRange::new(&request.key, &request.range_end),
        // Less than 0 is no limit, as in etcd; more than fits is none either.
        limit: usize::try_from(request.limit).unwrap_or(0),
        revision: request.revision,
        order: match order {
            SortOrder::None => Order::None,
            SortOrder::Ascend => Order::Ascending,
            SortOrder::Descend => Order::Descending,
        },
        target: match target {
            PbSortTarget::Key => SortTarget::Key,
            PbSortTarget::Version => SortTarget::Version,
            PbSortTarget::Create => SortTarget::Create,
            PbSortTarget::Mod => SortTarget::Mod,
            PbSortTarget::Value => SortTarget::Value,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
        modified: RevisionBounds {
            min: request.min_mod_revision,
            max: request.max_mod_revision,
        },
        created: RevisionBounds {
            min: request.min_create_revision,
            max: request.max_create_revision,
        },
    })
}

/// Reads a put request.
pub(crate) fn put(request: PbPutRequest) -> Result<Put, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(Put {
        key: request.key.into(),
        value: (!request.ignore_value).then(|| request.value.into()),
        lease: (!request.ignore_lease).then_some(request.lease),
        previous: request.prev_kv,
    })
}

/// Reads a deletion request.
pub(crate) fn delete(request: &PbDeleteRequest) -> Result<Delete, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let range = KeyRange::new(&request.key, &request.range_end);
    Ok(Delete {
        range,
        previous: request.prev_kv,
    })
}

/// Reads a transaction.
pub(crate) fn txn(request: PbTxnRequest) -> Result<Txn, Refusal> {
    let longest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    if longest > super::txn::OPERATIONS_MAX {
        return Err(Refusal::TooManyOperations);
    }
    let compares = request
        .compare
        .into_iter()
        .map(compare)
        .collect::<Result<_, _>>()?;
    let success = request
        .success
        .into_iter()
        .filter_map(operation)
        .collect::<Result<_, _>>()?;
    let failure = request
        .failure
        .into_iter()
        .filter_map(operation)
        .collect::<Result<_, _>>()?;
    Ok(Txn {
        compares,
        success,
        failure,
    })
}

/// An operation that says nothing is skipped, as etcd does.
fn operation(operation: PbTxnRequestOp) -> Option<Result<Operation, Refusal>> {
    Some(match operation.request? {
        PbTxnOpRequest::RequestRange(request) => range_query(&request).map(Operation::Range),
        PbTxnOpRequest::RequestPut(request) => put(request).map(Operation::Put),
        PbTxnOpRequest::RequestDeleteRange(request) => delete(&request).map(Operation::Delete),
        PbTxnOpRequest::RequestTxn(_) => Err(Refusal::NestedTransaction),
    })
}

fn compare(compare: PbCompare) -> Result<Compare, Refusal> {
    if compare.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let result = CompareOp::try_from(compare.result).map_err(|_| Refusal::InvalidSortOption)?;
    let target =
        PbCompareTarget::try_from(compare.target).map_err(|_| Refusal::InvalidSortOption)?;
    let given = compare.target_union;
    let number = || match &given {
        Some(
            PbTargetUnion::Version(number)
            | PbTargetUnion::CreateRevision(number)
            | PbTargetUnion::ModRevision(number)
            | PbTargetUnion::Lease(number),
        ) => *number,
        Some(PbTargetUnion::Value(_)) | None => 0,
    };
    let operand = match target {
        PbCompareTarget::Version => Operand::Version(number()),
        PbCompareTarget::Create => Operand::Create(number()),
        PbCompareTarget::Mod => Operand::Mod(number()),
        PbCompareTarget::Lease => Operand::Lease(number()),
        PbCompareTarget::Value => match given {
            Some(PbTargetUnion::Value(value)) => Operand::Value(value.into()),
            Some(_) | None => Operand::Value([].into()),
        },
    };
    Ok(Compare {
        range: KeyRange::new(&compare.key, &compare.range_end),
        relation: match result {
            CompareOp::Equal => Relation::Equal,
            CompareOp::NotEqual => Relation::NotEqual,
            CompareOp::Greater => Relation::Greater,
            CompareOp::Less => Relation::Less,
        },
        operand,
    })
}

/// How large a transaction is, near enough to what etcd measures (the encoded request).
pub(crate) fn txn_bytes(request: &PbTxnRequest) -> usize {
    /// Tags, lengths and numbers of one operation.
    const OPERATION_BYTES: usize = 16;
    let operations = request
        .success
        .iter()
        .chain(&request.failure)
        .map(|operation| {
            OPERATION_BYTES
                + match &operation.request {
                    Some(PbTxnOpRequest::RequestPut(put)) => put.key.len() + put.value.len(),
                    Some(PbTxnOpRequest::RequestRange(range)) => {
                        range.key.len() + range.range_end.len()
                    }
                    Some(PbTxnOpRequest::RequestDeleteRange(delete)) => {
                        delete.key.len() + delete.range_end.len()
                    }
                    Some(PbTxnOpRequest::RequestTxn(_)) | None => 0,
                }
        });
    let compares = request.compare.iter().map(|compare| {
        let value = match &compare.target_union {
            Some(PbTargetUnion::Value(value)) => value.len(),
            Some(_) | None => 0,
        };
        OPERATION_BYTES + compare.key.len() + compare.range_end.len() + value
    });
    operations.chain(compares).sum()
}

/// A key as etcd sends it.
pub(crate) fn key_value(found: &KeyVersion) -> PbKeyValue {
    PbKeyValue {
        key: found.key.to_vec(),
        create_revision: found.version.create_revision,
        mod_revision: found.version.at.main,
        version: found.version.version,
        value: found.version.value.as_deref().unwrap_or_default().to_vec(),
        lease: found.version.lease,
    }
}

fn key_alone(found: &KeyVersion) -> PbKeyValue {
    PbKeyValue {
        key: found.key.to_vec(),
        create_revision: found.version.create_revision,
        mod_revision: found.version.at.main,
        version: found.version.version,
        value: Vec::new(),
        lease: found.version.lease,
    }
}

/// The answer to a range request.
pub(crate) fn range_response(answer: &RangeAnswer, header: PbResponseHeader) -> PbRangeResponse {
    let translate = if answer.keys_only {
        key_alone
    } else {
        key_value
    };
    PbRangeResponse {
        header: Some(header),
        kvs: answer.found.iter().map(translate).collect(),
        more: answer.more,
        count: i64::try_from(answer.count).unwrap_or(i64::MAX),
    }
}

/// The answer to a put.
pub(crate) fn put_response(
    previous: Option<&KeyVersion>,
    header: PbResponseHeader,
) -> PbPutResponse {
    PbPutResponse {
        header: Some(header),
        prev_kv: previous.map(key_value),
    }
}

/// The answer to a deletion.
pub(crate) fn delete_response(
    deleted: usize,
    previous: &[KeyVersion],
    header: PbResponseHeader,
) -> PbDeleteResponse {
    PbDeleteResponse {
        header: Some(header),
        deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
        prev_kvs: previous.iter().map(key_value).collect(),
    }
}

/// The answer to a transaction.
pub(crate) fn txn_response(answer: &TxnAnswer, header: PbResponseHeader) -> PbTxnResponse {
    let responses = answer.answers.iter().map(|answer| {
        let response = match answer {
            OperationAnswer::Range(answer) => PbTxnOpResponse::ResponseRange(range_response(
                answer,
                inner_header(answer.revision),
            )),
            OperationAnswer::Put { revision, previous } => PbTxnOpResponse::ResponsePut(
                put_response(previous.as_ref(), inner_header(*revision)),
            ),
            OperationAnswer::Delete {
                revision,
                deleted,
                previous,
            } => PbTxnOpResponse::ResponseDeleteRange(delete_response(
                *deleted,
                previous,
                inner_header(*revision),
            )),
        };
        PbResponseOp {
            response: Some(response),
        }
    });
    PbTxnResponse {
        header: Some(header),
        succeeded: answer.succeeded,
        responses: responses.collect(),
    }
}

/// An event as etcd sends it: a deletion tells only key and revision.
pub(crate) fn event(event: &WatchEvent) -> PbEvent {
    let kind = if event.now.version.value.is_some() {
        EventType::Put
    } else {
        EventType::Delete
    };
    PbEvent {
        r#type: kind as i32,
        kv: Some(key_value(&event.now)),
        prev_kv: event.before.as_ref().map(key_value),
    }
}
