//! Says in words and numbers what a hollow cluster has cost.

use std::fmt::{self, Display};
use std::time::Duration;

use super::etcd_figures::EtcdFigures;
use super::gauge::Used;

/// A stretch of time, and what was used in it.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// How long it took.
    pub(super) took: Duration,
    /// What was used; sizes are those at its end.
    pub(super) used: Used,
    /// How much more memory this process has at its end than at its beginning, in bytes.
    pub(super) grown_bytes: u64,
}

/// What `count` machines or units cost to bring up.
pub(super) struct BringUp<'a> {
    /// What was brought up, such as `machines`.
    pub(super) what: &'static str,
    /// How many.
    pub(super) count: u32,
    /// What it took.
    pub(super) stretch: &'a Stretch,
}

/// What an idle cluster costs.
pub(super) struct Idle<'a>(pub(super) &'a Stretch);

impl Display for BringUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stretch {
            took,
            used,
            grown_bytes,
        } = self.stretch;
        let count = f64::from(self.count.max(1));
        writeln!(
            f,
            "{} {} in {:.2} s ({:.0} a second)",
            self.count,
            self.what,
            took.as_secs_f64(),
            count / took.as_secs_f64().max(f64::EPSILON)
        )?;
        if let Some(etcd) = &used.etcd {
            writeln!(
                f,
                "  at etcd, each: {:.3} requests ({}); {:.0} bytes to it, {:.0} from it; {:.3} ms of its processor",
                real(etcd.total()) / count,
                methods(etcd, count),
                real(etcd.received_bytes) / count,
                real(etcd.sent_bytes) / count,
                etcd.cpu_s * 1000.0 / count
            )?;
        }
        write!(
            f,
            "  here, each: {:.3} ms of processor, {:.1} kB of memory",
            used.own.cpu_s * 1000.0 / count,
            real(*grown_bytes) / 1000.0 / count
        )
    }
}

impl Display for Idle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stretch { took, used, .. } = self.0;
        let seconds = took.as_secs_f64().max(f64::EPSILON);
        write!(f, "idle for {seconds:.0} s: ")?;
        if let Some(etcd) = &used.etcd {
            write!(
                f,
                "{:.1} requests a second at etcd ({}); {:.0} bytes a second to it, {:.0} from it; {:.1} % of a processor there; ",
                real(etcd.total()) / seconds,
                methods(etcd, seconds),
                real(etcd.received_bytes) / seconds,
                real(etcd.sent_bytes) / seconds,
                etcd.cpu_s * 100.0 / seconds
            )?;
        }
        write!(f, "{:.1} % of one here", used.own.cpu_s * 100.0 / seconds)
    }
}

/// The figures on one line, for programs.
pub(super) fn figures(name: &str, count: u32, stretch: &Stretch) -> String {
    let Stretch {
        took,
        used,
        grown_bytes,
    } = stretch;
    let own = used.own;
    let mut line = format!(
        "figures {name} count={count} seconds={:.3} own_cpu_s={:.3} own_resident_bytes={} own_grown_bytes={grown_bytes}",
        took.as_secs_f64(),
        own.cpu_s,
        own.resident_bytes
    );
    if let Some(etcd) = &used.etcd {
        line += &format!(
            " etcd_requests={} etcd_received_bytes={} etcd_sent_bytes={} etcd_cpu_s={:.3} etcd_resident_bytes={} \
             etcd_database_bytes={}",
            etcd.total(),
            etcd.received_bytes,
            etcd.sent_bytes,
            etcd.cpu_s,
            etcd.resident_bytes,
            etcd.database_bytes
        );
    }
    line
}

/// `Txn 0.31, Range 0.10`, the most frequent first.
fn methods(etcd: &EtcdFigures, per: f64) -> String {
    let mut methods: Vec<_> = etcd.requests.iter().collect();
    methods.sort_by(|a, b| b.1.cmp(a.1));
    let parts = methods
        .iter()
        .map(|(method, count)| format!("{method} {:.3}", real(**count) / per));
    parts.collect::<Vec<_>>().join(", ")
}

/// A count as a number to divide.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^53, and are shown with three digits"
)]
fn real(count: u64) -> f64 {
    count as f64
}
