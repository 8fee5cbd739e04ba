//! Records survive being written down, and nothing that anyone writes there is a crash.

use model::{
    ActiveState, BootId, BrakePhase, Capacity, Generation, HoldReason, InvocationId, JobKind,
    JobReport, JobResult, LoadState, Obstacle, Relocation, Schedulable, TargetState,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use unitfile::UnitHash;

use super::*;

const PREFIX: &str = "/test/";

fn layout() -> Layout {
    Layout::new(PREFIX)
}

fn name() -> impl Strategy<Value = UnitName> {
    "[a-z][a-z0-9_.@-]{0,20}\\.(service|timer|socket)"
        .prop_filter_map("a unit name", |text| UnitName::parse(&text).ok())
}

fn id() -> impl Strategy<Value = MachineId> {
    "[0-9a-f]{32}".prop_map(|text| MachineId::parse(&text).unwrap())
}

fn target() -> impl Strategy<Value = TargetState> {
    prop_oneof![
        Just(TargetState::Inactive),
        Just(TargetState::Loaded),
        Just(TargetState::Launched)
    ]
}

fn generations() -> impl Strategy<Value = (Generation, Generation, Generation)> {
    any::<(u64, u64, u64)>().prop_map(|(a, b, c)| (Generation(a), Generation(b), Generation(c)))
}

fn file_hash() -> impl Strategy<Value = FileHash> {
    any::<[u8; 32]>().prop_map(FileHash::from_bytes)
}

fn unit_hash() -> impl Strategy<Value = UnitHash> {
    any::<[u8; 20]>().prop_map(UnitHash::from_bytes)
}

fn some_unit() -> impl Strategy<Value = Unit> {
    let relocation = option::of((id(), any::<u64>()));
    let what = (name(), file_hash(), unit_hash(), target());
    (what, generations(), relocation).prop_map(
        |((name, file, hash, target), numbers, relocation)| {
            let relocation = relocation.map(|(to, generation)| Relocation {
                to,
                generation: Generation(generation),
            });
            let (generation, start, restart) = numbers;
            Unit {
                name,
                file,
                hash,
                target,
                generation,
                start,
                restart,
                relocation,
            }
        },
    )
}

fn some_assignment() -> impl Strategy<Value = Assignment> {
    some_unit().prop_filter_map("is on a machine", |unit| {
        (unit.target != TargetState::Inactive).then(|| Assignment::of(&unit))
    })
}

fn some_machine() -> impl Strategy<Value = Machine> {
    let metadata = btree_map(".{0,8}", ".{0,8}", 0..4);
    (
        id(),
        ".{0,36}",
        ".{0,20}",
        metadata,
        ".{0,8}",
        any::<(u64, u64)>(),
    )
        .prop_map(
            |(id, boot, address, metadata, version, (memory_bytes, cpu_milli))| Machine {
                id,
                boot: BootId(boot),
                address,
                metadata,
                version,
                capacity: Capacity {
                    memory_bytes,
                    cpu_milli,
                },
            },
        )
}

fn some_spec() -> impl Strategy<Value = MachineSpec> {
    let metadata = btree_map(".{0,8}", option::of(".{0,8}"), 0..4);
    (metadata, any::<bool>()).prop_map(|(metadata, cordoned)| MachineSpec {
        metadata,
        schedulable: if cordoned {
            Schedulable::Cordoned
        } else {
            Schedulable::Yes
        },
    })
}

fn some_status() -> impl Strategy<Value = UnitStatus> {
    let kind = prop_oneof![
        Just(JobKind::Load),
        Just(JobKind::Start),
        Just(JobKind::Stop),
        Just(JobKind::Restart)
    ];
    let job = (kind, any::<u64>(), "[a-z]{1,12}", ".{0,40}").prop_map(
        |(kind, generation, result, message)| JobReport {
            kind,
            generation: Generation(generation),
            result: JobResult::from_word(&result),
            message,
        },
    );
    let words = ("[a-z-]{1,12}", "[a-z-]{1,12}", ".{0,12}");
    let rest = (option::of("[0-9a-f]{32}"), any::<(u64, u64)>());
    (words, unit_hash(), target(), option::of(job), rest).prop_map(
        |((load, active, sub), hash, state, job, (invocation, (generation, since_unix_ms)))| {
            UnitStatus {
                load: LoadState::from_word(&load),
                active: ActiveState::from_word(&active),
                sub,
                hash,
                state,
                generation: Generation(generation),
                job,
                invocation: invocation.map(InvocationId),
                since_unix_ms,
            }
        },
    )
}

fn some_obstacle() -> impl Strategy<Value = Obstacle> {
    prop_oneof![
        ".{0,9}".prop_map(|wanted| Obstacle::MachineId { wanted }),
        (".{0,9}", option::of(".{0,9}"))
            .prop_map(|(wanted, actual)| Obstacle::Metadata { wanted, actual }),
        name().prop_map(|peer| Obstacle::MachineOf { peer }),
        name().prop_map(|with| Obstacle::Conflict { with }),
        (".{0,9}", any::<(u64, u64)>()).prop_map(|(resource, (needed, left))| Obstacle::NoRoom {
            resource,
            needed,
            left
        }),
        any::<usize>().prop_map(|limit| Obstacle::MaxPerMachine { limit }),
        name().prop_map(|by| Obstacle::Replaced { by }),
        Just(Obstacle::Cordoned),
        id().prop_map(|on| Obstacle::Stopping { on }),
    ]
}

fn some_hold() -> impl Strategy<Value = Hold> {
    let reason = prop_oneof![
        Just(HoldReason::NoMachines),
        Just(HoldReason::NothingFits),
        id().prop_map(|on| HoldReason::Stopping { on }),
        (id(), id()).prop_map(|(from, to)| HoldReason::Moving { from, to }),
        id().prop_map(|machine| HoldReason::AwaitsMachine { machine }),
        id().prop_map(|machine| HoldReason::MassLoss { machine }),
        file_hash().prop_map(|file| HoldReason::FileMissing { file }),
        ".{0,20}".prop_map(|message| HoldReason::Invalid { message }),
    ];
    (reason, vec((id(), some_obstacle()), 0..4), any::<usize>()).prop_map(
        |(reason, obstacles, machines)| Hold {
            reason,
            obstacles,
            machines,
        },
    )
}

#[test]
fn the_longest_hold_is_written_in_full_and_a_longer_one_without_its_obstacles() {
    let id = MachineId::parse(&"m".repeat(64)).unwrap();
    // JSON has no worse than these: six bytes each.
    let longest = |count: usize| Hold {
        reason: HoldReason::NothingFits,
        obstacles: vec![
            (
                id.clone(),
                Obstacle::Metadata {
                    wanted: "\u{1}".repeat(model::OBSTACLE_CHARS_MAX),
                    actual: Some("\u{1}".repeat(model::OBSTACLE_CHARS_MAX)),
                },
            );
            count
        ],
        machines: usize::MAX,
    };
    let written = |count| hold(&longest(count));
    let all = written(model::HOLD_OBSTACLES_MAX);
    println!("the longest hold has {} bytes", all.len());
    assert!(all.len() > HOLD_BYTES_MAX / 2 && all.len() <= HOLD_BYTES_MAX);
    assert_eq!(written(1_000), written(0));
}

fn some_brake() -> impl Strategy<Value = Brake> {
    let phase = prop_oneof![
        Just(BrakePhase::Watching),
        Just(BrakePhase::Holding),
        Just(BrakePhase::Moving)
    ];
    let machines = proptest::collection::btree_set(id(), 0..4);
    (phase, any::<usize>(), machines).prop_map(|(phase, cluster, machines)| Brake {
        phase,
        cluster,
        machines,
    })
}

/// A record of any kind, its value as it is written down, and what reading it back must give.
fn record() -> impl Strategy<Value = (RecordKey, Vec<u8>, Change)> {
    prop_oneof![
        some_unit().prop_map(|it| {
            (
                RecordKey::Unit(it.name.clone()),
                unit(&it),
                Change::Unit(it.name.clone(), Some(it)),
            )
        }),
        "# [a-z ]{0,40}\n\\[Service\\]\nExecStart=/bin/[a-z]{1,9}\n".prop_map(|text| {
            let it = UnitFile::parse(text).unwrap();
            let hash = it.file_hash();
            (
                RecordKey::File(hash),
                file(&it),
                Change::File(hash, Some(Arc::new(it))),
            )
        }),
        some_machine().prop_map(|it| {
            (
                RecordKey::Machine(it.id.clone()),
                machine(&it),
                Change::Machine(it.id.clone(), Some(it)),
            )
        }),
        (id(), some_spec()).prop_map(|(id, it)| {
            (
                RecordKey::MachineSpec(id.clone()),
                machine_spec(&it),
                Change::MachineSpec(id, Some(it)),
            )
        }),
        (id(), name(), some_assignment()).prop_map(|(id, name, it)| {
            let key = RecordKey::Assignment(id.clone(), name.clone());
            (key, assignment(&it), Change::Assignment(id, name, Some(it)))
        }),
        (id(), name(), some_status()).prop_map(|(id, name, it)| {
            let key = RecordKey::Status(id.clone(), name.clone());
            (key, status(&it), Change::Status(id, name, Some(it)))
        }),
        (name(), some_hold()).prop_map(|(name, it)| (
            RecordKey::Hold(name.clone()),
            hold(&it),
            Change::Hold(name, Some(it))
        )),
        id().prop_map(|machine| {
            let it = Leader { machine };
            (RecordKey::Leader, leader(&it), Change::Leader(Some(it)))
        }),
        some_brake().prop_map(|it| (RecordKey::Brake, brake(&it), Change::Brake(Some(it)))),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((key, value, expected) in record()) {
        let key = layout().key(&key);
        prop_assert_eq!(layout().decode(key.as_bytes(), Some(&value)), Some(expected));
    }

    #[test]
    fn fields_of_a_later_version_are_ignored((key, value, expected) in record()) {
        prop_assume!(!matches!(key, RecordKey::File(_)));
        let mut json: serde_json::Value = serde_json::from_slice(&value).unwrap();
        json.as_object_mut().unwrap().insert("from-the-future".into(), serde_json::json!({ "a": [1] }));
        let value = serde_json::to_vec(&json).unwrap();
        let key = layout().key(&key);
        prop_assert_eq!(layout().decode(key.as_bytes(), Some(&value)), Some(expected));
    }

    #[test]
    fn a_cut_value_is_damaged((key, value, _) in record(), cut in 0.0..1.0_f64) {
        let length = (value.len() as f64 * cut) as usize;
        let text = layout().key(&key);
        let change = layout().decode(text.as_bytes(), Some(&value[..length]));
        let Some(Change::Quarantined { record, problem }) = change else {
            return Err(TestCaseError::fail(format!("{change:?}")));
        };
        prop_assert_eq!(record, Some(key));
        prop_assert_eq!(problem.key, text);
        prop_assert!(!problem.reason.is_empty());
    }

    #[test]
    fn no_bytes_are_a_crash(folder in 0..10_usize, rest in vec(any::<u8>(), 0..40), value in option::of(vec(any::<u8>(), 0..200))) {
        let folders = [UNITS, FILES, MACHINES, MACHINE_SPECS, SCHEDULE, STATES, HOLDS, LEADER, BRAKE, "other/"];
        let mut key = format!("{PREFIX}{}", folders[folder]).into_bytes();
        key.extend(rest);
        let change = layout().decode(&key, value.as_deref());
        if folder == 9 && std::str::from_utf8(&key).is_ok() {
            prop_assert_eq!(change, None);
        }
    }

    #[test]
    fn a_deletion_is_understood_whatever_was_there((key, _, _) in record()) {
        let change = layout().decode(layout().key(&key).as_bytes(), None);
        let is_damaged = matches!(change, None | Some(Change::Quarantined { .. }));
        prop_assert!(!is_damaged);
    }
}

#[test]
fn keys_are_where_the_manual_says() {
    let unit = UnitName::parse("web@1.service").unwrap();
    let machine = MachineId::parse("abc").unwrap();
    let key = |record| Layout::new("/_coreos.com/fleet").key(&record);
    assert_eq!(
        key(RecordKey::Unit(unit.clone())),
        "/_coreos.com/fleet/units/web@1.service"
    );
    assert_eq!(
        key(RecordKey::Assignment(machine.clone(), unit)),
        "/_coreos.com/fleet/schedule/abc/web@1.service"
    );
    assert_eq!(
        key(RecordKey::MachineSpec(machine)),
        "/_coreos.com/fleet/machine-specs/abc"
    );
    assert_eq!(key(RecordKey::Leader), "/_coreos.com/fleet/leader");
}

#[test]
fn a_file_under_another_address_is_damaged() {
    let file = UnitFile::parse("[Service]\nExecStart=/bin/true\n").unwrap();
    let key = layout().key(&RecordKey::File(FileHash::of_raw(b"another")));
    let change = layout().decode(key.as_bytes(), Some(file.raw().as_bytes()));
    assert!(
        matches!(
            change,
            Some(Change::Quarantined {
                record: Some(RecordKey::File(_)),
                ..
            })
        ),
        "{change:?}"
    );
}
