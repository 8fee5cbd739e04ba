//! A disk that refuses: the write is answered with an error, nothing acknowledged is lost, reads go
//! on, and writes go on once there is room.

use std::path::Path;
use std::process::Command;

use etcd_client::Client;
use registry::embedded::Embedded;
use tonic::Code;

use crate::answers::{put, refused, revision, value, watch};

/// Enough for redb's first pages and some writes.
const DISK: &str = "size=3m";

/// A small disk of its own, gone with the test.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(folder.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            assert!(
                std::env::var_os("CI").is_none(),
                "cannot mount a small tmpfs"
            );
            println!("SKIP: cannot mount a small tmpfs (not root?)");
            return None;
        }
        Some(SmallDisk { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a failed test may still have the store open.
        let status = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path())
            .status();
        assert!(status.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.path().join("store.redb");
    let filler = disk.path().join("filler");
    let embedded = Embedded::open(&path).await.unwrap();
    let mut client = Client::from_channel(embedded.channel(), None)
        .await
        .unwrap();
    put(&mut client, "before", "1").await;
    let mut stream = watch(
        &mut client,
        "acknowledged",
        etcd_client::WatchOptions::new(),
    )
    .await;

    let mut room = vec![0_u8; 4 * 1024 * 1024];
    while std::fs::write(&filler, &room).is_err() {
        room.truncate(room.len() - 64 * 1024);
    }
    println!("disk filled with {} bytes", room.len());
    let mut acknowledged = 0;
    let (code, text) = loop {
        let value = format!("{acknowledged} {}", "x".repeat(64 * 1024));
        match client.put("acknowledged", value, None).await {
            Ok(_) => acknowledged += 1,
            refusal => break refused(refusal),
        }
        assert!(acknowledged < 200, "a full disk was not noticed");
    };
    println!("refused after {acknowledged} more writes: {code:?} {text}");
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(text, "etcdserver: mvcc: database space exceeded");
    assert_eq!(
        value(&mut client, "before").await.as_deref(),
        Some("1"),
        "reads go on"
    );
    let newest = revision(&mut client).await;
    let (code, text) = refused(client.put("while-full", "x".repeat(64 * 1024), None).await);
    println!("refused again: {code:?} {text}");
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(
        revision(&mut client).await,
        newest,
        "a refused write is not to be seen"
    );

    std::fs::remove_file(&filler).unwrap();
    let after = put(&mut client, "after", "1").await;
    println!("disk has room again: written at revision {after}");
    assert!(after > newest);
    // The watch went on through all of it.
    if acknowledged > 0 {
        let seen = crate::answers::collect(&mut stream, acknowledged).await;
        assert!(seen.len() >= acknowledged);
    }
    embedded.shutdown().await;

    let embedded = Embedded::open(&path).await.unwrap();
    let mut client = Client::from_channel(embedded.channel(), None)
        .await
        .unwrap();
    assert_eq!(value(&mut client, "before").await.as_deref(), Some("1"));
    assert_eq!(value(&mut client, "after").await.as_deref(), Some("1"));
    if acknowledged > 0 {
        let last = value(&mut client, "acknowledged").await.unwrap();
        let last: usize = last.split(' ').next().unwrap().parse().unwrap();
        // The refused one may be there (its outcome was unknown), an acknowledged one must be.
        assert!(last >= acknowledged - 1, "{last} of {acknowledged}");
    }
    embedded.shutdown().await;
}

#[tokio::test]
async fn a_file_that_may_not_grow_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    // In blocks of 512 or 1,024 bytes, depending on the shell: 2 to 4 MiB.
    let limited = [
        "/bin/sh",
        "-c",
        "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"",
    ];
    let mut served = crate::crash::serve(&path, &limited).await;
    let mut acknowledged = Vec::new();
    let (code, text) = loop {
        let key = format!("key/{}", acknowledged.len());
        match served
            .client
            .put(key.as_str(), "x".repeat(64 * 1024), None)
            .await
        {
            Ok(_) => acknowledged.push(key),
            refusal => break refused(refusal),
        }
        assert!(acknowledged.len() < 200, "the limit was not noticed");
    };
    println!(
        "refused after {} writes: {code:?} {text}",
        acknowledged.len()
    );
    assert_eq!(code, Code::ResourceExhausted);
    served.process.kill().await.unwrap();
    let mut served = crate::crash::serve(&path, &[]).await;
    for key in &acknowledged {
        assert!(
            value(&mut served.client, key).await.is_some(),
            "{key} is lost"
        );
    }
    put(&mut served.client, "after", "1").await;
    served.process.kill().await.unwrap();
}
