//! What users ask of a unit, and what becomes of it: the table of legal moves. PURE.
//!
//! [`resolve`] is given what the store has now and says what to write, or why not. Whoever calls it writes the answer in a
//! transaction that fails if the store has changed since, and asks again.

use std::fmt;

use unitfile::{Errors, Requirements, UnitFile, UnitName, check_submission};

use crate::{Contradiction, Generation, MachineId, Relocation, TargetState, Unit, check_ties};

/// A verb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Make the unit known.
    Submit,
    /// Put it on a machine, not started; a running unit is stopped.
    Load,
    /// Start it, whatever state it is in; a failed unit is started again.
    Start,
    /// Stop it where it is.
    Stop,
    /// Take it from its machine.
    Unload,
    /// Stop and start it where it is.
    Restart,
    /// Forget it.
    Destroy,
    /// Bring it to this state if it is not asked for already (the ancestor's `desiredState`).
    Set(TargetState),
    /// Stop it where it is, then start it on this machine, if that can take it.
    Move(MachineId),
}

impl Action {
    /// The verb, as a user types it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Action::Submit => "submit",
            Action::Load => "load",
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Unload => "unload",
            Action::Restart => "restart",
            Action::Destroy => "destroy",
            Action::Set(_) => "set",
            Action::Move(_) => "move",
        }
    }

    /// States in which this verb may replace a unit's file without taking the unit further down than it asked for.
    fn may_replace(&self, target: TargetState) -> bool {
        match self {
            Action::Submit => target == TargetState::Inactive,
            Action::Load => target <= TargetState::Loaded,
            Action::Start | Action::Set(_) => true,
            Action::Stop | Action::Unload | Action::Restart | Action::Destroy | Action::Move(_) => {
                false
            }
        }
    }
}

/// What to do if a unit of that name exists with another file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDifference {
    /// Leave the cluster's file as it is, and say that it differs.
    Keep,
    /// Take the new file.
    Replace,
}

/// One request about one unit.
#[derive(Clone, PartialEq, Debug)]
pub struct UnitRequest {
    /// The unit.
    pub name: UnitName,
    /// What to do.
    pub action: Action,
    /// The file the user has under the unit's own name.
    pub file: Option<UnitFile>,
    /// The template the user has for it; the cluster's own template comes first, unless differences are to be replaced.
    pub template: Option<UnitFile>,
    /// What to do about a different file.
    pub on_difference: OnDifference,
}

/// What to write for one request.
#[derive(Clone, PartialEq, Debug)]
pub enum UnitWrite {
    /// Nothing.
    Nothing,
    /// This record, and its file if it is a new one.
    Put {
        /// The record.
        unit: Unit,
        /// The file, if the store may not have it.
        file: Option<UnitFile>,
    },
    /// Delete the record.
    Delete,
}

impl UnitWrite {
    /// Checks a new file against the units that it names, before it is written; `requirements_of` tells of any unit of the cluster.
    ///
    /// # Errors
    /// The refusal, if the unit could never run with those that it needs.
    pub fn check_ties(
        &self,
        requirements_of: impl Fn(&UnitName) -> Option<Requirements>,
    ) -> Result<(), Refusal> {
        let UnitWrite::Put {
            unit,
            file: Some(file),
        } = self
        else {
            return Ok(());
        };
        let (requirements, _) = Requirements::of_stored(&unit.name, file);
        check_ties(&unit.name, &requirements, requirements_of).map_err(Refusal::Contradiction)
    }
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// The unit is new.
    Created,
    /// Its file was replaced.
    Replaced,
    /// Something else is wanted of it now.
    Updated,
    /// All is as asked already.
    Unchanged,
    /// It is forgotten.
    Destroyed,
}

/// The answer to one request that was carried out.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The unit.
    pub name: UnitName,
    /// What was done.
    pub done: Done,
    /// What is wanted of the unit now.
    pub target: TargetState,
    /// Number of this request: a status with this generation or a later one answers it. The last one if unchanged.
    pub generation: Generation,
    /// True if the unit runs on every machine that fits.
    pub global: bool,
    /// True if the user's file differs from the cluster's, which was kept.
    pub differs: bool,
    /// Set if a replacement was asked for which this verb may not do in the state the unit is in.
    pub replace_refused_in: Option<TargetState>,
}

