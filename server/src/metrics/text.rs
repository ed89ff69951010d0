//! How is a metric written? Prometheus' text format, for what is looked up when somebody asks: such series end with what they are about.

use std::fmt::{Display, Write};

use super::catalog::METRICS;

#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// The lines in front of a metric's samples. `name` stands in the catalog.
    pub(super) fn begin(&mut self, name: &str) {
        if let Some(metric) = METRICS.iter().find(|metric| metric.name == name) {
            // Writing into a String cannot fail.
            let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {}", metric.help, metric.kind.name());
        }
    }

    /// `labels` are those of the catalog, in its order.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        debug_assert!(
            METRICS
                .iter()
                .any(|metric| metric.name == name && metric.labels.iter().eq(labels.iter().map(|(label, _)| label)))
        );
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// A metric with one sample.
    pub(super) fn single(&mut self, name: &str, value: impl Display) {
        self.begin(name);
        self.sample(name, &[], value);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}
