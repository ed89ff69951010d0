//! What came of a workload? Figures, and the marks that they are held against.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::yardsticks::{Quantiles, Yardsticks};

/// Which way a figure is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    AtLeast,
    AtMost,
}

/// A row is to be visible within so many p99 of fdatasync, and this many milliseconds more.
const MARK_FRESHNESS: (f64, f64) = (4.0, 20.0);

/// What a workload measured.
#[derive(Debug, Default)]
pub struct Report {
    figures: Map<String, Value>,
    marks: Map<String, Value>,
    /// From when a batch was due to the first answer that has its row; its mark depends on the yardsticks.
    freshness: Option<Quantiles>,
}

impl Report {
    /// A figure by its name, whose last word is its unit.
    pub fn figure(&mut self, name: &str, value: impl Serialize) {
        self.figures.insert(name.to_owned(), json!(value));
    }

    /// A figure that is to be at least, or at most, `mark`.
    pub fn marked(&mut self, name: &str, value: f64, bound: Bound, mark: f64) {
        let met = match bound {
            Bound::AtLeast => value >= mark,
            Bound::AtMost => value <= mark,
        };
        self.figure(name, value);
        self.marks.insert(name.to_owned(), json!({ "mark": mark, "met": met }));
    }

    pub fn freshness(&mut self, freshness: Quantiles) {
        self.figure("freshness", &freshness);
        self.freshness = Some(freshness);
    }

    /// Prints one workload as one line.
    pub fn print(mut self, name: &str, (before, after): (&Yardsticks, &Yardsticks)) {
        if let Some(freshness) = self.freshness.take() {
            // The sync that the machine can do is the better of the two, so that a disturbed yardstick excuses nothing.
            let fdatasync_p99_ms = before.fdatasync.p99_ms.min(after.fdatasync.p99_ms);
            let mark = MARK_FRESHNESS.0 * fdatasync_p99_ms + MARK_FRESHNESS.1;
            self.marks.insert("freshness_p99_ms".into(), json!({ "mark": mark, "met": freshness.p99_ms <= mark }));
        }
        let mut report = Map::new();
        report.insert("workload".into(), json!(name));
        report.append(&mut self.figures);
        report.insert("marks".into(), Value::Object(self.marks));
        report.insert("yardsticks".into(), json!({ "before": before, "after": after }));
        #[expect(clippy::print_stdout, reason = "the report is this program's output")]
        {
            println!("{}", Value::Object(report));
        }
    }
}
