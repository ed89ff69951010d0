//! What has a function in common with the one that it stands around? The methods that are listed: they are those of its field `inner`.

/// Writes methods of a trait of functions; each is a line of the `impl`, without a body.
macro_rules! of_inner {
    ($(fn $method:ident(&self $(, $arg:ident: $of:ty)*) -> $result:ty;)*) => {
        $(
            fn $method(&self $(, $arg: $of)*) -> $result {
                self.inner.$method($($arg),*)
            }
        )*
    };
}

pub(super) use of_inner;
