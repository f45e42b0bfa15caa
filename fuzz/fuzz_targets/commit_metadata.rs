//! The metadata of commits.
#![no_main]

use kafka_wasm_host::fuzzed;
use kafka_wasm_host_fuzz::{Budget, within};

const BUDGET: Budget = Budget {
    bytes: 1 << 20,
    per_byte: 256,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| within(BUDGET, data, fuzzed::commit_metadata));
