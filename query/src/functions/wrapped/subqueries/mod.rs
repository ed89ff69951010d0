//! What does DataFusion not answer of a subquery beside a value, or answers wrong? One in the SELECT list, one over the table that is asked itself,
//! and one whose outer joins depend on the query around it.

mod kept_sides;
mod quantified;
mod selected;

pub(crate) use self::quantified::Quantified;
pub(crate) use self::selected::Selected;
