//! Signatures, releases, and what components say of themselves.
#![no_main]

use kafka_wasm_host::fuzzed;
use kafka_wasm_host_fuzz::{Budget, within};

const BUDGET: Budget = Budget {
    // Packed lists of packages: 1 MiB when they are unpacked, and read as JSON.
    bytes: 8 << 20,
    per_byte: 64,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| within(BUDGET, data, fuzzed::signature));
