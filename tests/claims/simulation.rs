//! The pure core under seeded bad luck: records, failures, late and refused outputs, rebalances, crashes,
//! lanes beside each other, what a commit tells the next owner of a partition, transactions of which outputs are refused,
//! batches that are halved or answered record by record, and keys that are parked and replayed.
//!
//! The model around the core stands in `task`, Kafka in `broker`, who replays in `replays`, what may happen in `world`;
//! `truth` watches and knows nothing of how the flow works. `SIM_SEED=n` plays one seed and prints its diary, `SIM_SEEDS=n` sets how many
//! are played.
//! **Invariant:** a seed plays the same run everywhere, so a violation is found again by its number.

mod broker;
mod guest;
mod policy;
mod replays;
mod scenario;
mod scene;
mod task;
mod truth;
mod world;

use std::env;

use kafka_wasm_host::outcome::{Ending, FailureKind};

use scene::{Bug, Seen};
use truth::Claim;
use world::World;

const SEEDS: u64 = 5000;
/// So many seeds have to notice a mistake.
const SEEDS_FOR_A_BUG: u64 = 1000;
/// Lines of the diary that are shown with a violation.
const LAST_LINES: usize = 60;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// Plays a seed; a violation fails the test with what led to it.
fn play(seed: u64) -> Seen {
    World::play(seed, None).unwrap_or_else(|violation| {
        let diary = World::diary(seed, None);
        let (first, last) = (&diary[0], diary.len().saturating_sub(LAST_LINES).max(1));
        panic!(
            "SIM_SEED={seed}: {violation}\n{first}\n…\n{}",
            diary[last..].join("\n")
        )
    })
}

#[test]
fn the_invariants_hold_under_every_seed() {
    if let Some(seed) = number("SIM_SEED") {
        println!("{}", World::diary(seed, None).join("\n"));
        play(seed);
        return;
    }
    for seed in 0..number("SIM_SEEDS").unwrap_or(SEEDS) {
        play(seed);
    }
}

#[test]
fn a_seed_plays_the_same_run_again() {
    for seed in 0..50 {
        assert_eq!(World::diary(seed, None), World::diary(seed, None));
    }
}

#[test]
fn the_seeds_meet_every_situation() {
    let mut seen = Seen::new();
    for seed in 0..1000 {
        for (event, count) in play(seed) {
            *seen.entry(event).or_default() += count;
        }
    }
    println!("{seen:#?}");
    let situations = [
        "rebalance",
        "drained",
        "a host leaves",
        "a host crashes",
        "an assignment is lost",
        "a loss is noticed",
        "the drain deadline passed",
        "stopped while waiting for a retry",
        "no attempt was left",
        "no time was left",
        "a commit was refused",
        "a report found nobody",
        "an output was refused",
        "an emit found the outbox full",
        "waited for room",
        "a handler is replaced",
        "halted records are delivered again",
        "a map is committed",
        "a map is taken over",
        "a record was completed before",
        "several lanes are busy",
        "a record goes while another waits",
        "a transaction is committed",
        "a transaction is not committed",
        "a transaction is fenced",
        "the answer to a commit is lost",
        "a commit waits for a sender",
        "an output of a transaction was refused",
        "a suspect is handed over alone",
        "a record is given up for an output that was refused",
        "a batch is halved",
        "a batch goes on without some of its records",
        "some records of a batch are tried again together",
        "a parked key is taken over",
        "a partition waits for the parked keys",
        "a replay begins",
        "a key is held",
        "a hold ends",
        "a record waits for a replay",
        "a letter is replayed",
        "a replay fails again",
        "a replay ends in vain",
        "a replay dies",
        "a key is unparked",
    ];
    let kinds = FailureKind::ALL.map(FailureKind::as_str);
    // The scenes know neither topics of retries nor batches that are compacted.
    let elsewhere = [Ending::Deferred, Ending::Compacted, Ending::Unmatched];
    let endings = Ending::ALL
        .into_iter()
        .filter(|ending| !elsewhere.contains(ending))
        .map(Ending::as_str);
    for event in situations.into_iter().chain(kinds).chain(endings) {
        let count = seen.get(event).copied().unwrap_or_default();
        assert!(count >= 20, "{event}: {count} times in 1000 seeds");
    }
}

