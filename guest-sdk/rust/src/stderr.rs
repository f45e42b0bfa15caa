//! Lines on stderr: the host attaches the last ones to the error text of a trap.
//!
//! It owns the panic hook, which says where a panic happened and nothing else.
//!
//! **Invariant:** a line is one write, so that it arrives as one line.

use std::io::Write;

/// Writes `text` and a line feed; line breaks within become spaces.
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "there is no host to tell")
)]
pub(crate) fn line(text: &str) {
    let mut line: String = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.push('\n');
    // Nobody is left to be told when stderr is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Replaces the panic message of the standard library by one line, at the first call.
#[cfg(target_arch = "wasm32")]
pub(crate) fn name_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.payload_as_str().unwrap_or("(no text)");
            match panic.location() {
                Some(place) => line(&format!("panicked at {place}: {text}")),
                None => line(&format!("panicked: {text}")),
            }
        }));
    });
}
