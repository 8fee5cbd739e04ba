//! What a machine does on its own after a boot, when the store cannot be reached: starts what its copy of the schedule has.

use std::sync::Arc;

use agent::{ScheduleCopy, Systemd, start_from_copy};

use crate::config::OfflineStart;
use crate::lease_file::LeaseFile;
use crate::notify;

/// Waits as configured, starts what is to be started, and then never ends: to be dropped once the store is reached.
///
/// Only after a boot. A fleetd that was restarted finds its units running, or stopped by someone who meant it.
pub(crate) async fn start(
    when: OfflineStart,
    lease_file: LeaseFile,
    copy: ScheduleCopy,
    systemd: Arc<Systemd>,
) {
    let is_fresh = lease_file.read().is_none();
    if let OfflineStart::After(patience) = when
        && is_fresh
    {
        tokio::time::sleep(patience).await;
        tracing::warn!(
            "the cluster's store was not reached for {} s after the boot: starting units by this machine's own copy of its schedule \
             (offline_start_after)",
            patience.as_secs()
        );
        notify::status("running units by this machine's own copy of its schedule");
        systemd.reachable().await;
        start_from_copy(&copy, systemd).await;
    }
    std::future::pending::<()>().await;
}
