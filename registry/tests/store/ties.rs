//! What units can never satisfy together is refused against the units that the store has, and against those of the same batch.

use model::{Action, ClusterStore, OnDifference, Refusal, UnitRequest};
use registry::View;
use registry::embedded::Embedded;
use tokio_util::sync::CancellationToken;
use unitfile::UnitFile;

use crate::etcd::PREFIX;
use crate::sample::request;

fn submission(unit: &str, options: &str) -> UnitRequest {
    let text = format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{options}\n");
    let file = UnitFile::parse(text).unwrap();
    UnitRequest {
        on_difference: OnDifference::Replace,
        ..request(unit, Action::Submit, Some(file))
    }
}

/// What is said of each request.
async fn verdicts(view: &View, requests: Vec<UnitRequest>) -> Vec<String> {
    let answers = view.apply(requests).await.unwrap();
    let verdict = |answer| match answer {
        Ok(_) => "fine".to_owned(),
        Err(Refusal::Contradiction(contradiction)) => contradiction.to_string(),
        Err(other) => panic!("{other:?}"),
    };
    answers.into_iter().map(verdict).collect()
}

#[tokio::test]
async fn a_circle_over_several_units_is_refused_by_its_last_link() {
    let store = Embedded::in_memory();
    let registry =
        registry::Registry::over(store.channel(), PREFIX, std::time::Duration::from_secs(5));
    let view = View::new(registry, CancellationToken::new());
    let first = vec![
        submission("a.service", "MachineOf=b.service"),
        submission("b.service", "MachineOf=c.service"),
    ];
    assert_eq!(verdicts(&view, first).await, ["fine", "fine"]);
    let circle = "unresolvable requirements: MachineOf goes round in a circle, \
                  c.service → a.service → b.service → c.service. Remove one link of it";
    let last = vec![submission("c.service", "MachineOf=a.service")];
    assert_eq!(verdicts(&view, last).await, [circle]);
    println!("refused against the store");
    // The link that is removed in the same batch is none any more.
    let mended = vec![
        submission("a.service", "Weight=2"),
        submission("c.service", "MachineOf=a.service"),
        submission("d.service", "Conflicts=c.service"),
        submission("e.service", "MachineOf=b.service d.service"),
    ];
    let conflict = "unresolvable requirements: d.service conflicts with c.service, and MachineOf ties e.service to both. \
                    Remove the tie or the conflict";
    assert_eq!(
        verdicts(&view, mended).await,
        ["fine", "fine", "fine", conflict]
    );
    println!("and against what the batch makes of it");
}
