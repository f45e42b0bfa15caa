//! Which record may be handled next where the records of a partition are handled in parallel.
//!
//! Handed records as they are taken up, with a key where equal keys must keep their order; gives them out one by one
//! and is told how each ended. Where there are batches, a record waits for more that may go together with it. Time is
//! whatever the caller counts it in.
//! **Invariant:** of equal keys at most one record is out, in the order in which they came; a record that waits for
//! its next attempt holds its own key and nothing else.

use std::collections::btree_map::{BTreeMap, OccupiedEntry};
use std::collections::{HashMap, VecDeque};

/// Stands for a record's key. Two keys with the same number only wait for each other.
pub type KeyHash = u64;

/// A record that was given out, to be handed back by [`Schedule::end`] or [`Schedule::again`].
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<T> {
    /// The key that it holds.
    pub key: Option<KeyHash>,
    /// What was handed in.
    pub item: T,
}

/// How many records, or how many bytes of them, wait for no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enough {
    /// As many records.
    pub records: usize,
    /// Records of so many bytes together.
    pub bytes: usize,
}

impl Enough {
    fn is_met(self, records: usize, bytes: usize) -> bool {
        records >= self.records || bytes >= self.bytes
    }
}

/// How far a key is whose first record waits for more.
#[derive(Debug)]
struct Gathering<At> {
    /// Where the first one waits.
    place: (At, u64),
    bytes: usize,
    enough: Enough,
}

/// What comes after a record of its key.
#[derive(Debug)]
struct Behind<T, At> {
    items: VecDeque<T>,
    /// Where the first one waits for more of its key.
    gathering: Option<Gathering<At>>,
    /// Whether the first one waits for its next attempt.
    is_delayed: bool,
}

impl<T, At> Default for Behind<T, At> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            gathering: None,
            is_delayed: false,
        }
    }
}

/// A record without a key that waits for others.
#[derive(Debug)]
struct Free<T, At> {
    at: At,
    bytes: usize,
    item: T,
}

/// The records of one partition that are not settled and not inside a guest.
#[derive(Debug)]
pub struct Schedule<T, At> {
    /// May be given out now.
    ready: VecDeque<Turn<T>>,
    /// For each key of which a record is ready, out or waiting for its time: those that come after it.
    behind: HashMap<KeyHash, Behind<T, At>>,
    /// Without a key, each waiting for more of them until its time.
    free: VecDeque<Free<T, At>>,
    free_bytes: usize,
    free_enough: Option<Enough>,
    /// For how many of them the time has come.
    free_due: usize,
    /// Waiting for their time; the number keeps records of the same time apart.
    timed: BTreeMap<(At, u64), Turn<T>>,
    timed_count: u64,
    /// Their time has come.
    due: VecDeque<Turn<T>>,
    /// Given out and not handed back.
    out: usize,
    held: usize,
    /// Of those held: waiting for their next attempt, or behind one that does.
    delayed: usize,
}

impl<T, At> Default for Schedule<T, At> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            behind: HashMap::new(),
            free: VecDeque::new(),
            free_bytes: 0,
            free_enough: None,
            free_due: 0,
            timed: BTreeMap::new(),
            timed_count: 0,
            due: VecDeque::new(),
            out: 0,
            held: 0,
            delayed: 0,
        }
    }
}

impl<T, At: Copy + Ord> Schedule<T, At> {
    /// Takes up a record behind all others of its key; one without a key waits for nobody.
    pub fn add(&mut self, key: Option<KeyHash>, item: T) {
        self.add_bytes(key, item, 0);
    }

    fn add_bytes(&mut self, key: Option<KeyHash>, item: T, bytes: usize) {
        self.held += 1;
        if let Some(key) = key {
            if let Some(behind) = self.behind.get_mut(&key) {
                behind.items.push_back(item);
                self.delayed += usize::from(behind.is_delayed);
                return self.end_gathering(key, bytes);
            }
            self.behind.insert(key, Behind::default());
        }
        self.ready.push_back(Turn { key, item });
    }

