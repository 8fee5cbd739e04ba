//! Other units: `MachineOf=`, `Conflicts=`, `Replaces=`, `Global=`.

use crate::verdict::{check, stored};

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
