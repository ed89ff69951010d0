//! What is wrong with a configuration? Everything at once: who mends one line after another starts the server as often.

use tidewater_storage::{Code, Error, Result};

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message)
}

/// What was found so far, in the order of finding.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Error>);

impl Problems {
    pub(super) fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// The value, or nothing if it is wrong.
    pub(super) fn keep<T>(&mut self, outcome: Result<T>) -> Option<T> {
        outcome.map_err(|error| self.push(error)).ok()
    }

    /// What was made of the values, if nothing is wrong; else one error that says all that is, a line each.
    pub(super) fn outcome<T>(mut self, made: Option<T>) -> Result<T> {
        match (self.0.len(), made) {
            (0, Some(made)) => Ok(made),
            (0, None) => Err(Error::internal("a configuration came to nothing, and nothing is wrong with it")),
            (1, _) => Err(self.0.remove(0)),
            (n, _) => {
                let lines: Vec<String> = self.0.iter().map(line).collect();
                Err(invalid(format!("{n} problems in the configuration:\n  {}\n", lines.join("\n  "))))
            }
        }
    }
}

/// The sentence and the hint. The code is the same for all.
fn line(error: &Error) -> String {
    match error.hint_text() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    }
}
