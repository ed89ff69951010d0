//! How do people read rows that are too wide for a box, or paste them into a page? One line a column, and Markdown.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};

pub(super) const NULL: &str = "NULL";

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null(NULL).with_display_error(true);

fn columns(batch: &RecordBatch) -> anyhow::Result<Vec<ArrayFormatter<'_>>> {
    Ok(batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &OPTIONS)).collect::<Result<_, _>>()?)
}

/// One line a column, one block a row; `before` rows were written already.
pub(super) fn records(batch: &RecordBatch, before: u64) -> anyhow::Result<Vec<u8>> {
    let columns = columns(batch)?;
    let schema = batch.schema();
    let width = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        let number = before + row as u64 + 1;
        let _ = writeln!(out, "-[ row {number} ]{}", "-".repeat(width));
        for (field, column) in schema.fields().iter().zip(&columns) {
            let name = harmless(field.name().clone());
            let value = harmless(column.value(row).to_string());
            // Lines of a value stand below each other.
            let value = value.replace('\n', &format!("\n{:width$} | ", ""));
            let _ = writeln!(out, "{name:width$} | {value}");
        }
    }
    Ok(out.into_bytes())
}

/// A value must not command the terminal of whoever reads it: colours, titles, the clipboard. A sign shows that something was there.
pub(super) fn harmless(text: String) -> String {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_command) { text.replace(is_command, "\u{fffd}") } else { text }
}

pub(super) fn markdown_header(schema: &SchemaRef) -> Vec<u8> {
    let names: Vec<String> = schema.fields().iter().map(|field| cell(field.name())).collect();
    let rules = vec!["---"; names.len()];
    format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | ")).into_bytes()
}

pub(super) fn markdown_rows(batch: &RecordBatch) -> anyhow::Result<Vec<u8>> {
    let columns = columns(batch)?;
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = columns.iter().map(|column| cell(&column.value(row).to_string())).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    Ok(out.into_bytes())
}

/// What would end a cell or a row is written in another way.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}
