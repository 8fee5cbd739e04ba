//! What a cluster *is*, in our own words: machines, units, the schedule, what is observed, what was decided and why,
//! and the ports we ask of the world.
//!
//! This crate does no I/O and has no serial form: keys and JSON in etcd are known to `registry/layout.rs` only, the
//! HTTP shapes to `api/types.rs` only.

mod brake;
mod contradiction;
mod deadline;
mod decision;
mod explanation;
mod machine;
pub mod mutation;
mod per_machine;
mod ports;
mod question;
mod rebalance;
mod records;
mod request;
mod schedule;
mod status;
mod store_health;
mod trial;
mod unit;

pub use brake::{Brake, BrakePhase};
pub use contradiction::{Contradiction, check_ties};
pub use deadline::Deadline;
pub use decision::{
    AssignReason, Decision, HOLD_OBSTACLES_MAX, Hold, HoldReason, Needs, OBSTACLE_CHARS_MAX,
    Obstacle, UnassignReason, shortened,
};
pub use explanation::{
    Criterion, Explanation, GLOBAL_MACHINES_MAX, NEAREST_MAX, Nearest, Rule, RuleEffect, Situation,
    Standing, WhyThere,
};
pub use machine::{
    BootId, Capacity, Machine, MachineId, MachineIdError, MachineSpec, OfflineStart, Schedulable,
};
pub use per_machine::PerMachine;
pub use ports::{
    Clock, ClusterStore, JobEnd, Journal, Mark, Placement, ServiceChange, ServiceError,
    ServiceManager, ServiceUnit, StoreError, Update,
};
pub use question::{
    ANSWER_BYTES_MAX, AskError, JournalError, JournalForm, QUESTION_LINES_MAX, Question, Topic,
};
pub use rebalance::Move;
pub use records::{Change, Leader, Quarantined, RecordKey, Records, Removal};
pub use request::{
    Action, Done, Known, MetadataEdit, OnDifference, Outcome, Refusal, UnitRequest, UnitWrite,
    resolve,
};
pub use schedule::Assignment;
pub use status::{ActiveState, InvocationId, JobKind, JobReport, JobResult, LoadState, UnitStatus};
pub use store_health::{
    ClockReading, DIVERGED, LeaseTime, MACHINE_LEASES_MAX, MachineLease, MemberStatus, StoreHealth,
    StoreMember,
};
pub use trial::{Displaced, Place, Trial, TrialPlan};
pub use unit::{Generation, Relocation, Revision, TargetState, TargetStateError, Unit};
