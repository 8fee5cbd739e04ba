//! PURE. One demand on a machine's metadata: a key and what its value must be. Reads it, writes it and applies it.

use std::fmt;

use crate::Glob;

/// How a number in metadata is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A decimal number with at most 15 digits before and 6 behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

/// What the value of a key must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataTest {
    /// One of these values (`=`, `in`), or anything that matches one of these patterns (`~`).
    OneOf {
        /// The values, in the order of the file.
        values: Vec<String>,
        /// The patterns, in the order of the file.
        patterns: Vec<Glob>,
    },
    /// Anything else than this value (`!=`); a machine without the key will do.
    Not(String),
    /// A number of which this holds.
    Number(Comparison, Decimal),
    /// Any value (`key?`).
    Exists,
}

/// One key of a machine's metadata and what its value must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataTerm {
    /// The key.
    pub key: String,
    /// What its value must be.
    pub test: MetadataTest,
}

/// What is wrong with a text that should be a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotATerm {
    pub(crate) reason: String,
    pub(crate) hint: &'static str,
}

impl Decimal {
    const FRACTION_DIGITS: usize = 6;
    const WHOLE_DIGITS_MAX: usize = 15;

    /// Reads a number such as `8`, `-1` or `2.5`; none if the text is no such number.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str, max| {
            (1..=max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !plain(whole, Self::WHOLE_DIGITS_MAX) || !plain(fraction, Self::FRACTION_DIGITS) {
            return None;
        }
        let all: i128 = format!("{whole}{fraction:0<6}").parse().ok()?;
        Some(Decimal(sign * all))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.abs() / 1_000_000, self.0.abs() % 1_000_000);
        let fraction = format!("{fraction:06}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

impl Comparison {
    /// The operator, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    fn holds(self, left: Decimal, right: Decimal) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }
}

impl MetadataTest {
    /// Whether a value will do; `None` is a machine that has no such key.
    pub fn allows(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (MetadataTest::Not(unwanted), value) => value != Some(unwanted),
            (
                MetadataTest::OneOf { .. } | MetadataTest::Number(..) | MetadataTest::Exists,
                None,
            ) => false,
            (MetadataTest::OneOf { values, patterns }, Some(value)) => {
                values.iter().any(|wanted| wanted == value)
                    || patterns.iter().any(|pattern| pattern.matches(value))
            }
            (MetadataTest::Number(comparison, limit), Some(value)) => {
                Decimal::parse(value).is_some_and(|value| comparison.holds(value, *limit))
            }
            (MetadataTest::Exists, Some(_)) => true,
        }
    }
}

impl MetadataTerm {
    /// Whether a machine fits whose metadata has `value` for the key of this term.
    pub fn allows(&self, value: Option<&str>) -> bool {
        self.test.allows(value)
    }

    /// Reads one term: `disk=ssd`, `disk!=hdd`, `cores>=8`, `host~web-*`, `zone in a,b`, `gpu?`.
    pub(crate) fn parse(text: &str) -> Result<MetadataTerm, NotATerm> {
        let malformed = || NotATerm {
            reason: "is not of the form key=value".to_owned(),
            hint: "Write one key, one \"=\" and one value, none of them empty",
        };
        let Some(at) = text.find(['=', '!', '<', '>', '~']) else {
            return parse_word(text).ok_or_else(malformed);
        };
        let (key, rest) = text.split_at(at);
        let two = ["!=", "<=", ">="]
            .into_iter()
            .find(|two| rest.starts_with(two));
        let operator = two.unwrap_or(&rest[..1]);
        let value = &rest[operator.len()..];
        if key.is_empty() || value.is_empty() || value.contains('=') {
            return Err(malformed());
        }
        let number = |comparison| match Decimal::parse(value) {
            Some(limit) => Ok(MetadataTest::Number(comparison, limit)),
            None => Err(NotATerm {
                reason: format!("compares with \"{value}\", which is not a number"),
                hint: "Write a number such as 8, -1 or 2.5",
            }),
        };
        let test = match operator {
            "=" => one_of(vec![value.to_owned()]),
            "!=" => MetadataTest::Not(value.to_owned()),
            "<" => number(Comparison::Less)?,
            "<=" => number(Comparison::LessOrEqual)?,
            ">" => number(Comparison::Greater)?,
            ">=" => number(Comparison::GreaterOrEqual)?,
            "~" => match Glob::parse(value) {
                Ok(pattern) => MetadataTest::OneOf {
                    values: Vec::new(),
                    patterns: vec![pattern],
                },
                Err(error) => {
                    return Err(NotATerm {
                        reason: format!("has a malformed pattern: {error}"),
                        hint: "Patterns have *, ?, [a-z], [^a-z] and \\ before a literal",
                    });
                }
            },
            _ => return Err(malformed()),
        };
        Ok(MetadataTerm {
            key: key.to_owned(),
            test,
        })
    }
}

fn one_of(values: Vec<String>) -> MetadataTest {
    MetadataTest::OneOf {
        values,
        patterns: Vec::new(),
    }
}

/// The forms without a sign: `key in a,b` and `key?`.
fn parse_word(text: &str) -> Option<MetadataTerm> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (key, test) = match words[..] {
        [key, "in", values] => {
            let values: Vec<String> = values.split(',').map(str::to_owned).collect();
            if values.iter().any(String::is_empty) {
                return None;
            }
            (key, one_of(values))
        }
        [word] => (word.strip_suffix('?')?, MetadataTest::Exists),
        _ => return None,
    };
    (!key.is_empty() && !key.ends_with('?')).then(|| MetadataTerm {
        key: key.to_owned(),
        test,
    })
}

