//! Which keys of a partition are parked, and what becomes of their later records.
//!
//! Handed failures, requests and the time; tells for each record whether it may be handled, follows its key to the dead
//! letters, or waits. Time is whatever the caller counts it in.
//! **Invariant:** a parked key stays so until a session that holds it says that all of its parked records are handled;
//! whatever else ends a hold parks the key again.

use std::collections::HashMap;

use crate::marker::{Askers, PlaceMarkers, Request, Slot, State, Want};

/// Keys of one partition that may be parked at once; a failure beyond them halts the partition.
pub const KEYS_MAX: usize = 10_000;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Its key is not parked.
    Free,
    /// It follows its key to the dead letters.
    Follows,
    /// It lies there already.
    Lies,
    /// It waits while the records before it are replayed.
    Waits,
}

#[derive(Debug)]
struct Hold<At> {
    session: String,
    /// The session that the marker of its request names: none where an earlier command wrote it.
    marker: String,
    /// Those that it took the key over from, one after the other; they ask in vain.
    before: Vec<String>,
    until: At,
    /// Whether the state says that the key is held.
    is_answered: bool,
    /// Whether the key is unparked as soon as that is written down.
    is_last: bool,
}

#[derive(Debug)]
struct Entry<At> {
    state: State,
    hold: Option<Hold<At>>,
    /// The number of the request that was looked at last.
    asked: u64,
    /// Whether the state was read back.
    is_read: bool,
}

impl<At: Copy + Ord> Entry<At> {
    fn new(state: State) -> Self {
        Self {
            state,
            hold: None,
            asked: 0,
            is_read: false,
        }
    }

    /// Ends the hold; returns the state to be written, if the last one said that the key is held.
    fn release(&mut self) -> Option<State> {
        let hold = self.hold.take()?;
        self.state.session = None;
        hold.is_answered.then(|| self.state.clone())
    }

    /// Takes note of the requests that are new, in the order in which they came. Returns whether one of them unparks the
    /// key; what comes behind that is of a key that is free.
    fn ask(&mut self, askers: &Askers, now: At, until: impl Fn(&Request) -> At) -> bool {
        let mut new: Vec<_> = askers
            .iter()
            .filter(|(_, asked)| asked.number > self.asked)
            .collect();
        new.sort_by_key(|(_, asked)| asked.number);
        new.into_iter().any(|(marker, asked)| {
            self.asked = asked.number;
            let request = &asked.request;
            match request.want {
                Want::Hold => {
                    self.hold_for(marker, request, now, until(request));
                    false
                }
                Want::Unpark => self.ends_with(request, now),
            }
        })
    }

    /// Goes on with a hold, or begins one unless it asks for it that was taken over from.
    fn hold_for(&mut self, marker: &str, request: &Request, now: At, until: At) {
        let session = &request.session;
        let live = self.hold.take_if(|hold| now < hold.until);
        let before = match live {
            Some(mut hold) if hold.session == *session => {
                hold.until = until;
                marker.clone_into(&mut hold.marker);
                self.hold = Some(hold);
                return;
            }
            Some(hold) if hold.before.contains(session) => {
                self.hold = Some(hold);
                return;
            }
            Some(mut hold) => {
                hold.before.push(hold.session);
                hold.before
            }
            None => Vec::new(),
        };
        self.state.session = None;
        self.hold = Some(Hold {
            session: session.clone(),
            marker: marker.to_owned(),
            before,
            until,
            is_answered: false,
            is_last: false,
        });
    }

    /// Ends the hold for good, if it is that of the request. If it had ended meanwhile, more records may have followed, of
    /// which the command knows nothing.
    fn ends_with(&mut self, request: &Request, now: At) -> bool {
        let last = self.state.last;
        let Some(hold) = &mut self.hold else {
            return false;
        };
        let is_its = hold.session == request.session && request.last == Some(last);
        hold.is_last = is_its && hold.is_answered && now < hold.until;
        hold.is_last
    }
}

/// What is to be written down. [`Parked::unparked`] is to be called once [`News::Unparked`] was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The state of a key.
    State(State),
    /// The key is not parked any more.
    Unparked,
    /// The request of the key is void whose marker names this session.
    NoRequest(String),
}

/// See the module.
#[derive(Debug)]
pub struct Parked<At> {
    keys: HashMap<Slot, Entry<At>>,
}

impl<At> Default for Parked<At> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
        }
    }
}

impl<At: Copy + Ord> Parked<At> {
    /// Takes up what was written down before; a key that was held is so until `until`. Who else has asked by now does so in
    /// vain meanwhile: it may be one that was taken over from.
    pub fn restore(&mut self, markers: PlaceMarkers, until: At) {
        let PlaceMarkers { states, requests } = markers;
        for (slot, state) in states {
            let session = state.session.clone().filter(|_| slot.of.is_none());
            let askers = || requests.get(&slot).into_iter().flatten();
            let sessions = askers().map(|(_, asked)| &asked.request.session);
            let hold = session.map(|session| Hold {
                before: sessions.filter(|it| **it != session).cloned().collect(),
                marker: askers()
                    .find(|(_, asked)| asked.request.session == session)
                    .map_or_else(|| session.clone(), |(marker, _)| marker.clone()),
                session,
                until,
                is_answered: true,
                is_last: false,
            });
            let entry = Entry {
                hold,
                is_read: true,
                ..Entry::new(state)
            };
            self.keys.insert(slot, entry);
        }
    }

