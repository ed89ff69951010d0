//! Which functions are constants of a statement? The moment at which it began, who asks and where names are looked up, our version.

mod current_time;
mod now;
mod session;
mod version;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;

pub(crate) use session::CallerName;
use session::{Fact, SessionFact};

/// Adds them to a session, in the place of DataFusion's where it has them.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let now = now::Now::new(state.config_options());
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(now)))?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(current_time::CurrentTime::new())))?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(version::Version::new())))?;
    for fact in [Fact::Catalog, Fact::Schema, Fact::User] {
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(SessionFact::new(fact))))?;
    }
    Ok(())
}
