//! Unit names: the rules with their texts, the parts of a name, and what a user may type.

use proptest::prelude::*;
use unitfile::{NameError, UnitName, UnitType};

#[test]
fn bad_names_are_refused_in_the_ancestors_words() {
    let long = format!("{}.service", "a".repeat(249));
    for (name, text) in [
        ("", "unit name cannot be empty"),
        (long.as_str(), "unit name exceeds maximum length (256)"),
        ("fooservice", "unit name must contain \".\""),
        ("foo.service.", "unit name cannot end in \".\""),
        ("foo.servICE", "invalid unit type: \"servICE\""),
        ("foo.1", "invalid unit type: \"1\""),
        ("foo@1.mount", "invalid unit type for template: \"mount\""),
        ("foo@.slice", "invalid unit type for template: \"slice\""),
        ("foo%.service", "invalid character '%' in unit name"),
        ("yes/no.service", "invalid character '/' in unit name"),
        ("föö.service", "invalid character 'ö' in unit name"),
        ("a b.service", "invalid character ' ' in unit name"),
        ("a\0.service", "invalid character '\0' in unit name"),
        ("@foo.service", "unit name cannot start in \"@\""),
        // Two rules broken: the first in the order of the reference is the one that is told.
        ("@%.service", "invalid character '%' in unit name"),
    ] {
        let error = UnitName::parse(name).expect_err(name);
        assert_eq!(error.to_string(), text, "{name}");
    }
}

#[test]
fn good_names_are_accepted() {
    let longest = format!("{}.service", "a".repeat(248));
    assert_eq!(longest.len(), 256);
    let names = [
        "yes@no\\.service",
        "hello:world.service",
        "yo.yo.service",
        "foo@.service",
        "hello@world.path",
        "a@b.target",
        "-.mount",
        longest.as_str(),
    ];
    for name in names {
        assert_eq!(UnitName::parse(name).expect(name).to_string(), name);
    }
}

#[test]
fn a_name_has_parts() {
    type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);
    #[track_caller]
    fn check(name: &str, (stem, prefix, instance, template): Parts<'_>) {
        let name = UnitName::parse(name).expect(name);
        assert_eq!(name.without_suffix(), stem);
        assert_eq!(name.prefix(), prefix);
        assert_eq!(name.instance(), instance);
        assert_eq!(name.template().as_ref().map(UnitName::as_str), template);
        assert_eq!(name.is_instance(), instance.is_some());
        let of = UnitName::parse("foo@.socket").expect("valid");
        assert_eq!(name.is_instance_of(&of), name.template() == Some(of));
    }
    check("foo.service", ("foo", "foo", None, None));
    check("foo@.service", ("foo@", "foo", None, None));
    check(
        "foo@bar.socket",
        ("foo@bar", "foo", Some("bar"), Some("foo@.socket")),
    );
    check(
        "foo.1@2.service",
        ("foo.1@2", "foo.1", Some("2"), Some("foo.1@.service")),
    );
    check(
        "foo@bar@baz.service",
        ("foo@bar@baz", "foo", Some("bar@baz"), Some("foo@.service")),
    );
    check(
        "foo@@.service",
        ("foo@@", "foo", Some("@"), Some("foo@.service")),
    );
    check("a.b.timer", ("a.b", "a.b", None, None));
    assert!(
        UnitName::parse("foo@.service")
            .expect("valid")
            .is_template()
    );
    assert!(
        !UnitName::parse("foo@1.service")
            .expect("valid")
            .is_template()
    );
    assert!(!UnitName::parse("foo.service").expect("valid").is_template());
}

#[test]
fn users_may_leave_out_the_suffix_and_put_a_directory_before() {
    for (text, name) in [
        ("foo", "foo.service"),
        ("foo.1", "foo.1.service"),
        ("foo.target", "foo.target.service"),
        ("foo.service", "foo.service"),
        ("foo/bar.socket", "bar.socket"),
        ("./units/hello", "hello.service"),
        ("/a.b/c@1", "c@1.service"),
        ("x.automount", "x.automount"),
    ] {
        assert_eq!(UnitName::from_user(text).expect(text).as_str(), name);
    }
    assert_eq!(UnitName::from_user(""), Err(NameError::Empty));
    assert_eq!(UnitName::from_user("units/"), Err(NameError::Empty));
    assert!(UnitName::from_user("föö").is_err());
}

#[test]
fn only_seven_types_run() {
    let runnable: Vec<&str> = UnitType::ALL
        .into_iter()
        .filter(|t| t.is_recognized())
        .map(UnitType::as_str)
        .collect();
    assert_eq!(
        runnable,
        [
            "automount",
            "device",
            "mount",
            "path",
            "service",
            "socket",
            "timer"
        ]
    );

    let check = |name: &str| UnitName::parse(name).expect(name).check_runnable();
    assert_eq!(check("a.service"), Ok(()));
    assert_eq!(check("a@.timer"), Ok(()));
    let error = check("a.target")
        .expect_err("a target cannot be submitted")
        .to_string();
    assert!(
        error.starts_with("units of type \"target\" cannot be run by fleet; use service"),
        "{error}"
    );
    let longest = format!("{}.service", "a".repeat(248));
    assert_eq!(check(&longest), Err(NameError::TooLongToRun { bytes: 256 }));
    assert_eq!(check(&longest[1..]), Ok(()));
    assert_eq!(check(".service"), Err(NameError::NothingBeforeDot));
}

#[test]
fn a_template_is_instantiated() {
    let template = UnitName::parse("web@.service").expect("valid");
    assert_eq!(
        template.with_instance("a.b").expect("valid").as_str(),
        "web@a.b.service"
    );
    assert!(template.with_instance("").is_err());
    assert!(template.with_instance("a/b").is_err());
    assert!(
        UnitName::parse("web.service")
            .expect("valid")
            .with_instance("1")
            .is_err()
    );
    assert!(
        UnitName::parse("web@1.service")
            .expect("valid")
            .with_instance("1")
            .is_err()
    );
}

proptest! {
    #[test]
    fn a_name_is_the_sum_of_its_parts(text in r"[a-c:\\.@_-]{0,12}\.(service|mount|socket|target)") {
        let Ok(name) = UnitName::parse(&text) else { return Ok(()) };
        prop_assert_eq!(name.as_str(), &text);
        let joined = match (name.instance(), name.is_template()) {
            (Some(instance), _) => format!("{}@{instance}.{}", name.prefix(), name.unit_type()),
            (None, true) => format!("{}@.{}", name.prefix(), name.unit_type()),
            (None, false) => format!("{}.{}", name.prefix(), name.unit_type()),
        };
        prop_assert_eq!(joined, text);
        if let Some(instance) = name.instance() {
            let template = name.template().expect("an instance has a template");
            prop_assert!(template.is_template());
            prop_assert_eq!(template.with_instance(instance), Ok(name));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        if let Ok(name) = UnitName::parse(&text) {
            prop_assert_eq!(name.as_str(), &text);
        }
        if let Ok(name) = UnitName::from_user(&text) {
            prop_assert!(name.unit_type().is_recognized());
        }
    }
}