    /// As [`Self::add`], but where nothing of its key is before it, it waits for more of them: until `at`, or until there
    /// are `enough`. Those without a key wait for each other.
    pub fn gather(
        &mut self,
        key: Option<KeyHash>,
        (item, bytes): (T, usize),
        at: At,
        enough: Enough,
    ) {
        let Some(key) = key else {
            self.held += 1;
            self.free_enough = Some(enough);
            self.free_bytes += bytes;
            return self.free.push_back(Free { at, bytes, item });
        };
        if enough.is_met(1, bytes) || self.behind.contains_key(&key) {
            return self.add_bytes(Some(key), item, bytes);
        }
        self.held += 1;
        let gathering = Gathering {
            place: (at, self.timed_count),
            bytes,
            enough,
        };
        let behind = Behind {
            gathering: Some(gathering),
            ..Behind::default()
        };
        self.behind.insert(key, behind);
        let key = Some(key);
        self.wait(at, Turn { key, item });
    }

    /// Lets the first record of a key go if enough of the key are there, with the last one's bytes.
    fn end_gathering(&mut self, key: KeyHash, bytes: usize) {
        let Some(behind) = self.behind.get_mut(&key) else {
            return;
        };
        let records = behind.items.len() + 1;
        let gathering = behind.gathering.as_mut();
        let is_met = gathering.is_some_and(|gathering| {
            gathering.bytes += bytes;
            gathering.enough.is_met(records, gathering.bytes)
        });
        if let Some(gathering) = behind.gathering.take_if(|_| is_met) {
            self.ready.extend(self.timed.remove(&gathering.place));
        }
    }

    /// Takes up a record without a key that may not go before `at`.
    pub fn add_at(&mut self, at: At, item: T) {
        self.held += 1;
        self.delayed += 1;
        self.wait(at, Turn { key: None, item });
    }

    /// Gives out the next record, those first whose time has come.
    pub fn next(&mut self, now: At) -> Option<Turn<T>> {
        self.ripen(now);
        let turn = self
            .due
            .pop_front()
            .or_else(|| self.next_free(self.free_due > 0))
            .or_else(|| self.ready.pop_front())
            .or_else(|| self.next_free(self.is_free_met()))?;
        self.out += 1;
        self.held -= 1;
        Some(turn)
    }

    /// Lets those go whose time has come.
    fn ripen(&mut self, now: At) {
        let is_due = |entry: &OccupiedEntry<'_, (At, u64), Turn<T>>| entry.key().0 <= now;
        while let Some(entry) = self.timed.first_entry().filter(is_due) {
            let turn = entry.remove();
            match turn.key.and_then(|key| self.behind.get_mut(&key)) {
                Some(behind) => {
                    behind.gathering = None;
                    if std::mem::take(&mut behind.is_delayed) {
                        self.delayed -= 1 + behind.items.len();
                    }
                }
                None => self.delayed -= 1,
            }
            self.due.push_back(turn);
        }
        while (self.free.get(self.free_due)).is_some_and(|free| free.at <= now) {
            self.free_due += 1;
        }
    }

    fn is_free_met(&self) -> bool {
        let is_met = |enough: Enough| enough.is_met(self.free.len(), self.free_bytes);
        !self.free.is_empty() && self.free_enough.is_some_and(is_met)
    }

    fn next_free(&mut self, may_go: bool) -> Option<Turn<T>> {
        let item = self.pop_free(|_| may_go)?;
        Some(Turn { key: None, item })
    }

    fn pop_free(&mut self, may_go: impl FnOnce(&T) -> bool) -> Option<T> {
        let Free { bytes, item, .. } = self.free.pop_front_if(|free| may_go(&free.item))?;
        self.free_bytes -= bytes;
        self.free_due = self.free_due.saturating_sub(1);
        Some(item)
    }