/// Of several terms for one key: `=`, `in` and `~` are alternatives, as in fleet 1.0; everything else must hold besides.
/// Ordered by key, each demand once.
pub(crate) fn combine(terms: Vec<MetadataTerm>) -> Vec<MetadataTerm> {
    let mut combined: Vec<MetadataTerm> = Vec::new();
    for term in terms {
        let MetadataTest::OneOf { values, patterns } = &term.test else {
            combined.push(term);
            continue;
        };
        let known = combined.iter_mut().find_map(|known| match &mut known.test {
            MetadataTest::OneOf { values, patterns } if known.key == term.key => {
                Some((values, patterns))
            }
            MetadataTest::OneOf { .. }
            | MetadataTest::Not(_)
            | MetadataTest::Number(..)
            | MetadataTest::Exists => None,
        });
        match known {
            Some((all_values, all_patterns)) => {
                add(all_values, values);
                add(all_patterns, patterns);
            }
            None => {
                let (mut once, mut patterns_once) = (Vec::new(), Vec::new());
                add(&mut once, values);
                add(&mut patterns_once, patterns);
                let test = MetadataTest::OneOf {
                    values: once,
                    patterns: patterns_once,
                };
                combined.push(MetadataTerm { test, ..term });
            }
        }
    }
    // The order among the terms of one key stays that of the file only for what is alternative.
    combined.sort_by(|one, other| {
        one.key
            .cmp(&other.key)
            .then_with(|| one.test.cmp(&other.test))
    });
    combined.dedup();
    combined
}

fn add<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

/// A key of which no value can satisfy all of these terms, which are in order of their keys, as far as that can be seen.
pub fn contradicting_key(terms: &[MetadataTerm]) -> Option<&str> {
    terms
        .chunk_by(|one, other| one.key == other.key)
        .find(|of_key| contradict(of_key))
        .map(|of_key| of_key[0].key.as_str())
}

fn contradict(of_key: &[MetadataTerm]) -> bool {
    let all = |value: &str| of_key.iter().all(|term| term.allows(Some(value)));
    let mut exact: Option<&[String]> = None;
    let mut least: Option<(Decimal, bool)> = None;
    let mut most: Option<(Decimal, bool)> = None;
    for term in of_key {
        match &term.test {
            MetadataTest::OneOf { values, patterns } if patterns.is_empty() => exact = Some(values),
            MetadataTest::OneOf { .. } | MetadataTest::Not(_) | MetadataTest::Exists => {}
            // The second is true if the limit itself is excluded.
            MetadataTest::Number(comparison, limit) => match comparison {
                Comparison::Greater => least = least.max(Some((*limit, true))),
                Comparison::GreaterOrEqual => least = least.max(Some((*limit, false))),
                Comparison::Less => most = lower(most, (*limit, true)),
                Comparison::LessOrEqual => most = lower(most, (*limit, false)),
            },
        }
    }
    if let Some(values) = exact {
        return !values.iter().any(|value| all(value));
    }
    match (least, most) {
        (Some((least, open)), Some((most, also_open))) => {
            least > most || least == most && (open || also_open)
        }
        (Some(_), None) | (None, Some(_) | None) => false,
    }
}

fn lower(known: Option<(Decimal, bool)>, limit: (Decimal, bool)) -> Option<(Decimal, bool)> {
    match known {
        Some(known) if known.0 < limit.0 || known.0 == limit.0 && known.1 => Some(known),
        Some(_) | None => Some(limit),
    }
}

impl fmt::Display for MetadataTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            MetadataTest::OneOf { values, patterns } => {
                let values = values.iter().map(|value| format!("{key}={value}"));
                let patterns = patterns.iter().map(|pattern| format!("{key}~{pattern}"));
                let all: Vec<String> = values.chain(patterns).collect();
                f.write_str(&all.join(" or "))
            }
            MetadataTest::Not(value) => write!(f, "{key}!={value}"),
            MetadataTest::Number(comparison, limit) => {
                write!(f, "{key}{}{limit}", comparison.as_str())
            }
            MetadataTest::Exists => write!(f, "{key}?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers_and_print_as_written() {
        let parse = |text| Decimal::parse(text).unwrap();
        assert!(parse("9") < parse("10"));
        assert!(parse("-2") < parse("-1.5"));
        assert!(parse("0.5") == parse("0.500"));
        for text in ["0", "8", "-1", "2.5", "-0.25", "123456789012345.000001"] {
            assert_eq!(parse(text).to_string(), text);
        }
        for text in [
            "",
            "-",
            ".5",
            "1.",
            "1e3",
            "+1",
            "0x10",
            "1234567890123456",
            "1 ",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_operator_holds_where_it_should() {
        #[track_caller]
        fn check(term: &str, holds: &[&str], fails: &[&str], without_key: bool) {
            let term = MetadataTerm::parse(term).unwrap();
            for value in holds {
                assert!(term.allows(Some(value)), "{term} {value}");
            }
            for value in fails {
                assert!(!term.allows(Some(value)), "{term} {value}");
            }
            assert_eq!(term.allows(None), without_key, "{term}");
        }
        check("k=a", &["a"], &["b", ""], false);
        check("k!=a", &["b", ""], &["a"], true);
        check("k<10", &["9", "-3", "9.99"], &["10", "11", "few"], false);
        check("k<=10", &["10"], &["10.1"], false);
        check("k>10", &["11", "100"], &["10", "9"], false);
        check("k>=10", &["10"], &["9.9", ""], false);
        check("k in a,b", &["a", "b"], &["c", "a,b"], false);
        check("k~web-*", &["web-1", "web-"], &["web", "db-1"], false);
        check("k?", &["", "x"], &[], false);
    }
}
