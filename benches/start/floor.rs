//! The floor: what starting the same units takes without fleet, and what as many requests to etcd take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use agent::{Bus, Systemd, SystemdSettings};
use anyhow::{Result, ensure};
use etcd_client::{Client, Txn, TxnOp};
use model::{Generation, JobResult, Mark, ServiceManager};
use unitfile::{UnitFile, UnitName};

use crate::UNIT;

/// About what one status or schedule record weighs, so that the floor's transactions weigh the same.
const RECORD_BYTES: usize = 300;

/// Starts `count` new units on this machine's systemd, `serial`ly or `parallel`, and prints the milliseconds each or all took.
pub(crate) async fn floor_dbus(prefix: &str, count: usize, how: &str) -> Result<()> {
    let systemd = Systemd::connect(&SystemdSettings {
        bus: Bus::System,
        units_directory: PathBuf::from("/run/floor/units"),
        marks_directory: PathBuf::from("/run/floor/marks"),
        link_directory: PathBuf::from("/run/systemd/system"),
        guard: None,
    })?;
    systemd.reachable().await;
    let file = Arc::new(UnitFile::parse(UNIT)?);
    let mark = Mark {
        file: file.file_hash(),
        start: Generation(1),
        restart: Generation(0),
    };
    let systemd = Arc::new(systemd);
    let names: Vec<UnitName> = (1..=count)
        .map(|n| UnitName::parse(&format!("{prefix}@{n}.service")))
        .collect::<Result<_, _>>()?;
    if how == "serial" {
        for name in &names {
            let began = Instant::now();
            start(&systemd, name, &file, &mark).await?;
            println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
        }
    } else {
        let began = Instant::now();
        let mut started = tokio::task::JoinSet::new();
        for name in names.clone() {
            let (systemd, file, mark) = (Arc::clone(&systemd), Arc::clone(&file), mark.clone());
            started.spawn(async move { start(&systemd, &name, &file, &mark).await });
        }
        while let Some(result) = started.join_next().await {
            result??;
        }
        println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    }
    let mut ended = tokio::task::JoinSet::new();
    for name in names {
        let systemd = Arc::clone(&systemd);
        ended.spawn(async move {
            systemd.stop(&name).await?;
            systemd.unload(&name).await
        });
    }
    while let Some(result) = ended.join_next().await {
        result??;
    }
    Ok(())
}

async fn start(systemd: &Systemd, name: &UnitName, file: &UnitFile, mark: &Mark) -> Result<()> {
    systemd.load(name, file, mark).await?;
    let end = systemd.start(name, mark).await?;
    ensure!(end.result == JobResult::Done, "{name}: {end:?}");
    Ok(())
}

/// Makes so many transactions, then reads, one after the other, and prints the milliseconds of each.
pub(crate) async fn floor_etcd(endpoint: &str, writes: usize, reads: usize) -> Result<()> {
    let mut client = Client::connect([endpoint], None).await?;
    let value = "x".repeat(RECORD_BYTES);
    for number in 0..writes {
        let began = Instant::now();
        let put = TxnOp::put(format!("/floor/{number}"), value.clone(), None);
        client.txn(Txn::new().and_then([put])).await?;
        println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    }
    for number in 0..reads {
        let began = Instant::now();
        client.get(format!("/floor/{number}"), None).await?;
        println!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}
