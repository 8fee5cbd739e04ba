//! Which machines a unit may be on: `MachineID=` and `MachineMetadata=`.

use std::collections::BTreeMap;

use unitfile::{Requirements, UnitFile, UnitName};

use crate::verdict::{check, stored, submit};

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
        "line 2: MachineID \"123 456\" can never match: machine ids have 1 to 64 characters of 0-9 A-Z a-z _ . -. \
         Give one id, as list-machines --full shows it",
    );
    check("MachineID=8f3a...", "id=\"8f3a...\"");
    check(
        "MachineID=8f3a*",
        "line 2: MachineID \"8f3a*\" can never match: machine ids have 1 to 64 characters of 0-9 A-Z a-z _ . -. \
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
