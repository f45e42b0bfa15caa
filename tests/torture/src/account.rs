//! The account: what went in against what came out. Pure, so that planted faults prove that it can find any.
//!
//! It is handed what producers were told and what readers found; it never asks a host.
//! **Invariant:** every acknowledged record is counted exactly once as handled, dead-lettered or lost.

#[cfg(test)]
mod tests;
mod violation;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use violation::Violation;

use crate::deed::{ATTEMPTS_MAX, Fate};

/// What the key of a record that is stored a second time ends with.
const COPY: &str = " (copy)";

/// A place in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A record by what it is: the nth of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) key: String,
    pub(crate) sequence: u64,
}

/// A record that Kafka acknowledged to a producer.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) value: String,
    pub(crate) fate: Fate,
}

/// A record of the output topic.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) source: Place,
    pub(crate) at_ms: i64,
}

/// A dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) source: Place,
    pub(crate) at_ms: i64,
    pub(crate) value: String,
    pub(crate) kind: String,
    pub(crate) attempts: u32,
    /// Problems with its other headers.
    pub(crate) problems: Vec<String>,
}

/// Everything that is known at the end of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) inputs: Vec<Input>,
    /// The input topic as it was read back.
    pub(crate) stored: BTreeMap<Place, Id>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) letters: Vec<Letter>,
    /// Records of the topic that only failed attempts emit to.
    pub(crate) unwanted: Vec<Id>,
    /// The committed position of each partition of the input.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// The end of each partition of the input.
    pub(crate) ends: BTreeMap<i32, i64>,
    /// Records that are in the input a second time; see [`tell_copies_apart`].
    pub(crate) copies: usize,
}

/// What is demanded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether the outputs of a key have to be in the order of their inputs.
    pub(crate) ordered: bool,
    pub(crate) repeats: Repeats,
}

/// How often a record may come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Once.
    Never,
    /// Again within so many milliseconds after it came out first.
    Within(i64),
}

/// The result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) acknowledged: usize,
    /// Records that Kafka has twice, each of which has to come out.
    pub(crate) copies: usize,
    /// Records with an output.
    pub(crate) handled: usize,
    /// Records with a dead letter.
    pub(crate) dead_lettered: usize,
    pub(crate) lost: usize,
    /// Those of the lost ones that are committed.
    pub(crate) committed_without_emit: usize,
    /// Outputs of records that are not committed.
    pub(crate) emitted_without_commit: usize,
    pub(crate) reordered: usize,
    /// Outputs beyond the first of their record.
    pub(crate) repeated: usize,
    /// Dead letters beyond the first of their record.
    pub(crate) repeated_letters: usize,
    /// The longest time between the first and a later output of a record.
    pub(crate) repeated_after_ms: i64,
    pub(crate) violations: Vec<Violation>,
}

/// Gives a place to records that were acknowledged without one: where an acknowledgement was lost with its connection,
/// the producer sends again, and is told that Kafka has the record already, but not where.
pub(crate) fn give_places(inputs: &mut [Input], stored: &BTreeMap<Place, Id>) {
    let mut places: BTreeMap<(&Id, i32), Place> = BTreeMap::new();
    for (place, id) in stored {
        places.entry((id, place.partition)).or_insert(*place);
    }
    for input in inputs.iter_mut().filter(|input| input.place.offset < 0) {
        if let Some(place) = places.get(&(&input.id, input.place.partition)) {
            input.place = *place;
        }
    }
}

/// Takes what the load's own producer stored twice for records of a key of their own, since the host cannot know: each
/// has to come out, once, and in the order of the others like it. When brokers are lost, idempotence does not always hold.
pub(crate) fn tell_copies_apart(facts: &mut Facts) {
    let acknowledged: BTreeMap<&Id, &Input> = facts
        .inputs
        .iter()
        .map(|input| (&input.id, input))
        .collect();
    let mut copies: BTreeMap<Place, Input> = BTreeMap::new();
    for (place, id) in &facts.stored {
        let original = acknowledged
            .get(id)
            .filter(|input| input.place.partition == place.partition && input.place != *place);
        if let Some(input) = original {
            let mut copy = Input::clone(input);
            copy.id.key.push_str(COPY);
            copy.place = *place;
            copies.insert(*place, copy);
        }
    }
    let rename = |place: &Place, id: &mut Id| {
        if let Some(copy) = copies.get(place)
            && copy.id.key.strip_suffix(COPY) == Some(&id.key)
        {
            id.key.clone_from(&copy.id.key);
        }
    };
    for (place, id) in &mut facts.stored {
        rename(place, id);
    }
    for output in &mut facts.outputs {
        rename(&output.source, &mut output.id);
    }
    for letter in &mut facts.letters {
        rename(&letter.source, &mut letter.id);
    }
    facts.copies = copies.len();
    facts.inputs.extend(copies.into_values());
}

