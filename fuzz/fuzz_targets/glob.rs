//! Any pattern on any name, against a matcher by dynamic programming that shares no code with `Glob`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfile::Glob;

fuzz_target!(|input: &str| {
    let Some((pattern, name)) = input.split_once('\n') else {
        return;
    };
    // Go's matcher, and so ours, never goes back to an earlier star; with slashes in the name that shows.
    if name.contains('/') || name.len() > 512 {
        return;
    }
    if let Ok(glob) = Glob::parse(pattern) {
        assert_eq!(
            glob.matches(name),
            reference(pattern, name),
            "{pattern:?} on {name:?}"
        );
    }
});

/// `reachable[i]`: the pattern read so far matches the first `i` characters of the name.
fn reference(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    let pattern: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            let first = reachable.iter().position(|r| *r).unwrap_or(reachable.len());
            reachable[first..].fill(true);
            at += 1;
            continue;
        }
        let length = element_length(&pattern[at..]);
        let element = &pattern[at..at + length];
        for end in (1..reachable.len()).rev() {
            reachable[end] = reachable[end - 1] && element_fits(element, name[end - 1]);
        }
        reachable[0] = false;
        at += length;
    }
    reachable[name.len()]
}

/// The length of the first element of a well-formed pattern that does not begin with a star.
fn element_length(pattern: &[char]) -> usize {
    match pattern[0] {
        '\\' => 2,
        '[' => {
            let mut end = 1;
            while pattern[end] != ']' {
                end += if pattern[end] == '\\' { 2 } else { 1 };
            }
            end + 1
        }
        _ => 1,
    }
}

fn element_fits(element: &[char], character: char) -> bool {
    match element[0] {
        '?' => true,
        '\\' => element[1] == character,
        '[' => {
            let negated = element[1] == '^';
            let mut inside = &element[if negated { 2 } else { 1 }..element.len() - 1];
            let mut found = false;
            while !inside.is_empty() {
                let low = take_char(&mut inside);
                let high = if inside.first() == Some(&'-') {
                    inside = &inside[1..];
                    take_char(&mut inside)
                } else {
                    low
                };
                found |= (low..=high).contains(&character);
            }
            found != negated
        }
        literal => literal == character,
    }
}

fn take_char(inside: &mut &[char]) -> char {
    let skip = usize::from(inside[0] == '\\');
    let character = inside[skip];
    *inside = &inside[skip + 1..];
    character
}