#[test]
fn a_planted_bug_is_noticed() {
    let bugs = [
        (Bug::StoresTheHighest, Claim::AtLeastOnce),
        (Bug::CompletesUnacknowledged, Claim::AtLeastOnce),
        (Bug::ForgetsARefusal, Claim::AtLeastOnce),
        (Bug::GoesOnDuringARetry, Claim::Order),
        (Bug::RetriesAtOnce, Claim::Policy),
        (Bug::ForgetsTheAge, Claim::Policy),
        (Bug::ServesAfterARevocation, Claim::Fence),
        (Bug::IgnoresTheLimit, Claim::Bounded),
        (Bug::EndsUncounted, Claim::NoSilence),
        (Bug::StopsWithoutDraining, Claim::NoRepeat),
        (Bug::SendsWhatFailed, Claim::Outbox),
        (Bug::ForgetsTheMap, Claim::Remembered),
        (Bug::ForgetsEarlierMaps, Claim::Remembered),
        (Bug::MapsWhatIsOpen, Claim::AtLeastOnce),
        (Bug::LetsTwoOfAKeyIn, Claim::Order),
        (Bug::OvertakesARetry, Claim::Order),
        (Bug::WaitsWithOthers, Claim::Independence),
        (Bug::CommitsPositionsAlone, Claim::AtLeastOnce),
        (Bug::CommitsWithASenderInside, Claim::ExactlyOnce),
        (Bug::CommitsAfterALoss, Claim::ExactlyOnce),
        (Bug::ForgetsAHalf, Claim::NoSilence),
        (Bug::RepeatsAHalf, Claim::NoRepeat),
        (Bug::GivesUpTheWhole, Claim::Policy),
        (Bug::PeelsOneByOne, Claim::FewCalls),
        (Bug::ForgetsTheNamed, Claim::NoSilence),
        (Bug::RepeatsTheUnnamed, Claim::NoRepeat),
        (Bug::BlamesTheBatch, Claim::Policy),
        (Bug::ForgetsSuspects, Claim::NoSilence),
        (Bug::RestoresNothing, Claim::Parked),
        (Bug::RestoresTooSoon, Claim::Parked),
        (Bug::ForgetsToMark, Claim::Parked),
        (Bug::HandlesTheParked, Claim::Parked),
        (Bug::AnswersTooSoon, Claim::AtLeastOnce),
        (Bug::LetsTheWaitingGo, Claim::Parked),
        (Bug::UnparksTooSoon, Claim::Parked),
        (Bug::UnparksAfterAFailure, Claim::Parked),
        (Bug::ReplaysOutOfOrder, Claim::Parked),
        (Bug::ReplaysTwice, Claim::NoRepeat),
    ];
    let mut unnoticed = Vec::new();
    for (bug, claim) in bugs {
        let is_noticed = |seed: &u64| {
            World::play(*seed, Some(bug)).is_err_and(|violation| violation.claim == claim)
        };
        match (0..SEEDS_FOR_A_BUG).find(is_noticed) {
            Some(seed) => println!("{bug:?}: noticed as {claim:?} by seed {seed}"),
            None => {
                let plays = (0..SEEDS_FOR_A_BUG).map(|seed| World::play(seed, Some(bug)));
                let other = plays.filter_map(Result::err).next();
                unnoticed.push(format!("{bug:?} as {claim:?} (but {other:?})"));
            }
        }
    }
    assert!(
        unnoticed.is_empty(),
        "unnoticed by {SEEDS_FOR_A_BUG} seeds: {unnoticed:?}"
    );
}
