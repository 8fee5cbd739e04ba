//! What is found in which diagnosis.
#![allow(
    clippy::type_complexity,
    clippy::semicolon_if_nothing_returned,
    reason = "a table of cases reads better without"
)]

use api::types::{HeldUnit, MemberReport, QuarantinedRecord, StoreReport};

use super::*;

const ID: &str = "aaaaaaaa000000000000000000000001";

fn well() -> Diagnosis {
    Diagnosis {
        store: StoreReport {
            members: vec![MemberReport {
                endpoint: "http://10.0.0.1:2379".to_owned(),
                has_leader: true,
                leads: true,
                version: "3.4.23".to_owned(),
                ..MemberReport::default()
            }],
            ..StoreReport::default()
        },
        leader: Some(MachineId::parse(ID).unwrap()),
        machines: vec![MachineReport {
            id: MachineId::parse(ID).unwrap(),
            primary_ip: "10.0.0.1".to_owned(),
            version: "2.0.0".to_owned(),
            lease: Some(LeaseReport {
                granted_s: 10,
                left_s: 9,
                ended: false,
            }),
            ahead_ms: Some(0),
        }],
        ..Diagnosis::default()
    }
}

fn brake_in(phase: &str) -> api::types::Brake {
    api::types::Brake {
        phase: phase.to_owned(),
        cluster: 12,
        machines: vec![MachineId::parse(ID).unwrap()],
    }
}

#[test]
fn every_alarm_is_told_and_the_one_that_makes_all_doubtful_first() {
    let mut diagnosis = well();
    diagnosis.store.alarms = vec!["NOSPACE".to_owned(), "DIVERGED".to_owned()];
    let told = store::space(&diagnosis.store);
    let [diverged, no_space] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(diverged.found.contains("DIVERGED") && no_space.found.contains("NOSPACE"));
    // docs/guarantees.md, "The store itself": without a write after it a member may diverge.
    let (disarm, put) = ("alarm disarm", "etcdctl put");
    let at = |text: &str| no_space.advice.find(text).unwrap();
    assert!(at(disarm) < at(put));
}

/// What is not well, as check and severity.
fn troubles(diagnosis: &Diagnosis) -> Vec<(&'static str, Severity)> {
    let findings = judge(diagnosis, diagnosis);
    let bad = findings
        .iter()
        .filter(|finding| finding.severity != Severity::Ok);
    bad.map(|finding| (finding.check, finding.severity))
        .collect()
}