/// Why a request was not carried out.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// There is no such unit, and no file to make it from.
    NotFound,
    /// The unit has no file and its template is nowhere either.
    TemplateNotFound(UnitName),
    /// Its file cannot be accepted.
    Invalid(Errors),
    /// It can never run with those that it needs.
    Contradiction(Contradiction),
    /// A template itself cannot be brought to a machine, only its instances.
    IsTemplate,
    /// The verb needs a unit that is further up.
    InState(TargetState),
    /// Its record is damaged; only `destroy` is possible.
    Damaged(String),
    /// Others changed it all the time while this was tried.
    Contested,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotFound => f.write_str("unit does not exist"),
            Refusal::TemplateNotFound(template) => {
                write!(
                    f,
                    "unable to find template Unit({template}) in Registry or on filesystem"
                )
            }
            Refusal::Invalid(errors) => errors.fmt(f),
            Refusal::Contradiction(contradiction) => contradiction.fmt(f),
            Refusal::IsTemplate => f.write_str("cannot activate template"),
            Refusal::InState(state) => write!(f, "not possible in state {state}"),
            Refusal::Damaged(reason) => {
                write!(
                    f,
                    "its record in the store is damaged ({reason}): destroy it and submit it again"
                )
            }
            Refusal::Contested => f.write_str("is being changed by others all the time: try again"),
        }
    }
}

/// A change to what operators set on a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataEdit {
    /// The machine; it need not be there.
    pub machine: MachineId,
    /// The key.
    pub key: String,
    /// The value; `None` removes the key, also one of the machine's own configuration.
    pub value: Option<String>,
}

/// What the store has that bears on a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The unit's record.
    pub unit: Option<&'a Unit>,
    /// The file of that record; none if the store has lost it.
    pub file: Option<&'a UnitFile>,
    /// For an instance, its template's file, if the cluster has that template.
    pub template: Option<&'a UnitFile>,
}

/// Says what to write for `request`, given what the store has, numbering it `generation`. Whoever writes it asks
/// [`UnitWrite::check_ties`] first.
///
/// # Errors
/// The refusal, if nothing may be written.
pub fn resolve(
    request: &UnitRequest,
    known: Known<'_>,
    generation: Generation,
) -> Result<(UnitWrite, Outcome), Refusal> {
    if request.action == Action::Destroy {
        let unit = known.unit.ok_or(Refusal::NotFound)?;
        return Ok((
            UnitWrite::Delete,
            outcome(request, unit, Done::Destroyed, false),
        ));
    }
    let (mut unit, mut done, new_file, note) = file_of(request, known, generation)?;
    let global = global(&unit.name, new_file.or(known.file));
    let before = unit.clone();
    retarget(request, &mut unit, generation)?;
    if unit != before && done == Done::Unchanged {
        done = Done::Updated;
    }
    if done != Done::Unchanged {
        unit.generation = generation;
    }
    let outcome = Outcome {
        differs: note.differs,
        replace_refused_in: note.replace_refused_in,
        ..outcome(request, &unit, done, global)
    };
    let write = match done {
        Done::Unchanged => UnitWrite::Nothing,
        Done::Created | Done::Replaced | Done::Updated | Done::Destroyed => UnitWrite::Put {
            unit,
            file: new_file.cloned(),
        },
    };
    Ok((write, outcome))
}

/// What there is to say about the user's file beside what was done.
#[derive(Clone, Copy, Debug, Default)]
struct FileNote {
    differs: bool,
    replace_refused_in: Option<TargetState>,
}

type Chosen<'a> = (Unit, Done, Option<&'a UnitFile>, FileNote);

/// Settles which file the unit has from now on.
fn file_of<'a>(
    request: &'a UnitRequest,
    known: Known<'a>,
    generation: Generation,
) -> Result<Chosen<'a>, Refusal> {
    let creates = matches!(
        request.action,
        Action::Submit | Action::Load | Action::Start | Action::Restart | Action::Set(_)
    );
    let Some(existing) = known.unit else {
        if !creates {
            return Err(Refusal::NotFound);
        }
        let file = source(request, known)?;
        validate(&request.name, file)?;
        return Ok((
            created(&request.name, file, generation),
            Done::Created,
            Some(file),
            note_of_template(request, known),
        ));
    };
    let mut note = FileNote::default();
    let Some(file) = rival(request, known) else {
        return Ok((existing.clone(), Done::Unchanged, None, note));
    };
    if file.file_hash() == existing.file {
        return Ok((existing.clone(), Done::Unchanged, None, note));
    }
    if request.on_difference == OnDifference::Keep {
        // Comments and spacing make another file, but not a difference worth a warning.
        note.differs = file.hash() != existing.hash;
        return Ok((existing.clone(), Done::Unchanged, None, note));
    }
    if !request.action.may_replace(existing.target) {
        note.replace_refused_in = Some(existing.target);
        return Ok((existing.clone(), Done::Unchanged, None, note));
    }
    validate(&request.name, file)?;
    let mut unit = existing.clone();
    unit.file = file.file_hash();
    unit.hash = file.hash();
    // The new file has not been started yet; whether it is to be is settled by the verb.
    unit.start = Generation::default();
    unit.restart = Generation::default();
    Ok((unit, Done::Replaced, Some(file), note))
}

