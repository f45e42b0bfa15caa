//! How a handler's outputs are written, as its manifest says it.
//!
//! **Invariant:** plain data and pure decisions: nothing here sends or waits.

mod key_from;

pub use self::key_from::{KeyFrom, NoKey};

/// See the module. The default is what holds where the manifest says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Publish {
    /// Where the key of a record stands that is emitted without one; none where such a record has no key.
    pub key_from: Option<KeyFrom>,
}