/// Compares what went in with what came out.
pub(crate) fn account(facts: &Facts, rules: Rules) -> Account {
    let mut account = Account {
        acknowledged: facts.inputs.len() - facts.copies,
        copies: facts.copies,
        ..Account::default()
    };
    let inputs: BTreeMap<&Id, &Input> = facts
        .inputs
        .iter()
        .map(|input| (&input.id, input))
        .collect();
    kept_by_kafka(facts, &mut account);
    let handled = outputs(facts, &inputs, rules, &mut account);
    let buried = letters(facts, &inputs, rules, &mut account);
    fates(facts, &handled, &buried, &mut account);
    if rules.ordered {
        order(facts, &mut account);
    }
    commits(facts, &mut account);
    for id in &facts.unwanted {
        let id = id.clone();
        account.violations.push(Violation::EmittedByAFailure { id });
    }
    account
}

/// The ground that all else stands on: Kafka has what it acknowledged, where it said, once, in the order of each key.
fn kept_by_kafka(facts: &Facts, account: &mut Account) {
    let mut problem = |id: &Id, place, why| {
        let id = id.clone();
        account.violations.push(Violation::Input { id, place, why });
    };
    for input in &facts.inputs {
        if facts.stored.get(&input.place) != Some(&input.id) {
            problem(&input.id, input.place, "acknowledged, but not there");
        }
    }
    let acknowledged: BTreeSet<Place> = facts.inputs.iter().map(|input| input.place).collect();
    let mut last: BTreeMap<&str, (i32, u64)> = BTreeMap::new();
    for (place, id) in &facts.stored {
        if !acknowledged.contains(place) {
            problem(id, *place, "there, but not acknowledged");
        }
        let before = last.insert(&id.key, (place.partition, id.sequence));
        let follows = before.is_none_or(|(partition, sequence)| {
            partition == place.partition && sequence < id.sequence
        });
        if !follows {
            problem(id, *place, "not behind the one before it of its key");
        }
    }
}

/// Checks each output by itself and counts the repeated ones; returns the records that have one.
fn outputs<'a>(
    facts: &'a Facts,
    inputs: &BTreeMap<&Id, &Input>,
    rules: Rules,
    account: &mut Account,
) -> BTreeSet<&'a Id> {
    let mut first: BTreeMap<&Id, i64> = BTreeMap::new();
    for output in &facts.outputs {
        let Output {
            id, place, source, ..
        } = output;
        if inputs.get(id).is_none_or(|input| input.place != *source) {
            account.violations.push(Violation::Unknown {
                id: id.clone(),
                place: *place,
                source: *source,
            });
        }
        if let Some(after_ms) = since_first(&mut first, id, output.at_ms) {
            account.repeated += 1;
            account.repeated_after_ms = account.repeated_after_ms.max(after_ms);
            repeated(id, (*place, *source), after_ms, rules, account);
        }
    }
    account.handled = first.len();
    first.into_keys().collect()
}

/// Checks each dead letter by itself and counts the repeated ones; returns the records that have one.
fn letters<'a>(
    facts: &'a Facts,
    inputs: &BTreeMap<&Id, &Input>,
    rules: Rules,
    account: &mut Account,
) -> BTreeSet<&'a Id> {
    let mut first: BTreeMap<&Id, i64> = BTreeMap::new();
    for letter in &facts.letters {
        let (id, place) = (&letter.id, letter.place);
        let mut problems = letter.problems.clone();
        match inputs.get(id) {
            Some(input) if input.place == letter.source => problems.extend(misfits(input, letter)),
            _ => problems.push("no such record went in there".to_owned()),
        }
        for why in problems {
            account.violations.push(Violation::Letter {
                id: id.clone(),
                place,
                why,
            });
        }
        if let Some(after_ms) = since_first(&mut first, id, letter.at_ms) {
            account.repeated_letters += 1;
            repeated(id, (place, letter.source), after_ms, rules, account);
        }
    }
    account.dead_lettered = first.len();
    first.into_keys().collect()
}

/// Notes when a record came out; returns how long ago it did so first.
fn since_first<'a>(first: &mut BTreeMap<&'a Id, i64>, id: &'a Id, at_ms: i64) -> Option<i64> {
    let Some(before) = first.get(id) else {
        first.insert(id, at_ms);
        return None;
    };
    Some(at_ms - before)
}

