//! Units, machines and requests to test with, and shorter ways to make them.

use model::{
    Action, ActiveState, AssignReason, Assignment, BootId, Capacity, Decision, Generation,
    LoadState, Machine, MachineId, OnDifference, TargetState, UnitRequest, UnitStatus,
};
use unitfile::{UnitFile, UnitName};

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) fn file(text: &str) -> UnitFile {
    UnitFile::parse(format!("[Service]\nExecStart=/bin/{text}\n")).unwrap()
}

pub(crate) fn id(text: &str) -> MachineId {
    MachineId::parse(text).unwrap()
}

pub(crate) fn machine(id: &str, address: &str, boot: &str) -> Machine {
    Machine {
        id: MachineId::parse(id).unwrap(),
        boot: BootId(boot.to_owned()),
        address: address.to_owned(),
        metadata: [("disk".to_owned(), "ssd".to_owned())].into(),
        version: "2.0.0".to_owned(),
        capacity: Capacity {
            memory_bytes: 1 << 30,
            cpu_milli: 2000,
        },
    }
}

pub(crate) fn request(unit: &str, action: Action, file: Option<UnitFile>) -> UnitRequest {
    UnitRequest {
        name: name(unit),
        action,
        file,
        template: None,
        on_difference: OnDifference::Keep,
    }
}

pub(crate) fn status(sub: &str) -> UnitStatus {
    UnitStatus {
        load: LoadState::Loaded,
        active: ActiveState::Active,
        sub: sub.to_owned(),
        hash: file("true").hash(),
        state: TargetState::Launched,
        generation: Generation(1),
        job: None,
        invocation: None,
        since_unix_ms: 1,
    }
}

pub(crate) fn assign(unit: &str, machine: &str) -> Decision {
    let assignment = Assignment {
        file: file("true").file_hash(),
        target: TargetState::Launched,
        generation: Generation(1),
        start: Generation(1),
        restart: Generation(0),
    };
    let reason = AssignReason::LeastLoaded {
        load: 0,
        candidates: 1,
    };
    Decision::Assign {
        unit: name(unit),
        machine: id(machine),
        assignment,
        reason,
    }
}