/// The file that may take the place of an existing unit's: the user's own; the user's template stands for it, and, if it is to be
/// replaced and the user has none, the cluster's template.
fn rival<'a>(request: &'a UnitRequest, known: Known<'a>) -> Option<&'a UnitFile> {
    let renews = match &request.action {
        Action::Submit | Action::Load | Action::Start => {
            request.on_difference == OnDifference::Replace
        }
        Action::Stop
        | Action::Unload
        | Action::Restart
        | Action::Destroy
        | Action::Set(_)
        | Action::Move(_) => false,
    };
    let theirs = request.file.as_ref().or(request.template.as_ref());
    theirs.or(known.template.filter(|_| renews))
}

/// Whether a unit made from the cluster's template would have been another one made from the user's.
fn note_of_template(request: &UnitRequest, known: Known<'_>) -> FileNote {
    let differs = match (&request.file, known.template, &request.template) {
        (None, Some(clusters), Some(users)) => clusters.hash() != users.hash(),
        (Some(_), _, _) | (None, None, _) | (None, _, None) => false,
    };
    FileNote {
        differs: differs && request.on_difference == OnDifference::Keep,
        replace_refused_in: None,
    }
}

/// The file for a unit that does not exist: the user's own, the cluster's template, the user's template. Who replaces
/// differences means the user's template before the cluster's.
fn source<'a>(request: &'a UnitRequest, known: Known<'a>) -> Result<&'a UnitFile, Refusal> {
    let users = request.template.as_ref();
    let template = match request.on_difference {
        OnDifference::Keep => known.template.or(users),
        OnDifference::Replace => users.or(known.template),
    };
    if let Some(file) = request.file.as_ref().or(template) {
        return Ok(file);
    }
    match request.name.template() {
        Some(template) if request.name.is_instance() => Err(Refusal::TemplateNotFound(template)),
        Some(_) | None => Err(Refusal::NotFound),
    }
}

fn validate(name: &UnitName, file: &UnitFile) -> Result<(), Refusal> {
    check_submission(name, file)
        .map(|_| ())
        .map_err(Refusal::Invalid)
}

fn created(name: &UnitName, file: &UnitFile, generation: Generation) -> Unit {
    Unit {
        name: name.clone(),
        file: file.file_hash(),
        hash: file.hash(),
        target: TargetState::Inactive,
        generation,
        start: Generation::default(),
        restart: Generation::default(),
        relocation: None,
    }
}

/// Applies the verb to what is wanted of the unit.
fn retarget(request: &UnitRequest, unit: &mut Unit, generation: Generation) -> Result<(), Refusal> {
    let target = match &request.action {
        // Submitting a unit again leaves it as it is.
        Action::Submit | Action::Destroy => unit.target,
        Action::Load => TargetState::Loaded,
        Action::Start => TargetState::Launched,
        Action::Stop => {
            if unit.target == TargetState::Inactive {
                return Err(Refusal::InState(TargetState::Inactive));
            }
            TargetState::Loaded
        }
        Action::Unload => TargetState::Inactive,
        Action::Restart => {
            if unit.target == TargetState::Inactive {
                return Err(Refusal::InState(TargetState::Inactive));
            }
            TargetState::Launched
        }
        Action::Set(target) => *target,
        Action::Move(to) => {
            if unit.target == TargetState::Inactive {
                return Err(Refusal::InState(TargetState::Inactive));
            }
            let to = to.clone();
            unit.relocation = Some(Relocation { to, generation });
            unit.target
        }
    };
    if target == TargetState::Inactive {
        unit.relocation = None;
    }
    if unit.name.is_template() && target != TargetState::Inactive {
        return Err(Refusal::IsTemplate);
    }
    let starts = target == TargetState::Launched
        && (unit.target != target
            || matches!(request.action, Action::Start | Action::Restart)
            || unit.start == Generation::default())
        && !matches!(request.action, Action::Move(_));
    if starts {
        unit.start = generation;
    }
    if request.action == Action::Restart && unit.target == TargetState::Launched {
        unit.restart = generation;
    }
    unit.target = target;
    Ok(())
}

/// True if the unit runs on every machine that fits.
fn global(name: &UnitName, file: Option<&UnitFile>) -> bool {
    file.is_some_and(|file| Requirements::of_stored(name, file).0.global)
}

fn outcome(request: &UnitRequest, unit: &Unit, done: Done, global: bool) -> Outcome {
    Outcome {
        name: request.name.clone(),
        done,
        target: unit.target,
        generation: unit.generation,
        global,
        differs: false,
        replace_refused_in: None,
    }
}
