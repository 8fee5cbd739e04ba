//! Questions to another machine through the store: on the embedded store, and on a real etcd.

use std::time::Duration;

use etcd_client::GetOptions;
use futures_util::StreamExt;
use model::{AskError, ClusterStore, JournalForm, Question, Topic};
use registry::embedded::Embedded;
use registry::{Asked, Join, Lease, Matter, Membership, Registry, ReplyError, Unanswerable, View};
use tokio_util::sync::CancellationToken;

use crate::etcd::{Etcd, PREFIX, soon};
use crate::sample::{id, machine, name};

const FOLLOWING: Topic = Topic::Following(JournalForm::Cat);

fn question(topic: Topic) -> Question {
    Question {
        unit: name("web@1.service"),
        topic,
        lines: 7,
    }
}

/// `m1` is in the cluster of `registry`.
async fn joined(registry: &Registry) -> (Lease, Membership) {
    let lease = registry.lease(Duration::from_secs(30), None).await.unwrap();
    let joined = registry.join(&machine("m1", "10.0.0.1", "b"), &lease).await;
    match joined.unwrap() {
        Join::Joined(membership) => (lease, membership),
        Join::Occupied { other } => panic!("{other:?}"),
    }
}

fn view(registry: &Registry) -> View {
    View::new(registry.clone(), CancellationToken::new())
}

