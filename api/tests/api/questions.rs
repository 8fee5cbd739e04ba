//! The status and journal of a unit: from this machine, from another, and as a stream.

use api::client::ClientError;
use api::types::JournalForm;
use futures_util::StreamExt;
use model::{AskError, TargetState};

use crate::harness::{
    FILE, HERE, Server, THERE, assigned, machine, machine_id, name, reported, server,
};
use crate::memory::Elsewhere;

const SHORT: JournalForm = JournalForm::Short;

/// `here` and `broken` are on this machine, `there` is on another, `both` on both, `idle` on none.
async fn with_units() -> Server {
    let server = server().await;
    for unit in ["here", "there", "both", "idle", "broken"] {
        server.submit(&format!("{unit}.service"), FILE).await;
    }
    let launched = TargetState::Launched;
    server.store.change([
        machine(HERE, "10.0.0.1", &[]),
        machine(THERE, "10.0.0.2", &[]),
        assigned("here.service", HERE, TargetState::Loaded),
        reported("broken.service", HERE, launched, "running"),
        reported("there.service", THERE, launched, "running"),
        reported("both.service", HERE, launched, "running"),
        reported("both.service", THERE, launched, "running"),
    ]);
    server
}

#[tokio::test]
async fn this_machines_units_are_told_of_by_its_own_tools() {
    let server = with_units().await;
    for (path, status, body) in [
        (
            "here.service/status",
            200,
            "status of here.service with 10 lines\n",
        ),
        (
            "here.service/status?lines=3",
            200,
            "status of here.service with 3 lines\n",
        ),
        (
            "both.service/status?machineID=",
            200,
            "status of both.service with 10 lines\n",
        ),
        (
            "here.service/journal",
            200,
            "10 lines of here.service, short\n",
        ),
        (
            "here.service/journal?lines=1000&output=cat&follow=0",
            200,
            "1000 lines of here.service, cat\n",
        ),
        (
            "broken.service/journal",
            500,
            "journalctl: No journal files were found.",
        ),
        ("idle.service/journal", 404, "idle.service is on no machine"),
        (
            "here.service/status?machineID=bbbbbbbb",
            404,
            "here.service is not on that machine",
        ),
        ("absent.service/status", 404, "unit does not exist"),
        (
            "here.service/status?lines=0",
            400,
            "lines=\"0\": expected a number from 1 to 1000",
        ),
        (
            "here.service/journal?lines=1001",
            400,
            "lines=\"1001\": expected a number from 1 to 1000",
        ),
        (
            "here.service/journal?lines=-1&follow=1",
            400,
            "lines=\"-1\": expected a number from 0 to 1000",
        ),
        (
            "here.service/journal?follow=perhaps",
            400,
            "follow=\"perhaps\": expected true or false",
        ),
        (
            "here.service/journal?output=export",
            400,
            "output=\"export\": expected short, cat, json or another of journalctl's forms of text",
        ),
    ] {
        for prefix in ["/fleet/v1", "/v1-alpha"] {
            let answer = server.get(&format!("{prefix}/units/{path}")).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            if status == 200 {
                assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
                assert_eq!(answer.body, body, "{path}");
            } else {
                assert_eq!(answer.error(), body, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn another_machines_units_are_told_of_by_that_machine() {
    let server = with_units().await;
    let (client, there) = (server.client(), machine_id(THERE));
    let code = |error: ClientError| match error {
        ClientError::Api { code, message } => (code, message),
        other => panic!("{other}"),
    };
    println!("a machine whose fleetd is of an earlier version");
    let silent = client
        .status(&name("there.service"), None, 3)
        .await
        .unwrap_err();
    assert_eq!(
        code(silent),
        (
            504,
            "fleetd of machine bbbbbbbb did not answer within 15 s".to_owned()
        )
    );
    println!("one that answers, in pieces");
    let pieces = vec![Ok("one\n".to_owned()), Ok("two\n".to_owned())];
    server.store.elsewhere(Elsewhere::Tell(pieces.clone()));
    let told = client
        .status(&name("there.service"), None, 3)
        .await
        .unwrap();
    assert_eq!(told, format!("{THERE} is asked Status\none\ntwo\n"));
    let told = client
        .journal(&name("both.service"), Some(&there), 3, SHORT)
        .await
        .unwrap();
    assert_eq!(told, format!("{THERE} is asked Journal(Short)\none\ntwo\n"));
    let told = client
        .journal(&name("both.service"), None, 3, SHORT)
        .await
        .unwrap();
    assert_eq!(
        told, "3 lines of both.service, short\n",
        "this machine is nearer"
    );
    println!("one that fails in the middle");
    for (error, expected) in [
        (
            AskError::Busy {
                machine: there.clone(),
            },
            502,
        ),
        (
            AskError::Gone {
                machine: there.clone(),
                reason: "it was lost".into(),
            },
            502,
        ),
        (
            AskError::Untold {
                machine: there.clone(),
                reason: "no".into(),
            },
            500,
        ),
        (
            AskError::Store(model::StoreError::Unreachable("away".into())),
            503,
        ),
    ] {
        let text = error.to_string();
        let pieces = vec![Ok("one\n".to_owned()), Err(error)];
        server.store.elsewhere(Elsewhere::Tell(pieces));
        let (status, message) = code(
            client
                .status(&name("there.service"), None, 3)
                .await
                .unwrap_err(),
        );
        assert_eq!(status, expected, "{message}");
        assert!(message.starts_with(&text), "{message}");
    }
}

#[tokio::test]
async fn a_journal_is_followed_from_here_and_from_elsewhere() {
    let server = with_units().await;
    let client = server.client();
    println!("whatever a unit writes, it is no event; why the stream ended is one");
    let (here, there) = (name("here.service"), name("there.service"));
    let mut lines = client
        .follow_journal(&here, None, 0, JournalForm::Cat)
        .await
        .unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap(), "");
    assert_eq!(
        lines.next().await.unwrap().unwrap(),
        "0 lines of here.service, cat\n"
    );
    assert_eq!(
        lines.next().await.unwrap().unwrap(),
        "event: error\r\ndata: {}\n\n"
    );
    let error = lines.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "journalctl: killed");
    assert!(lines.next().await.is_none());

    println!("what cannot be followed is an answer with a code, not a stream");
    let silent = client
        .follow_journal(&there, None, 5, SHORT)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(silent, ClientError::Api { code: 504, .. }),
        "{silent}"
    );

    let pieces = vec![Ok("line\n".to_owned())];
    server.store.elsewhere(Elsewhere::Tell(pieces));
    let lines = client.follow_journal(&there, None, 5, SHORT).await.unwrap();
    let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
    assert_eq!(
        lines,
        [
            format!("{THERE} is asked Following(Short)\n"),
            "line\n".to_owned()
        ]
    );
    let path = "/fleet/v1/units/there.service/journal?follow=true";
    let answer = server.get(path).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(
        answer
            .body
            .contains("event: lines\ndata: {\"text\":\"line\\n\"}\n\n"),
        "{answer:?}"
    );
}
