//! What may be forgotten, and when is it deleted? No statement sees rows past their table's `retention`, from that moment on. Files that
//! hold nothing else leave the Delta table later, and the store seven days after that. Keys outlive rows.

mod expire;

pub(crate) use expire::expire;

#[cfg(test)]
mod tests;
