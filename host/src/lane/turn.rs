//! Whose turn a record is: of the handlers that take it, each has it once, the most specific first.
//!
//! The instance and the counters of the lane are those of the handler whose turn it is; those of others wait aside.
//! **Invariant:** outside of a delivery it is the turn of the handler that speaks for the partition, and a record is
//! settled once, when the last handler is done with it.

use std::sync::Arc;

use super::{Lane, Route};
use crate::catalog::Deployed;
use crate::flight::{Cargo, Part, Started};
use crate::guest::Instance;
use crate::ids::{HandlerId, Revision};
use crate::outcome::Ending;
use crate::route::{OnUnmatched, Share, Unmatched};
use crate::routes::{Call, Routes};
use crate::stats::OpenLane;
use crate::suspects::Refusal;

/// What serves a lane: the revisions of all handlers of its topic.
pub(crate) type Serving = Arc<[Revision]>;

/// Where a record goes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// To this handler, which is called so.
    Handler(Arc<Deployed>, Call),
    /// To nobody: no rule takes it.
    Nobody(Unmatched, OnUnmatched),
    /// Nowhere: all who take it have had it.
    Done,
}

/// The turn of a handler.
#[derive(Debug)]
pub(super) struct Turn {
    /// What of it has the record.
    share: Share,
    /// Whether it is the turn of another one afterwards.
    is_followed: bool,
    /// The record, once the handler is done with it and it is the turn of another one.
    handed_on: Option<Started>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            share: Share::Record,
            is_followed: false,
            handed_on: None,
        }
    }
}

/// What waits of a handler while it is another one's turn, or that of another revision of it.
#[derive(Debug)]
pub(super) struct Seat {
    handler: Arc<Deployed>,
    /// None where the other revision counts in the lane.
    stats: Option<OpenLane>,
    instance: Option<(Revision, Instance)>,
}

impl Seat {
    /// Returns whether an instance waits there.
    pub(super) fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// Lets the instance go.
    pub(super) fn rest(&mut self) {
        self.instance = None;
        if let Some(stats) = &self.stats {
            stats.memory_bytes.set(0);
        }
    }
}

impl Lane {
    /// Turns to the handler that has the record next.
    pub(crate) fn next_for(&mut self, started: &Started) -> Next {
        let Some(routes) = self.routes.as_ref() else {
            return Next::Done;
        };
        let key = started.record.key();
        if routes.are_plain() && started.parts.is_empty() {
            let handler = Arc::clone(routes.choose(routes.first(), key));
            self.turn_to(&handler);
            return Next::Handler(handler, Call::Record);
        }
        let taken = match routes.take(&started.view(&self.place.topic)) {
            Ok(taken) => taken,
            Err(_) if !started.parts.is_empty() => return Next::Done,
            Err((why, what)) => return Next::Nobody(why, what),
        };
        let mut open = taken.into_iter().filter(|(target, _)| {
            let had = |part: &Part| target.is(&part.handler, &part.share);
            !started.parts.iter().any(had)
        });
        let Some((target, call)) = open.next() else {
            return Next::Done;
        };
        self.turn = Turn {
            is_followed: open.next().is_some(),
            share: target.share,
            handed_on: None,
        };
        let handler = Arc::clone(routes.choose(&target.handler, key));
        self.turn_to(&handler);
        Next::Handler(handler, call)
    }

    /// Turns to a handler of which Kafka refused an output; to the one that speaks for the partition where nothing says
    /// whose it was.
    pub(crate) fn turn_to_blamed(
        &mut self,
        refusal: &Refusal,
        cargo: &[Started],
        is_followed: bool,
    ) -> Option<Arc<Deployed>> {
        self.route()?;
        let routes = self.routes.as_ref()?;
        let taker = refusal.taker.as_ref();
        let blamed = taker.and_then(|taker| routes.handler(&taker.handler));
        let key = cargo.first().and_then(|started| started.record.key());
        let handler = Arc::clone(routes.choose(blamed.unwrap_or(routes.first()), key));
        let share = taker.and_then(|taker| taker.share.clone());
        self.turn = Turn {
            share: share.unwrap_or(Share::Record),
            is_followed,
            handed_on: None,
        };
        self.turn_to(&handler);
        Some(handler)
    }

    /// Returns what of the handler has the record.
    pub(super) fn share(&self) -> &Share {
        &self.turn.share
    }

    /// Ends a delivery: it is the turn of the handler that speaks for the partition.
    pub(crate) fn turn_back(&mut self) {
        self.turn = Turn::default();
        if let Some(first) = self.first() {
            self.turn_to(&first);
        }
    }

    /// Takes the record that the handler is done with and another one has next. The turn of the former ends.
    pub(crate) fn handed_on(&mut self) -> Option<Started> {
        std::mem::take(&mut self.turn).handed_on
    }

    /// Returns the handler that speaks for the partition.
    pub(super) fn first(&self) -> Option<Arc<Deployed>> {
        let routes = self.routes.as_ref()?;
        Some(Arc::clone(routes.first()))
    }

