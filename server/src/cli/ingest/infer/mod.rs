//! Which types do the values of a text file have? Those that every value of a sample fits; when in doubt, text.

mod json;
mod objects;
mod texts;

pub(super) use objects::shape_of_objects;
pub(super) use texts::shape_of_texts;
