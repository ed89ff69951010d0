//! What does one JSON object say about the table's columns? Its values as cells, or why the row is bad.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::datatypes::{DataType, Fields};

use super::scanner::{Kind, Scanner, Syntax};
use super::{quoted, shown};
use crate::admission::cast::{wall_text, whole_number};
use crate::admission::footprint::fixed_bytes;
use crate::admission::rows::RejectCode;
use crate::catalog::{TableDef, normalized, sql_type};

/// A value of a row.
pub(super) enum Cell<'a> {
    Null,
    /// A scalar as it is written, without quotes and escapes.
    Text(Cow<'a, str>),
    List(Vec<Cell<'a>>),
    /// The fields that are there, by index.
    Struct(Vec<(usize, Cell<'a>)>),
}

/// Why a row cannot be read.
pub(super) struct BadRow {
    pub column: Option<String>,
    pub code: RejectCode,
    pub message: String,
    /// What the row was, where that is not its JSON.
    pub payload: Option<String>,
}

impl BadRow {
    pub fn new(column: Option<String>, code: RejectCode, message: String) -> Self {
        Self { column, code, message, payload: None }
    }

    fn malformed(message: String) -> Self {
        Self::new(None, RejectCode::Malformed, message)
    }

    fn in_column(mut self, name: &str) -> Self {
        self.column = Some(name.to_owned());
        self
    }
}

impl From<Syntax> for BadRow {
    fn from(syntax: Syntax) -> Self {
        Self::malformed(format!("not a JSON object: {}", syntax.message()))
    }
}

/// Whether a name says why `tidewater ingest` could not read a record, which is the value: "line 4: 2 fields, not 5", "lines 7 to 8: …".
fn is_reason(name: &str) -> bool {
    let Some((place, _)) = name.split_once(": ") else { return false };
    let several = place.strip_prefix("lines ").and_then(|lines| lines.split_once(" to "));
    let lines = several.or_else(|| place.strip_prefix("line ").map(|line| (line, line)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    lines.is_some_and(|(first, last)| is_number(first) && is_number(last))
}

/// What `tidewater ingest` could not read, if the text that stands next is all that the object has beside its one name. Any other object is
/// one that somebody wrote: it is kept whole.
fn unread(reason: &str, scanner: &mut Scanner<'_>) -> BadRow {
    match scanner.string() {
        Ok(payload) if scanner.close_if(b'}') && scanner.end().is_ok() => {
            BadRow { payload: Some(payload.into_owned()), ..BadRow::malformed(shown(reason)) }
        }
        _ => no_column(reason),
    }
}

fn no_column(name: &str) -> BadRow {
    BadRow::malformed(format!("the table has no column {}", quoted(name)))
}

/// Reads the rows of one payload.
pub(super) struct RowReader<'d> {
    def: &'d TableDef,
    by_name: HashMap<&'d str, usize>,
    by_normalized: HashMap<String, usize>,
    ignore_unknown: bool,
    /// By column: the row that had it last, counted from 1; tells a name that stands twice.
    seen: Vec<u64>,
    n_rows: u64,
    /// Bytes of a row that has only NULLs, and of everything read so far.
    row_bytes: u64,
    bytes: u64,
    max_bytes: u64,
}

impl<'d> RowReader<'d> {
    pub fn new(def: &'d TableDef, ignore_unknown: bool, max_bytes: u64) -> Self {
        Self {
            def,
            by_name: def.columns.iter().enumerate().map(|(i, column)| (column.name.as_str(), i)).collect(),
            by_normalized: def.columns.iter().enumerate().map(|(i, column)| (normalized(&column.name), i)).collect(),
            ignore_unknown,
            seen: vec![0; def.columns.len()],
            n_rows: 0,
            row_bytes: def.columns.iter().map(|column| text_bytes(&column.data_type)).sum(),
            bytes: 0,
            max_bytes,
        }
    }

    /// What was read takes more memory than a payload may. The row that went over may have been cut short.
    pub fn is_too_large(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// The values of one object by column of the table; names that are missing are NULL.
    pub fn read<'a>(&mut self, text: &'a str) -> Result<Vec<(usize, Cell<'a>)>, BadRow> {
        self.bytes = self.bytes.saturating_add(self.row_bytes);
        self.n_rows += 1;
        let mut scanner = Scanner::new(text);
        let mut cells: Vec<(usize, Cell<'a>)> = Vec::new();
        scanner.open(b'{')?;
        let mut more = !scanner.close_if(b'}');
        while more {
            let name = scanner.string()?;
            scanner.open(b':')?;
            match self.column(&name) {
                Some(i) => {
                    let column = &self.def.columns[i];
                    if std::mem::replace(&mut self.seen[i], self.n_rows) == self.n_rows {
                        return Err(BadRow::malformed(format!("the name {} stands twice", quoted(&name)))
                            .in_column(&column.name));
                    }
                    let cell =
                        self.cell(&mut scanner, &column.data_type).map_err(|fault| fault.in_column(&column.name))?;
                    cells.push((i, cell));
                }
                None if self.ignore_unknown => {
                    scanner.skip_value()?;
                }
                None => {
                    return Err(match cells.is_empty() && is_reason(&name) {
                        true => unread(&name, &mut scanner),
                        false => no_column(&name),
                    });
                }
            }
            more = !scanner.close_if(b'}');
            if more {
                scanner.open(b',')?;
            }
        }
        scanner.end()?;
        Ok(cells)
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_normalized.get(&normalized(name))).copied()
    }

    /// The value that stands next, for a column or element of type `data_type`. Recursive as deep as the type.
    fn cell<'a>(&mut self, scanner: &mut Scanner<'a>, data_type: &DataType) -> Result<Cell<'a>, BadRow> {
        let kind = scanner.kind()?;
        let wrong = |what: &str| {
            Err(BadRow::new(None, RejectCode::TypeMismatch, format!("{what} is not a {}", sql_type(data_type))))
        };
        match (kind, data_type) {
            (Kind::Null, _) => scanner.plain().map(|_| Cell::Null).map_err(BadRow::from),
            (Kind::Array, DataType::List(item)) => self.list(scanner, item.data_type()),
            (Kind::Object, DataType::Struct(fields)) => self.structure(scanner, fields),
            (Kind::Array, _) => wrong("an array"),
            (Kind::Object, _) => wrong("an object"),
            (_, DataType::List(_) | DataType::Struct(_)) => wrong("a scalar"),
            (Kind::Text, _) => self.text(scanner.string()?),
            (Kind::Number, DataType::Timestamp(_, zone)) => {
                let number = scanner.plain()?;
                match whole_number(number).and_then(wall_text) {
                    Some(text) => self.text(Cow::Owned(if zone.is_some() { text + "Z" } else { text })),
                    None => Err(BadRow::new(
                        None,
                        RejectCode::OutOfRange,
                        format!("{} is not a number of µs since 1970 in the years 1 to 9999", quoted(number)),
                    )),
                }
            }
            // Digits would be read as hexadecimal ones.
            (Kind::Number | Kind::Bool, DataType::Binary) => wrong("a number or truth value"),
            (_, _) => {
                let text = scanner.plain()?;
                self.text(Cow::Borrowed(text))
            }
        }
    }

    fn text<'a>(&mut self, text: Cow<'a, str>) -> Result<Cell<'a>, BadRow> {
        self.grow(text.len() as u64)?;
        Ok(Cell::Text(text))
    }

    fn list<'a>(&mut self, scanner: &mut Scanner<'a>, item: &DataType) -> Result<Cell<'a>, BadRow> {
        scanner.open(b'[')?;
        let mut cells = Vec::new();
        let mut more = !scanner.close_if(b']');
        while more {
            self.grow(text_bytes(item).saturating_add(size_of::<Cell<'_>>() as u64))?;
            cells.push(self.cell(scanner, item)?);
            more = !scanner.close_if(b']');
            if more {
                scanner.open(b',')?;
            }
        }
        Ok(Cell::List(cells))
    }

    fn structure<'a>(&mut self, scanner: &mut Scanner<'a>, fields: &Fields) -> Result<Cell<'a>, BadRow> {
        scanner.open(b'{')?;
        let mut cells: Vec<(usize, Cell<'a>)> = Vec::new();
        let mut more = !scanner.close_if(b'}');
        while more {
            let name = scanner.string()?;
            scanner.open(b':')?;
            let exact = fields.iter().position(|field| field.name() == name.as_ref());
            let found = exact.or_else(|| {
                let wanted = normalized(&name);
                fields.iter().position(|field| normalized(field.name()) == wanted)
            });
            match found {
                Some(i) if cells.iter().any(|(taken, _)| *taken == i) => {
                    return Err(BadRow::malformed(format!("the name {} stands twice", quoted(&name))));
                }
                Some(i) => cells.push((i, self.cell(scanner, fields[i].data_type())?)),
                None if self.ignore_unknown => {
                    scanner.skip_value()?;
                }
                None => return Err(BadRow::malformed(format!("the struct has no field {}", quoted(&name)))),
            }
            more = !scanner.close_if(b'}');
            if more {
                scanner.open(b',')?;
            }
        }
        Ok(Cell::Struct(cells))
    }

    /// Counts bytes, and stops reading a row that is too large as soon as it is.
    fn grow(&mut self, bytes: u64) -> Result<(), BadRow> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.is_too_large() {
            return Err(BadRow::malformed("the payload is too large".to_owned()));
        }
        Ok(())
    }
}

/// What a value without text takes while it is text: an offset, or more when the type is wide.
fn text_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Struct(fields) => 1 + fields.iter().map(|field| text_bytes(field.data_type())).sum::<u64>(),
        other => fixed_bytes(other).max(4),
    }
}
