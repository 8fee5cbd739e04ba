//! Reads `fleet.conf`: `key = value` lines before any section, as the ancestor read them. PURE.

/// One setting of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    /// The line it starts on, from 1.
    pub(crate) line: usize,
    /// The key, in lower case.
    pub(crate) key: String,
    /// The value, without quotes and trailing comment.
    pub(crate) value: String,
}

/// A line that is no setting.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {text:?} is not a setting: expected key=value, or # before a comment")]
pub(crate) struct SyntaxError {
    line: usize,
    text: String,
}

/// Returns the settings of the file in their order; a repeated key appears repeatedly. Keys after the first `[section]`
/// do not count.
pub(crate) fn parse(text: &str) -> Result<Vec<Setting>, SyntaxError> {
    let mut settings = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut logical = first.trim().to_owned();
        while logical.ends_with('\\') {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim()),
                None => break,
            }
        }
        if logical.is_empty() || logical.starts_with(['#', ';']) {
            continue;
        }
        if logical.starts_with('[') && logical.ends_with(']') {
            break;
        }
        settings.push(setting(index + 1, &logical)?);
    }
    Ok(settings)
}

fn setting(line: usize, text: &str) -> Result<Setting, SyntaxError> {
    let error = || SyntaxError {
        line,
        text: text.to_owned(),
    };
    let (key, value) = text.split_once('=').ok_or_else(error)?;
    let key = key.trim().to_ascii_lowercase();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(error());
    }
    Ok(Setting {
        line,
        key,
        value: unquote(value.trim()).to_owned(),
    })
}

/// A quoted value ends at its closing quote, any other at the first `#` or `;`.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    match value.find(['#', ';']) {
        Some(end) => value.get(..end).unwrap_or(value).trim_end(),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|setting| (setting.key, setting.value))
            .collect()
    }

    #[test]
    fn every_form_of_a_setting_is_read() {
        let text = "# comment\n; comment\n\nA=1\n b = two words # note\nc=\"x # y\"\nd='z;'\ne=\n\
                    f=one,\\\n  two\nVerbosity=1\nverbosity=0\n[section]\ng=lost\n";
        let expected = [
            ("a", "1"),
            ("b", "two words"),
            ("c", "x # y"),
            ("d", "z;"),
            ("e", ""),
            ("f", "one,two"),
            ("verbosity", "1"),
            ("verbosity", "0"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_line_that_is_no_setting_is_named() {
        let error = parse("a=1\nnonsense\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "line 2: \"nonsense\" is not a setting: expected key=value, or # before a comment"
        );
        assert!(parse("two words = 1\n").is_err());
        assert!(parse("= 1\n").is_err());
    }
}