    /// Returns how many keys are parked.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether the key is one of them.
    pub fn has(&self, slot: &Slot) -> bool {
        self.keys.contains_key(slot)
    }

    /// Returns what becomes of a record with this offset; `session` is that of a replay.
    pub fn look(&self, slot: &Slot, session: Option<&str>, offset: i64, now: At) -> Look {
        let Some(entry) = self.keys.get(slot) else {
            return Look::Free;
        };
        if slot.of.is_some() {
            // A failure parks the key for the rest of its own session.
            let is_its = entry.state.session.as_deref() == session;
            return if is_its { Look::Follows } else { Look::Free };
        }
        match &entry.hold {
            Some(hold) if now < hold.until || hold.is_last => {
                if offset > entry.state.last {
                    Look::Waits
                } else if hold.is_answered {
                    Look::Lies
                } else {
                    // An earlier owner has written that it follows, but perhaps not its dead letter.
                    Look::Follows
                }
            }
            _ => Look::Follows,
        }
    }

    /// Parks the key of a record, or takes one more along. `like` says what is written of a key that is new, the record's
    /// offset and the session of a replay with it. Returns the state to be written down beside the dead letter.
    pub fn park(&mut self, slot: &Slot, like: &State, now: At) -> State {
        let entry = self.keys.entry(slot.clone());
        let entry = entry.or_insert_with(|| Entry::new(like.clone()));
        if slot.of.is_some() && entry.state.session != like.session {
            // What an earlier session left is over.
            entry.state = like.clone();
            entry.is_read = false;
        }
        if entry.hold.as_ref().is_some_and(|hold| hold.until <= now) {
            entry.release();
        }
        entry.state.first = entry.state.first.min(like.first);
        entry.state.last = entry.state.last.max(like.last);
        entry.state.clone()
    }

    /// Takes note of the time, and of the markers of the partition where some are news; `until` tells when a hold ends that
    /// is asked for now. Everything in the partition is complete below `complete_below`, and what it emitted or left as a
    /// dead letter is acknowledged. Returns what is to be written down.
    pub fn tend(
        &mut self,
        markers: Option<&PlaceMarkers>,
        now: At,
        until: impl Fn(&Request) -> At,
        complete_below: impl FnOnce() -> Option<i64>,
    ) -> Vec<(Slot, News)> {
        let mut news = Vec::new();
        if let Some(markers) = markers {
            news = self.ask(&markers.requests, now, until);
            self.forget_replays(&markers.states);
        }
        if self.has_holds() {
            news.extend(self.tend_holds(now, complete_below()));
        }
        news
    }

    /// Takes note of all requests; `until` tells when a hold ends that is asked for now. Returns what is to be written.
    fn ask(
        &mut self,
        requests: &HashMap<Slot, Askers>,
        now: At,
        until: impl Fn(&Request) -> At,
    ) -> Vec<(Slot, News)> {
        let (mut news, nobody) = (Vec::new(), Askers::new());
        for (slot, entry) in self.keys.iter_mut().filter(|(slot, _)| slot.of.is_none()) {
            if entry.hold.as_ref().is_some_and(|hold| hold.is_last) {
                continue;
            }
            let askers = requests.get(slot).unwrap_or(&nobody);
            let asks = |hold: &Hold<At>| {
                let mut all = askers.values();
                all.any(|asked| asked.request.session == hold.session)
            };
            if entry.hold.as_ref().is_some_and(|hold| !asks(hold)) {
                // Who asked has taken it back.
                let state = entry.release();
                news.extend(state.map(|state| (slot.clone(), News::State(state))));
            }
            if entry.ask(askers, now, &until) {
                news.push((slot.clone(), News::Unparked));
                let sessions = askers.keys().cloned();
                news.extend(sessions.map(|it| (slot.clone(), News::NoRequest(it))));
            }
        }
        news
    }

    /// Lets the later records of a key go, now that nothing that is written of it can come before that.
    pub fn unparked(&mut self, slot: &Slot) {
        self.keys.remove(slot);
    }

    /// Ends holds that are over, and answers those that were asked for where everything up to the last parked record is
    /// complete. Returns what is to be written.
    fn tend_holds(&mut self, now: At, complete_below: Option<i64>) -> Vec<(Slot, News)> {
        let mut news = Vec::new();
        for (slot, entry) in &mut self.keys {
            let Some(hold) = &mut entry.hold else {
                continue;
            };
            if hold.is_last {
                continue;
            }
            if hold.until <= now {
                let marker = hold.marker.clone();
                let state = entry.release();
                news.extend(state.map(|state| (slot.clone(), News::State(state))));
                news.push((slot.clone(), News::NoRequest(marker)));
            } else if !hold.is_answered && complete_below > Some(entry.state.last) {
                hold.is_answered = true;
                entry.state.session = Some(hold.session.clone());
                news.push((slot.clone(), News::State(entry.state.clone())));
            }
        }
        news
    }

    /// Forgets keys of replays whose state was written down and deleted again.
    fn forget_replays(&mut self, states: &HashMap<Slot, State>) {
        self.keys.retain(|slot, entry| {
            let is_written = states
                .get(slot)
                .is_some_and(|state| state.session == entry.state.session);
            entry.is_read |= is_written;
            slot.of.is_none() || is_written || !entry.is_read
        });
    }

    /// Returns whether any key is held, or is to be.
    fn has_holds(&self) -> bool {
        self.keys.values().any(|entry| entry.hold.is_some())
    }
}

#[cfg(test)]
mod tests;