/// A check, what it says, and what is done to a cluster that is well.
type Harm = (&'static str, Severity, fn(&mut Diagnosis));

const OF_THE_STORE: &[Harm] = &[
    ("store", Severity::Error, |d| {
        d.store.members[0].has_leader = false
    }),
    ("store", Severity::Warning, |d| {
        let well = d.store.members[0].clone();
        let dead = MemberReport {
            error: Some("refused".to_owned()),
            ..MemberReport::default()
        };
        d.store.members = vec![well.clone(), well, dead];
    }),
    ("latency", Severity::Warning, |d| {
        d.store.members[0].latency_ms = 500
    }),
    ("space", Severity::Error, |d| {
        d.store.alarms = vec!["NOSPACE".to_owned()]
    }),
    ("space", Severity::Warning, |d| {
        d.store.alarms_unknown = Some("no answer".to_owned())
    }),
    ("store", Severity::Warning, |d| {
        d.store.unasked = vec!["http://10.0.0.2:2379".to_owned()]
    }),
    ("brake", Severity::Warning, |d| {
        d.brake = Some(brake_in("watching"))
    }),
    ("brake", Severity::Error, |d| {
        d.brake = Some(brake_in("holding"))
    }),
    ("brake", Severity::Error, |d| {
        d.brake = Some(brake_in("moving"))
    }),
    ("space", Severity::Warning, |d| {
        d.store.members[0].database_bytes = 1 << 31
    }),
];

const OF_MACHINES: &[Harm] = &[
    ("engine", Severity::Error, |d| d.leader = None),
    ("leases", Severity::Error, |d| {
        d.machines[0].lease = Some(LeaseReport::default())
    }),
    ("leases", Severity::Warning, |d| {
        d.machines[0].lease = Some(LeaseReport {
            granted_s: 10,
            left_s: 2,
            ended: false,
        })
    }),
    ("leases", Severity::Warning, |d| {
        d.machines[0].lease = Some(LeaseReport {
            ended: true,
            ..LeaseReport::default()
        })
    }),
    ("leases", Severity::Warning, |d| {
        d.store.leases_unknown = Some("no answer".to_owned())
    }),
    ("clocks", Severity::Warning, |d| {
        d.machines[0].ahead_ms = Some(60_000)
    }),
    ("clocks", Severity::Warning, |d| {
        d.machines[0].ahead_ms = Some(-2_000)
    }),
    ("records", Severity::Error, |d| {
        d.quarantined_count = 1;
        d.quarantined = vec![QuarantinedRecord {
            key: "/x".to_owned(),
            reason: "not JSON".to_owned(),
        }];
    }),
    ("placement", Severity::Warning, |d| {
        d.held_count = 1;
        d.held = vec![HeldUnit {
            name: "a.service".parse().unwrap(),
            reason: "no machine can run it".to_owned(),
        }];
    }),
];

#[test]
fn a_cluster_that_is_well_has_no_troubles_and_each_trouble_is_found_alone() {
    assert_eq!(troubles(&well()), []);
    for (check, severity, harm) in OF_THE_STORE.iter().chain(OF_MACHINES) {
        let mut diagnosis = well();
        harm(&mut diagnosis);
        assert_eq!(troubles(&diagnosis), [(*check, *severity)]);
    }
}

#[test]
fn a_request_of_a_moment_ago_is_not_held_against_an_agent() {
    let unit = |requested| BehindUnit {
        name: "a.service".parse().unwrap(),
        machine_id: MachineId::parse(ID).unwrap(),
        requested: api::types::Generation(requested),
        dealt: api::types::Generation(1),
    };
    let (mut earlier, mut later) = (well(), well());
    earlier.behind = vec![unit(5)];
    later.behind = vec![unit(7)];
    assert!(
        judge(&earlier, &later)
            .iter()
            .all(|finding| finding.severity == Severity::Ok)
    );
    later.behind.push(unit(5));
    let agents = judge(&earlier, &later)
        .into_iter()
        .find(|finding| finding.check == "agents")
        .unwrap();
    assert_eq!(
        (agents.severity, agents.found.as_str()),
        (Severity::Warning, "1 not dealt with: a.service on aaaaaaaa")
    );
}

#[test]
fn what_to_do_about_a_damaged_record_depends_on_its_kind() {
    let advice = |key: &str| {
        let mut diagnosis = well();
        diagnosis.quarantined_count = 1;
        diagnosis.quarantined = vec![QuarantinedRecord {
            key: format!("/_coreos.com/fleet{key}"),
            reason: "not JSON".to_owned(),
        }];
        let findings = judge(&diagnosis, &diagnosis);
        let found = findings.iter().find(|finding| finding.check == "records");
        found.unwrap().advice.clone()
    };
    let removal = "quarantine remove";
    assert!(advice("/units/a.service").contains("submit it again"));
    for key in ["/machines/m1", "/states/m1/a.service"] {
        assert!(advice(key).contains("restart fleet"), "{key}");
    }
    let entry = advice("/schedule/m1/a.service");
    assert!(entry.contains("do not remove") && !entry.contains(removal));
    assert!(advice("/brake").contains(removal));
}

#[test]
fn clocks_that_differ_are_named_with_their_direction() {
    let with = |ahead_ms: &[Option<i64>]| {
        let of = |(number, ahead_ms): (usize, &Option<i64>)| MachineReport {
            id: MachineId::parse(&format!("{:08}{:024}", number + 1, 0)).unwrap(),
            ahead_ms: *ahead_ms,
            ..well().machines.remove(0)
        };
        let machines: Vec<MachineReport> = ahead_ms.iter().enumerate().map(of).collect();
        clocks(&machines)
    };
    let fine = with(&[Some(1_999), Some(-1_999), None]);
    assert_eq!(fine.severity, Severity::Ok);
    assert_eq!(fine.found, "2 of 3 machines asked, none differs by 2 s");
    let wrong = with(&[Some(0), Some(300_500), Some(-7_000)]);
    assert_eq!(wrong.severity, Severity::Warning);
    assert!(wrong.found.contains("00000002 300 s ahead"), "{wrong:?}");
    assert!(wrong.found.contains("00000003 7 s behind"), "{wrong:?}");
    assert_eq!(with(&[None]).found, "no machine says what time it is");
}
