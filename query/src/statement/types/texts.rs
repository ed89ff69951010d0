//! How long is a text that is cast? As long as the type says: a CAST to `VARCHAR(20)` cuts to 20 characters, as in standard SQL. The planner takes
//! no notice of the length.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, Expr, TypedString, Value};
use tidewater_storage::{Code, Error, Result};

use super::operators::{call, take};
use crate::statement::create_table::column_type;
use crate::statement::parse::settle_exprs;

/// Cuts what is cast to a text with a length.
pub(crate) fn settle(statement: &mut Statement) -> Result<()> {
    settle_exprs(statement, settle_expr)
}

fn settle_expr(expr: &mut Expr) -> Result<()> {
    let (Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })) = expr else {
        return Ok(());
    };
    if let Some(length) = length(data_type)? {
        *data_type = DataType::Varchar(None);
        let number = |n: u32| Expr::Value(Value::Number(n.to_string(), false).into());
        *expr = call("substr", vec![take(expr), number(1), number(length)]);
    }
    Ok(())
}

/// The characters that a text of this type has at most.
fn length(sql: &DataType) -> Result<Option<u32>> {
    match sql {
        DataType::Varchar(Some(CharacterLength::Max)) | DataType::Nvarchar(Some(CharacterLength::Max)) => Ok(None),
        sql if is_limited(sql) => Ok(column_type(sql)?.1),
        DataType::Array(_) | DataType::Struct(_, _) if holds_limited(sql) => {
            Err(Error::new(Code::UnsupportedStatement, format!("a CAST to {sql} is not supported"))
                .hint("leave the lengths out: texts in lists and structs have none"))
        }
        _ => Ok(None),
    }
}

fn is_limited(sql: &DataType) -> bool {
    matches!(
        sql,
        DataType::Varchar(Some(_))
            | DataType::Nvarchar(Some(_))
            | DataType::CharacterVarying(Some(_))
            | DataType::CharVarying(Some(_))
            | DataType::Character(_)
            | DataType::Char(_)
            | DataType::String(Some(_))
    )
}

fn holds_limited(sql: &DataType) -> bool {
    match sql {
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => holds_limited(item),
        DataType::Struct(fields, _) => fields.iter().any(|field| holds_limited(&field.field_type)),
        other => is_limited(other),
    }
}
