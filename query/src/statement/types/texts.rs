//! How long is a text that is cast? As long as the type says: a CAST to `VARCHAR(20)` cuts to 20 characters, as in standard SQL. The planner takes
//! no notice of the length.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, Expr, TypedString, Value, VisitMut, VisitorMut,
};
use tidewater_storage::{Code, Error, Result};

use super::operators::call;
use crate::statement::create_table::column_type;

/// Cuts what is cast to a text with a length.
pub(crate) fn settle(statement: &mut Statement) -> Result<()> {
    let flow = match statement {
        Statement::Statement(sql) => VisitMut::visit(&mut **sql, &mut Settle),
        Statement::Explain(explain) => return settle(&mut explain.statement),
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        let (Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })) = expr else {
            return ControlFlow::Continue(());
        };
        match length(data_type) {
            Ok(None) => {}
            Ok(Some(length)) => {
                *data_type = DataType::Varchar(None);
                let number = |n: u32| Expr::Value(Value::Number(n.to_string(), false).into());
                let whole = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                *expr = call("substr", vec![whole, number(1), number(length)]);
            }
            Err(error) => return ControlFlow::Break(Box::new(error)),
        }
        ControlFlow::Continue(())
    }
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
