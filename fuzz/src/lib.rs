//! How an input is run, whatever the target: with an allocator that gives only so much for it.
//!
//! Handed an input and the function of a target in the host.
//! **Invariant:** a target that takes more memory than its budget, or panics, ends the process, and the fuzzer keeps the input.

use std::alloc::System;
use std::panic;
use std::sync::Once;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// How much memory a target may take for one input, beside what it keeps from one to the next.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Bytes for an input of any size.
    pub bytes: usize,
    /// Bytes for each byte of the input.
    pub per_byte: usize,
}

/// Runs an input within a budget.
pub fn within(budget: Budget, data: &[u8], run: fn(&[u8])) {
    static WARM: Once = Once::new();
    WARM.call_once(|| {
        tell_without_budget();
        // What is made once is no part of the budget.
        run(data);
    });
    let wanted = data.len().saturating_mul(budget.per_byte);
    let wanted = wanted.saturating_add(budget.bytes);
    // It is refused only where more is taken already, which another thread may do at the same moment.
    let _ = ALLOCATOR.set_limit(ALLOCATOR.allocated().saturating_add(wanted));
    run(data);
    let _ = ALLOCATOR.set_limit(usize::MAX);
}

/// Has panics told without a budget: where they come from takes memory, too.
fn tell_without_budget() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        let _ = ALLOCATOR.set_limit(usize::MAX);
        tell(what);
    }));
}
