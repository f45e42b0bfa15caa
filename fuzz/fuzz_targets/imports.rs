//! Values that a component hands to the host's imports.
#![no_main]

use kafka_wasm_host::fuzzed;
use kafka_wasm_host_fuzz::{Budget, within};

const BUDGET: Budget = Budget {
    // What the host keeps beside an instance; the guest's own memory is not allocated.
    bytes: 8 << 20,
    per_byte: 256,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| within(BUDGET, data, fuzzed::imports));
