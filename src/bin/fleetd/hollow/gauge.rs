//! Reads what etcd and this process have used so far.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::etcd_figures::EtcdFigures;

/// How long etcd may take to write its page of metrics; it takes milliseconds.
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// The longest page of metrics that is read; etcd's has 100 KiB.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The kernel's ticks in which processor time is told in /proc, a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What has been used at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Used {
    /// By etcd; none if it cannot be asked.
    pub(super) etcd: Option<EtcdFigures>,
    /// By this process.
    pub(super) own: OwnFigures,
}

/// What this process has used.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct OwnFigures {
    /// Processor time, in seconds.
    pub(super) cpu_s: f64,
    /// Memory now, in bytes.
    pub(super) resident_bytes: u64,
}

/// Where to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gauge {
    /// `host:port` of each member of etcd whose page of metrics can be read.
    members: Vec<String>,
}

impl Gauge {
    /// For etcd at these addresses. Says why etcd's own figures cannot be had, if so.
    pub(super) async fn of(endpoints: &[String]) -> (Gauge, Option<String>) {
        let plain = |endpoint: &String| {
            let rest = endpoint.strip_prefix("http://")?;
            Some(rest.trim_end_matches('/').to_owned())
        };
        let members: Option<Vec<String>> = endpoints.iter().map(plain).collect();
        let nothing = Gauge {
            members: Vec::new(),
        };
        let Some(members) = members else {
            let reason = "its page of metrics is only read over plain http".to_owned();
            return (nothing, Some(reason));
        };
        let gauge = Gauge { members };
        match gauge.etcd().await {
            Ok(_) => (gauge, None),
            Err(error) => (nothing, Some(format!("{error:#}"))),
        }
    }

    /// Reads everything.
    pub(super) async fn read(&self) -> Result<Used> {
        let etcd = if self.members.is_empty() {
            None
        } else {
            Some(self.etcd().await?)
        };
        Ok(Used {
            etcd,
            own: OwnFigures::read()?,
        })
    }

    async fn etcd(&self) -> Result<EtcdFigures> {
        let mut figures = EtcdFigures::default();
        for member in &self.members {
            let page = timeout(PAGE_LIMIT, page(member));
            figures.add(
                &page
                    .await
                    .with_context(|| format!("{member} does not send its metrics"))??,
            );
        }
        Ok(figures)
    }
}

/// Reads a member's page of metrics, in the plainest HTTP there is: it comes whole and ends the connection.
async fn page(member: &str) -> Result<String> {
    let describe = || format!("cannot read http://{member}/metrics");
    let mut stream = TcpStream::connect(member).await.with_context(describe)?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {member}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .with_context(describe)?;
    let mut answer = String::new();
    let mut limited = stream.take(PAGE_BYTES_MAX);
    limited
        .read_to_string(&mut answer)
        .await
        .with_context(describe)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("http://{member}/metrics: no answer in HTTP");
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("http://{member}/metrics: {status}");
    }
    Ok(body.to_owned())
}

impl OwnFigures {
    fn read() -> Result<OwnFigures> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self")?;
        let resident_kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .context("no VmRSS in /proc/self/status")?;
        let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self")?;
        // The name in brackets may hold anything; behind it, user and system time are the 12th and 13th field.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u32 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map_while(|field| field.parse::<u32>().ok())
            .sum();
        Ok(OwnFigures {
            cpu_s: f64::from(ticks) / TICKS_PER_SECOND,
            resident_bytes: resident_kib * 1024,
        })
    }
}

impl Used {
    /// What was used since `before`; sizes are those of now.
    pub(super) fn since(&self, before: &Used) -> Used {
        let etcd = self.etcd.as_ref().zip(before.etcd.as_ref());
        Used {
            etcd: etcd.map(|(now, before)| now.since(before)),
            own: OwnFigures {
                cpu_s: self.own.cpu_s - before.own.cpu_s,
                ..self.own
            },
        }
    }
}