/// Tells of a repeat that is not allowed, by the place of the repeat and that of its record.
fn repeated(
    id: &Id,
    (place, source): (Place, Place),
    after_ms: i64,
    rules: Rules,
    account: &mut Account,
) {
    let allowed = match rules.repeats {
        Repeats::Never => false,
        Repeats::Within(window_ms) => after_ms <= window_ms,
    };
    if !allowed {
        account.violations.push(Violation::Repeated {
            id: id.clone(),
            place,
            source,
            after_ms,
        });
    }
}

/// What a dead letter says that is not so.
fn misfits(input: &Input, letter: &Letter) -> Vec<String> {
    // That it should not be one at all is told by its fate.
    let Fate::Letter { kind, only_once } = input.fate else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if letter.value != input.value {
        problems.push(format!("its value is {:?}", letter.value));
    }
    // A host that stands still, or gets no time, misses deadlines whatever the handler does.
    if letter.kind != kind && letter.kind != "deadline" {
        problems.push(format!("its error-kind is {}, not {kind}", letter.kind));
    }
    let expected = if only_once { 1 } else { ATTEMPTS_MAX };
    if letter.attempts > ATTEMPTS_MAX || letter.attempts < expected {
        problems.push(format!("its attempts are {}", letter.attempts));
    }
    problems
}

/// Every record has exactly the end that its deed demands.
fn fates(facts: &Facts, handled: &BTreeSet<&Id>, buried: &BTreeSet<&Id>, account: &mut Account) {
    for input in &facts.inputs {
        let id = input.id.clone();
        let (is_handled, is_buried) = (handled.contains(&id), buried.contains(&id));
        let position = facts.positions.get(&input.place.partition).copied();
        let is_wanted = input.fate == Fate::Output;
        if !is_handled && !is_buried {
            let is_committed = position.is_some_and(|position| position > input.place.offset);
            account.lost += 1;
            account.committed_without_emit += usize::from(is_committed);
            account.violations.push(Violation::Lost {
                id,
                place: input.place,
                is_committed,
            });
        } else if is_handled && !is_wanted {
            let place = input.place;
            account.violations.push(Violation::Handled { id, place });
        } else if is_buried && is_wanted {
            let place = input.place;
            account.violations.push(Violation::Buried { id, place });
        }
    }
}

/// Reads outputs, and apart from them dead letters, in the order of their topic. Of each key, what is read for the first
/// time has to come behind all that was read before; anything may be read again. What is missing between two is lost,
/// which is told elsewhere.
fn order(facts: &Facts, account: &mut Account) {
    let mut outputs: Vec<(Place, &Id)> = facts
        .outputs
        .iter()
        .map(|output| (output.place, &output.id))
        .collect();
    let mut letters: Vec<(Place, &Id)> = facts
        .letters
        .iter()
        .map(|letter| (letter.place, &letter.id))
        .collect();
    outputs.sort_unstable();
    letters.sort_unstable();
    for found in [outputs, letters] {
        let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
        for (place, id) in found {
            let key = keys.entry(&id.key).or_default();
            if let Err(behind) = key.take(id.sequence, place.partition) {
                account.reordered += 1;
                account.violations.push(Violation::Reordered {
                    id: id.clone(),
                    place,
                    behind,
                });
            }
        }
    }
}

/// What has been read of a key.
#[derive(Default)]
struct Key {
    seen: BTreeSet<u64>,
    partition: Option<i32>,
}

impl Key {
    /// Takes the next one; an error is the one that it came behind.
    fn take(&mut self, sequence: u64, partition: i32) -> Result<(), u64> {
        let last = self.seen.last().copied().unwrap_or(0);
        // In another partition it has no place among the others at all.
        let is_in_place = *self.partition.get_or_insert(partition) == partition;
        let is_new = self.seen.insert(sequence);
        if is_in_place && (!is_new || last <= sequence) {
            Ok(())
        } else {
            Err(last)
        }
    }
}

/// Everything is committed to its end: no output without a commit, no commit without an output or a dead letter.
fn commits(facts: &Facts, account: &mut Account) {
    for (partition, end) in &facts.ends {
        let position = facts.positions.get(partition).copied().unwrap_or(0);
        if position != *end {
            let emitted = facts.outputs.iter().filter(|output| {
                output.source.partition == *partition && output.source.offset >= position
            });
            let emitted = emitted.count();
            account.emitted_without_commit += emitted;
            account.violations.push(Violation::Uncommitted {
                partition: *partition,
                position,
                end: *end,
                emitted,
            });
        }
    }
}
