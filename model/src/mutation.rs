//! Deliberate mistakes, for the proof that the simulation finds them: each is one thing that the product must not do, at the one place
//! where it would be done. None can be made by a release build: there [`is_made`] is a constant, which the compiler checks below.

/// One mistake. The variant says what is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mutation {
    /// The leader's writes are not compared with its record.
    LeaderNotCompared,
    /// An election overwrites the record of whoever leads.
    ElectedWithoutCompare,
    /// A deposed leader that resigns deletes the record of the next.
    ResignsForAnother,
    /// What was compacted away is not read again.
    CompactionIgnored,
    /// Reads may be answered by a member of the store that is behind.
    StaleReads,
    /// Exclusive units run on under a new lease.
    NewLeaseTakenForOld,
    /// The deadline of exclusive units is counted by the clock that people set.
    DeadlineByWallClock,
    /// Exclusive units are ended when the lease has been over for long.
    GuardTooLate,
    /// Statuses outlive their machine's lease.
    StatusesWithoutLease,
    /// The engine takes a write of which it has no answer for done.
    UnknownOutcomeTakenForWritten,
    /// So does the agent.
    UnknownOutcomeTakenForPublished,
    /// A unit is placed although a machine that is gone from the cluster still reports it.
    LeavingMachineIgnored,
    /// A unit is placed although it has not stopped where it was.
    StartedBeforeTheStop,
    /// Machines that are gone are still placed upon.
    PlacedOnGoneMachine,
    /// A unit whose record is damaged is taken away.
    DamagedUnitTakenForDestroyed,
    /// So is one whose entry in the schedule is.
    DamagedEntryTakenForNone,
    /// While the store cannot be read, nothing is wanted.
    LossTakenForEmpty,
    /// What is not in the schedule any more after a reconnect stays wanted.
    StaleScheduleKept,
    /// A unit is started before the cluster knows that it may run there.
    StartedBeforeReported,
    /// What was started is not remembered.
    StartedWithoutMark,
    /// Another file takes the place of the old one without a stop.
    ReplacedWithoutStop,
    /// It is not remembered that a unit was stopped by us and not by its user.
    StoppedWithoutMark,
    /// Units are decided about before it is known what is there.
    DecidedBeforeListing,
    /// After a loss of the bus units are not listed again.
    RelistSkipped,
    /// What runs is not reported anew under a new lease.
    StatusesNotRepublished,
    /// What has failed is not tried again once the schedule was read anew.
    RetryForgotten,
    /// A unit is started while the withdrawal of its earlier status is on its way.
    StartedDuringWithdrawal,
    /// A unit's file is taken away while it runs.
    UnloadedWithoutStop,
    /// Cutting a start short is tried again without a pause.
    CutWithoutPause,
    /// It is not remembered that a start was cut short by us.
    CutNotRemembered,
    /// It is remembered last of all that a start was cut short, when the unit has stopped.
    CutRememberedLate,
    /// What was seen before a start that ended unseen is decided on.
    DecidedUnseen,
    /// A machine that leaves ends its lease although units may run on.
    LeaseEndedTooSoon,
    /// What was moved elsewhere while a machine was cut off runs on there.
    DuplicateLeftRunning,
    /// A machine that comes back stops at once what is not in its schedule yet.
    NothingKept,
    /// Nor does it wait for a global unit, which is up elsewhere all the time.
    GlobalTakenForMoved,
    /// An agent's first status of a unit is written whether its schedule has the unit or not.
    FirstStatusNotCompared,
    /// A unit is given to another machine although its machine has just reported it.
    MoveNotCompared,
    /// A machine whose lease has ended is taken for lost, though it answers.
    AnswerIgnored,
}

#[cfg(debug_assertions)]
thread_local! {
    static MADE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread makes this mistake, or none.
#[cfg(debug_assertions)]
pub fn make(mutation: Option<Mutation>) {
    MADE.set(mutation);
}

/// True if this thread is to make this mistake.
#[cfg(debug_assertions)]
pub fn is_made(mutation: Mutation) -> bool {
    MADE.get() == Some(mutation)
}

/// Never.
#[cfg(not(debug_assertions))]
pub const fn is_made(_: Mutation) -> bool {
    false
}

// Does not compile if a release build could make any.
#[cfg(not(debug_assertions))]
const _: () = assert!(!is_made(Mutation::LeaderNotCompared));

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 39] = [
        Mutation::LeaderNotCompared,
        Mutation::ElectedWithoutCompare,
        Mutation::ResignsForAnother,
        Mutation::CompactionIgnored,
        Mutation::StaleReads,
        Mutation::NewLeaseTakenForOld,
        Mutation::DeadlineByWallClock,
        Mutation::GuardTooLate,
        Mutation::StatusesWithoutLease,
        Mutation::UnknownOutcomeTakenForWritten,
        Mutation::UnknownOutcomeTakenForPublished,
        Mutation::LeavingMachineIgnored,
        Mutation::StartedBeforeTheStop,
        Mutation::PlacedOnGoneMachine,
        Mutation::DamagedUnitTakenForDestroyed,
        Mutation::DamagedEntryTakenForNone,
        Mutation::LossTakenForEmpty,
        Mutation::StaleScheduleKept,
        Mutation::StartedBeforeReported,
        Mutation::StartedWithoutMark,
        Mutation::ReplacedWithoutStop,
        Mutation::StoppedWithoutMark,
        Mutation::DecidedBeforeListing,
        Mutation::RelistSkipped,
        Mutation::StatusesNotRepublished,
        Mutation::RetryForgotten,
        Mutation::StartedDuringWithdrawal,
        Mutation::UnloadedWithoutStop,
        Mutation::CutWithoutPause,
        Mutation::CutNotRemembered,
        Mutation::CutRememberedLate,
        Mutation::DecidedUnseen,
        Mutation::LeaseEndedTooSoon,
        Mutation::DuplicateLeftRunning,
        Mutation::NothingKept,
        Mutation::GlobalTakenForMoved,
        Mutation::FirstStatusNotCompared,
        Mutation::MoveNotCompared,
        Mutation::AnswerIgnored,
    ];
}
