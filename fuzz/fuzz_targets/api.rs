//! Requests to the HTTP address.
#![no_main]

use kafka_wasm_host::fuzzed;
use kafka_wasm_host_fuzz::{Budget, within};

const BUDGET: Budget = Budget {
    // The pages of metrics and the document of the API.
    bytes: 8 << 20,
    per_byte: 64,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| within(BUDGET, data, fuzzed::api));
