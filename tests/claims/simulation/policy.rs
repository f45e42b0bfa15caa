//! What the manifest and the error hook allow to become of a failed attempt, said once more and naively.
//!
//! **Invariant:** knows the words of the product and none of its decisions.

use std::time::Duration;

use kafka_wasm_host::outcome::{Failure, FailureKind, Settlement, Verdict};
use kafka_wasm_host::policy::{Backoff, BackoffKind, OnExhausted, RetryPolicy};
use kafka_wasm_host::settle::BatchSettlement;

/// A failed attempt: why, which one, what the error hook says, and how long after the first one began.
pub(super) type Failed<'a> = (&'a Failure, u32, Option<Verdict>, Duration);

/// Whether this may become of so many records that failed together.
pub(super) fn is_right(
    retry: &RetryPolicy,
    on_exhausted: OnExhausted,
    failed: Failed<'_>,
    records: usize,
    settlement: BatchSettlement,
) -> bool {
    // What is halved is given up, but for the records that are not at fault.
    let may_be = |settlement| is_right_for_one(retry, on_exhausted, failed, settlement);
    let last = [Settlement::DeadLetter, Settlement::Skip, Settlement::Halt];
    let is_said = matches!(failed.2, Some(verdict) if verdict != Verdict::Retry);
    match settlement {
        BatchSettlement::Halve => records > 1 && !is_said && last.into_iter().any(may_be),
        BatchSettlement::All(settlement @ Settlement::Retry { .. }) => may_be(settlement),
        BatchSettlement::All(settlement) => (records == 1 || is_said) && may_be(settlement),
    }
}

fn is_right_for_one(
    retry: &RetryPolicy,
    on_exhausted: OnExhausted,
    (failure, attempt, verdict, age): Failed<'_>,
    settlement: Settlement,
) -> bool {
    let retry = retry.on(failure.kind);
    let (shortest, longest) = pace(&retry.backoff, failure, attempt);
    let is_in_time = |wait| retry.max_age.is_none_or(|max_age| age + wait <= max_age);
    let is_refused_for_good = failure.kind == FailureKind::Reject && verdict.is_none();
    match (verdict, settlement) {
        (Some(Verdict::Resume), settlement) => settlement == Settlement::Skip,
        (Some(Verdict::DeadLetter), settlement) => settlement == Settlement::DeadLetter,
        (Some(Verdict::Halt), settlement) => settlement == Settlement::Halt,
        (None, settlement) if is_refused_for_good => settlement == Settlement::DeadLetter,
        (_, Settlement::Retry { after }) => {
            attempt < retry.max_attempts
                && (shortest..=longest).contains(&after)
                && is_in_time(after)
        }
        (_, settlement) => {
            // Where chance has a part in the wait, a shorter one may have been in time.
            let is_over = attempt >= retry.max_attempts || !is_in_time(longest);
            is_over && is_last(on_exhausted, settlement)
        }
    }
}

/// The shortest and the longest wait: both are the guest's wish, if it has one.
fn pace(backoff: &Backoff, failure: &Failure, attempt: u32) -> (Duration, Duration) {
    let (low, high) = (1.0 - backoff.jitter, 1.0 + backoff.jitter);
    match (failure.retry_after, &backoff.kind) {
        (Some(wish), _) => (wish, wish),
        (None, BackoffKind::List(delays)) => {
            let wait = delays[delays.len().min(attempt as usize) - 1];
            (wait.mul_f64(low), wait.mul_f64(high))
        }
        (None, BackoffKind::Fixed) => {
            let longest = backoff.initial.mul_f64(high).min(backoff.max);
            (backoff.initial.mul_f64(low), longest)
        }
        (None, BackoffKind::Exponential | BackoffKind::Fibonacci) => {
            (backoff.initial.mul_f64(low), backoff.max)
        }
    }
}

fn is_last(on_exhausted: OnExhausted, settlement: Settlement) -> bool {
    match on_exhausted {
        OnExhausted::DeadLetter => settlement == Settlement::DeadLetter,
        OnExhausted::Skip => settlement == Settlement::Skip,
        OnExhausted::Halt => settlement == Settlement::Halt,
        OnExhausted::Park => settlement == Settlement::Park,
    }
}
