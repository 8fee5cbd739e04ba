//! PURE. Expands the specifiers of `[X-Fleet]` values from the unit's own name.
//!
//! `%n` is the full name, `%N` the name without its suffix, `%p` the prefix, `%i` the instance (empty if
//! there is none). Replacement is plain and one after the other in this order, as in fleet 1.0: there is
//! no `%%`, and other specifiers stay as they are. systemd expands its own in the other sections.

use crate::UnitName;

/// `text` with its specifiers replaced.
pub fn expand_specifiers(text: &str, name: &UnitName) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    text.replace("%n", name.as_str())
        .replace("%N", name.without_suffix())
        .replace("%p", name.prefix())
        .replace("%i", name.instance().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &str) {
        let name = UnitName::parse(name)
            .or_else(|_| UnitName::from_user(name))
            .unwrap();
        assert_eq!(expand_specifiers(text, &name), expected);
    }

    #[test]
    fn specifiers_come_from_the_name() {
        check(
            "foo@bar.service",
            "%n %N %p %i",
            "foo@bar.service foo@bar foo bar",
        );
        check("foo.service", "%n|%N|%p|%i|", "foo.service|foo|foo||");
        check("foo.1@2.service", "%p-%i", "foo.1-2");
        check("a@b@c.service", "%p %i", "a b@c");
    }

    #[test]
    fn other_specifiers_and_percent_signs_stay() {
        check("foo@bar.service", "%H 50% %", "%H 50% %");
        // Plain text replacement: there is no escape, so the second `%` of `%%i` begins a specifier.
        check("foo@bar.service", "%%i", "%bar");
    }
}
