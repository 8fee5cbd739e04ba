//! Where the cluster is kept: records in etcd v3, and an embedded etcd.
