//! What is told of an order whose end the host does not see: it begins to stop meanwhile.
//!
//! **Invariant:** each order has one line in the audit, however it ends.

use std::sync::Arc;

use super::orders::Wish;
use crate::audit::{Audit, Change};
use crate::ids::HandlerId;

/// What became of an order that was cut off.
const WHY: &str = "the host stops, and does not know what became of it; what lies in the handlers folder serves at the next start, \
                   unless it was rolled back";

/// Tells of an order when it is dropped, unless it was over.
#[derive(Debug)]
pub(super) struct Cut {
    audit: Arc<Audit>,
    /// The order; none once it is over.
    order: Option<(HandlerId, String, String)>,
}

impl Cut {
    /// Begins with an order.
    pub(super) fn new(audit: &Arc<Audit>, id: &HandlerId, wish: &Wish, who: &str) -> Self {
        Self {
            audit: Arc::clone(audit),
            order: Some((id.clone(), wish.to_string(), who.to_owned())),
        }
    }

    /// Leaves it to others to tell.
    pub(super) fn over(mut self) {
        self.order = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some((id, action, who)) = &self.order {
            self.audit.note(&Change {
                handler: Some(id),
                refused: Some(WHY),
                ..Change::of_host(who, action)
            });
        }
    }
}
