//! A handler that would harm its neighbours if it could. The value says how.

#![expect(clippy::disallowed_types, reason = "a guest has no tokio")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kafka_wasm_guest::{Result, emit, handler, log};

fn on_message(deed: String) -> Result {
    match deed.as_str() {
        // Within its deadline, again and again.
        "work" => {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(40) {
                black_box(began);
            }
        }
        "spin" => loop {
            black_box(());
        },
        "hoard" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                black_box(&hoard);
            }
        }
        "flood" => {
            for _ in 0..200 {
                emit("flood").text("water").send()?;
            }
        }
        "shout" => (0..1000).for_each(|n| log::info!("{n}!")),
        // Where the calm tenant's greetings are.
        "forge" => emit("calm.greetings").text("Hello, fool!").send()?,
        _ => {}
    }
    Ok(())
}

handler! { on_message }