/// Waits until nothing is left of questions and answers.
async fn until_clean(raw: &etcd_client::Client) {
    let mut kv = raw.kv_client();
    soon("the question to be taken back", async {
        loop {
            let mut left = 0;
            for folder in ["questions/", "answers/"] {
                let options = GetOptions::new().with_prefix();
                let found = kv.get(format!("{PREFIX}{folder}"), Some(options)).await;
                left += found.unwrap().count();
            }
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn raw(store: &Embedded) -> etcd_client::Client {
    let client = etcd_client::Client::from_channel(store.channel(), None);
    client.await.unwrap()
}

async fn conversations(registry: &Registry, other: &Registry, raw: &etcd_client::Client) {
    let view = view(registry);
    println!("a machine that is not there");
    let mut answer = view.ask(id("m1"), question(Topic::Status));
    let error = answer.next().await.unwrap().unwrap_err();
    assert!(matches!(error, AskError::Gone { .. }), "{error}");
    assert!(answer.next().await.is_none());

    println!("an answer in pieces, each sent once the one before was read");
    let membership = joined(other).await;
    let mut inbox = other.inbox(id("m1"));
    let topic = Topic::Journal(JournalForm::Json);
    let mut answer = view.ask(id("m1"), question(topic));
    let Asked {
        matter: asked,
        mut reply,
    } = soon("the question", inbox.next()).await;
    assert_eq!(asked.unwrap(), Matter::Unit(question(topic)));
    let (sent, read) = tokio::join!(
        async {
            // The inbox hears of what was read.
            tokio::select! {
                asked = inbox.next() => panic!("{asked:?}"),
                sent = async {
                    for piece in 0..20 {
                        reply.send(format!("piece {piece} é\u{1}\n")).await?;
                    }
                    reply.done().await
                } => sent,
            }
        },
        async {
            let mut read = String::new();
            while let Some(piece) = answer.next().await {
                read.push_str(&piece.unwrap());
            }
            read
        }
    );
    sent.unwrap();
    let expected: String = (0..20).map(|n| format!("piece {n} é\u{1}\n")).collect();
    assert_eq!(read, expected);
    until_clean(raw).await;

    println!("one that is refused");
    for (why, expected) in [
        (Unanswerable::Busy, AskError::Busy { machine: id("m1") }),
        (
            Unanswerable::Untold("no journal".into()),
            AskError::Untold {
                machine: id("m1"),
                reason: "no journal".into(),
            },
        ),
    ] {
        let mut answer = view.ask(id("m1"), question(Topic::Status));
        let asked = soon("the question", inbox.next()).await;
        asked.reply.refuse(why).await.unwrap();
        assert_eq!(answer.next().await, Some(Err(expected)));
        assert_eq!(answer.next().await, None);
    }

    println!("an asker that has enough");
    let mut answer = view.ask(id("m1"), question(FOLLOWING));
    let Asked { mut reply, .. } = soon("the question", inbox.next()).await;
    let withdrawn = reply.withdrawn();
    let hearing = async { soon("another question", inbox.next()).await };
    tokio::select! {
        asked = hearing => panic!("{asked:?}"),
        () = async {
            reply.send(String::new()).await.unwrap();
            assert_eq!(answer.next().await, Some(Ok(String::new())));
            drop(answer);
            soon("the question to be taken back", withdrawn).await;
            assert_eq!(reply.send("more".into()).await, Err(ReplyError::Withdrawn));
        } => {}
    }
    until_clean(raw).await;

    println!("a fleetd that is started again in the middle");
    let mut answer = view.ask(id("m1"), question(FOLLOWING));
    let Asked { mut reply, .. } = soon("the question", inbox.next()).await;
    let (sent, _) = tokio::join!(
        async {
            tokio::select! { _ = inbox.next() => Ok(()), sent = reply.send("line\n".into()) => sent }
        },
        async { assert_eq!(answer.next().await, Some(Ok("line\n".into()))) }
    );
    sent.unwrap();
    drop(inbox);
    let mut inbox = other.inbox(id("m1"));
    let asked = soon("the question again", inbox.next()).await;
    assert_eq!(asked.matter, Err(Unanswerable::Restarted));
    asked.reply.refuse(Unanswerable::Restarted).await.unwrap();
    let error = soon("the end", answer.next()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("started again"), "{error}");

    println!("a machine that is lost in the middle");
    let mut answer = view.ask(id("m1"), question(FOLLOWING));
    let Asked { mut reply, .. } = soon("the question", inbox.next()).await;
    let (_, first) = tokio::join!(
        async {
            tokio::select! { _ = inbox.next() => Ok(()), sent = reply.send("line\n".into()) => sent }
        },
        answer.next()
    );
    assert_eq!(first, Some(Ok("line\n".into())));
    membership.0.revoke().await.unwrap();
    let error = soon("the end", answer.next()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("it was lost"), "{error}");
    until_clean(raw).await;
}

#[tokio::test]
async fn a_question_is_answered_refused_withdrawn_and_cut_short_in_the_embedded_store() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    conversations(&registry, &registry.clone(), &raw(&store).await).await;
}

#[tokio::test]
async fn a_question_is_answered_refused_withdrawn_and_cut_short_in_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let (one, two) = (etcd.registry().await, etcd.registry().await);
    conversations(&one, &two, &etcd.raw().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_answer_is_given_up() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let _membership = joined(&registry).await;
    let view = view(&registry);
    let mut answer = view.ask(id("m1"), question(Topic::Status));
    let error = answer.next().await.unwrap().unwrap_err();
    let (machine, limit_s) = (id("m1"), 15);
    assert_eq!(error, AskError::Silent { machine, limit_s });
    until_clean(&raw(&store).await).await;
}

#[tokio::test]
async fn what_is_followed_too_long_is_ended() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let _membership = joined(&registry).await;
    let mut inbox = registry.inbox(id("m1"));
    let view = view(&registry);
    let mut answer = view.ask(id("m1"), question(FOLLOWING));
    let Asked { mut reply, .. } = inbox.next().await;
    let piece = "x".repeat(registry::PIECE_BYTES_MAX);
    let telling = async { while reply.send(piece.clone()).await.is_ok() {} };
    let mut bytes = 0;
    let reading = async {
        loop {
            match answer.next().await.unwrap() {
                Ok(text) => bytes += text.len(),
                Err(error) => break error,
            }
        }
    };
    let hearing = async { inbox.next().await };
    let error = tokio::select! {
        asked = hearing => panic!("{asked:?}"),
        ((), error) = async { tokio::join!(telling, reading) } => error,
    };
    assert!(matches!(error, AskError::TooMuch { .. }), "{error}");
    assert_eq!(bytes, 8 * 1024 * 1024);
}
