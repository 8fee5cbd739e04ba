//! Why the embedded etcd refuses a request, in etcd's own words, so that a client which knows
//! etcd's errors knows these.

/// A request that is answered with an error and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key is missing.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More than [`OPERATIONS_MAX`](super::txn::OPERATIONS_MAX) compares or operations.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// One transaction would write one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A transaction within a transaction.
    #[error("etcdserver: nested transactions are not supported by the embedded etcd")]
    NestedTransaction,
    /// An unknown sort order or target, compare result or target.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// The revision asked for has been compacted.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for does not exist yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// No lease has this id.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease with the id asked for exists.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A time to live of more than about 285 years.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The request is larger than etcd's limit of 1.5 MiB.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The request, of this many bytes, is larger than etcd's transport takes at all.
    #[error("grpc: received message larger than max ({0} vs. 2097152)")]
    MessageTooLarge(usize),
    /// More writes are waiting than the store is willing to hold.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The disk is full: nothing was acknowledged.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// The store could not be written: nothing was acknowledged, but it is not known whether the
    /// write will be there after the next start.
    #[error("etcdserver: the embedded store could not be written: {0}")]
    Storage(String),
    /// The store is shutting down.
    #[error("etcdserver: server stopped")]
    Stopped,
}
