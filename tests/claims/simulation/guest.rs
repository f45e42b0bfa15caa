//! The guest: does with a record what its nature and the dice say, and emits through the product's outbox.
//!
//! **Invariant:** what it emits says which attempt and which hook it comes from.

use std::time::Duration;

use kafka_wasm_host::outbox::Outbox;
use kafka_wasm_host::outcome::{Failure, FailureKind, Outcome, Verdict};
use kafka_wasm_host::record::Emit;

use super::broker::Place;
use super::scenario::Nature;
use super::scene::Scene;

/// What the guest says of one attempt.
#[derive(Debug)]
pub(super) enum Answer {
    /// The same of all records. Also tells which one made it fail, if it did.
    All(Outcome, Option<Place>),
    /// All were handled but these, of which there is one at least.
    Each(Vec<(Place, Failure)>),
}

/// The hooks of one attempt of a record or a batch.
pub(super) fn handle(
    scene: &mut Scene,
    outbox: &mut Outbox,
    places: &[Place],
    attempt: u32,
) -> Answer {
    let failed: Vec<_> = places
        .iter()
        .filter_map(|place| Some((*place, failure(scene, *place)?)))
        .collect();
    let logs = &scene.broker.partitions;
    let is_large = |(partition, index): &Place| logs[*partition].records[*index].is_large;
    // Of what is large there is one output each time, so that no luck helps.
    let is_doomed = scene.scenario.refuses_large && places.iter().any(is_large);
    if failed.is_empty() && places.len() == 1 && !is_doomed && scene.dice.chance(5) {
        return Answer::All(Outcome::Filtered, None);
    }
    let emits = if is_doomed { 1 } else { scene.dice.below(4) };
    for _ in 0..emits {
        if !emit(outbox, attempt, false) && scene.dice.chance(50) {
            scene.note("an emit found the outbox full");
            let failure = Failure::new(FailureKind::Other, "the outbox is full");
            return Answer::All(Outcome::Failed(failure), places.first().copied());
        }
    }
    if scene.scenario.answers_each && !failed.is_empty() {
        return Answer::Each(failed);
    }
    match failed.into_iter().next() {
        None => Answer::All(Outcome::Handled, None),
        Some((place, failure)) => Answer::All(Outcome::Failed(failure), Some(place)),
    }
}

/// How the guest takes a record now.
fn failure(scene: &mut Scene, (partition, index): Place) -> Option<Failure> {
    let nature = scene.broker.partitions[partition].records[index].nature;
    let kind = match nature {
        // What fails now and then would be replayed now and then.
        Nature::Flaky(_) if scene.is_calm && scene.scenario.replays.is_some() => None,
        Nature::Flaky(percent) if scene.dice.chance(percent) => {
            Some(scene.dice.pick(&FailureKind::ALL))
        }
        // The revision that replaces the first one can handle everything.
        Nature::Poison(kind) if scene.revision == 0 => Some(kind),
        Nature::Fine | Nature::Flaky(_) | Nature::Poison(_) => None,
    }?;
    let dice = &mut scene.dice;
    let has_wish = kind == FailureKind::Retry && dice.chance(50);
    let retry_after = has_wish.then(|| Duration::from_millis(dice.below(3000) as u64));
    Some(Failure {
        retry_after,
        ..Failure::new(kind, "failed")
    })
}

/// The error hook; `None` where there is none, or where it fails itself.
pub(super) fn on_error(scene: &mut Scene, outbox: &mut Outbox, attempt: u32) -> Option<Verdict> {
    if !scene.scenario.has_error_hook {
        return None;
    }
    if scene.dice.chance(30) {
        emit(outbox, attempt, true);
    }
    let verdicts = [
        Verdict::Resume,
        Verdict::Retry,
        Verdict::DeadLetter,
        Verdict::Halt,
    ];
    let answer = scene.dice.pick(&verdicts);
    (!scene.dice.chance(10)).then_some(answer)
}

/// Emits a record; returns whether the outbox took it.
fn emit(outbox: &mut Outbox, attempt: u32, is_error_hook: bool) -> bool {
    let emit = Emit {
        topic: "out",
        key: Some(&attempt.to_be_bytes()),
        value: Some(&[u8::from(is_error_hook)]),
        headers: Vec::new(),
        partition: None,
        timestamp_ms: None,
    };
    outbox.push(&emit).is_ok()
}

/// Whether this attempt emitted it, in its error hook or else in the others.
pub(super) fn is_of(emit: &Emit<'_>, attempt: u32, is_error_hook: bool) -> bool {
    emit.key == Some(&attempt.to_be_bytes()) && emit.value == Some(&[u8::from(is_error_hook)])
}
