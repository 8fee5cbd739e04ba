//! Watches.

use etcd_client::{Client, DeleteOptions, Txn, TxnOp, WatchFilterType, WatchOptions};

use crate::answers::{collect, events, next, put, revision, watch};

pub(crate) async fn puts_and_deletes_arrive_in_order(mut client: Client) {
    let options = WatchOptions::new().with_prefix();
    let mut stream = watch(&mut client, "watch/order/", options).await;
    let first = put(&mut client, "watch/order/a", "1").await;
    put(&mut client, "watch/other", "1").await;
    put(&mut client, "watch/order/a", "2").await;
    client.delete("watch/order/a", None).await.unwrap();
    put(&mut client, "watch/order/a", "3").await;
    let mut seen = Vec::new();
    let mut revisions = Vec::new();
    while seen.len() < 4 {
        let response = next(&mut stream).await;
        assert!(!response.created() && !response.canceled());
        seen.extend(events(&response));
        let newest = response.header().unwrap().revision();
        for event in response.events() {
            let key_value = event.kv().unwrap();
            assert!(key_value.mod_revision() <= newest);
            assert!(event.prev_kv().is_none());
            revisions.push(key_value.mod_revision() - first);
        }
    }
    let expected = [
        "+watch/order/a=1",
        "+watch/order/a=2",
        "-watch/order/a",
        "+watch/order/a=3",
    ];
    assert_eq!(seen, expected);
    assert_eq!(revisions, [0, 2, 3, 4]);
}

pub(crate) async fn a_watch_resumes_from_a_revision(mut client: Client) {
    let first = put(&mut client, "watch/resume", "1").await;
    put(&mut client, "watch/resume", "2").await;
    client.delete("watch/resume", None).await.unwrap();
    let history = ["+watch/resume=1", "+watch/resume=2", "-watch/resume"];
    for skipped in 0..history.len() {
        let from = first + i64::try_from(skipped).unwrap();
        let options = WatchOptions::new().with_start_revision(from);
        let mut stream = watch(&mut client, "watch/resume", options).await;
        let seen = collect(&mut stream, history.len() - skipped).await;
        assert_eq!(seen, history[skipped..]);
    }
    // From the past into the present without a gap.
    let options = WatchOptions::new().with_start_revision(first + 2);
    let mut stream = watch(&mut client, "watch/resume", options).await;
    put(&mut client, "watch/resume", "3").await;
    assert_eq!(
        collect(&mut stream, 2).await,
        ["-watch/resume", "+watch/resume=3"]
    );
}

pub(crate) async fn one_txn_is_one_answer(mut client: Client) {
    let options = WatchOptions::new().with_prefix();
    let mut stream = watch(&mut client, "watch/txn/", options).await;
    let puts: Vec<_> = (0..100)
        .map(|it| TxnOp::put(format!("watch/txn/{it:03}"), "x", None))
        .collect();
    let answer = client.txn(Txn::new().and_then(puts)).await.unwrap();
    let response = next(&mut stream).await;
    assert_eq!(response.events().len(), 100);
    assert_eq!(
        response.header().unwrap().revision(),
        answer.header().unwrap().revision()
    );
    let keys: Vec<_> = response
        .events()
        .iter()
        .map(|it| it.kv().unwrap().key().to_vec())
        .collect();
    assert!(keys.is_sorted(), "in the order of the operations");
    client
        .delete("watch/txn/", Some(DeleteOptions::new().with_prefix()))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await.events().len(), 100);
}

pub(crate) async fn one_stream_carries_several_watchers(mut client: Client) {
    let mut stream = watch(&mut client, "watch/many/a", WatchOptions::new()).await;
    stream.watch("watch/many/b", None).await.unwrap();
    let created = next(&mut stream).await;
    assert!(created.created());
    assert_eq!(created.watch_id(), 1, "ids count from 0 on a stream");
    put(&mut client, "watch/many/a", "1").await;
    let response = next(&mut stream).await;
    assert_eq!(
        (response.watch_id(), events(&response)),
        (0, vec!["+watch/many/a=1".to_owned()])
    );
    put(&mut client, "watch/many/b", "1").await;
    let response = next(&mut stream).await;
    assert_eq!(
        (response.watch_id(), events(&response)),
        (1, vec!["+watch/many/b=1".to_owned()])
    );

    stream.cancel(0).await.unwrap();
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled() && !canceled.created());
    assert_eq!((canceled.watch_id(), canceled.compact_revision()), (0, 0));
    put(&mut client, "watch/many/a", "2").await;
    put(&mut client, "watch/many/b", "2").await;
    let response = next(&mut stream).await;
    assert_eq!(
        (response.watch_id(), events(&response)),
        (1, vec!["+watch/many/b=2".to_owned()])
    );
}

