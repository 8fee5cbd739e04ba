//! Explanations and rehearsals over HTTP: how they are shown, and that a rehearsal writes nothing.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use model::{
    ClusterStore, Explanation, Move, Placement, Records, Revision, TrialPlan, UnitRequest,
};
use serde_json::json;
use unitfile::UnitName;

use crate::advice::Advice;
use crate::harness::{FILE, Server, server_with, settings};

async fn advised() -> Server {
    let server = server_with(api::server::Settings {
        placement: Some(Arc::new(Advice)),
        ..settings()
    })
    .await;
    server.submit("a.service", FILE).await;
    server.submit("waiting.service", FILE).await;
    server
}

#[tokio::test]
async fn an_explanation_says_it_in_a_sentence_and_in_numbers() {
    let server = advised().await;
    let answer = server
        .get("/fleet/v1/units/waiting.service/explanation")
        .await;
    println!("{}", answer.body);
    let said = answer.json();
    assert_eq!(
        said["summary"],
        "waits: no machine can run it; cordon leaves none of 1"
    );
    assert_eq!(
        said["rules"][0],
        json!({"rule": "MachineMetadata=disk=ssd", "passes": 1, "left": 1})
    );
    let placed = server
        .get("/fleet/v1/units/a.service/explanation")
        .await
        .json();
    assert_eq!(
        placed["summary"],
        "is on aaaaaaaa: the best of 2 that can take it, by load"
    );
    let absent = server
        .get("/fleet/v1/units/absent.service/explanation")
        .await;
    assert_eq!(
        (absent.status, absent.error().as_str()),
        (404, "unit does not exist")
    );
}

/// Takes its time: until it is told to go on.
#[derive(Debug)]
struct Slow {
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Placement for Slow {
    fn explain(&self, records: Records, unit: &UnitName) -> Option<Explanation> {
        let go_on = self.go_on.lock().unwrap();
        go_on.recv_timeout(PATIENCE).ok()?;
        Advice.explain(records, unit)
    }

    fn explain_again(&self, revision: Revision, unit: &UnitName) -> Option<Explanation> {
        Advice.explain_again(revision, unit)
    }

    fn rebalance(&self, records: &Records, moves_max: usize) -> Vec<Move> {
        Advice.rebalance(records, moves_max)
    }

    fn trial(&self, records: Records, requests: &[UnitRequest]) -> TrialPlan {
        Advice.trial(records, requests)
    }
}

/// Far longer than another request takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// There is one thread for all requests here.
#[tokio::test]
async fn an_explanation_that_takes_long_keeps_nobody_else_waiting() {
    let (say_go_on, go_on) = mpsc::channel();
    let server = server_with(api::server::Settings {
        placement: Some(Arc::new(Slow {
            go_on: Mutex::new(go_on),
        })),
        ..settings()
    })
    .await;
    server.submit("a.service", FILE).await;
    let others = async {
        let overview = server.get("/fleet/v1/overview").await;
        server.submit("b.service", FILE).await;
        say_go_on.send(()).unwrap();
        overview.status
    };
    let explanation = server.get("/fleet/v1/units/a.service/explanation");
    let (explanation, overview) = tokio::join!(explanation, others);
    assert_eq!((explanation.status, overview), (200, 200));
}

#[tokio::test]
async fn a_rehearsal_tells_all_and_writes_nothing() {
    let server = advised().await;
    let before = server.store.read(Clone::clone).await.unwrap();
    let batch = json!({"requests": [
        {"name": "new.service", "action": "start", "content": FILE},
        {"name": "a.service", "action": "destroy"},
        {"name": "absent.service", "action": "stop"}]});
    let answer = server
        .request("POST", "/fleet/v1/plan", &batch.to_string())
        .await;
    println!("{}", answer.body);
    let plan = answer.json();
    assert_eq!((answer.status, &plan["fits"]), (200, &json!(false)));
    assert_eq!(
        plan["units"][1]["after"]["hold"]["reason"],
        "no machine can run it"
    );
    assert_eq!(
        plan["units"][2]["error"],
        json!({"code": 404, "message": "unit does not exist"})
    );
    assert_eq!(plan["others"][0]["name"], "other.service");
    assert_eq!(before, server.store.read(Clone::clone).await.unwrap());
}

#[tokio::test]
async fn rebalancing_asks_for_the_moves_of_the_first_round_and_a_dry_run_for_none() {
    let server = advised().await;
    let start = json!({"requests": [{"name": "a.service", "action": "start"}]}).to_string();
    server.request("POST", "/fleet/v1/batch", &start).await;
    let before = server.store.read(Clone::clone).await.unwrap();
    let answer = server
        .request("POST", "/fleet/v1/rebalance", r#"{"dryRun": true}"#)
        .await;
    println!("{}", answer.body);
    let foretold = answer.json();
    assert_eq!(foretold["moves"].as_array().unwrap().len(), 3);
    assert_eq!(foretold["left"], 0);
    assert_eq!(before, server.store.read(Clone::clone).await.unwrap());

    let answer = server
        .request("POST", "/fleet/v1/rebalance", r#"{"maxMoves": 3}"#)
        .await;
    println!("{}", answer.body);
    let asked = answer.json();
    assert_eq!(
        (asked["moves"].as_array().unwrap().len(), &asked["left"]),
        (2, &json!(1))
    );
    assert_eq!(asked["moves"][1]["error"]["code"], 404);
    let after = server.store.read(Clone::clone).await.unwrap();
    let unit = &after.units[&crate::harness::name("a.service")];
    let relocation = unit.relocation.clone().unwrap();
    assert_eq!(
        relocation.to.as_str(),
        asked["moves"][0]["to"].as_str().unwrap()
    );
    assert_eq!(asked["moves"][0]["generation"], relocation.generation.0);

    let wrong = server
        .request("POST", "/fleet/v1/rebalance", r#"{"maxMove": 3}"#)
        .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(after, server.store.read(Clone::clone).await.unwrap());
}

#[tokio::test]
async fn who_cannot_explain_says_so() {
    let server = server_with(settings()).await;
    server.submit("a.service", FILE).await;
    let answer = server.get("/fleet/v1/units/a.service/explanation").await;
    assert_eq!(answer.status, 501);
    let answer = server
        .request("POST", "/fleet/v1/plan", r#"{"requests": []}"#)
        .await;
    assert_eq!(answer.status, 501);
}
