//! PURE. Reads the options of `[X-Fleet]` that say how units are spread and what they need: `Spread=`, `Prefers=`,
//! `Weight=`, `Memory=`, `CPU=`, `Resources=`, `MaxPerMachine=`, `Sticky=`.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, excerpt};
use crate::limits::MAX_WEIGHT;
use crate::quantity::{parse_bytes, parse_count, parse_milli};
use crate::x_fleet::XFleetKey;
use crate::x_fleet_reader::{Located, Occurrence, Reader};
use crate::{Demand, Preference, Requirements, Weight};

impl Reader<'_> {
    /// What these options demand; everything else is as if nothing were demanded.
    pub(crate) fn placement<'t>(
        &mut self,
        get: impl Fn(XFleetKey) -> &'t [Occurrence],
        global: bool,
    ) -> Requirements {
        let number = "a whole number from 1 to 1000";
        let weight = self.value(
            XFleetKey::Weight,
            get(XFleetKey::Weight),
            number,
            parse_weight,
        );
        let most = get(XFleetKey::MaxPerMachine);
        let max_per_machine = self.value(XFleetKey::MaxPerMachine, most, number, parse_weight);
        if let Some(first) = most.first()
            && !self.name.is_instance()
            && !self.name.is_template()
        {
            let hint = "Name the unit like web@1.service, or remove the option";
            self.error(first.line, ErrorKind::NoSiblings, hint);
        }
        let texts = get(XFleetKey::Sticky);
        let mut sticky = self.truth(XFleetKey::Sticky, texts);
        if sticky && global {
            let line = texts.last().map_or(0, |last| last.line);
            let hint =
                "Remove one: a global unit is on every machine and has none of its own to wait for";
            self.error(line, ErrorKind::StickyAndGlobal, hint);
            sticky = false;
        }
        Requirements {
            spread: self.value(
                XFleetKey::Spread,
                get(XFleetKey::Spread),
                "one metadata key, such as zone",
                parse_key,
            ),
            prefers: self.prefers(get(XFleetKey::Prefers)),
            weight: weight.map_or_else(Weight::default, Weight),
            demand: self.demand(&get),
            max_per_machine,
            sticky,
            ..Requirements::default()
        }
    }

    fn demand<'t>(&mut self, get: &impl Fn(XFleetKey) -> &'t [Occurrence]) -> Demand {
        let memory = "an amount of memory, such as 512M or 4G";
        let cpu = "a number of processors, such as 2, 0.5 or 250m";
        Demand {
            memory_bytes: self
                .value(
                    XFleetKey::Memory,
                    get(XFleetKey::Memory),
                    memory,
                    parse_bytes,
                )
                .unwrap_or(0),
            cpu_milli: self
                .value(XFleetKey::Cpu, get(XFleetKey::Cpu), cpu, parse_milli)
                .unwrap_or(0),
            counted: self.counted(get(XFleetKey::Resources)),
        }
    }

    fn counted(&mut self, texts: &[Occurrence]) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for Located { line, value } in self.words(XFleetKey::Resources, texts) {
            let parsed = value
                .split_once('=')
                .filter(|(name, _)| parse_key(name).is_some())
                .and_then(|(name, count)| Some((name, parse_count(count)?)));
            match parsed {
                Some((_, 0)) => {}
                Some((name, count)) => {
                    counted.insert(name.to_owned(), count);
                }
                None => {
                    let expected = "of the form name=count, such as gpu=1";
                    self.invalid(XFleetKey::Resources, line, &value, expected);
                }
            }
        }
        counted
    }

    fn prefers(&mut self, texts: &[Occurrence]) -> Vec<Preference> {
        let mut preferences: Vec<Preference> = Vec::new();
        for Located { line, value } in self.metadata_texts(XFleetKey::Prefers, texts) {
            // A key may hold a colon; only digits before one are a weight.
            let weighed = value
                .split_once(':')
                .filter(|(weight, _)| weight.bytes().all(|byte| byte.is_ascii_digit()));
            let (weight, text) = match weighed {
                Some((weight, text)) => (parse_weight(weight), text),
                None => (Some(1), value.as_str()),
            };
            let Some(weight) = weight else {
                let expected = "preceded by a weight from 1 to 1000, as in 10:disk=ssd";
                self.invalid(XFleetKey::Prefers, line, &value, expected);
                continue;
            };
            let term = self.metadata_term(XFleetKey::Prefers, line, text);
            preferences.extend(term.map(|term| Preference { weight, term }));
        }
        preferences
    }

    /// The last value of an option that takes one, read by `parse`.
    pub(crate) fn value<T>(
        &mut self,
        key: XFleetKey,
        texts: &[Occurrence],
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let last = texts.last()?;
        let text = match last
            .text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
        {
            Some(quoted) => quoted,
            None => last.text.as_str(),
        };
        let value = self.expand(key, last.line, text.trim())?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.invalid(key, last.line, &value, expected);
        }
        parsed
    }

    fn invalid(&mut self, key: XFleetKey, line: u32, value: &str, expected: &'static str) {
        let kind = ErrorKind::InvalidValue {
            option: key.option().name,
            value: excerpt(value),
            expected,
        };
        self.error(line, kind, "Correct or remove it");
    }
}

fn parse_weight(text: &str) -> Option<u32> {
    let weight = u32::try_from(parse_count(text)?).ok()?;
    (1..=MAX_WEIGHT).contains(&weight).then_some(weight)
}

fn parse_key(text: &str) -> Option<String> {
    let is_key = !text.is_empty()
        && !text.contains(|character: char| {
            character.is_whitespace() || "=!<>~?\",".contains(character)
        });
    is_key.then(|| text.to_owned())
}
