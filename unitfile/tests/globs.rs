//! Patterns, against a table of Go's answers and against a slow, obviously right matcher.

use proptest::prelude::*;
use unitfile::{Glob, GlobError};

#[track_caller]
fn check(pattern: &str, name: &str, expected: bool) {
    let answer = Glob::parse(pattern).map(|glob| glob.matches(name));
    assert_eq!(answer, Ok(expected), "{pattern} on {name}");
}

#[test]
fn patterns_match_as_in_go() {
    check("foo@*.service", "foo@12.service", true);
    check("foo@[abc].service", "foo@a.service", true);
    check("foo@?.service", "foo@1.service", true);
    check("foo@?.service", "foo@12.service", false);
    check("", "", true);
    check("", "a", false);
    check("abc", "abc", true);
    check("*", "abc", true);
    check("*", "", true);
    check("*c", "abc", true);
    check("a*", "a", true);
    check("a*", "ab/c", false);
    check("a*/b", "abc/b", true);
    check("a*/b", "a/c/b", false);
    check("a*b*c*d*e*/f", "axbxcxdxe/f", true);
    check("a*b*c*d*e*/f", "axbxcxdxexxx/f", true);
    check("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false);
    check("a*b?c*x", "abxbbxdbxebxczzx", true);
    check("a*b?c*x", "abxbbxdbxebxczzy", false);
    check("ab[c]", "abc", true);
    check("ab[b-d]", "abc", true);
    check("ab[e-g]", "abc", false);
    check("ab[^c]", "abc", false);
    check("ab[^b-d]", "abc", false);
    check("ab[^e-g]", "abc", true);
    check("a\\*b", "a*b", true);
    check("a\\*b", "ab", false);
    check("a?b", "a☺b", true);
    check("a[^a]b", "a☺b", true);
    check("a???b", "a☺b", false);
    check("[a-ζ]*", "α", true);
    check("*[a-ζ]", "A", false);
    check("a?b", "a/b", false);
    check("a*b", "a/b", false);
    check("[\\]a]", "]", true);
    check("[\\-]", "-", true);
    check("[x\\-]", "x", true);
    check("[x\\-]", "-", true);
    check("[x\\-]", "z", false);
    check("[\\-x]", "a", false);
    check("[[]", "[", true);
    check("a]b", "a]b", true);
    check("*x", "xxx", true);
    // Go takes the leftmost place of each piece and a class may take the slash that a star may not cross.
    check("*[^x]*c", "ab/c", false);
    check("[^x]c", "/c", true);
    check("[!a]", "!", true);
    check("[!a]", "b", false);
}

#[test]
fn malformed_patterns_are_refused() {
    for (pattern, error) in [
        ("[]a]", GlobError::EmptyClass),
        ("[]", GlobError::EmptyClass),
        ("[^]", GlobError::EmptyClass),
        ("[-]", GlobError::IncompleteRange),
        ("[x-]", GlobError::IncompleteRange),
        ("[-x]", GlobError::IncompleteRange),
        ("[a-b-c]", GlobError::IncompleteRange),
        ("[", GlobError::UnclosedClass),
        ("[^", GlobError::UnclosedClass),
        ("[^bc", GlobError::UnclosedClass),
        ("a[", GlobError::UnclosedClass),
        ("[a\\]", GlobError::UnclosedClass),
        ("\\", GlobError::TrailingBackslash),
        ("a*\\", GlobError::TrailingBackslash),
        ("[a\\", GlobError::TrailingBackslash),
    ] {
        assert_eq!(Glob::parse(pattern).expect_err(pattern), error, "{pattern}");
    }
    assert!(Glob::parse(&"a".repeat(unitfile::MAX_PATTERN_BYTES)).is_ok());
    assert_eq!(
        Glob::parse(&"a".repeat(unitfile::MAX_PATTERN_BYTES + 1)),
        Err(GlobError::TooLong)
    );
}

#[test]
fn the_fixed_part_of_a_pattern_is_known() {
    #[track_caller]
    fn check(pattern: &str, prefix: &str, literal: Option<&str>) {
        let glob = Glob::parse(pattern).expect(pattern);
        assert_eq!(glob.literal_prefix(), prefix, "{pattern}");
        assert_eq!(glob.literal().as_deref(), literal, "{pattern}");
    }
    check("web@*.service", "web@", None);
    check("web.service", "web.service", Some("web.service"));
    check("a\\*b", "a*b", Some("a*b"));
    check("*", "", None);
    check("we?b", "we", None);
    check("", "", Some(""));
    assert_eq!(
        Glob::parse("a,b*").expect("valid").impossible_char(),
        Some(',')
    );
    assert_eq!(
        Glob::parse("a[,]b*").expect("valid").impossible_char(),
        None
    );
}

#[test]
fn many_stars_do_not_explode() {
    // A matcher that tries every split would need about 10^40 steps here.
    let pattern = format!("{}b", "a*".repeat(100));
    check(&pattern, &"a".repeat(256), false);
    check(&pattern, &format!("{}b", "a".repeat(255)), true);
}

/// One element of a pattern, from which both its text and its meaning follow.
#[derive(Debug, Clone)]
enum Piece {
    Star,
    Any,
    Literal(char),
    Escaped(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn text_of(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Star => text.push('*'),
            Piece::Any => text.push('?'),
            Piece::Literal(c) => text.push(*c),
            Piece::Escaped(c) => text.extend(['\\', *c]),
            Piece::Class { negated, ranges } => {
                text.push_str(if *negated { "[^" } else { "[" });
                for (low, high) in ranges {
                    text.extend([*low, '-', *high]);
                }
                text.push(']');
            }
        }
    }
    text
}

/// Tries every split at every star.
fn brute_force(pieces: &[Piece], name: &[char]) -> bool {
    let Some((piece, pieces)) = pieces.split_first() else {
        return name.is_empty();
    };
    if let Piece::Star = piece {
        return (0..=name.len()).any(|taken| brute_force(pieces, &name[taken..]));
    }
    let Some((character, rest)) = name.split_first() else {
        return false;
    };
    let fits = match piece {
        Piece::Star | Piece::Any => true,
        Piece::Literal(c) | Piece::Escaped(c) => c == character,
        Piece::Class { negated, ranges } => {
            ranges
                .iter()
                .any(|(low, high)| low <= character && character <= high)
                != *negated
        }
    };
    fits && brute_force(pieces, rest)
}

fn piece() -> impl Strategy<Value = Piece> {
    let letter = || prop::sample::select(vec!['a', 'b', 'c', '.', '@']);
    let special = prop::sample::select(vec!['*', '?', '[', '\\', '-', 'a', ']']);
    prop_oneof![
        3 => Just(Piece::Star),
        1 => Just(Piece::Any),
        5 => letter().prop_map(Piece::Literal),
        1 => special.prop_map(Piece::Escaped),
        1 => (any::<bool>(), prop::collection::vec((letter(), letter()), 1..3))
            .prop_map(|(negated, ranges)| Piece::Class { negated, ranges }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn matching_agrees_with_brute_force(
        pieces in prop::collection::vec(piece(), 0..8),
        name in r"[abc.@*\[\\?-]{0,10}",
    ) {
        let pattern = text_of(&pieces);
        let name_chars: Vec<char> = name.chars().collect();
        let glob = Glob::parse(&pattern).expect("generated patterns are well-formed");
        prop_assert_eq!(glob.matches(&name), brute_force(&pieces, &name_chars), "{} on {}", pattern, name);
        if glob.matches(&name) {
            prop_assert!(name.starts_with(&glob.literal_prefix()));
        }
    }

    #[test]
    fn names_built_from_a_pattern_match_it(
        parts in prop::collection::vec(("[ab.@]{0,3}", "[ab.@]{0,3}"), 1..6),
    ) {
        // Each part is a literal and what a star behind it is to take.
        let pattern: String = parts.iter().map(|(literal, _)| format!("{literal}*")).collect();
        let name: String = parts.iter().map(|(literal, taken)| format!("{literal}{taken}")).collect();
        prop_assert!(Glob::parse(&pattern).expect("well-formed").matches(&name), "{} on {}", pattern, name);
    }

    #[test]
    fn no_text_makes_the_parser_panic(pattern in any::<String>(), name in any::<String>()) {
        if let Ok(glob) = Glob::parse(&pattern) {
            glob.matches(&name);
            prop_assert_eq!(glob.to_string(), pattern);
        }
    }
}
