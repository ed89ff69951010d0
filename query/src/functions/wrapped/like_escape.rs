//! How does `x LIKE y ESCAPE '/'` read a pattern that is known for each row only? As one with backslashes, which `like_escape` writes. And
//! `x SIMILAR TO y`? As the regular expression that `similar_to_escape` writes. The same functions are behind them in PostgreSQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use crate::statement::{LIKE_ESCAPE, SIMILAR_ESCAPE, regex_of, similar_refusal, with_backslashes};

/// `like_escape(pattern, character)` or `similar_to_escape(pattern, character)`. No character, `''`: nothing is escaped.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Escape {
    name: &'static str,
    signature: Signature,
}

impl Escape {
    pub fn of_like() -> Self {
        Self { name: LIKE_ESCAPE, signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub fn of_similar_to() -> Self {
        Self { name: SIMILAR_ESCAPE, ..Self::of_like() }
    }

    fn written(&self, pattern: &str, character: &str) -> Result<String, Error> {
        let escape = escape(character)?;
        if self.name == SIMILAR_ESCAPE {
            return regex_of(pattern, escape).map_err(|problem| similar_refusal(Code::QueryFailed, pattern, problem));
        }
        with_backslashes(pattern, escape).ok_or_else(|| {
            Error::new(Code::QueryFailed, "a pattern ends with its character of escape")
                .hint("write the character twice where it stands for itself")
        })
    }
}

/// The one character of a text, if it has any.
fn escape(character: &str) -> Result<Option<char>, Error> {
    let mut characters = character.chars();
    let (escape, more) = (characters.next(), characters.next());
    if more.is_some() {
        return Err(Error::new(Code::QueryFailed, format!("ESCAPE takes one character, and not '{character}'"))
            .hint("bind one character, such as /"));
    }
    Ok(escape)
}

impl ScalarUDFImpl for Escape {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| match data_type {
            DataType::Null => true,
            DataType::Dictionary(_, values) => values.is_string(),
            other => other.is_string(),
        };
        match arg_types {
            [pattern, character] if is_text(pattern) && is_text(character) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => plan_err!("{} takes a pattern and the character of escape in it, both of them text", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let args: [ColumnarValue; 2] = take_function_args(self.name, args.args)?;
        let is_constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args)?;
        let (patterns, characters) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
        let rows = patterns.iter().zip(characters.iter());
        let written: StringArray = rows
            .map(|row| match row {
                (Some(pattern), Some(character)) => self.written(pattern, character).map(Some).map_err(to_datafusion),
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        let written: ArrayRef = Arc::new(written);
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&written, 0)?),
            false => ColumnarValue::Array(written),
        })
    }
}
