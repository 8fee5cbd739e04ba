//! What etcd says of its own work: requests, bytes, processor time and memory, from its page of metrics. PURE.

use std::collections::BTreeMap;

/// Counters of an etcd cluster since it started; sums over its members.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct EtcdFigures {
    /// Messages that clients sent, by method: one for a request, one for each keep-alive and each watch.
    pub(super) requests: BTreeMap<String, u64>,
    /// Bytes that clients sent.
    pub(super) received_bytes: u64,
    /// Bytes that were sent to clients.
    pub(super) sent_bytes: u64,
    /// Processor time, in seconds.
    pub(super) cpu_s: f64,
    /// Memory in use now, in bytes.
    pub(super) resident_bytes: u64,
    /// The size of the database now, in bytes.
    pub(super) database_bytes: u64,
}

impl EtcdFigures {
    /// Adds what a member's page of metrics says. What the page does not have stays 0.
    pub(super) fn add(&mut self, page: &str) {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else {
                continue;
            };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            match name {
                "grpc_server_msg_received_total" => {
                    let method = label(labels, "grpc_method").unwrap_or("unknown");
                    let service = label(labels, "grpc_service").unwrap_or("");
                    // Health checks and the like are not ours.
                    if value > 0.0 && service.starts_with("etcdserverpb.") {
                        *self.requests.entry(method.to_owned()).or_default() += whole(value);
                    }
                }
                "etcd_network_client_grpc_received_bytes_total" => {
                    self.received_bytes += whole(value);
                }
                "etcd_network_client_grpc_sent_bytes_total" => self.sent_bytes += whole(value),
                "process_cpu_seconds_total" => self.cpu_s += value,
                "process_resident_memory_bytes" => self.resident_bytes += whole(value),
                "etcd_mvcc_db_total_size_in_bytes" => self.database_bytes += whole(value),
                _ => {}
            }
        }
    }

    /// What was done since `before`; sizes are those of now.
    pub(super) fn since(&self, before: &EtcdFigures) -> EtcdFigures {
        let requests = self.requests.iter().map(|(method, count)| {
            let earlier = before.requests.get(method).copied().unwrap_or(0);
            (method.clone(), count.saturating_sub(earlier))
        });
        EtcdFigures {
            requests: requests.filter(|(_, count)| *count > 0).collect(),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
            cpu_s: self.cpu_s - before.cpu_s,
            ..*self
        }
    }

    /// All requests together.
    pub(super) fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// A label's value in `a="1",b="2"}`.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels
        .trim_end_matches('}')
        .split(',')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value.trim_matches('"'))
}

/// A counter, which Prometheus writes as a float, such as 1.234e+06.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and not negative, and stay far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"
# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
process_cpu_seconds_total 12.5
process_resident_memory_bytes 5.0e+07
etcd_network_client_grpc_received_bytes_total 1.25e+06
etcd_network_client_grpc_sent_bytes_total 300
grpc_server_msg_received_total{grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"} 41
grpc_server_msg_received_total{grpc_method="LeaseKeepAlive",grpc_service="etcdserverpb.Lease",grpc_type="bidi_stream"} 7
grpc_server_msg_received_total{grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unary"} 3
grpc_server_msg_sent_total{grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"} 99
"#;

    #[test]
    fn the_page_is_understood_and_members_add_up() {
        let mut figures = EtcdFigures::default();
        figures.add(PAGE);
        let one = figures.clone();
        assert_eq!(
            (one.total(), one.requests["Txn"], one.received_bytes),
            (48, 41, 1_250_000)
        );
        figures.add(PAGE);
        let more = figures.since(&one);
        assert_eq!((more.total(), more.sent_bytes), (48, 300));
        assert!((more.cpu_s - 12.5).abs() < 1e-9);
        assert_eq!(more.resident_bytes, 100_000_000, "memory is what it is now");
    }
}
