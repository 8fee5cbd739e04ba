//! PURE. Writes a JSON value as YAML, in the block style that people read. Every reader of YAML 1.1 or 1.2 gets the same value back.

use serde_json::Value;

/// Blanks a level is indented by.
const INDENT: usize = 2;

/// The value as one document, ended by a line feed.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut text),
        Value::Object(map) if !map.is_empty() => mapping(map, 0, &mut text),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
    text
}

/// Each item on a line of its own; what an item begins with stands beside its dash.
fn sequence(items: &[Value], level: usize, text: &mut String) {
    for item in items {
        indent(level, text);
        match item {
            Value::Object(map) if !map.is_empty() => {
                let mut inner = String::new();
                mapping(map, level + 1, &mut inner);
                beside_the_dash(&inner, level, text);
            }
            Value::Array(items) if !items.is_empty() => {
                let mut inner = String::new();
                sequence(items, level + 1, &mut inner);
                beside_the_dash(&inner, level, text);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push_str("- ");
                text.push_str(&scalar(item));
                text.push('\n');
            }
        }
    }
}

fn beside_the_dash(inner: &str, level: usize, text: &mut String) {
    text.push_str("- ");
    text.push_str(&inner[(level + 1) * INDENT..]);
}

fn mapping(map: &serde_json::Map<String, Value>, level: usize, text: &mut String) {
    for (key, value) in map {
        indent(level, text);
        text.push_str(&string(key));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                mapping(inner, level + 1, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(items, level + 1, text);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push(' ');
                text.push_str(&scalar(value));
                text.push('\n');
            }
        }
    }
}

fn indent(level: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', level * INDENT));
}

/// What fits on a line. Empty collections and numbers are written as in JSON, which is YAML too.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(content) => string(content),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A text, in quotation marks unless no reader could take it for anything else. JSON's quoted form is YAML's.
fn string(content: &str) -> String {
    if is_plain(content) {
        return content.to_owned();
    }
    // JSON leaves two line breaks of Unicode and DEL as they are; in YAML they would break the line or be illegal.
    Value::from(content)
        .to_string()
        .replace('\u{7f}', "\\x7F")
        .replace('\u{85}', "\\x85")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .replace('\u{feff}', "\\uFEFF")
}

/// Begins with a letter, holds nothing that means something in YAML, and is none of its words.
fn is_plain(content: &str) -> bool {
    const WORDS: [&str; 10] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan",
    ];
    let begins_well = content.starts_with(|first: char| first.is_ascii_alphabetic());
    let holds_nothing = content
        .chars()
        .all(|held| held.is_ascii_alphanumeric() || matches!(held, '-' | '_' | '.' | '@' | '/'));
    begins_well && holds_nothing && !WORDS.contains(&content.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_objects() {
        let value = json!([
            {"unit": "web@1.service", "hold": null, "global": false, "count": 3},
            {"list": [1, [2, 3], {}], "map": {"a": {"b": "c d"}}, "none": []},
        ]);
        assert_eq!(
            document(&value),
            "\
- count: 3
  global: false
  hold: null
  unit: web@1.service
- list:
    - 1
    - - 2
      - 3
    - {}
  map:
    a:
      b: \"c d\"
  none: []
"
        );
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        for text in [
            "",
            "1",
            "1e3",
            "0x1",
            "true",
            "Yes",
            "off",
            "~",
            "null",
            "- a",
            "a: b",
            "a #b",
            "2001-01-01",
            "12345678",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "\"a",
            "'a",
            "a\nb",
            " a",
            "a ",
            "[a",
            "{a",
            "a,b",
            "NaN",
            ".inf",
            "\u{85}",
            "5e10a",
            "10.0.0.1",
            "a:b",
            "a=b",
            "ü",
            "\u{2028}",
            "\u{7f}",
        ] {
            let written = string(text);
            assert!(
                written.starts_with('"') && written.ends_with('"'),
                "{text} as {written}"
            );
            assert!(
                !written.contains(['\n', '\u{85}', '\u{2028}', '\u{7f}']),
                "{written:?}"
            );
        }
        for text in [
            "web.service",
            "web@1.service",
            "active",
            "auto-restart",
            "a/b_c",
        ] {
            assert_eq!(string(text), text);
        }
    }

    #[test]
    fn nothing_is_a_document_too() {
        assert_eq!(document(&json!([])), "[]\n");
        assert_eq!(document(&json!({})), "{}\n");
        assert_eq!(document(&json!("x")), "x\n");
    }
}
