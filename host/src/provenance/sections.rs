//! The custom sections of a component, and of the modules inside it.
//!
//! **Invariant:** no byte is looked at more often than binaries may lie within each other, nothing is kept of what was looked
//! at, and what does not fit its length is where the reading ends.

/// Binaries that are looked into.
const BINARIES_MAX: usize = 256;
/// How deep they may lie within each other.
const DEPTH_MAX: usize = 8;
/// What a binary begins with, before the four bytes of its version.
const MAGIC: &[u8] = b"\0asm";

/// A section that tools have written.
#[derive(Debug)]
pub(super) struct Section<'w> {
    pub(super) name: &'w str,
    pub(super) content: &'w [u8],
    /// Whether it is the component's own, not that of something inside.
    pub(super) is_outer: bool,
}

/// Shows the custom sections one by one, those of the whole first; a list of them could be many times as large as the file.
pub(super) fn each_custom_section<'w>(wasm: &'w [u8], mut show: impl FnMut(Section<'w>)) {
    let mut binaries = vec![(wasm, 0)];
    let mut at = 0;
    while let Some((binary, depth)) = binaries.get(at).copied() {
        at += 1;
        // What was read before something is wrong is as good as the rest.
        let _ = read(binary, depth == 0, &mut show, |inner| {
            if depth < DEPTH_MAX && binaries.len() < BINARIES_MAX {
                binaries.push((inner, depth + 1));
            }
        });
    }
}

fn read<'w>(
    binary: &'w [u8],
    is_outer: bool,
    mut show: impl FnMut(Section<'w>),
    mut look_into: impl FnMut(&'w [u8]),
) -> Option<()> {
    let rest = binary.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_at_checked(4)?;
    // The second half of the version says whether it is a component.
    let is_component = version.get(2..) == Some(&[1, 0]);
    let mut cursor = Cursor::new(rest);
    while let Some(id) = cursor.byte() {
        let content = cursor.bytes()?;
        match id {
            0 => {
                let mut custom = Cursor::new(content);
                if let Some(name) = custom.text() {
                    show(Section {
                        name,
                        content: custom.rest,
                        is_outer,
                    });
                }
            }
            // A module, and another component.
            1 | 4 if is_component => look_into(content),
            _ => {}
        }
    }
    Some(())
}

/// What is left of some bytes, read in the words of WebAssembly's format.
#[derive(Debug)]
pub(super) struct Cursor<'w> {
    rest: &'w [u8],
}

impl<'w> Cursor<'w> {
    pub(super) fn new(bytes: &'w [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Reads a number of up to 32 bits, the last seven of them first.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut number = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    /// Reads bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Option<&'w [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Reads a text with its length before it.
    pub(super) fn text(&mut self) -> Option<&'w str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}
