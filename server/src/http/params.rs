//! Which values does a request bind? The array `params`, read without believing how long it is.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray,
    UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tidewater_query::Parameters;
use tidewater_storage::{Code, Error};

use super::problem::Problem;
use crate::query_api::{MAX_PARAMETERS, too_many_parameters};

/// The values of a request.
#[derive(Debug, Default)]
pub(super) struct Params {
    /// The first [`MAX_PARAMETERS`].
    values: Vec<Param>,
    /// How many there are.
    n: usize,
}

/// One value.
#[derive(Debug)]
enum Param {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    /// An array or an object. What is in it is not kept: nobody can bind it.
    Nested,
}

impl Params {
    /// One row with a column for each value; `None` without values.
    pub(super) fn into_row(self) -> Result<Option<Parameters>, Problem> {
        if self.n > MAX_PARAMETERS {
            return Err(too_many_parameters(self.n).into());
        }
        if self.values.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(self.values.len());
        for (at, value) in self.values.into_iter().enumerate() {
            columns.push(column(at + 1, value)?);
        }
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Field::new((at + 1).to_string(), column.data_type().clone(), true))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(Error::from)?;
        Ok(Some(Parameters(row)))
    }
}

fn column(position: usize, value: Param) -> Result<ArrayRef, Problem> {
    Ok(match value {
        Param::Null => Arc::new(NullArray::new(1)),
        Param::Bool(flag) => Arc::new(BooleanArray::from(vec![flag])),
        Param::Int(value) => Arc::new(Int64Array::from(vec![value])),
        Param::Uint(value) => match i64::try_from(value) {
            Ok(value) => Arc::new(Int64Array::from(vec![value])),
            Err(_) => Arc::new(UInt64Array::from(vec![value])),
        },
        Param::Float(value) => Arc::new(Float64Array::from(vec![value])),
        Param::Text(text) => Arc::new(StringArray::from(vec![text])),
        Param::Nested => {
            let message = format!("parameter {position} is an array or an object, which is not supported yet");
            return Err(Error::new(Code::InvalidParameter, message)
                .hint("send null, a boolean, a number or a text")
                .into());
        }
    })
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Params;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of values for the parameters")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Params, A::Error> {
        let mut params = Params::default();
        while params.n < MAX_PARAMETERS {
            match from.next_element()? {
                Some(value) => params.values.push(value),
                None => return Ok(params),
            }
            params.n += 1;
        }
        // The others are counted, so that the error can say how many there are.
        while from.next_element::<IgnoredAny>()?.is_some() {
            params.n += 1;
        }
        Ok(params)
    }
}

impl<'de> Deserialize<'de> for Param {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(One)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = Param;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("null, a boolean, a number or a text")
    }

    fn visit_unit<E>(self) -> Result<Param, E> {
        Ok(Param::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Param, E> {
        Ok(Param::Bool(flag))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Param, E> {
        Ok(Param::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Param, E> {
        Ok(Param::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Param, E> {
        Ok(Param::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Param, E> {
        Ok(Param::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Param, E> {
        Ok(Param::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Param, A::Error> {
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Param::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Param, A::Error> {
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Param::Nested)
    }
}
