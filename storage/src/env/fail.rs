//! Where can a test stop the world? Named points before and after each durable step; debug builds only.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};

use crate::error::{Code, Error, Result};

/// What happens when a point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailAction {
    /// The process is killed as by `kill -9` on the n-th visit (from 1).
    Kill(u32),
    /// The point returns an error on the n-th visit (from 1).
    Error(u32),
    /// The thread waits there on the n-th visit (from 1), until [`FailPoints::release`].
    Hold(u32),
}

/// The fail points that are armed. Handed in with [`super::Env`]; in release builds every point is inert.
#[derive(Debug, Default)]
pub struct FailPoints {
    armed: Mutex<HashMap<String, (FailAction, u32)>>,
    released: Condvar,
}

impl FailPoints {
    pub fn arm(&self, point: impl Into<String>, action: FailAction) {
        self.armed.lock().insert(point.into(), (action, 0));
    }

    /// Lets go whoever is held at `point`, and disarms it.
    pub fn release(&self, point: &str) {
        self.armed.lock().remove(point);
        self.released.notify_all();
    }

    /// How often an armed point was reached.
    pub fn visits(&self, point: &str) -> u32 {
        self.armed.lock().get(point).map_or(0, |(_, visits)| *visits)
    }

    /// Arms what a text such as `log.before_sync=kill:3,log.after_write=error:1` says.
    pub fn arm_text(&self, text: &str) -> Result<()> {
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let parsed = part.split_once('=').and_then(|(point, action)| {
                let (verb, visit) = action.split_once(':')?;
                let visit = visit.parse().ok()?;
                let action = match verb {
                    "kill" => FailAction::Kill(visit),
                    "error" => FailAction::Error(visit),
                    "hold" => FailAction::Hold(visit),
                    _ => return None,
                };
                Some((point, action))
            });
            let Some((point, action)) = parsed else {
                return Err(Error::new(Code::InvalidConfig, format!("'{part}' is not a fail point"))
                    .hint("write POINT=kill:N, POINT=error:N or POINT=hold:N"));
            };
            self.arm(point, action);
        }
        Ok(())
    }

    /// A durable step stands before or after this call.
    pub fn hit(&self, point: &'static str) -> Result<()> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        self.visit(point)
    }

    /// As [`Self::hit`], in a step of one kind of change: it can be armed for all kinds as `POINT`, or for one as `POINT/KIND`.
    pub fn hit_in(&self, point: &'static str, kind: &str) -> Result<()> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        self.visit(point)?;
        self.visit(&format!("{point}/{kind}"))
    }

    fn visit(&self, point: &str) -> Result<()> {
        let mut armed = self.armed.lock();
        let Some((action, visits)) = armed.get_mut(point) else { return Ok(()) };
        *visits += 1;
        match *action {
            FailAction::Kill(visit) if visit == *visits => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                Ok(())
            }
            FailAction::Error(visit) if visit == *visits => {
                Err(Error::new(Code::Internal, format!("fail point {point}")))
            }
            FailAction::Hold(visit) if visit == *visits => {
                // Tests from outside wait for this line.
                tracing::warn!(point, "held at a fail point");
                self.released.wait_while(&mut armed, |armed| armed.contains_key(point));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
