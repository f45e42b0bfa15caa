//! Texts of files: `handler.toml`, `tenant.toml`, `host.toml`, tokens.
#![no_main]

use kafka_wasm_host::fuzzed;
use kafka_wasm_host_fuzz::{Budget, within};

const BUDGET: Budget = Budget {
    // A regex may take 10 MiB when it is made, and several may stand in a file.
    bytes: 48 << 20,
    per_byte: 256,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| within(BUDGET, data, fuzzed::manifest));
