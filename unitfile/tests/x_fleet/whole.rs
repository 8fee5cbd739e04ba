//! The section as a whole: unknown options, contradictions, limits, and what a template is checked for.

use unitfile::{MAX_VALUES_PER_OPTION, Requirements, UnitFile, UnitName, check_submission};

use crate::verdict::{check, show, stored, submit, submit_as};

#[test]
fn nothing_is_demanded_by_default() {
    check("", "");
    let file = UnitFile::parse("[Service]\nGlobal=true\nMachineID=x\n").expect("valid");
    let name = UnitName::parse("a.service").expect("valid");
    assert_eq!(Requirements::of(&name, &file), Ok(Requirements::default()));
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
    check(
        "Global=yes\nSticky=yes",
        "line 3: Sticky contradicts Global. Remove one: a global unit is on every machine and has none of its own to wait for",
    );
    check("Global=no\nSticky=yes", "sticky");
    assert_eq!(stored("Sticky=yes\nGlobal=yes"), ("global".to_owned(), 1));
}

#[test]
fn counted_resources_must_be_allowed_by_the_metadata_asked_for() {
    let hint = "Ask for less of it, or change MachineMetadata";
    for terms in ["gpu=1", "gpu<2", "gpu=none", "gpu=1 gpu=0"] {
        check(
            &format!("MachineMetadata={terms}\nResources=gpu=2"),
            &format!(
                "line 3: unresolvable requirements: no machine that MachineMetadata allows has gpu=2. {hint}"
            ),
        );
    }
    for terms in ["gpu=2", "gpu>1", "gpu=1 gpu=4", "gpu?", "gpu!=2", "cpu<2"] {
        assert!(
            !submit(&format!("MachineMetadata={terms}\nResources=gpu=2")).contains(hint),
            "{terms}"
        );
    }
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
