//! Our own client against the real server: what fleetctl does.

use std::time::Duration;

use api::client::{Client, ClientError, Endpoint, OverviewQuery, Section};
use api::types::{BatchAction, BatchRequest, BatchResult, Done};
use insta::assert_snapshot;
use model::{Change, Hold, HoldReason, Obstacle, StoreError, TargetState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use crate::harness::{
    FILE, HERE, PATIENCE, THERE, assigned, machine, machine_id, name, reported, server,
};
use crate::memory::Mood;

fn request(unit: &str, action: BatchAction, content: Option<&str>) -> BatchRequest {
    BatchRequest {
        name: unit.into(),
        action,
        content: content.map(Into::into),
        template: None,
        replace: false,
    }
}

#[tokio::test]
async fn a_batch_is_one_pass_and_one_refusal_does_not_stop_the_rest() {
    let server = server().await;
    server.submit("t@.service", FILE).await;
    let requests = [
        request("a.service", BatchAction::Start, Some(FILE)),
        request("t@1.service", BatchAction::Load, None),
        request("absent.service", BatchAction::Start, None),
        request("u@1.service", BatchAction::Start, None),
        request("t@.service", BatchAction::Start, None),
        request(
            "a.service",
            BatchAction::Submit,
            Some("[Service]\nExecStart=/other\n"),
        ),
        request("a.service", BatchAction::Destroy, None),
    ];
    let answer = server.client().batch(&requests).await.unwrap();
    let shown = serde_json::to_string_pretty(&answer).unwrap();
    assert_snapshot!(shown, @r#"
    {
      "outcomes": [
        {
          "name": "a.service",
          "done": "created",
          "targetState": "launched",
          "generation": 102,
          "global": false,
          "differs": false
        },
        {
          "name": "t@1.service",
          "done": "created",
          "targetState": "loaded",
          "generation": 103,
          "global": false,
          "differs": false
        },
        {
          "name": "absent.service",
          "error": {
            "code": 404,
            "message": "unit does not exist"
          }
        },
        {
          "name": "u@1.service",
          "error": {
            "code": 404,
            "message": "unable to find template Unit(u@.service) in Registry or on filesystem"
          }
        },
        {
          "name": "t@.service",
          "error": {
            "code": 400,
            "message": "cannot activate template"
          }
        },
        {
          "name": "a.service",
          "done": "unchanged",
          "targetState": "launched",
          "generation": 102,
          "global": false,
          "differs": true
        },
        {
          "name": "a.service",
          "done": "destroyed",
          "targetState": "launched",
          "generation": 102,
          "global": false,
          "differs": false
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn an_invalid_request_keeps_the_whole_batch_from_being_written() {
    let server = server().await;
    let mut of_bad_template = request("t@1.service", BatchAction::Start, None);
    of_bad_template.template = Some("[Service]\nnonsense upon stilts\n".into());
    let requests = [
        request("good.service", BatchAction::Start, Some(FILE)),
        request("bad", BatchAction::Start, Some(FILE)),
        request(
            "bad.service",
            BatchAction::Start,
            Some("[X-Fleet]\nGlobel=1\nMachineMetadata=x\n"),
        ),
        of_bad_template,
    ];
    let answer = server.client().batch(&requests).await.unwrap();
    assert_eq!(answer.error.as_ref().unwrap().code, 400);
    assert_eq!(
        answer.error.unwrap().message,
        "3 of 4 requests are invalid: nothing was written"
    );
    let messages: Vec<_> = answer
        .outcomes
        .iter()
        .map(|outcome| match &outcome.result {
            BatchResult::Failed { error } => format!("{}: {}", outcome.name, error.message),
            BatchResult::Done(done) => panic!("{done:?}"),
        })
        .collect();
    println!("{messages:#?}");
    assert!(messages[0].starts_with("bad: unit name must contain"));
    assert!(
        messages[1].contains("line 2: ") && messages[1].contains("line 3: "),
        "all at once"
    );
    assert!(messages[2].starts_with("t@1.service: t@.service: line 2: "));
    assert!(server.store.records().units.is_empty());

    let too_many = vec![request("a.service", BatchAction::Start, None); 10_001];
    let error = server.client().batch(&too_many).await.unwrap_err();
    assert!(error.to_string().contains("the limit is 10000"), "{error}");
}

#[tokio::test]
async fn a_large_batch_goes_through() {
    let server = server().await;
    let requests: Vec<_> = (0..2_000)
        .map(|number| {
            request(
                &format!("u{number}.service"),
                BatchAction::Start,
                Some(FILE),
            )
        })
        .collect();
    let answer = server.client().batch(&requests).await.unwrap();
    let created = |result: &BatchResult| matches!(result, BatchResult::Done(done) if done.done == Done::Created);
    assert!(
        answer
            .outcomes
            .iter()
            .all(|outcome| created(&outcome.result))
    );
    assert_eq!(server.store.records().units.len(), 2_000);
    println!("and is listed, also narrowed to more names than an address can hold");
    let units: Vec<_> = (0..1_500)
        .map(|number| name(&format!("u{number}.service")))
        .collect();
    let query = OverviewQuery {
        units,
        sections: vec![Section::Units],
    };
    assert_eq!(
        server.client().overview(query).await.unwrap().units.len(),
        1_500
    );
}

#[tokio::test]
async fn the_overview_has_everything_and_can_be_narrowed() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    server
        .submit(
            "g.service",
            "[Unit]\nDescription=G\n[X-Fleet]\nGlobal=true\n",
        )
        .await;
    server.store.change([
        machine(HERE, "10.0.0.1", &[("disk", "ssd")]),
        machine(THERE, "", &[]),
    ]);
    server.store.change([
        assigned("g.service", HERE, TargetState::Launched),
        reported("g.service", HERE, TargetState::Launched, "running"),
    ]);
    let hold = Hold {
        reason: HoldReason::NothingFits,
        obstacles: vec![(machine_id(HERE), Obstacle::Cordoned)],
        machines: 2,
    };
    server
        .store
        .change([Change::Hold(name("a.service"), Some(hold))]);
    let overview = server
        .client()
        .overview(OverviewQuery::default())
        .await
        .unwrap();
    assert_snapshot!(serde_json::to_string_pretty(&overview).unwrap(), @r#"
    {
      "revision": 105,
      "machines": [
        {
          "id": "aaaaaaaa000000000000000000000001",
          "primaryIP": "10.0.0.1",
          "metadata": {
            "disk": "ssd"
          },
          "version": "2.0.0"
        },
        {
          "id": "bbbbbbbb000000000000000000000002",
          "primaryIP": "",
          "metadata": {},
          "version": "2.0.0"
        }
      ],
      "units": [
        {
          "name": "a.service",
          "hash": "f392349514e58de034c952564ce97774d191284b",
          "description": "A <sleep>",
          "desiredState": "inactive",
          "currentState": "inactive",
          "global": false,
          "generation": 101,
          "hold": {
            "reason": "no machine can run it",
            "needs": "change",
            "machines": 2,
            "obstacles": [
              {
                "machineID": "aaaaaaaa000000000000000000000001",
                "reason": "is cordoned"
              }
            ]
          }
        },
        {
          "name": "g.service",
          "hash": "86dfedc76678994ea65bb5004fe66a68951de012",
          "description": "G",
          "desiredState": "inactive",
          "currentState": "inactive",
          "global": true,
          "generation": 102,
          "launchedOn": 1
        }
      ],
      "states": [
        {
          "name": "g.service",
          "machineID": "aaaaaaaa000000000000000000000001",
          "hash": "f392349514e58de034c952564ce97774d191284b",
          "systemdLoadState": "loaded",
          "systemdActiveState": "active",
          "systemdSubState": "running",
          "targetState": "launched",
          "generation": 101,
          "job": {
            "kind": "start",
            "result": "done",
            "generation": 101
          },
          "sinceUnixMs": 1700000000000,
          "invocationID": "00ff"
        }
      ]
    }
    "#);
    let query = OverviewQuery {
        units: vec![name("g.service")],
        sections: vec![Section::States],
    };
    let narrowed = server.client().overview(query).await.unwrap();
    assert!(narrowed.units.is_empty() && narrowed.machines.is_empty());
    assert_eq!(narrowed.states, overview.states);
    let query = OverviewQuery {
        units: vec![name("a.service")],
        ..OverviewQuery::default()
    };
    let narrowed = server.client().overview(query).await.unwrap();
    assert_eq!(
        (
            narrowed.units.len(),
            narrowed.states.len(),
            narrowed.machines.len()
        ),
        (1, 0, 2)
    );
    assert_eq!(server.get("/fleet/v1/overview?what=junk").await.status, 400);
}

#[tokio::test]
async fn unit_file_unit_and_version() {
    let server = server().await;
    let client = server.client();
    let unit = name(r"a\x2db@1.service");
    assert_eq!(client.unit(&unit).await.unwrap(), None);
    assert_eq!(client.unit_file(&unit).await.unwrap(), None);
    let raw = "# é\r\n\r\n[Service]\r\nExecStart=/x \\\r\n  y";
    server.submit(unit.as_str(), raw).await;
    assert_eq!(
        client.unit_file(&unit).await.unwrap().unwrap(),
        raw.as_bytes()
    );
    assert_eq!(client.unit(&unit).await.unwrap().unwrap().name, unit);
    assert_eq!(client.version().await.unwrap().version, "2.0.0");
}

#[tokio::test]
async fn endpoints_are_tried_in_order_over_unix_and_tcp() {
    let server = server().await;
    let nowhere = Endpoint::Unix("/nonexistent/fleet.sock".into());
    let tcp: Endpoint = format!("http://{}", server.address).parse().unwrap();
    let client = Client::new(vec![nowhere.clone(), tcp.clone()], PATIENCE);
    client.version().await.unwrap();
    assert_eq!(
        client.endpoint(),
        Some(&tcp),
        "it sticks to the one that answers"
    );
    let batch = [request("a.service", BatchAction::Submit, Some(FILE))];
    Client::new(vec![nowhere.clone(), tcp], PATIENCE)
        .batch(&batch)
        .await
        .unwrap();

    let error = Client::new(vec![nowhere], PATIENCE)
        .version()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "cannot reach fleetd at unix:///nonexistent/fleet.sock"
    );
    assert!(Client::new(Vec::new(), PATIENCE).version().await.is_err());
}

#[tokio::test]
async fn errors_of_the_server_carry_its_message() {
    let server = server().await;
    server
        .store
        .mood(Mood::Fails(StoreError::Unreachable("no route".into())));
    let error = server
        .client()
        .overview(OverviewQuery::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Api { code: 503, .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("the cluster store cannot be reached: no route")
    );
    assert!(server.client().events(&[], None).await.is_err());
}

#[tokio::test]
async fn a_server_that_hangs_is_reported_after_the_timeout() {
    let server = server().await;
    server.store.mood(Mood::Hangs);
    let limit = Duration::from_millis(50);
    let error = Client::new(vec![server.endpoint()], limit)
        .overview(OverviewQuery::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::TimedOut { seconds: 0.05, .. }),
        "{error:?}"
    );
}

/// Answers each connection with one fixed answer and closes it; counts.
async fn one_answer_each(listener: UnixListener, answers: Vec<&'static str>) -> usize {
    let mut requests = 0;
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 65536];
        if stream.read(&mut buffer).await.unwrap() > 0 {
            requests += 1;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    requests
}

const VERSION: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"version\":\"9.9\"}";

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let serving = tokio::spawn(one_answer_each(
        UnixListener::bind(&socket).unwrap(),
        vec![VERSION; 3],
    ));
    let client = Client::new(vec![Endpoint::Unix(socket)], PATIENCE);
    for _ in 0..3 {
        assert_eq!(client.version().await.unwrap().version, "9.9");
    }
    assert_eq!(serving.await.unwrap(), 3);
}

#[tokio::test]
async fn a_fleetd_that_is_busy_is_asked_again_a_few_times() {
    const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = vec![BUSY, VERSION, BUSY, BUSY, BUSY];
    let serving = tokio::spawn(one_answer_each(listener, answers));
    let client = Client::new(vec![Endpoint::Unix(socket)], PATIENCE);
    assert_eq!(client.version().await.unwrap().version, "9.9");
    let error = client.version().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Api { code: 429, .. }),
        "{error:?}"
    );
    assert_eq!(serving.await.unwrap(), 5);
}

#[tokio::test]
async fn a_batch_is_never_sent_twice() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let serving = tokio::spawn(one_answer_each(
        UnixListener::bind(&socket).unwrap(),
        vec![""],
    ));
    let second = tempfile::tempdir().unwrap().path().join("s");
    let client = Client::new(
        vec![Endpoint::Unix(socket), Endpoint::Unix(second)],
        PATIENCE,
    );
    let batch = [request("a.service", BatchAction::Start, None)];
    let error = client.batch(&batch).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error:?}");
    assert_eq!(serving.await.unwrap(), 1);
}

#[tokio::test]
async fn answers_that_are_not_fleets_are_malformed_or_foreign() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let serving = tokio::spawn(async move {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nproxy",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            println!("{}", String::from_utf8_lossy(&buffer[..read]));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::new(vec![endpoint], PATIENCE);
    let error = client.version().await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error:?}");
    let error = client.version().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Foreign { code: 502, .. }),
        "{error:?}"
    );
    serving.await.unwrap();
}
