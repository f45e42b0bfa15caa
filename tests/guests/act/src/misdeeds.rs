//! What only an enemy does to its host.

use std::hint::black_box;

use kafka_wasm_guest::{Result, config, emit, log};
use wasip2::clocks::monotonic_clock::{now, subscribe_duration};
use wasip2::http::types::Fields;

type Told = Option<String>;

/// Computes for so long, by the clock.
pub fn work(ms: &str) -> Result<Told> {
    let until = now() + ms.parse::<u64>()? * 1_000_000;
    let mut turns = 0_u64;
    while now() < until {
        for _ in 0..1_000 {
            turns = black_box(turns.wrapping_add(1));
        }
    }
    Ok(None)
}

/// `N TEXT`
pub fn log_many(rest: &str) -> Result<Told> {
    let (count, text) = rest.split_once(' ').unwrap_or((rest, ""));
    for number in 0..count.parse::<u32>()? {
        log::info!("{text} {number}");
    }
    Ok(None)
}

/// Logs one line of so many MiB.
pub fn shout(mib: &str) -> Result<Told> {
    let text = "x".repeat(mib.parse::<usize>()? << 20);
    log::info!("{text}");
    Ok(None)
}

/// Calls itself until the stack is used up.
#[allow(unconditional_recursion, reason = "that is what it is for")]
pub fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

/// Emits a record with so many headers.
pub fn headers(topic: &str, count: &str) -> Result<Told> {
    let mut record = emit(topic).text("{}");
    for _ in 0..count.parse::<usize>()? {
        record = record.header("h", b"");
    }
    Ok(record.send().err().map(|error| error.to_string()))
}

/// Emits a JSON text of so many lists in each other.
pub fn nest(topic: &str, depth: &str) -> Result<Told> {
    let depth = depth.parse()?;
    let text = ["[".repeat(depth), "]".repeat(depth)].concat();
    let sent = emit(topic).text(&text).send();
    Ok(sent.err().map(|error| error.to_string()))
}

/// Emits until the host refuses.
pub fn emit_flood(topic: &str) -> String {
    loop {
        if let Err(error) = emit(topic).text("flood").send() {
            return error.to_string();
        }
    }
}

/// Holds times to wait for, more and more of them.
pub fn hoard_times() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(subscribe_duration(u64::MAX / 4));
    }
}

/// Holds HTTP fields, more and more of them, nearly as large as they may be.
pub fn hoard_fields() -> ! {
    let mut held = Vec::new();
    let value = vec![b'x'; 4 << 10];
    loop {
        let fields = Fields::new();
        let _ = fields.append("name", &value);
        held.push(fields);
    }
}

/// Calls the host without end.
pub fn spam() -> ! {
    loop {
        black_box(config("label"));
    }
}
