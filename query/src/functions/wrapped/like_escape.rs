//! How does `x LIKE y ESCAPE '/'` read a pattern that is known for each row only? As one with backslashes, which `like_escape` writes: the same
//! function is behind ESCAPE in PostgreSQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use crate::statement::{LIKE_ESCAPE, with_backslashes};

/// `like_escape(pattern, character)`. No character, `''`: nothing is escaped.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LikeEscape {
    signature: Signature,
}

impl LikeEscape {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for LikeEscape {
    fn name(&self) -> &str {
        LIKE_ESCAPE
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
            _ => plan_err!("{LIKE_ESCAPE} takes a pattern and the character of escape in it, both of them text"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let args: [ColumnarValue; 2] = take_function_args(LIKE_ESCAPE, args.args)?;
        let is_constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args)?;
        let (patterns, characters) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
        let rows = patterns.iter().zip(characters.iter());
        let written: StringArray = rows
            .map(|row| match row {
                (Some(pattern), Some(character)) => written(pattern, character).map(Some).map_err(to_datafusion),
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

fn written(pattern: &str, character: &str) -> Result<String, Error> {
    let mut characters = character.chars();
    let (escape, more) = (characters.next(), characters.next());
    if more.is_some() {
        return Err(Error::new(Code::QueryFailed, format!("ESCAPE takes one character, and not '{character}'"))
            .hint("bind one character, such as /"));
    }
    with_backslashes(pattern, escape).ok_or_else(|| {
        Error::new(Code::QueryFailed, "a pattern ends with its character of escape")
            .hint("write the character twice where it stands for itself")
    })
}
