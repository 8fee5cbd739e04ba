//! PURE. Reads `[X-Fleet]` into [`Requirements`], and says what in it is wrong.
//!
//! Refused is what says nothing (an unknown option, a malformed value) and what no machine could ever
//! satisfy. Every reading yields requirements and errors; whether an error counts is the caller's choice.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, excerpt};
use crate::limits::{MAX_MACHINE_ID_BYTES, MAX_VALUE_BYTES, MAX_VALUES_PER_OPTION};
use crate::metadata::{NotATerm, combine};
use crate::x_fleet::{
    X_FLEET, X_FLEET_OPTIONS, XFleetKey, find_option, is_misspelt_section, nearest_option,
    parse_truth, split_quoted,
};
use crate::{Glob, MetadataTerm, Requirements, UnitFile, UnitName, UnitOption, expand_specifiers};

/// A value and the line on which it stands.
pub(crate) struct Located<T> {
    pub(crate) line: u32,
    pub(crate) value: T,
}

/// What `[X-Fleet]` of `file` demands under this name, and everything that is wrong with it.
pub(crate) fn read(name: &UnitName, file: &UnitFile) -> (Requirements, Vec<Error>) {
    let mut reader = Reader {
        name,
        errors: Vec::new(),
    };
    let texts = reader.collect(file);
    let get = |key| texts.get(&key).map_or(&[][..], Vec::as_slice);
    let machine_id = reader.machine_id(get(XFleetKey::MachineId));
    let metadata = reader.metadata(get(XFleetKey::MachineMetadata));
    let machine_of = reader.machine_of(get(XFleetKey::MachineOf));
    let conflicts = reader.patterns(XFleetKey::Conflicts, get(XFleetKey::Conflicts));
    let replaces = reader.patterns(XFleetKey::Replaces, get(XFleetKey::Replaces));
    let global = reader.truth(XFleetKey::Global, get(XFleetKey::Global));
    let placement = reader.placement(get, global);
    let policy = reader.policy(get, global);
    reader.check_names(&machine_of, &conflicts, &replaces);
    reader.check_counted(get(XFleetKey::Resources), &placement.demand, &metadata);
    let requirements = Requirements {
        machine_id,
        metadata,
        machine_of: distinct(machine_of),
        conflicts: distinct(conflicts),
        replaces: distinct(replaces),
        global,
        on_disconnect: policy.on_disconnect,
        exclusive: policy.exclusive,
        ..placement
    };
    (requirements, reader.errors)
}

fn distinct<T: PartialEq>(values: Vec<Located<T>>) -> Vec<T> {
    let mut result: Vec<T> = Vec::with_capacity(values.len());
    for Located { value, .. } in values {
        if !result.contains(&value) {
            result.push(value);
        }
    }
    result
}

/// One occurrence of an option: how it was spelt (rank, 0 is today's name) and its text.
pub(crate) struct Occurrence {
    rank: usize,
    pub(crate) line: u32,
    pub(crate) text: String,
}

pub(crate) struct Reader<'n> {
    pub(crate) name: &'n UnitName,
    errors: Vec<Error>,
}

