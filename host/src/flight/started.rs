//! A record between its fetch and its settlement, with what was made of it so far.
//!
//! **Invariant:** what middleware makes of a record is kept until it is settled, so that no middleware sees it twice; where
//! it lies, its order and its dead letter stay those of the original.

use std::sync::Arc;

use super::Ledger;
use super::attempt::Attempt;
use super::part::Part;
use crate::ids::Revision;
use crate::outbox::Outbox;
use crate::pipeline::Progress;
use crate::record::{Changed, RecordView};
use crate::returned::Returned;
use crate::route::{HOPS_KEY, hops_of};
use crate::source::Record;
use crate::watermark::Ticket;

/// See the module.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) ticket: Ticket,
    pub(crate) record: Record,
    /// Of a record that came back by a topic of its own: what it was before.
    pub(crate) returned: Option<Box<Returned>>,
    /// How often handlers have passed it on, once that was read.
    pub(crate) hops: u32,
    /// What handlers have made of it that take it beside others.
    pub(crate) parts: Vec<Part>,
    pub(crate) passage: Passage,
    /// How far the pipeline came whose attempt failed last, where that is not to be done again.
    pub(crate) halfway: Option<Box<Halfway>>,
    /// Bytes beside the record that the ledger counts.
    held_bytes: usize,
}

/// What is kept of the steps of a pipeline that are not to be repeated.
#[derive(Debug)]
pub(crate) struct Halfway {
    /// The handler whose pipeline it is.
    pub(crate) revision: Revision,
    pub(crate) pipeline: Arc<str>,
    pub(crate) progress: Progress<Kept>,
}

impl Halfway {
    /// Returns whether it is of this pipeline; another revision begins anew.
    pub(crate) fn is_of(&self, revision: &Revision, pipeline: &Arc<str>) -> bool {
        self.revision == *revision && self.pipeline == *pipeline
    }
}

/// What steps have left.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The record, where it is not the one that was begun with.
    pub(crate) changed: Option<Changed>,
    /// What is to be sent.
    pub(crate) outputs: Outbox,
}

impl Kept {
    /// Copies what there is now.
    pub(crate) fn of(changed: Option<&Changed>, outputs: &Outbox) -> Self {
        Self {
            changed: changed.cloned(),
            outputs: outputs.clone(),
        }
    }

    fn size_bytes(&self) -> usize {
        self.changed.as_ref().map_or(0, Changed::size_bytes) + self.outputs.size_bytes()
    }
}

/// How far a record is on its way through the middleware.
#[derive(Debug, Default)]
pub(crate) enum Passage {
    /// It has not begun.
    #[default]
    Before,
    /// One of it has failed.
    Within(Box<Within>),
    /// It is through, and was changed where there is a record.
    Through(Option<Box<Changed>>),
}

/// A record that is to be tried again somewhere within the middleware.
#[derive(Debug)]
pub(crate) struct Within {
    /// Which middleware that is.
    pub(crate) chain: Revision,
    /// The place in it of the one that failed.
    pub(crate) place: usize,
    /// What those before it made of the record.
    pub(crate) changed: Option<Box<Changed>>,
    /// The attempt that failed last; none where the lane halted after it.
    pub(crate) failed: Option<Attempt>,
}

impl Started {
    /// Makes a record that nobody has seen.
    pub(crate) fn new(ticket: Ticket, record: Record) -> Self {
        Self {
            ticket,
            record,
            returned: None,
            hops: 0,
            parts: Vec::new(),
            passage: Passage::Before,
            halfway: None,
            held_bytes: 0,
        }
    }

    /// Reads how often handlers have passed it on. To be called once it is known what it was before.
    pub(crate) fn read_hops(&mut self) {
        // Most records have no such header, and nothing is made of the others that they have.
        if self.record.has_header(HOPS_KEY) {
            self.hops = hops_of(&self.original("").headers);
        }
    }

    /// Returns the bytes of key and value.
    pub(crate) fn size_bytes(&self) -> usize {
        self.record.size_bytes()
    }

    /// Returns the bytes of the record and of what the ledger knows beside it.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.record.size_bytes() + self.held_bytes
    }

    /// Returns the bytes of what was made of the record so far.
    fn made_bytes(&self) -> usize {
        let changed = match &self.passage {
            Passage::Within(within) => within.changed.as_deref(),
            Passage::Before | Passage::Through(_) => self.changed(),
        };
        let kept = self.halfway.as_ref().and_then(|it| it.progress.kept());
        changed.map_or(0, Changed::size_bytes)
            + kept.map_or(0, Kept::size_bytes)
            + self.parts.iter().map(Part::size_bytes).sum::<usize>()
    }

    /// Returns whether the record is through the middleware. One that a handler has had is: middleware that comes later is
    /// not for the others alone.
    pub(crate) fn is_received(&self) -> bool {
        matches!(self.passage, Passage::Through(_)) || !self.parts.is_empty()
    }

    /// Returns what middleware has made of the record, if it was changed. What only some of it has seen is nothing that
    /// hooks of a handler could read.
    pub(crate) fn changed(&self) -> Option<&Changed> {
        match &self.passage {
            Passage::Before | Passage::Within(_) => None,
            Passage::Through(changed) => changed.as_deref(),
        }
    }

    /// Returns the key that handlers are shown.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        match self.changed() {
            Some(changed) => changed.key.as_deref(),
            None => self.record.key(),
        }
    }

    /// Lends the record's parts as handlers are shown them. `topic` is the topic of the queue it came from.
    pub(crate) fn view<'a>(&'a self, topic: &'a str) -> RecordView<'a> {
        let original = self.original(topic);
        match self.changed() {
            Some(changed) => changed.view(&original),
            None => original,
        }
    }

    /// Lends the record's parts as they were written to the topic that the handler reads.
    pub(crate) fn original<'a>(&'a self, topic: &'a str) -> RecordView<'a> {
        let mut view = self.record.view(topic);
        if let Some(returned) = &self.returned {
            let letter = &returned.letter;
            view.topic = &letter.topic;
            view.partition = letter.partition;
            view.offset = letter.offset;
            view.timestamp_ms = letter.timestamp_ms;
            view.headers.truncate(returned.own_headers);
        }
        view
    }
}

impl Ledger {
    /// Counts what was made of a record that is not complete, so that no more is taken while much of it waits.
    pub(crate) fn hold(&self, started: &mut Started) {
        let (before, now) = (started.held_bytes, started.made_bytes());
        if before == now {
            return;
        }
        started.held_bytes = now;
        let mut entries = self.entries.lock();
        entries.open_bytes = (entries.open_bytes + now).saturating_sub(before);
        self.tell_of_room(&mut entries);
    }
}
