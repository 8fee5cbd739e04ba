//! PURE. Patterns over unit names, read as Go's `path.Match` reads them.
//!
//! `*` is any text without `/`, `?` any one character but `/`, `[a-z]` and `[^a-z]` a class, `\` takes the
//! next character literally; the whole name must match. As in Go, each piece between stars is matched at
//! its leftmost place and never tried again, so the cost is at most pattern × name steps, never exponential.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::MAX_PATTERN_BYTES;
use crate::name::is_name_char;

/// A well-formed pattern. Two are equal if they are written alike. Cloning is cheap.
#[derive(Clone)]
pub struct Glob {
    text: Arc<str>,
    chunks: Arc<[Chunk]>,
}

/// A run of tokens, with or without a star before it.
#[derive(Debug)]
struct Chunk {
    starred: bool,
    tokens: Vec<Token>,
}

#[derive(Debug)]
enum Token {
    Literal(char),
    AnyChar,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// `[` without `]`.
    #[error("\"[\" without \"]\"")]
    UnclosedClass,
    /// `[]` or `[^]`.
    #[error("there is nothing between \"[\" and \"]\"")]
    EmptyClass,
    /// `-` where a range should begin or end.
    #[error("\"-\" without a character on both sides in a class; write \"\\-\" for a dash")]
    IncompleteRange,
    /// A backslash at the end.
    #[error("it ends in a backslash")]
    TrailingBackslash,
    /// Over [`MAX_PATTERN_BYTES`].
    #[error("it is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Whatever `path.Match` calls a bad pattern, and a pattern over [`MAX_PATTERN_BYTES`].
    pub fn parse(pattern: &str) -> Result<Glob, GlobError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(GlobError::TooLong);
        }
        let mut chunks = vec![Chunk {
            starred: false,
            tokens: Vec::new(),
        }];
        let mut rest = pattern.chars();
        while let Some(character) = rest.next() {
            let token = match character {
                '*' => {
                    chunks.push(Chunk {
                        starred: true,
                        tokens: Vec::new(),
                    });
                    continue;
                }
                '?' => Token::AnyChar,
                '[' => parse_class(&mut rest)?,
                '\\' => Token::Literal(rest.next().ok_or(GlobError::TrailingBackslash)?),
                literal => Token::Literal(literal),
            };
            if let Some(chunk) = chunks.last_mut() {
                chunk.tokens.push(token);
            }
        }
        // `**` is `*`: of several stars in a row only the last one has tokens behind it.
        let last = chunks.len() - 1;
        let chunks = chunks
            .into_iter()
            .enumerate()
            .filter(|(index, chunk)| !chunk.tokens.is_empty() || *index == 0 || *index == last)
            .map(|(_, chunk)| chunk)
            .collect();
        Ok(Glob {
            text: pattern.into(),
            chunks,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let mut rest = name;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let last = index + 1 == self.chunks.len();
            if chunk.starred && chunk.tokens.is_empty() {
                return !rest.contains('/');
            }
            // How far the star reaches: it stops before a slash.
            let reach = if chunk.starred {
                rest.find('/').unwrap_or(rest.len())
            } else {
                0
            };
            let starts = rest
                .char_indices()
                .map(|(start, _)| start)
                .chain([rest.len()]);
            let found = starts
                .take_while(|start| *start <= reach)
                .find_map(|start| {
                    let after = matches_chunk(&chunk.tokens, &rest[start..])?;
                    if last && !after.is_empty() {
                        None
                    } else {
                        Some(after)
                    }
                });
            match found {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// The one text that this pattern matches, if it has no wildcards.
    pub fn literal(&self) -> Option<String> {
        let [chunk] = &*self.chunks else { return None };
        chunk
            .tokens
            .iter()
            .map(|token| match token {
                Token::Literal(literal) => Some(*literal),
                Token::AnyChar | Token::Class { .. } => None,
            })
            .collect()
    }

    /// The text before the first wildcard: every name that matches begins with it. For an index by name.
    pub fn literal_prefix(&self) -> String {
        let tokens = self
            .chunks
            .first()
            .map_or(&[][..], |chunk| &chunk.tokens[..]);
        tokens
            .iter()
            .map_while(|token| match token {
                Token::Literal(literal) => Some(*literal),
                Token::AnyChar | Token::Class { .. } => None,
            })
            .collect()
    }

    /// The first character that the pattern demands although no unit name can hold it.
    pub fn impossible_char(&self) -> Option<char> {
        self.chunks
            .iter()
            .flat_map(|chunk| &chunk.tokens)
            .find_map(|token| match token {
                Token::Literal(literal) if !is_name_char(*literal) => Some(*literal),
                Token::Literal(_) | Token::AnyChar | Token::Class { .. } => None,
            })
    }
}

fn parse_class(rest: &mut std::str::Chars<'_>) -> Result<Token, GlobError> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if rest.as_str().starts_with(']') {
            rest.next();
            if ranges.is_empty() {
                return Err(GlobError::EmptyClass);
            }
            return Ok(Token::Class { negated, ranges });
        }
        let low = parse_class_char(rest)?;
        let mut high = low;
        if rest.as_str().starts_with('-') {
            rest.next();
            high = parse_class_char(rest)?;
        }
        ranges.push((low, high));
    }
}

fn parse_class_char(rest: &mut std::str::Chars<'_>) -> Result<char, GlobError> {
    match rest.next().ok_or(GlobError::UnclosedClass)? {
        '-' | ']' => Err(GlobError::IncompleteRange),
        '\\' => rest.next().ok_or(GlobError::TrailingBackslash),
        character => Ok(character),
    }
}

/// What is left of `name` after `tokens`, if it begins with them.
fn matches_chunk<'n>(tokens: &[Token], name: &'n str) -> Option<&'n str> {
    let mut rest = name.chars();
    for token in tokens {
        let character = rest.next()?;
        let fits = match token {
            Token::Literal(literal) => *literal == character,
            Token::AnyChar => character != '/',
            Token::Class { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&character))
                    != *negated
            }
        };
        if !fits {
            return None;
        }
    }
    Some(rest.as_str())
}

impl FromStr for Glob {
    type Err = GlobError;
    fn from_str(pattern: &str) -> Result<Glob, GlobError> {
        Glob::parse(pattern)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl AsRef<str> for Glob {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl PartialOrd for Glob {
    fn partial_cmp(&self, other: &Glob) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Glob {
    fn cmp(&self, other: &Glob) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for Glob {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
