//! What reads bytes that others wrote, with any bytes: one function for each fuzz target in `fuzz/`.
//!
//! Handed an input; what is merely wrong in it is refused and forgotten. Compiled for cargo-fuzz, and for the test that
//! runs every kept seed.
//! **Invariant:** whatever the bytes are, nothing panics, and what is read is written again as it was.

mod letters;
mod manifest;
mod metadata;
#[cfg(test)]
mod seeds;
mod signature;

pub use self::letters::letters;
pub use self::manifest::manifest;
pub use self::metadata::commit_metadata;
pub use self::signature::signature;

/// What a component hands to the imports: the document of its record behind two bytes of its length, then its calls.
pub fn imports(data: &[u8]) {
    crate::guest::imports_fuzzed(data);
}

/// A request to the HTTP address: its first line, its headers, an empty line, its body.
pub fn api(data: &[u8]) {
    crate::admin::api_fuzzed(data);
}

/// Splits the first line off; what stands in it says what the rest is.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (line, rest) = data.split_at(end.unwrap_or(data.len()));
    (line, rest.get(1..).unwrap_or_default())
}
