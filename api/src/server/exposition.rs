//! PURE. Prometheus's text format: families of samples, each with help and type.

use std::fmt::Write;

/// What a family's values do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// They go up and down.
    Gauge,
    /// They only grow, from the start of the process.
    Counter,
}

/// A page of metrics as it is written.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// The page.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Writes one family: its help, in one line, and its samples, each with its labels.
    pub(super) fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
                .collect();
            if labels.is_empty() {
                self.line(format_args!("{name} {value}"));
            } else {
                self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
            }
        }
    }

    /// Writes a family of one sample without labels.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help, [(Vec::new(), value)]);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let written = writeln!(self.text, "{line}");
        debug_assert!(written.is_ok());
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_prometheus_reads_it() {
        let mut page = Exposition::default();
        page.one("a_total", Kind::Counter, "How often.", 1_000_000.0);
        let labels = vec![("unit", "a\\x2d\"b\"\n.service"), ("machine", "m")];
        page.family(
            "b",
            Kind::Gauge,
            "What.",
            [(labels, 0.5), (Vec::new(), 0.0)],
        );
        page.family("c", Kind::Gauge, "Nothing.", []);
        assert_eq!(
            page.into_text(),
            "# HELP a_total How often.\n# TYPE a_total counter\na_total 1000000\n\
             # HELP b What.\n# TYPE b gauge\n\
             b{unit=\"a\\\\x2d\\\"b\\\"\\n.service\",machine=\"m\"} 0.5\nb 0\n\
             # HELP c Nothing.\n# TYPE c gauge\n"
        );
    }
}
