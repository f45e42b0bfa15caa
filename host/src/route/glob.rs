//! Globs: `*` stands for any run of characters, also none, and `?` for exactly one.
//!
//! Handed the source of a glob, gives a machine that reads a text once, byte by byte. The machine is in several places
//! of the glob at once, one bit for each: bit `n` says that the text so far can be read as the first `n` steps.
//! **Invariant:** the time is that of the text's bytes, times the words that the bits fill; it never goes back.

use std::hash::{Hash, Hasher};

/// Places that one word has bits for.
const WORD_BITS: usize = 64;
/// Words for any glob of [`super::TEXT_BYTES_MAX`] bytes: a place before each step, and one after the last.
const WORDS_MAX: usize = super::TEXT_BYTES_MAX / WORD_BITS + 1;
/// The class of bytes within a character (`10xxxxxx`) that the glob does not name.
const WITHIN: u8 = 0;
/// The class of bytes that begin a character and that the glob does not name.
const BEGINS: u8 = 1;

/// What takes the machine one place on.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// This byte.
    Byte(u8),
    /// Any one character: its first byte takes the step, those that follow it stay in the place behind it.
    Character,
}

impl Step {
    fn named(self) -> Option<u8> {
        match self {
            Self::Byte(byte) => Some(byte),
            Self::Character => None,
        }
    }
}

/// See the module. Equal where the texts that match are equal.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    source: Box<str>,
    machine: Machine,
}

/// Most globs fit into one word, for which the loop is the fastest.
#[derive(Debug, Clone)]
enum Machine {
    One(Bits<1>),
    Many(Bits<WORDS_MAX>),
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Glob {}

impl Hash for Glob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl Glob {
    /// Reads a glob of at most [`super::TEXT_BYTES_MAX`] bytes, as [`canonical`] gives it.
    pub(super) fn new(source: Box<str>) -> Self {
        let (mut steps, mut runs) = (Vec::new(), Vec::new());
        for byte in source.bytes() {
            match byte {
                b'*' => runs.push(steps.len()),
                b'?' => steps.push(Step::Character),
                byte => steps.push(Step::Byte(byte)),
            }
        }
        let machine = if steps.len() < WORD_BITS {
            Machine::One(Bits::new(&steps, &runs))
        } else {
            Machine::Many(Bits::new(&steps, &runs))
        };
        Self { source, machine }
    }

    /// Returns the glob as it was handed in.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Returns whether the glob stands for the whole of `text`.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.machine {
            Machine::One(bits) => bits.matches(text),
            Machine::Many(bits) => bits.matches(text),
        }
    }
}

/// Writes each run of wildcards in one way, first all its `?` and then at most one `*`: what matches stays the same,
/// and globs that match the same texts become the same text.
pub(super) fn canonical(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut has_run = false;
    for c in source.chars() {
        match c {
            '*' => has_run = true,
            '?' => out.push('?'),
            c => {
                if std::mem::take(&mut has_run) {
                    out.push('*');
                }
                out.push(c);
            }
        }
    }
    if has_run {
        out.push('*');
    }
    out
}

/// What the bytes of a class do to the places that the machine is in.
#[derive(Debug, Clone, Copy)]
struct Moves<const WORDS: usize> {
    /// The places that such a byte leads to from the place before.
    enter: [u64; WORDS],
    /// The places that such a byte does not lead away from.
    stay: [u64; WORDS],
}

/// The machine, for as many places as `WORDS` have bits.
#[derive(Debug, Clone)]
struct Bits<const WORDS: usize> {
    /// The class of each byte. All bytes that the glob does not name are of two classes.
    classes: Box<[u8; 256]>,
    moves: Box<[Moves<WORDS>]>,
    /// The place behind the last step.
    end: [u64; WORDS],
}

impl<const WORDS: usize> Bits<WORDS> {
    /// Makes the machine of `steps`, with `runs`: the places where any run of characters may lie.
    fn new(steps: &[Step], runs: &[usize]) -> Self {
        let mut classes = Box::new([BEGINS; 256]);
        for (byte, class) in (0..=u8::MAX).zip(classes.iter_mut()) {
            if is_within(byte) {
                *class = WITHIN;
            }
        }
        let mut named: Vec<u8> = steps.iter().filter_map(|step| step.named()).collect();
        named.sort_unstable();
        named.dedup();
        // There are enough classes: UTF-8 has 243 of the bytes.
        for (class, byte) in (BEGINS + 1..=u8::MAX).zip(&named) {
            if let Some(place) = classes.get_mut(usize::from(*byte)) {
                *place = class;
            }
        }
        let mut end = [0; WORDS];
        set(&mut end, steps.len());
        let unnamed = [(0b1000_0000, false), (0, false)];
        let members = unnamed
            .into_iter()
            .chain(named.into_iter().map(|byte| (byte, true)));
        let moves = members.map(|(byte, is_named)| moves_of(byte, is_named, steps, runs));
        let moves = moves.collect();
        Self {
            classes,
            moves,
            end,
        }
    }

    fn matches(&self, text: &str) -> bool {
        let mut at = [0; WORDS];
        set(&mut at, 0);
        for byte in text.bytes() {
            let class = self.classes.get(usize::from(byte)).copied();
            let Some(moves) = self.moves.get(usize::from(class.unwrap_or(BEGINS))) else {
                return false;
            };
            let (mut carry, mut is_anywhere) = (0, 0);
            for ((at, enter), stay) in at.iter_mut().zip(moves.enter).zip(moves.stay) {
                let next = (((*at << 1) | carry) & enter) | (*at & stay);
                carry = *at >> (WORD_BITS - 1);
                *at = next;
                is_anywhere |= next;
            }
            if is_anywhere == 0 {
                return false;
            }
        }
        at.iter().zip(self.end).any(|(at, end)| at & end != 0)
    }
}

/// Returns what the bytes of a class do, of which `byte` is one. Without `is_named` they take no step that names a
/// byte.
fn moves_of<const WORDS: usize>(
    byte: u8,
    is_named: bool,
    steps: &[Step],
    runs: &[usize],
) -> Moves<WORDS> {
    let (mut enter, mut stay) = ([0; WORDS], [0; WORDS]);
    for (place, step) in (1..).zip(steps) {
        match *step {
            Step::Byte(named) if is_named && named == byte => set(&mut enter, place),
            Step::Character if is_within(byte) => set(&mut stay, place),
            Step::Character => set(&mut enter, place),
            Step::Byte(_) => {}
        }
    }
    for place in runs {
        set(&mut stay, *place);
    }
    Moves { enter, stay }
}

/// Returns whether UTF-8 has the byte only within a character, never as its first (RFC 3629, section 3).
fn is_within(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

fn set(words: &mut [u64], place: usize) {
    if let Some(word) = words.get_mut(place / WORD_BITS) {
        *word |= 1 << (place % WORD_BITS);
    }
}
