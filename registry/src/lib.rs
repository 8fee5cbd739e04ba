//! Where the cluster is kept: records in etcd v3, reached over the network or embedded in this process.
//!
//! The only crate that names etcd. Everything else sees the types of `model`.

pub mod embedded;
