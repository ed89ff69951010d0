//! What are `current_catalog()`, `current_schema()` and `current_user()`? What a client asks that has to show where it is.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::carried::carried;

/// Who asks, as functions are shown it: in the configuration.
#[derive(Debug, Clone)]
pub(crate) struct CallerName(Arc<str>);

impl CallerName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }
}

carried!(CallerName, "tidewater_caller");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fact {
    Catalog,
    Schema,
    User,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionFact {
    fact: Fact,
    signature: Signature,
    aliases: Vec<String>,
}

impl SessionFact {
    pub fn new(fact: Fact) -> Self {
        let aliases = match fact {
            Fact::Catalog => vec!["current_database".to_owned()],
            Fact::Schema => Vec::new(),
            Fact::User => vec!["session_user".to_owned()],
        };
        Self { fact, signature: Signature::nullary(Volatility::Stable), aliases }
    }

    fn value(&self, config: &ConfigOptions) -> ScalarValue {
        ScalarValue::Utf8(match self.fact {
            Fact::Catalog => Some(config.catalog.default_catalog.clone()),
            Fact::Schema => Some(config.catalog.default_schema.clone()),
            Fact::User => config.extensions.get::<CallerName>().map(|CallerName(name)| name.to_string()),
        })
    }
}

impl ScalarUDFImpl for SessionFact {
    fn name(&self) -> &str {
        match self.fact {
            Fact::Catalog => "current_catalog",
            Fact::Schema => "current_schema",
            Fact::User => "current_user",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value(&args.config_options)))
    }

    fn simplify(&self, _args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let value = self.value(info.config_options());
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
    }
}
