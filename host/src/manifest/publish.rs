//! Reads how a handler's outputs are written.

use crate::manifest::Reader;
use crate::manifest::keys::publish as keys;
use crate::publish::Publish;

/// Reads the table `[publish]`.
pub(super) fn publish(reader: &mut Reader<'_>) -> Publish {
    Publish {
        key_from: reader.parsed(&keys::KEY_FROM),
    }
}
