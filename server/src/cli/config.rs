//! How would a server be set up here?

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use std::sync::Arc;
use tidewater_query::SettingRow;

use super::args::{ConfigArgs, ConfigCommand, SettingArgs};
use super::serve::variables;
use super::terminal::print;
use crate::config::{Config, FileSource, Sources, example};
use crate::tls::Tls;

pub(super) fn run(args: ConfigArgs) -> anyhow::Result<()> {
    match args.command {
        ConfigCommand::Example => print(&example()),
        ConfigCommand::Check { settings } => {
            let config = load(settings)?;
            // Files are not read to show a configuration; no server starts with bad ones.
            config.tls.clone().map(|files| Tls::load_with(files, config.client_certificates.as_ref())).transpose()?;
            config.tables.check()?;
            let file = config.file.map_or("no file".to_owned(), |file| file.display().to_string());
            print(&format!("ok ({file})\n"))
        }
        ConfigCommand::Show { origin, settings } => show(&load(settings)?, origin),
    }
}

fn load(args: SettingArgs) -> anyhow::Result<Config> {
    let file = args.config.map_or(FileSource::Usual, FileSource::Named);
    Ok(Config::load(Sources { flags: args.set, env: variables()?, file })?)
}

fn show(config: &Config, origin: bool) -> anyhow::Result<()> {
    let column = |text: fn(&SettingRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(config.rows.iter().map(text)))
    };
    let mut columns = vec![("name", column(|row| &row.name)), ("value", column(|row| &row.value))];
    if origin {
        let places = config.rows.iter().map(|row| config.places.get(row.name.as_str()).unwrap_or(&row.origin));
        let places: ArrayRef = Arc::new(StringArray::from_iter_values(places));
        columns.push(("origin", places));
        columns.push(("default", column(|row| &row.default)));
    }
    let table = RecordBatch::try_from_iter(columns)?;
    print(&format!("{}\n", pretty_format_batches(&[table])?))
}
