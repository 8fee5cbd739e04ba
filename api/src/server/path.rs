//! PURE. Which addresses are written in a roundabout way, and what they should have been.

/// The path as it should have been written, if it holds empty, `.` or `..` segments; none if it is clean.
pub(super) fn cleaned(path: &str) -> Option<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut clean = format!("/{}", segments.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn roundabout_paths_are_cleaned_and_others_left_alone() {
        for (path, clean) in [
            ("/", None),
            ("/fleet/v1", None),
            ("/fleet/v1/", None),
            ("/fleet/v1/units/a..service", None),
            ("//", Some("/")),
            ("//evil.example/x", Some("/evil.example/x")),
            ("/fleet//v1/units", Some("/fleet/v1/units")),
            ("/fleet/v1/../v1/units/", Some("/fleet/v1/units/")),
            ("/../..", Some("/")),
            ("/./fleet", Some("/fleet")),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }
}
