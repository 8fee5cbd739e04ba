//! `[X-Fleet]`: what each option means, what is refused at submission, and what stored records get away with.

use std::collections::BTreeMap;

use unitfile::{
    MAX_VALUES_PER_OPTION, MetadataTest, Requirements, UnitFile, UnitName, check_submission,
};

/// The requirements in one line, or the errors.
fn show(requirements: &Requirements) -> String {
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

fn submit_as(name: &str, x_fleet: &str) -> String {
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
fn submit(x_fleet: &str) -> String {
    submit_as("foo@bar.service", x_fleet)
}

/// What a stored record of `foo@bar.service` with these lines gives, with the number of warnings.
fn stored(x_fleet: &str) -> (String, usize) {
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

#[track_caller]
fn check(x_fleet: &str, expected: &str) {
    assert_eq!(submit(x_fleet), expected, "{x_fleet:?}");
}

#[test]
fn nothing_is_demanded_by_default() {
    check("", "");
    let file = UnitFile::parse("[Service]\nGlobal=true\nMachineID=x\n").expect("valid");
    let name = UnitName::parse("a.service").expect("valid");
    assert_eq!(Requirements::of(&name, &file), Ok(Requirements::default()));
}

#[test]
fn machine_id() {
    check("MachineID=123", "id=\"123\"");
    check("MachineID=\"123\" \"456\"", "id=\"123\"");
    check("MachineID=123\nMachineID=456", "id=\"123\"");
    check(
        "X-ConditionMachineBootID=123\nX-ConditionMachineID=456",
        "id=\"456\"",
    );
    check("X-ConditionMachineBootID=123", "id=\"123\"");
    check("X-ConditionMachineID=456\nMachineID=789", "id=\"789\"");
    check("MachineID=", "");
    check("MachineID=123\nMachineID=\nMachineID=456", "id=\"456\"");
    check(
        "MachineID=123 456",
        "line 2: MachineID \"123 456\" can never match: no machine id has a blank in it. \
         Give one id, as list-machines --full shows it",
    );
}

#[test]
fn metadata() {
    check("MachineMetadata=region=us", "region∈[\"us\"]");
    check(
        "MachineMetadata=foo=bar\nX-ConditionMachineMetadata=foo=asdf",
        "foo∈[\"bar\", \"asdf\"]",
    );
    check(
        "MachineMetadata=\"b=1\" \"a=2\" \"b=3\" \"b=1\"",
        "a∈[\"2\"] b∈[\"1\", \"3\"]",
    );
    check("MachineMetadata=a=b c=d", "a∈[\"b\"] c∈[\"d\"]");
    check("MachineMetadata=a=b \\\n  c=d", "a∈[\"b\"] c∈[\"d\"]");
    check("MachineMetadata=\"region=us west\"", "region∈[\"us west\"]");
    check("MachineMetadata=name=%p-%i", "name∈[\"foo-bar\"]");
    check(
        "MachineMetadata=a=b\nMachineMetadata=\nMachineMetadata=c=d",
        "c∈[\"d\"]",
    );
    check("MachineMetadata=load=50%", "load∈[\"50%\"]");
}

#[test]
fn metadata_operators() {
    check("MachineMetadata=disk!=hdd", "disk!=hdd");
    check(
        "MachineMetadata=cores>=4 cores<=64 load<0.5 age>-1",
        "age>-1 cores<=64 cores>=4 load<0.5",
    );
    check("MachineMetadata=gpu?", "gpu?");
    check("MachineMetadata=host~web-*", "host~web-*");
    check(
        "MachineMetadata=zone in a,b disk=ssd",
        "disk∈[\"ssd\"] zone∈[\"a\", \"b\"]",
    );
    check(
        "MachineMetadata=\"zone in a,b\" \"zone=c\"",
        "zone∈[\"a\", \"b\", \"c\"]",
    );
    check(
        "MachineMetadata=host=db host~web-*",
        "host=db or host~web-*",
    );
    check(
        "MachineMetadata=cores>=many",
        "line 2: MachineMetadata \"cores>=many\" compares with \"many\", which is not a number. \
         Write a number such as 8, -1 or 2.5",
    );
    check(
        "MachineMetadata=host~web-[",
        "line 2: MachineMetadata \"host~web-[\" has a malformed pattern: \"[\" without \"]\". \
         Patterns have *, ?, [a-z], [^a-z] and \\ before a literal",
    );
    for value in [
        "disk!=",
        "!=hdd",
        "<5",
        "?",
        "a??",
        "zone in a,,b",
        "zone in",
        "cores=>4=",
    ] {
        let came = submit(&format!("MachineMetadata={value}"));
        let refused = came.contains("is not of the form") || came.contains("has a blank in it");
        assert!(refused, "{value}: {came}");
    }
}

#[test]
fn metadata_that_no_machine_can_have_is_refused() {
    for (value, key) in [
        ("disk=ssd disk!=ssd", "disk"),
        ("cores>8 cores<8", "cores"),
        ("cores>=8 cores<8", "cores"),
        ("cores=4 cores>4", "cores"),
        ("zone in a,b zone!=a zone!=b", "zone"),
    ] {
        check(
            &format!("MachineMetadata={value}"),
            &format!(
                "line 2: unresolvable requirements: no value of \"{key}\" satisfies all that MachineMetadata asks \
                 of it. Remove one of its terms"
            ),
        );
    }
    check("MachineMetadata=cores>=8 cores<=8", "cores<=8 cores>=8");
    check(
        "MachineMetadata=disk=ssd disk=hdd disk!=hdd",
        "disk∈[\"ssd\", \"hdd\"] disk!=hdd",
    );
}

#[test]
fn spread_preferences_and_weight() {
    check("Spread=zone", "spread=zone");
    check("Spread=zone\nSpread=rack", "spread=rack");
    check("Spread=zone\nSpread=", "");
    check(
        "Spread=zone rack",
        "line 2: Spread \"zone rack\" is not one metadata key, such as zone. Correct or remove it",
    );
    check(
        "Prefers=disk=ssd 10:zone=a\nPrefers=5:cores>=8",
        "prefers=1:disk=ssd prefers=10:zone=a prefers=5:cores>=8",
    );
    check(
        "Prefers=0:disk=ssd",
        "line 2: Prefers \"0:disk=ssd\" is not preceded by a weight from 1 to 1000, as in 10:disk=ssd. \
         Correct or remove it",
    );
    check(
        "Prefers=ssd",
        "line 2: Prefers \"ssd\" is not of the form key=value. \
         Write one key, one \"=\" and one value, none of them empty",
    );
    check("Weight=3", "weight=3");
    for bad in ["0", "1001", "-1", "1.5", "heavy", "99999999999999999999"] {
        check(
            &format!("Weight={bad}"),
            &format!(
                "line 2: Weight \"{bad}\" is not a whole number from 1 to 1000. Correct or remove it"
            ),
        );
    }
}

#[test]
fn reservations() {
    check("Memory=512M\nCPU=0.5", "needs=536870912B,500m,{}");
    check(
        "CPU=250m\nResources=gpu=1 slots=4",
        "needs=0B,250m,{\"gpu\": 1, \"slots\": 4}",
    );
    check("Resources=gpu=0", "");
    check(
        "Memory=lots",
        "line 2: Memory \"lots\" is not an amount of memory, such as 512M or 4G. Correct or remove it",
    );
    check(
        "CPU=50%",
        "line 2: CPU \"50%\" is not a number of processors, such as 2, 0.5 or 250m. Correct or remove it",
    );
    check(
        "Resources=gpu",
        "line 2: Resources \"gpu\" is not of the form name=count, such as gpu=1. Correct or remove it",
    );
}

#[test]
fn exclusive_and_on_disconnect() {
    check("Exclusive=yes\nSticky=yes", "sticky exclusive");
    check("Exclusive=no\nOnDisconnect=keep\nGlobal=yes", "global");
    check(
        "Exclusive=maybe",
        "line 2: Exclusive \"maybe\" is neither true nor false. Write true or false",
    );
    check(
        "OnDisconnect=stop",
        "line 2: OnDisconnect \"stop\" is not keep, the only policy there is. Correct or remove it",
    );
    check(
        "Global=yes\nExclusive=yes",
        "line 3: Exclusive contradicts Global. Remove one: a global unit runs on every machine, \
         an exclusive one never on two",
    );
    check(
        "Exclusive=yes\nOnDisconnect=keep",
        "line 2: Exclusive contradicts OnDisconnect=keep. Remove one: an exclusive unit is stopped on a machine \
         that is cut off",
    );
    assert_eq!(
        stored("Global=yes\nExclusive=yes"),
        ("global".to_owned(), 1),
        "what contradicts itself is treated as any other unit"
    );
}

#[test]
fn most_of_a_template_and_sticky() {
    check("MaxPerMachine=2\nSticky=yes", "max=2 sticky");
    check(
        "Sticky=maybe",
        "line 2: Sticky \"maybe\" is neither true nor false. Write true or false",
    );
    assert_eq!(
        submit_as("plain.service", "MaxPerMachine=2"),
        "line 2: MaxPerMachine has no meaning for a unit that is not an instance of a template. \
         Name the unit like web@1.service, or remove the option"
    );
}

#[test]
fn malformed_metadata_is_refused() {
    for value in ["foo=", "=asdf", "foo=a=b", "foo"] {
        check(
            &format!("MachineMetadata={value}"),
            &format!(
                "line 2: MachineMetadata \"{value}\" is not of the form key=value. \
                 Write one key, one \"=\" and one value, none of them empty"
            ),
        );
        let (requirements, warnings) = stored(&format!("MachineMetadata={value}"));
        assert_eq!((requirements.as_str(), warnings), ("", 1));
    }
    for value in [
        "a=b c",
        "a = b",
        "a=\"b c\"",
        "\"a=b\" c=d",
        "a=\"b c=d\" e=f",
    ] {
        check(
            &format!("MachineMetadata={value}"),
            &format!(
                "line 2: MachineMetadata {value} has a blank in it and is not quoted. Several values are written \
                 k=v k=v or \"k=v\" \"k=v\"; a value with a blank in it is written \"k=a b\""
            ),
        );
    }
}

#[test]
fn metadata_terms_are_and_over_keys_and_or_within_one() {
    let name = UnitName::parse("a.service").expect("valid");
    let file =
        UnitFile::parse("[X-Fleet]\nMachineMetadata=disk=ssd region=us region=eu").expect("valid");
    let requirements = Requirements::of(&name, &file).expect("valid");
    let allow = |pairs: &[(&str, &str)]| {
        let metadata = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        requirements.allow_metadata(&metadata.collect::<BTreeMap<_, _>>())
    };
    assert!(allow(&[("disk", "ssd"), ("region", "us")]));
    assert!(allow(&[("disk", "ssd"), ("region", "eu"), ("more", "x")]));
    assert!(!allow(&[("disk", "ssd"), ("region", "ap")]));
    assert!(!allow(&[("disk", "ssd")]));
    assert!(!allow(&[("region", "us")]));
    assert!(!allow(&[]));
}

#[test]
fn machine_of() {
    check("MachineOf=a.service", "of=a.service");
    check(
        "MachineOf=a.service b@1.service",
        "of=a.service of=b@1.service",
    );
    check(
        "MachineOf=\"a.service\" \"b.service\"",
        "of=a.service of=b.service",
    );
    check(
        "X-ConditionMachineOf=a.service\nMachineOf=b@%i.socket\nMachineOf=a.service",
        "of=a.service of=b@bar.socket",
    );
    check(
        "MachineOf=a.service\nMachineOf=\nMachineOf=b.service",
        "of=b.service",
    );
    check("MachineOf=", "");
    check(
        "MachineOf=a",
        "line 2: MachineOf \"a\" is not a unit name: unit name must contain \".\". \
         Give full unit names separated by blanks; patterns are not possible here",
    );
    check(
        "MachineOf=a@*.service",
        "line 2: MachineOf \"a@*.service\" is not a unit name: invalid character '*' in unit name. \
         Give full unit names separated by blanks; patterns are not possible here",
    );
    check(
        "MachineOf=a@.service",
        "line 2: MachineOf \"a@.service\" is a template, which itself never runs. \
         Name one of its instances, for example with %i",
    );
}

#[test]
fn conflicts_and_replaces() {
    check("Conflicts=a.service", "conflicts=a.service");
    check(
        "Conflicts=a.service b@*.service\t%p@*.service",
        "conflicts=a.service conflicts=b@*.service conflicts=foo@*.service",
    );
    check(
        "X-Conflicts=a*\nConflicts=b*\nConflicts=a*",
        "conflicts=a* conflicts=b*",
    );
    check("Conflicts=", "");
    check("Conflicts=a*\nConflicts=", "");
    check("Replaces=a.service b*", "replaces=a.service replaces=b*");
    check("Conflicts=a*\nReplaces=b*", "conflicts=a* replaces=b*");
    check(
        "Conflicts=a[",
        "line 2: Conflicts \"a[\" is not a valid pattern: \"[\" without \"]\". \
         Patterns have *, ?, [a-z], [^a-z] and \\ before a literal",
    );
    check(
        "Replaces=a.service,b.service",
        "line 2: Replaces \"a.service,b.service\" can never match a unit name: no name holds ','. \
         Separate patterns by blanks",
    );
    check(
        "Conflicts=%H*",
        "line 2: Conflicts \"%H*\" can never match a unit name: no name holds '%'. \
         Specifiers here are %n, %N, %p and %i",
    );
    check(
        "Conflicts=web",
        "line 2: Conflicts \"web\" can never match a unit name: unit name must contain \".\". \
         Write the full name (such as web.service) or a pattern (web*)",
    );
}

#[test]
fn global() {
    for word in ["true", "yes", "1", "on", "t", "True", "YES", "\"true\""] {
        check(&format!("Global={word}"), "global");
    }
    for word in ["false", "no", "0", "off", "f", ""] {
        check(&format!("Global={word}"), "");
    }
    check("Global=true\nGlobal=false", "");
    check("Global=false\nGlobal=true", "global");
    check(
        "Global=12",
        "line 2: Global \"12\" is neither true nor false. Write true or false",
    );
    assert_eq!(stored("Global=12"), (String::new(), 1));
    assert_eq!(stored("Global=true\nGlobal=12"), (String::new(), 1));
    assert_eq!(stored("X-Global=true"), (String::new(), 1));
}

#[test]
fn unknown_options_are_refused_with_the_nearest_known_one() {
    let suggested =
        "line 2: unknown option \"MachineOff\" in [X-Fleet]; did you mean \"MachineOf\"?";
    check("MachineOff=a.service", suggested);
    check(
        "Machineof=x.service",
        "line 2: unknown option \"Machineof\" in [X-Fleet]; did you mean \"MachineOf\"?",
    );
    check(
        "X-Global=true",
        "line 2: unknown option \"X-Global\" in [X-Fleet]; did you mean \"Global\"?",
    );
    check(
        "ExecStart=/bin/true",
        "line 2: unknown option \"ExecStart\" in [X-Fleet]. \
         Known are MachineID, MachineOf, MachineMetadata, Conflicts, Replaces, Global, Spread, Prefers, \
         Weight, Memory, CPU, Resources, MaxPerMachine, Sticky, OnDisconnect, Exclusive",
    );
    assert_eq!(
        stored("MachineOff=a.service\nGlobal=yes"),
        ("global".to_owned(), 1)
    );
}

#[test]
fn a_section_in_the_wrong_case_is_refused_once() {
    let name = UnitName::parse("a.service").expect("valid");
    let file =
        UnitFile::parse("[Unit]\nA=b\n[x-fleet]\nGlobal=true\nMachineID=x\n").expect("valid");
    let errors = Requirements::of(&name, &file)
        .expect_err("no effect")
        .to_string();
    assert_eq!(
        errors,
        "line 4: section [x-fleet] has no effect; did you mean [X-Fleet]? Names of sections are case-sensitive"
    );
    let (requirements, warnings) = Requirements::of_stored(&name, &file);
    assert_eq!((requirements, warnings.len()), (Requirements::default(), 1));
}

#[test]
fn contradictions_are_refused() {
    check(
        "MachineOf=a@1.service\nConflicts=a@*.service",
        "line 2: unresolvable requirements: peer \"a@1.service\" matches conflict \"a@*.service\". \
         Remove it from MachineOf or from Conflicts",
    );
    check(
        "Replaces=a*\nMachineOf=b.service a.service",
        "line 3: unresolvable requirements: peer \"a.service\" matches replace \"a*\". \
         Remove it from MachineOf or from Replaces",
    );
    check(
        "MachineOf=%n",
        "line 2: unresolvable requirements: peer \"foo@bar.service\" is the unit itself. Name other units only",
    );
    check(
        "Conflicts=a* b*\nReplaces=b*",
        "line 2: unresolvable requirements: conflict \"b*\" is also a replace. \
         Remove it from Conflicts or from Replaces",
    );
}

#[test]
fn options_combine_freely() {
    check(
        "MachineID=abc\nMachineOf=a.service\nMachineMetadata=k=v\nConflicts=b*\nReplaces=c*\nGlobal=true",
        "id=\"abc\" k∈[\"v\"] of=a.service conflicts=b* replaces=c* global",
    );
    // The usual way to spread instances: the pattern matches the unit itself, which is not "another unit".
    check("Conflicts=%p@*.service", "conflicts=foo@*.service");
}

#[test]
fn a_template_is_checked_as_its_instances_will_be() {
    let submit = |x_fleet| submit_as("foo@.service", x_fleet);
    assert_eq!(submit("MachineOf=db@%i.service"), "of=db@.service");
    assert_eq!(submit("Conflicts=%p@*.service"), "conflicts=foo@*.service");
    assert!(submit("MachineOf=%n").contains("is the unit itself"));
    assert!(submit("MachineOf=db@.service").contains("is a template"));
    assert!(submit("MachineMetadata=a=b=%i").contains("not of the form"));
    assert_eq!(submit("MachineMetadata=shard=%i"), "");
}

#[test]
fn all_errors_are_told_at_once() {
    insta::assert_snapshot!(
        submit("Globl=true\nMachineMetadata=a\nMachineOf=x y.service\nConflicts=[ y*\nGlobal=maybe"),
        @r#"
    line 2: unknown option "Globl" in [X-Fleet]; did you mean "Global"?
    line 3: MachineMetadata "a" is not of the form key=value. Write one key, one "=" and one value, none of them empty
    line 4: MachineOf "x" is not a unit name: unit name must contain ".". Give full unit names separated by blanks; patterns are not possible here
    line 4: unresolvable requirements: peer "y.service" matches conflict "y*". Remove it from MachineOf or from Conflicts
    line 5: Conflicts "[" is not a valid pattern: "[" without "]". Patterns have *, ?, [a-z], [^a-z] and \ before a literal
    line 6: Global "maybe" is neither true nor false. Write true or false
    "#
    );
}

#[test]
fn values_are_limited_in_number_and_length() {
    let full = vec!["a*"; MAX_VALUES_PER_OPTION].join(" ");
    check(&format!("Conflicts={full}"), "conflicts=a*");
    check(
        &format!("Conflicts={full} b* c*\nConflicts=d*"),
        "line 2: Conflicts has more than 128 values. Use a pattern, or metadata that several machines share",
    );
    check(
        &format!("MachineMetadata=k={}", "%n".repeat(2000)),
        "line 2: a value of MachineMetadata is longer than 4096 bytes once specifiers are expanded. Shorten it",
    );
}

#[test]
fn a_submission_is_checked_as_a_whole() {
    let submit = |name: &str, raw: &str| {
        let name = UnitName::parse(name).expect("valid");
        let file = UnitFile::parse(raw).expect("valid");
        check_submission(&name, &file)
            .map(|requirements| show(&requirements))
            .map_err(|e| e.to_string())
    };
    assert_eq!(
        submit(
            "a.service",
            "[Service]\nExecStart=/bin/a\n[X-Fleet]\nGlobal=1"
        ),
        Ok("global".into())
    );
    let errors = submit("a.target", "# nothing\n").expect_err("wrong type, and empty");
    assert!(
        errors.starts_with("units of type \"target\" cannot be run by fleet; use service"),
        "{errors}"
    );
    assert!(errors.ends_with("unit file has no options. Add at least a section with one option, for example [Service] and ExecStart="), "{errors}");
    let errors =
        submit("a.swap", "[X-Fleet]\nGlobal=x").expect_err("wrong type, and not a boolean");
    assert_eq!(errors.lines().count(), 2, "{errors}");
}
