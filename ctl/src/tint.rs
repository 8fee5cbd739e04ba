//! PURE. Colours of states. They travel through the layout of a table as private-use characters, each as wide as the letter
//! it stands for, and become terminal sequences only at the very end: wherever a cell is cut, its colour is cut with it.

use std::fmt::Write;

use api::types::{ActiveState, LoadState, TargetState};

/// A colour that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    /// As it is wanted.
    Good,
    /// On its way.
    Moving,
    /// Something to look at.
    Bad,
    /// At rest.
    Faint,
}

/// Whether colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// On a terminal that has them.
    Shown,
    /// Everywhere else, and where `NO_COLOR` asks for it.
    Hidden,
}

/// The first private-use character. Each tint has 128 of them, for the letters of ASCII.
const PRIVATE: u32 = 0xE000;

const LETTERS: u32 = 128;

const TINTS: [Tint; 4] = [Tint::Good, Tint::Moving, Tint::Bad, Tint::Faint];

impl Tint {
    /// The colour of systemd's active state.
    pub(crate) fn of_active(state: &ActiveState) -> Option<Tint> {
        match state {
            ActiveState::Active => Some(Tint::Good),
            ActiveState::Reloading | ActiveState::Activating | ActiveState::Deactivating => {
                Some(Tint::Moving)
            }
            ActiveState::Failed | ActiveState::Maintenance => Some(Tint::Bad),
            ActiveState::Inactive => Some(Tint::Faint),
            ActiveState::Other(_) => None,
        }
    }

    /// The colour of systemd's load state; a loaded unit is nothing to point out.
    pub(crate) fn of_load(state: &LoadState) -> Option<Tint> {
        match state {
            LoadState::NotFound | LoadState::BadSetting | LoadState::Error | LoadState::Masked => {
                Some(Tint::Bad)
            }
            LoadState::Stub | LoadState::Loaded | LoadState::Merged | LoadState::Other(_) => None,
        }
    }

    /// The colour of what a machine has brought a unit to, beside what is wanted.
    pub(crate) fn of_progress(current: TargetState, desired: TargetState) -> Option<Tint> {
        if current != desired {
            return Some(Tint::Moving);
        }
        match current {
            TargetState::Launched => Some(Tint::Good),
            TargetState::Loaded => None,
            TargetState::Inactive => Some(Tint::Faint),
        }
    }

    fn index(self) -> u32 {
        match self {
            Tint::Good => 0,
            Tint::Moving => 1,
            Tint::Bad => 2,
            Tint::Faint => 3,
        }
    }

    /// The terminal sequence that begins it.
    fn sequence(self) -> &'static str {
        match self {
            Tint::Good => "\x1b[32m",
            Tint::Moving => "\x1b[33m",
            Tint::Bad => "\x1b[1;31m",
            Tint::Faint => "\x1b[2m",
        }
    }
}

/// `text` as private-use characters of this tint. What is no ASCII stays as it is, and so do blanks: a cell is broken there.
pub(crate) fn encode(text: &str, tint: Option<Tint>) -> String {
    let Some(tint) = tint else {
        return text.to_owned();
    };
    let stand_in = |letter: char| match u32::from(letter) {
        code if code < LETTERS && letter != ' ' => {
            char::from_u32(PRIVATE + tint.index() * LETTERS + code).unwrap_or(letter)
        }
        _ => letter,
    };
    text.chars().map(stand_in).collect()
}

/// Replaces the private-use characters by their letters, with terminal sequences around each run if colours are shown.
pub(crate) fn decode(text: &str, colour: Colour) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut current = None;
    for character in text.chars() {
        let (letter, tint) = letter_of(character);
        if tint != current && colour == Colour::Shown {
            if current.is_some() {
                decoded.push_str("\x1b[0m");
            }
            if let Some(tint) = tint {
                decoded.push_str(tint.sequence());
            }
        }
        current = tint;
        decoded.push(letter);
    }
    if current.is_some() && colour == Colour::Shown {
        decoded.push_str("\x1b[0m");
    }
    decoded
}

fn letter_of(character: char) -> (char, Option<Tint>) {
    let Some(offset) = u32::from(character).checked_sub(PRIVATE) else {
        return (character, None);
    };
    let tint = TINTS.iter().find(|tint| tint.index() == offset / LETTERS);
    match (tint, char::from_u32(offset % LETTERS)) {
        (Some(tint), Some(letter)) => (letter, Some(*tint)),
        (None, _) | (_, None) => (character, None),
    }
}

/// Text from elsewhere, fit for a terminal: control characters, which could command it, and our own stand-ins are shown as
/// their numbers.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let stands_in = letter_of(character).1.is_some();
        if character.is_control() || stands_in {
            // Writing to a string cannot fail.
            write!(shown, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default();
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_comes_back_around_each_run_and_is_cut_with_its_text() {
        let text = format!("a {} b", encode("failed", Some(Tint::Bad)));
        assert_eq!(text.chars().count(), "a failed b".len());
        assert_eq!(
            decode(&text, Colour::Shown),
            "a \u{1b}[1;31mfailed\u{1b}[0m b"
        );
        assert_eq!(decode(&text, Colour::Hidden), "a failed b");
        let cut: String = text.chars().take(4).collect();
        assert_eq!(decode(&cut, Colour::Shown), "a \u{1b}[1;31mfa\u{1b}[0m");
        assert_eq!(
            decode(&encode("no way", Some(Tint::Bad)), Colour::Shown),
            "\u{1b}[1;31mno\u{1b}[0m \u{1b}[1;31mway\u{1b}[0m"
        );
        let two = encode("a", Some(Tint::Good)) + &encode("b", Some(Tint::Faint));
        assert_eq!(
            decode(&two, Colour::Shown),
            "\u{1b}[32ma\u{1b}[0m\u{1b}[2mb\u{1b}[0m"
        );
    }

    #[test]
    fn text_from_elsewhere_commands_no_terminal() {
        assert_eq!(harmless("ü\u{1b}[2J\u{e001}"), "ü\\u{1b}[2J\\u{e001}");
        assert_eq!(decode(&harmless("\u{e001}"), Colour::Shown), "\\u{e001}");
    }
}
