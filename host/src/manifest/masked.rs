//! Settings in a log, without what may be a secret.
//!
//! Handed a map of settings, prints its names.
//! **Invariant:** no value is printed.

use std::collections::BTreeMap;
use std::fmt;

use crate::secrets::HIDDEN;

/// Prints the names of a map and `***` for every value.
pub(crate) struct Masked<'a>(pub(crate) &'a BTreeMap<String, String>);

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.keys().map(|name| (name, Hidden)))
            .finish()
    }
}

/// Stands for a value.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