pub(crate) async fn filters_and_previous_values(mut client: Client) {
    let no_put = WatchOptions::new()
        .with_filters([WatchFilterType::NoPut])
        .with_prev_key();
    let mut deletes = watch(&mut client, "watch/filter", no_put).await;
    let no_delete = WatchOptions::new()
        .with_filters([WatchFilterType::NoDelete])
        .with_prev_key();
    let mut puts = watch(&mut client, "watch/filter", no_delete).await;
    put(&mut client, "watch/filter", "1").await;
    put(&mut client, "watch/filter", "2").await;
    client.delete("watch/filter", None).await.unwrap();
    put(&mut client, "watch/filter", "3").await;

    let response = next(&mut deletes).await;
    assert_eq!(events(&response), ["-watch/filter"]);
    let event = response.events().first().unwrap();
    assert_eq!(event.prev_kv().unwrap().value(), b"2");
    let deleted = event.kv().unwrap();
    assert_eq!(
        (
            deleted.value(),
            deleted.version(),
            deleted.create_revision()
        ),
        (&b""[..], 0, 0)
    );

    let mut before = Vec::new();
    while before.len() < 3 {
        let response = next(&mut puts).await;
        for event in response.events() {
            before.push(event.prev_kv().map(|it| it.value_str().unwrap().to_owned()));
        }
    }
    assert_eq!(before, [None, Some("1".to_owned()), None]);
}

pub(crate) async fn a_future_revision_is_waited_for(mut client: Client) {
    let now = revision(&mut client).await;
    let options = WatchOptions::new().with_start_revision(now + 3);
    let mut stream = watch(&mut client, "watch/future", options).await;
    for number in 1..=4 {
        put(&mut client, "watch/future", &number.to_string()).await;
    }
    assert_eq!(
        collect(&mut stream, 2).await,
        ["+watch/future=3", "+watch/future=4"]
    );
}

pub(crate) async fn compaction_cancels_a_watch_that_is_too_late(mut client: Client) {
    let first = put(&mut client, "watch/compact", "1").await;
    put(&mut client, "watch/compact", "2").await;
    client.delete("watch/compact", None).await.unwrap();
    let last = put(&mut client, "watch/compact", "3").await;
    client.compact(last - 1, None).await.unwrap();

    let options = WatchOptions::new().with_start_revision(first);
    let mut stream = watch(&mut client, "watch/compact", options).await;
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled() && !canceled.created() && canceled.events().is_empty());
    assert_eq!(canceled.compact_revision(), last - 1);
    assert_eq!(canceled.cancel_reason(), "");
    assert_eq!(canceled.header().unwrap().revision(), 0);

    // The stream goes on: another watcher at a revision that is still there.
    let options = WatchOptions::new().with_start_revision(last);
    stream.watch("watch/compact", Some(options)).await.unwrap();
    assert!(next(&mut stream).await.created());
    assert_eq!(collect(&mut stream, 1).await, ["+watch/compact=3"]);
}

pub(crate) async fn progress_is_told_on_request(mut client: Client) {
    let mut stream = watch(&mut client, "watch/progress", WatchOptions::new()).await;
    let now = put(&mut client, "watch/progress", "1").await;
    assert_eq!(collect(&mut stream, 1).await, ["+watch/progress=1"]);
    let later = put(&mut client, "watch/elsewhere", "1").await;
    assert_eq!(later, now + 1);
    stream.request_progress().await.unwrap();
    let progress = next(&mut stream).await;
    assert_eq!((progress.watch_id(), progress.events().len()), (-1, 0));
    assert_eq!(progress.header().unwrap().revision(), later);
    assert!(!progress.created() && !progress.canceled());
}

pub(crate) async fn ids_and_ranges_are_checked(mut client: Client) {
    let chosen = WatchOptions::new().with_watch_id(7);
    let mut stream = client
        .watch("watch/id", Some(chosen.clone()))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await.watch_id(), 7);
    stream.watch("watch/id", Some(chosen)).await.unwrap();
    let refused = next(&mut stream).await;
    assert!(refused.created() && refused.canceled());
    assert_eq!(refused.watch_id(), -1);
    assert_eq!(
        refused.cancel_reason(),
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    stream
        .watch("b", Some(WatchOptions::new().with_range("a")))
        .await
        .unwrap();
    let refused = next(&mut stream).await;
    assert!(refused.created() && refused.canceled());
    assert_eq!(refused.cancel_reason(), "mvcc: watcher range is empty");
    // Unknown watchers are cancelled silently.
    stream.cancel(99).await.unwrap();
    stream.watch("watch/id", None).await.unwrap();
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled());
    assert_eq!(created.watch_id(), 0);
}

pub(crate) async fn a_slow_reader_loses_nothing(mut client: Client) {
    let options = WatchOptions::new().with_prefix();
    let mut stream = watch(&mut client, "watch/slow/", options).await;
    let value = "x".repeat(1000);
    let count = 3_000;
    for chunk in 0..count / 100 {
        let puts: Vec<_> = (0..100)
            .map(|it| TxnOp::put(format!("watch/slow/{it}"), format!("{chunk}-{value}"), None))
            .collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
    let mut seen = 0;
    let mut newest = 0;
    while seen < count {
        let response = next(&mut stream).await;
        assert!(!response.canceled());
        for event in response.events() {
            let at = event.kv().unwrap().mod_revision();
            assert!(at >= newest, "in order");
            newest = at;
            seen += 1;
        }
    }
    assert_eq!(seen, count);
}
