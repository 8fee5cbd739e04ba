//! What a section gives, in one line: the requirements, or what is wrong.

use unitfile::{MetadataTest, Requirements, UnitFile, UnitName};

/// The requirements in one line, or the errors.
pub(crate) fn show(requirements: &Requirements) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        requirements
            .machine_id
            .iter()
            .map(|id| format!("id={id:?}")),
    );
    parts.extend(requirements.metadata.iter().map(|term| match &term.test {
        MetadataTest::OneOf { values, patterns } if patterns.is_empty() => {
            format!("{}∈{values:?}", term.key)
        }
        MetadataTest::OneOf { .. }
        | MetadataTest::Not(_)
        | MetadataTest::Number(..)
        | MetadataTest::Exists => term.to_string(),
    }));
    parts.extend(
        requirements
            .machine_of
            .iter()
            .map(|peer| format!("of={peer}")),
    );
    parts.extend(
        requirements
            .conflicts
            .iter()
            .map(|pattern| format!("conflicts={pattern}")),
    );
    parts.extend(
        requirements
            .replaces
            .iter()
            .map(|pattern| format!("replaces={pattern}")),
    );
    parts.extend(requirements.global.then(|| "global".to_owned()));
    let spread = requirements.spread.iter();
    parts.extend(spread.map(|key| format!("spread={key}")));
    let prefers = requirements.prefers.iter();
    parts.extend(prefers.map(|it| format!("prefers={}:{}", it.weight, it.term)));
    if requirements.weight.0 != 1 {
        parts.push(format!("weight={}", requirements.weight.0));
    }
    if !requirements.demand.is_nothing() {
        let demand = &requirements.demand;
        let (memory, cpu) = (demand.memory_bytes, demand.cpu_milli);
        parts.push(format!("needs={memory}B,{cpu}m,{:?}", demand.counted));
    }
    let most = requirements.max_per_machine.iter();
    parts.extend(most.map(|most| format!("max={most}")));
    parts.extend(requirements.sticky.then(|| "sticky".to_owned()));
    parts.extend(requirements.exclusive.then(|| "exclusive".to_owned()));
    parts.join(" ")
}

/// What a submission under this name gives.
pub(crate) fn submit_as(name: &str, x_fleet: &str) -> String {
    let raw = format!("[X-Fleet]\n{x_fleet}\n");
    let name = UnitName::parse(name).map_err(|error| error.to_string());
    let file = UnitFile::parse(raw).map_err(|error| error.to_string());
    match (name, file) {
        (Ok(name), Ok(file)) => match Requirements::of(&name, &file) {
            Ok(requirements) => show(&requirements),
            Err(errors) => errors.to_string(),
        },
        (name, file) => format!("{name:?} {file:?}"),
    }
}

/// What a submission of `foo@bar.service` with these lines gives.
pub(crate) fn submit(x_fleet: &str) -> String {
    submit_as("foo@bar.service", x_fleet)
}

/// What a stored record of `foo@bar.service` with these lines gives, with the number of warnings.
pub(crate) fn stored(x_fleet: &str) -> (String, usize) {
    let name = UnitName::parse("foo@bar.service").map_err(|error| error.to_string());
    let file =
        UnitFile::parse(format!("[X-Fleet]\n{x_fleet}\n")).map_err(|error| error.to_string());
    match (name, file) {
        (Ok(name), Ok(file)) => {
            let (requirements, warnings) = Requirements::of_stored(&name, &file);
            (show(&requirements), warnings.len())
        }
        (name, file) => (format!("{name:?} {file:?}"), usize::MAX),
    }
}

/// A submission of `foo@bar.service` with these lines gives this.
#[track_caller]
pub(crate) fn check(x_fleet: &str, expected: &str) {
    assert_eq!(submit(x_fleet), expected, "{x_fleet:?}");
}