impl Reader<'_> {
    /// Sorts the options of `[X-Fleet]` by key. An empty value drops what stood before it, as in systemd's lists.
    fn collect(&mut self, file: &UnitFile) -> BTreeMap<XFleetKey, Vec<Occurrence>> {
        let mut texts: BTreeMap<XFleetKey, Vec<Occurrence>> = BTreeMap::new();
        let mut misspelt: BTreeSet<&str> = BTreeSet::new();
        for option in file.options() {
            if option.section != X_FLEET {
                let section = option.section.as_str();
                if is_misspelt_section(section) && misspelt.insert(section) {
                    let kind = ErrorKind::MisspeltSection {
                        section: excerpt(section),
                    };
                    self.error(option.line, kind, "Names of sections are case-sensitive");
                }
                continue;
            }
            let Some((key, rank)) = find_option(&option.name) else {
                self.unknown(option);
                continue;
            };
            let occurrences = texts.entry(key).or_default();
            let text = option.joined_value();
            if split_quoted(&text)
                .iter()
                .all(|value| value.trim().is_empty())
            {
                occurrences.clear();
            } else {
                occurrences.push(Occurrence {
                    rank,
                    line: option.line,
                    text,
                });
            }
        }
        texts
    }

    fn unknown(&mut self, option: &UnitOption) {
        let suggestion = nearest_option(&option.name);
        let hint = if suggestion.is_some() {
            String::new()
        } else {
            let known: Vec<&str> = X_FLEET_OPTIONS.iter().map(|option| option.name).collect();
            format!("Known are {}", known.join(", "))
        };
        let kind = ErrorKind::UnknownOption {
            name: excerpt(&option.name),
            suggestion,
        };
        self.error(option.line, kind, &hint);
    }

    /// The first value of the first spelling that is there, in the order of the table.
    fn machine_id(&mut self, texts: &[Occurrence]) -> Option<String> {
        let first = texts.iter().min_by_key(|occurrence| occurrence.rank)?;
        let value = split_quoted(&first.text)
            .into_iter()
            .find(|value| !value.trim().is_empty())?;
        let value = self.expand(XFleetKey::MachineId, first.line, &value)?;
        let id = value.trim();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if id.len() > MAX_MACHINE_ID_BYTES || !id.bytes().all(legal) {
            let kind = ErrorKind::ImpossibleMachineId { value: excerpt(id) };
            self.error(
                first.line,
                kind,
                "Give one id, as list-machines --full shows it",
            );
        }
        Some(id.to_owned())
    }

    fn metadata(&mut self, texts: &[Occurrence]) -> Vec<MetadataTerm> {
        let mut last_line = 0;
        let mut terms = Vec::new();
        for Located { line, value } in self.metadata_texts(XFleetKey::MachineMetadata, texts) {
            terms.extend(self.metadata_term(XFleetKey::MachineMetadata, line, &value));
            last_line = line;
        }
        let terms = combine(terms);
        self.check_metadata(last_line, &terms);
        terms
    }

    /// The texts of an option that lists demands on metadata, specifiers expanded.
    pub(crate) fn metadata_texts(
        &mut self,
        key: XFleetKey,
        texts: &[Occurrence],
    ) -> Vec<Located<String>> {
        let mut located = Vec::new();
        let mut count = 0;
        for occurrence in texts {
            for pair in self.metadata_pairs(key, occurrence) {
                count += 1;
                let line = occurrence.line;
                if !self.within_limit(key, line, count) {
                    break;
                }
                if let Some(value) = self.expand(key, line, &pair) {
                    located.push(Located { line, value });
                }
            }
        }
        located
    }

    pub(crate) fn metadata_term(
        &mut self,
        key: XFleetKey,
        line: u32,
        text: &str,
    ) -> Option<MetadataTerm> {
        match MetadataTerm::parse(text) {
            Ok(term) => Some(term),
            Err(NotATerm { reason, hint }) => {
                let kind = ErrorKind::MalformedMetadata {
                    option: key.option().name,
                    value: excerpt(text),
                    reason,
                };
                self.error(line, kind, hint);
                None
            }
        }
    }

    /// The texts of one line. Without quotes, blanks separate, but only if each piece is one.
    fn metadata_pairs(&mut self, key: XFleetKey, occurrence: &Occurrence) -> Vec<String> {
        let text = occurrence.text.as_str();
        if text.starts_with('"') && text.ends_with('"') {
            return split_quoted(text);
        }
        if !text.contains(char::is_whitespace) {
            return vec![text.to_owned()];
        }
        let pieces = metadata_pieces(text);
        if pieces
            .iter()
            .all(|piece| !piece.contains('"') && MetadataTerm::parse(piece).is_ok())
        {
            return pieces;
        }
        let kind = ErrorKind::UnquotedBlank {
            option: key.option().name,
            value: excerpt(text),
        };
        let hint = "Several values are written k=v k=v or \"k=v\" \"k=v\"; a value with a blank in it is written \"k=a b\"";
        self.error(occurrence.line, kind, hint);
        Vec::new()
    }

    fn machine_of(&mut self, texts: &[Occurrence]) -> Vec<Located<UnitName>> {
        let mut peers = Vec::new();
        for Located { line, value } in self.words(XFleetKey::MachineOf, texts) {
            match UnitName::parse(&value) {
                Ok(peer) if peer.is_template() && !self.name.is_template() => {
                    let kind = ErrorKind::TemplatePeer { value };
                    self.error(line, kind, "Name one of its instances, for example with %i");
                }
                Ok(peer) => peers.push(Located { line, value: peer }),
                Err(error) => {
                    let kind = ErrorKind::InvalidPeer {
                        value: excerpt(&value),
                        error,
                    };
                    let hint =
                        "Give full unit names separated by blanks; patterns are not possible here";
                    self.error(line, kind, hint);
                }
            }
        }
        peers
    }

    fn patterns(&mut self, key: XFleetKey, texts: &[Occurrence]) -> Vec<Located<Glob>> {
        let option = key.option().name;
        let mut patterns = Vec::new();
        for Located { line, value } in self.words(key, texts) {
            match Glob::parse(&value) {
                Ok(pattern) => {
                    if let Some((reason, hint)) = why_impossible(&pattern) {
                        let value = excerpt(&value);
                        let kind = ErrorKind::ImpossiblePattern {
                            option,
                            value,
                            reason,
                        };
                        self.error(line, kind, &hint);
                    }
                    patterns.push(Located {
                        line,
                        value: pattern,
                    });
                }
                Err(error) => {
                    let kind = ErrorKind::InvalidPattern {
                        option,
                        value: excerpt(&value),
                        error,
                    };
                    self.error(
                        line,
                        kind,
                        "Patterns have *, ?, [a-z], [^a-z] and \\ before a literal",
                    );
                }
            }
        }
        patterns
    }

    /// The values of an option whose values hold no blanks: quotes drop out, blanks separate, specifiers are expanded.
    pub(crate) fn words(&mut self, key: XFleetKey, texts: &[Occurrence]) -> Vec<Located<String>> {
        let mut words = Vec::new();
        for occurrence in texts {
            for value in split_quoted(&occurrence.text) {
                for word in value.split_whitespace() {
                    if !self.within_limit(key, occurrence.line, words.len() + 1) {
                        return words;
                    }
                    if let Some(value) = self.expand(key, occurrence.line, word) {
                        words.push(Located {
                            line: occurrence.line,
                            value,
                        });
                    }
                }
            }
        }
        words
    }

    pub(crate) fn truth(&mut self, key: XFleetKey, texts: &[Occurrence]) -> bool {
        let mut result = false;
        for occurrence in texts {
            let Some(value) = split_quoted(&occurrence.text).pop() else {
                continue;
            };
            match parse_truth(value.trim()) {
                Some(truth) => result = truth,
                None => {
                    result = false;
                    let kind = ErrorKind::NotABoolean {
                        option: key.option().name,
                        value: excerpt(&value),
                    };
                    self.error(occurrence.line, kind, "Write true or false");
                }
            }
        }
        result
    }

    /// The value with specifiers expanded; `None`, with an error, if it becomes too long.
    pub(crate) fn expand(&mut self, key: XFleetKey, line: u32, text: &str) -> Option<String> {
        // The text is checked first too, so that what is expanded is short.
        let value = if text.len() > MAX_VALUE_BYTES {
            None
        } else {
            Some(expand_specifiers(text, self.name))
        };
        let value = value.filter(|value| value.len() <= MAX_VALUE_BYTES);
        if value.is_none() {
            let kind = ErrorKind::ValueTooLong {
                option: key.option().name,
            };
            self.error(line, kind, "Shorten it");
        }
        value
    }

    fn within_limit(&mut self, key: XFleetKey, line: u32, count: usize) -> bool {
        // Said once, at the value that is one too many.
        if count == MAX_VALUES_PER_OPTION + 1 {
            let kind = ErrorKind::TooManyValues {
                option: key.option().name,
            };
            self.error(
                line,
                kind,
                "Use a pattern, or metadata that several machines share",
            );
        }
        count <= MAX_VALUES_PER_OPTION
    }

    pub(crate) fn error(&mut self, line: u32, kind: ErrorKind, hint: &str) {
        self.errors.push(Error::new(Some(line), kind, hint));
    }
}

/// The pieces of a text without quotes: blanks separate, except around `in`.
fn metadata_pieces(text: &str) -> Vec<String> {
    let mut words = text.split_whitespace().peekable();
    let mut pieces = Vec::new();
    while let Some(word) = words.next() {
        match words.next_if(|next| *next == "in") {
            Some(within) => {
                let values = words.next().unwrap_or_default();
                pieces.push(format!("{word} {within} {values}"));
            }
            None => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// Why a pattern matches no unit name, and what to do; `None` if it may match one.
fn why_impossible(pattern: &Glob) -> Option<(String, String)> {
    if let Some(character) = pattern.impossible_char() {
        let hint = match character {
            ',' => "Separate patterns by blanks",
            '"' => "Quote every value, or none",
            '%' => "Specifiers here are %n, %N, %p and %i",
            _ => "Remove the character",
        };
        return Some((format!("no name holds '{character}'"), hint.to_owned()));
    }
    let literal = pattern.literal()?;
    let error = UnitName::parse(&literal).err()?;
    Some((
        error.to_string(),
        format!("Write the full name (such as {literal}.service) or a pattern ({literal}*)"),
    ))
}