    /// Takes more records to go together with one that was given out, as long as each `fits`: the next ones of its key,
    /// in their order; without a key, others without one. They end with the first, and have no turn of their own.
    pub fn more(
        &mut self,
        key: Option<KeyHash>,
        max: usize,
        mut fits: impl FnMut(&T) -> bool,
    ) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let next = match key {
                Some(key) => self
                    .behind
                    .get_mut(&key)
                    .and_then(|behind| behind.items.pop_front_if(|item| fits(item))),
                None if self.free.is_empty() => self
                    .ready
                    .pop_front_if(|turn| turn.key.is_none() && fits(&turn.item))
                    .map(|turn| turn.item),
                None => self.pop_free(&mut fits),
            };
            let Some(item) = next else { break };
            taken.push(item);
        }
        self.held -= taken.len();
        taken
    }

    /// Takes back records that [`Self::more`] gave out, in their order: they come next again.
    pub fn put_back(&mut self, key: Option<KeyHash>, items: Vec<T>) {
        for item in items.into_iter().rev() {
            self.held += 1;
            match key {
                Some(key) => self.behind.entry(key).or_default().items.push_front(item),
                None => self.ready.push_front(Turn { key, item }),
            }
        }
    }

    /// Takes back the key of a record that is settled: the next one of its key may go.
    pub fn end(&mut self, key: Option<KeyHash>) {
        self.out = self.out.saturating_sub(1);
        let Some(key) = key else { return };
        let behind = self.behind.get_mut(&key);
        match behind.and_then(|behind| behind.items.pop_front()) {
            Some(item) => self.ready.push_back(Turn {
                key: Some(key),
                item,
            }),
            None => {
                self.behind.remove(&key);
            }
        }
    }

    /// Takes back a record that is to be given out again, at `at` or later. Its key goes on waiting for it.
    pub fn again(&mut self, turn: Turn<T>, at: At) {
        self.out = self.out.saturating_sub(1);
        self.held += 1;
        self.delayed += 1;
        if let Some(key) = turn.key {
            let behind = self.behind.entry(key).or_default();
            behind.is_delayed = true;
            self.delayed += behind.items.len();
        }
        self.wait(at, turn);
    }

    fn wait(&mut self, at: At, turn: Turn<T>) {
        self.timed.insert((at, self.timed_count), turn);
        self.timed_count += 1;
    }

    /// Returns when the next record's time comes, of those that wait for one and were not seen to be due.
    pub fn next_time(&self) -> Option<At> {
        let timed = self.timed.first_key_value().map(|((at, _), _)| *at);
        let free = self.free.get(self.free_due).map(|free| free.at);
        timed.into_iter().chain(free).min()
    }

    /// Returns whether [`Self::next`] would give a record out.
    pub fn has_next(&mut self, now: At) -> bool {
        self.ripen(now);
        let has_free = self.free_due > 0 || self.is_free_met();
        has_free || !self.due.is_empty() || !self.ready.is_empty()
    }

    /// Returns how many records wait for nothing but others to be done: all that are held, but those that wait for their
    /// next attempt and those behind them.
    pub fn waiting(&mut self, now: At) -> usize {
        self.ripen(now);
        self.held - self.delayed
    }

    /// Returns how many records are held: ready, behind one of their key, or waiting for their time.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Returns whether no record is held and none is out.
    pub fn is_empty(&self) -> bool {
        self.held == 0 && self.out == 0
    }

    /// Gives up all records that are held, in no order. Those that are out are handed back as ever, and hold their keys
    /// until then.
    pub fn take_held(&mut self) -> Vec<T> {
        (self.held, self.delayed) = (0, 0);
        (self.free_bytes, self.free_due) = (0, 0);
        let mut taken = Vec::new();
        let ready = std::mem::take(&mut self.ready).into_iter();
        let due = std::mem::take(&mut self.due).into_iter();
        let timed = std::mem::take(&mut self.timed).into_values();
        for turn in ready.chain(due).chain(timed) {
            taken.push(turn.item);
            let behind = turn.key.and_then(|key| self.behind.remove(&key));
            taken.extend(behind.into_iter().flat_map(|behind| behind.items));
        }
        let of_those_out = self.behind.values_mut();
        taken.extend(of_those_out.flat_map(|behind| std::mem::take(&mut behind.items)));
        let free = std::mem::take(&mut self.free).into_iter();
        taken.extend(free.map(|free| free.item));
        taken
    }
}

#[cfg(test)]
mod tests;