    pub(super) fn turn_to(&mut self, handler: &Arc<Deployed>) {
        let stats = match self.route.take() {
            Some(route) if Arc::ptr_eq(&route.handler, handler) => {
                self.route = Some(route);
                return;
            }
            Some(route) if route.handler.id == handler.id => route.stats,
            other => {
                let instance = self.instance.take();
                let seat = other.map(|Route { handler, stats, .. }| Seat {
                    handler,
                    stats: Some(stats),
                    instance,
                });
                self.aside.extend(seat);
                self.take_seat(&handler.id)
            }
        };
        self.take_own_instance(handler);
        self.route = Some(Route {
            handler: Arc::clone(handler),
            stats,
            is_return: handler.manifest.return_topics.contains(&self.place.topic),
        });
    }

    /// Takes up what waits of a handler, its instance among it; returns its counters.
    fn take_seat(&mut self, id: &HandlerId) -> OpenLane {
        let is_its = |seat: &Seat| seat.handler.id == *id && seat.stats.is_some();
        if let Some(at) = self.aside.iter().position(is_its) {
            let seat = self.aside.swap_remove(at);
            self.instance = seat.instance;
            if let Some(stats) = seat.stats {
                return stats;
            }
        }
        let partition = self.is_first.then_some(self.place.partition);
        self.registry.open(id, &self.place.topic, partition)
    }

    /// Where two revisions of the handler have their turns, puts the instance of the other one aside and takes up that of
    /// this one.
    fn take_own_instance(&mut self, handler: &Deployed) {
        let is_own = |it: &(Revision, Instance)| it.0 == handler.revision;
        if self.instance.as_ref().is_some_and(is_own) {
            return;
        }
        let routes = self.routes.as_ref();
        let of_other = |(revision, _): &(Revision, Instance)| {
            routes?.one_of_two(&handler.id, revision).map(Arc::clone)
        };
        if let Some(other) = self.instance.as_ref().and_then(of_other) {
            let instance = self.instance.take();
            // Those whose places others wanted.
            self.aside
                .retain(|seat| seat.stats.is_some() || seat.instance.is_some());
            self.aside.push(Seat {
                handler: other,
                stats: None,
                instance,
            });
        }
        let is_its = |seat: &Seat| {
            let is_same = seat.handler.id == handler.id && seat.stats.is_none();
            is_same && seat.instance.as_ref().is_some_and(is_own)
        };
        if let Some(at) = self.aside.iter().position(is_its) {
            self.instance = self.aside.swap_remove(at).instance;
        }
    }

    /// Returns whether an instance waits of a handler whose turn it is not.
    pub(super) fn has_seated(&self) -> bool {
        self.aside.iter().any(Seat::has_instance)
    }

    /// Lets go what waits of handlers that have the topic no more.
    pub(super) fn clear_seats(&mut self) {
        let routes = self.routes.as_ref();
        self.aside.retain(|Seat { handler, stats, .. }| {
            let stays = |it: &Routes| match stats {
                Some(_) => it.handler(&handler.id).is_some(),
                None => it.one_of_two(&handler.id, &handler.revision).is_some(),
            };
            routes.is_some_and(stays)
        });
    }

    /// Takes the instances of the handlers whose turn it is not.
    pub(super) fn seats(&mut self) -> Vec<(Arc<Deployed>, (Revision, Instance))> {
        let seats = std::mem::take(&mut self.aside).into_iter();
        seats
            .filter_map(|seat| Some((seat.handler, seat.instance?)))
            .collect()
    }

    /// Lets the instances of handlers go whose turn it is not.
    pub(super) fn rest_seats(&mut self) {
        self.aside.iter_mut().for_each(Seat::rest);
    }

    /// Returns the handler of this name as it is deployed now, if it has the topic; without a name, the one that speaks for
    /// the partition.
    pub(crate) fn handler_of(&mut self, id: Option<&HandlerId>) -> Option<Arc<Deployed>> {
        let first = self.route()?;
        match id {
            Some(id) => self.handler(id).map(Arc::clone),
            None => Some(first),
        }
    }

    /// Returns the handler of this name, if it has the topic.
    pub(super) fn handler(&self, id: &HandlerId) -> Option<&Arc<Deployed>> {
        self.routes.as_ref()?.handler(id)
    }

    /// Where several handlers have the record, puts what is in the outboxes beside it. Returns the records that are to be
    /// settled: not one of which it is the turn of another handler.
    pub(super) fn in_parts(
        &mut self,
        handler: &Deployed,
        mut cargo: Cargo,
        ending: Ending,
    ) -> Option<Cargo> {
        let has_parts = |started: &Started| !started.parts.is_empty();
        let is_shared = self.turn.is_followed || cargo.first().is_some_and(has_parts);
        if !is_shared || cargo.len() > 1 {
            return Some(cargo);
        }
        // Without a record it is what the hooks emitted about one that stays.
        let Some(mut started) = cargo.pop() else {
            return Some(cargo);
        };
        if let Some(stats) = self.stats().map(|stats| Arc::clone(stats.stats())) {
            stats.emitted.add(self.outbox.len() as u64);
            self.note_emitted();
            started.parts.push(Part {
                handler: handler.id.clone(),
                share: self.turn.share.clone(),
                ending,
                attempts: self.attempts,
                stats,
                outputs: self.outbox.take(),
                letters: self.letters.take(),
            });
            self.ledger.hold(&mut started);
        }
        if self.turn.is_followed {
            self.turn.handed_on = Some(started);
            return None;
        }
        cargo.push(started);
        Some(cargo)
    }
}
