//! Shorthand for looking at answers.

use std::time::Duration;

use etcd_client::{Client, Error, EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use tonic::Code;

/// The code and text of a refusal.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result {
        Err(Error::GRpcStatus(status)) => (status.code(), status.message().to_owned()),
        other => panic!("not a refusal: {other:?}"),
    }
}

pub(crate) async fn put(client: &mut Client, key: &str, value: &str) -> i64 {
    client
        .put(key, value, None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision()
}

/// The value of a key.
pub(crate) async fn value(client: &mut Client, key: &str) -> Option<String> {
    let found = client.get(key, None).await.unwrap();
    found
        .kvs()
        .first()
        .map(|found| found.value_str().unwrap().to_owned())
}

/// `key=value` of everything under a prefix.
pub(crate) async fn all(client: &mut Client, prefix: &str) -> Vec<String> {
    let options = GetOptions::new().with_prefix();
    let found = client.get(prefix, Some(options)).await.unwrap();
    let pair = |found: &etcd_client::KeyValue| {
        format!(
            "{}={}",
            found.key_str().unwrap(),
            found.value_str().unwrap()
        )
    };
    found.kvs().iter().map(pair).collect()
}

/// The newest revision.
pub(crate) async fn revision(client: &mut Client) -> i64 {
    client
        .get("no such key", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision()
}

/// Starts a watch and waits until it is confirmed.
pub(crate) async fn watch(client: &mut Client, key: &str, options: WatchOptions) -> WatchStream {
    let mut stream = client.watch(key, Some(options)).await.unwrap();
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled(), "{created:?}");
    stream
}

/// The next answer of a watch; a hang is a failure.
pub(crate) async fn next(stream: &mut WatchStream) -> WatchResponse {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, stream.message())
        .await
        .expect("no answer on the watch")
        .unwrap()
        .expect("the watch ended")
}

/// The events of an answer: `+key=value` and `-key`.
pub(crate) fn events(response: &WatchResponse) -> Vec<String> {
    let event = |event: &etcd_client::Event| {
        let key_value = event.kv().unwrap();
        match event.event_type() {
            EventType::Put => {
                format!(
                    "+{}={}",
                    key_value.key_str().unwrap(),
                    key_value.value_str().unwrap()
                )
            }
            EventType::Delete => format!("-{}", key_value.key_str().unwrap()),
        }
    };
    response.events().iter().map(event).collect()
}

/// Reads events until there are `count`.
pub(crate) async fn collect(stream: &mut WatchStream, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(events(&next(stream).await));
    }
    seen
}
