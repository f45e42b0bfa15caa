//! How often what a lane sends was passed on: the count goes on with what somebody reads here, and a record that has come
//! too far is cut.
//!
//! Handed each record that is about to be sent; most of them go to topics that nobody reads here, made from records without
//! a count, and cost a look at a few names.
//! **Invariant:** what is made from a record that has a count has a larger one, and so has what handlers of the tenant read
//! on this host.

use super::Lane;
use crate::catalog::{CatalogReader, Deployed};
use crate::flight::Started;
use crate::ids::{HandlerId, TenantId};
use crate::letter;
use crate::outcome::{Failure, FailureKind};
use crate::record::Emit;
use crate::route::{next_hop, with_hops, with_later_hops, within};

/// Topics that a lane remembers at once. Who writes to more of them has each looked up in the catalog.
const TOPICS_MAX: usize = 16;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mail {
    /// What components emitted.
    Outputs,
    /// Records that were given up, which keep their own count and what else they had.
    Letters,
}

/// A topic that a lane has sent something to.
#[derive(Debug)]
struct Known {
    handler: HandlerId,
    mail: Mail,
    topic: Box<str>,
    is_read: bool,
}

/// See the module. Holds for one snapshot of what is deployed.
#[derive(Debug, Default)]
pub(super) struct Hops {
    known: Vec<Known>,
    /// How often the record in hand was passed on; of a batch the largest count.
    in_hand: u32,
}

/// Where what is sent comes from.
pub(super) struct Sender<'a> {
    pub(super) catalog: &'a CatalogReader,
    pub(super) tenant: &'a TenantId,
    pub(super) id: &'a HandlerId,
    /// None where it was removed meanwhile.
    pub(super) handler: Option<&'a Deployed>,
}

impl Hops {
    /// Forgets which topics are read: something was deployed or removed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Returns how often the record in hand was passed on.
    pub(super) fn in_hand(&self) -> u32 {
        self.in_hand
    }

    /// Returns the count that a record is to bear which is about to be sent; none where it goes as it is.
    pub(super) fn count(
        &mut self,
        sender: &Sender<'_>,
        mail: Mail,
        emit: &Emit<'_>,
    ) -> Option<String> {
        let is_counted = self.is_read(sender, mail, emit.topic)
            // A letter has the record's own headers.
            || mail == Mail::Outputs && self.in_hand > 0;
        is_counted.then(|| next_hop(self.in_hand).to_string())
    }

    fn is_read(&mut self, sender: &Sender<'_>, mail: Mail, topic: &str) -> bool {
        let is_known = |known: &&Known| {
            &*known.topic == topic && known.mail == mail && known.handler == *sender.id
        };
        if let Some(known) = self.known.iter().find(is_known) {
            return known.is_read;
        }
        let is_read = look_up(sender, mail, topic);
        if self.known.len() >= TOPICS_MAX {
            self.known.clear();
        }
        self.known.push(Known {
            handler: sender.id.clone(),
            mail,
            topic: topic.into(),
            is_read,
        });
        is_read
    }
}

fn look_up(sender: &Sender<'_>, mail: Mail, topic: &str) -> bool {
    let catalog = sender.catalog.borrow();
    let Some(readers) = catalog.tenant(sender.tenant) else {
        return false;
    };
    let is_read = readers.is_read(topic);
    // Where letters go the manifest says, and was looked at when it was deployed.
    if is_read
        && mail == Mail::Outputs
        && let Some(handler) = sender.handler
    {
        readers.note(handler, topic);
    }
    is_read
}

/// Gives a record its count, if it is to bear one.
pub(super) fn counted<'a>(emit: Emit<'a>, mail: Mail, count: Option<&'a str>) -> Emit<'a> {
    match (count, mail) {
        (None, _) => emit,
        (Some(count), Mail::Outputs) => with_hops(emit, count),
        (Some(count), Mail::Letters) => with_later_hops(emit, count),
    }
}

impl Lane {
    /// Takes note of the records whose outputs and dead letters are sent next.
    pub(crate) fn count_from(&mut self, cargo: &[Started]) {
        let counts = cargo.iter().map(|started| started.hops);
        self.hops.in_hand = counts.max().unwrap_or_default();
    }

    /// Returns why a record is not handled, if handlers have passed it on too often.
    pub(crate) fn cut(&self, handler: &Deployed, started: &Started) -> Option<Failure> {
        let error = within(started.hops, handler.manifest.routing.max_hops).err()?;
        let topic = started.original(self.topic()).topic;
        let message = format!("{error} (it came by {topic})");
        Some(Failure::new(FailureKind::Loop, message))
    }

    /// Returns whether the dead letter of a record that is cut would come to a handler again, though the record is one that
    /// was cut before: letters would go round for ever.
    pub(crate) fn letter_goes_round(&self, handler: &Deployed, started: &Started) -> bool {
        let view = started.original(self.topic());
        let kind = letter::split(&view.headers)
            .and_then(|(_, block)| letter::optional_text(block, letter::KIND));
        if kind.as_deref() != Some(FailureKind::Loop.as_str()) {
            return false;
        }
        let topic = handler.manifest.dead_letter_topic.as_str();
        let catalog = self.catalog.borrow();
        let readers = catalog.tenant(&handler.id.tenant);
        readers.is_some_and(|readers| readers.is_read(topic))
    }
}
