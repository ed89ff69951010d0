//! Which columns do JSON objects have? One for each field, in the order in which they first appear, of a type that takes as many
//! of their values as one type can.
//!
//! A value that does not fit its column rejects its row later, and never ends a load. So nothing here is an error but that
//! there is no field at all.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::bail;
use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::json::{self, Member, Value};
use super::texts::{is_whole_as_double, looks_like_a_time, type_of_times};

/// The shape of a table for JSON objects, from the first lines of their file. Lines that are no objects say nothing.
pub(in crate::cli::ingest) fn shape_of_objects<'a>(lines: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<SchemaRef> {
    let mut seen = Members::default();
    for members in lines.filter_map(json::object) {
        seen.add(&members);
    }
    let columns = seen.fields();
    if columns.is_empty() {
        bail!("there is no JSON object with fields at the beginning of the file to take the columns from");
    }
    Ok(Arc::new(Schema::new(columns)))
}

/// The fields of objects, in the order in which they first appeared.
#[derive(Default)]
struct Members {
    in_order: Vec<(String, Seen)>,
    /// The server compares names without regard to case: `Id` and `id` are one column.
    by_folded_name: HashMap<String, usize>,
}

impl Members {
    fn add(&mut self, members: &[Member<'_>]) {
        let Self { in_order, by_folded_name } = self;
        for (name, value) in members {
            let at = *by_folded_name.entry(name.to_lowercase()).or_insert_with(|| {
                in_order.push((name.to_string(), Seen::default()));
                in_order.len() - 1
            });
            in_order[at].1.add(value);
        }
    }

    fn fields(&self) -> Vec<Field> {
        self.in_order.iter().map(|(name, seen)| Field::new(name, seen.data_type(), true)).collect()
    }
}

/// The values of one field.
#[derive(Default)]
struct Seen {
    n_scalars: usize,
    n_lists: usize,
    n_objects: usize,
    has_booleans: bool,
    numbers: Numbers,
    texts: Texts,
    /// Of all lists together.
    items: Option<Box<Seen>>,
    members: Members,
}

impl Seen {
    fn add(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => return,
            Value::Boolean => self.has_booleans = true,
            Value::Number(number) => self.numbers.add(number),
            Value::Text(text) => self.texts.add(text),
            Value::List(items) => {
                self.n_lists += 1;
                let seen = self.items.get_or_insert_default();
                items.iter().for_each(|item| seen.add(item));
                return;
            }
            Value::Object(members) => {
                self.n_objects += 1;
                self.members.add(members);
                return;
            }
        }
        self.n_scalars += 1;
    }

    fn data_type(&self) -> DataType {
        // No column takes both `""` and an object: rows are rejected, and fewest if the type is what most rows have.
        let most = self.n_scalars.max(self.n_lists).max(self.n_objects);
        if most == self.n_scalars {
            return self.scalar_type();
        }
        if most == self.n_lists {
            // Of an empty list nobody knows what it is a list of: texts, for the reason that is given below.
            return DataType::new_list(self.items.as_ref().map_or(DataType::Utf8, |items| items.data_type()), true);
        }
        let fields = self.members.fields();
        // There is no STRUCT without fields, and no other type for `{}`: its rows are rejected whatever is said here.
        if fields.is_empty() { DataType::Utf8 } else { DataType::Struct(fields.into()) }
    }

    fn scalar_type(&self) -> DataType {
        let has_texts = !matches!(self.texts, Texts::None);
        match (self.has_booleans, self.numbers.is_empty(), has_texts) {
            (true, true, false) => DataType::Boolean,
            (false, false, false) => self.numbers.data_type(),
            (false, true, true) => self.texts.data_type(),
            // Several kinds, or none: null wherever we looked. VARCHAR takes every scalar as it is written, so that whatever
            // comes later loses nothing and rejects no row.
            _ => DataType::Utf8,
        }
    }
}

/// The numbers of one field.
#[derive(Default)]
struct Numbers {
    /// The least and the greatest of the integers.
    integers: Option<(i128, i128)>,
    /// Some are written with a point or an exponent.
    has_fractions: bool,
    /// Some integer would lose digits as DOUBLE.
    has_long_integers: bool,
}

impl Numbers {
    fn add(&mut self, number: &str) {
        if number.contains(['.', 'e', 'E']) {
            self.has_fractions = true;
            return;
        }
        // What is too long for this is beyond every integer type, on whichever side.
        let value = number.parse::<i128>().unwrap_or(i128::MAX);
        let (least, greatest) = self.integers.unwrap_or((value, value));
        self.integers = Some((least.min(value), greatest.max(value)));
        self.has_long_integers |= !is_whole_as_double(number);
    }

    fn is_empty(&self) -> bool {
        self.integers.is_none() && !self.has_fractions
    }

    /// The narrowest type that keeps every digit of an integer. As for CSV that is VARCHAR where no integer type or DOUBLE
    /// does: a DECIMAL would reject the first fraction or longer number that comes.
    fn data_type(&self) -> DataType {
        let Some((least, greatest)) = self.integers else { return DataType::Float64 };
        let within = |from: i128, to: i128| from <= least && greatest <= to;
        match self.has_fractions {
            true if self.has_long_integers => DataType::Utf8,
            true => DataType::Float64,
            false if within(i64::MIN.into(), i64::MAX.into()) => DataType::Int64,
            false if within(0, u64::MAX.into()) => DataType::UInt64,
            false => DataType::Utf8,
        }
    }
}

/// The texts of one field.
#[derive(Default)]
enum Texts {
    #[default]
    None,
    /// All that there were, as long as each looks like a time.
    Times(Vec<String>),
    Others,
}

impl Texts {
    fn add(&mut self, text: &str) {
        match self {
            _ if !looks_like_a_time(text) => *self = Self::Others,
            Self::None => *self = Self::Times(vec![text.to_owned()]),
            Self::Times(times) => times.push(text.to_owned()),
            Self::Others => {}
        }
    }

    /// JSON says what is a number and what is true; only times hide in its texts.
    fn data_type(&self) -> DataType {
        match self {
            Self::Times(times) => type_of_times(&StringArray::from_iter_values(times)).unwrap_or(DataType::Utf8),
            Self::None | Self::Others => DataType::Utf8,
        }
    }
}
