//! How do all files run? One after the other; each outcome is told as it comes.

use std::io::Write;

use anyhow::{Context, Result};

use crate::Options;
use crate::database::Address;
use crate::files::counted_files;
use crate::outcome::Outcome;
use crate::reasons::{Rules, Skipped, Skips, write};
use crate::refusals::Refusals;
use crate::run::{self, Fixtures};

/// Whether every record passed, or is in the skip list and did not.
pub(crate) async fn run(options: Options) -> Result<bool> {
    let skips = options.skips.as_deref().map(Skips::read).transpose()?.unwrap_or_default();
    let fixtures = options.fixtures.as_deref().map(Fixtures::read).transpose()?.unwrap_or_default();
    let refusals = options.refusals.as_deref().map(Refusals::read).transpose()?.unwrap_or_default();
    let rules = options.write_skips.first().map(|path| Rules::read(path)).transpose()?;
    let files = counted_files(&options.files, &options.only, options.part)?;
    anyhow::ensure!(!files.is_empty(), "no file of {} is to be run", options.files.display());
    let server = Address { url: options.server, user: options.user, password: options.password };
    let mut out = std::io::stdout().lock();
    let mut skipped = Vec::new();
    let mut is_right = true;
    for file in &files {
        let outcomes = run::file(&server, file, &fixtures, &refusals).await.with_context(|| file.name.clone())?;
        for mut outcome in outcomes {
            if let Some(rules) = &rules
                && outcome.is_failed()
                && let Some((reason, note)) = rules.reason(&outcome)
            {
                skipped.push(Skipped { file: outcome.file.clone(), place: outcome.place.clone(), reason, note });
            }
            outcome.settle(skips.get(&outcome.file, &outcome.place));
            is_right &= outcome.is_right();
            write_line(&mut out, &outcome)?;
        }
    }
    if let Some(path) = options.write_skips.get(1) {
        write(path, &skipped)?;
    }
    Ok(is_right)
}

fn write_line(out: &mut impl Write, outcome: &Outcome) -> Result<()> {
    serde_json::to_writer(&mut *out, outcome)?;
    out.write_all(b"\n")?;
    Ok(())
}
