//! Components that are small and ask for much, or take long to look at.
//!
//! Handed a component, adds a core module to its end and an instance of that.
//! **Invariant:** what comes out is as valid as what the format allows; only its demands are absurd.

/// What is absurd about a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bomb {
    /// A memory of 4 GiB from the start.
    Memory,
    /// A table of ten million entries.
    Table,
    /// A hundred thousand functions.
    Functions,
    /// A function of so many blocks in each other.
    Nesting,
    /// No component at all behind a fitting beginning.
    Garbage,
}

impl Bomb {
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Table,
        Self::Functions,
        Self::Nesting,
        Self::Garbage,
    ];

    /// A part of what the host says of it; none where it may serve.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory"),
            Self::Table => Some("table"),
            Self::Garbage => Some("handler.wasm"),
            Self::Functions | Self::Nesting => None,
        }
    }
}

const FUNCTIONS: u32 = 100_000;
const BLOCKS: usize = 50_000;

/// Sections of the binary format by their numbers.
const CORE_MODULE: u8 = 1;
const CORE_INSTANCE: u8 = 2;
const TYPES: u8 = 1;
const FUNCTION_TYPES: u8 = 3;
const TABLES: u8 = 4;
const MEMORIES: u8 = 5;
const CODE: u8 = 10;

/// Makes a bomb of a component.
pub fn bomb(component: &[u8], kind: Bomb) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let modules = modules(component);
    let module = match kind {
        Bomb::Garbage => {
            bytes.truncate(component.len() / 2);
            return bytes;
        }
        Bomb::Memory => module(&[(MEMORIES, [vec![1, 0], number(65_536)].concat())]),
        Bomb::Table => module(&[(TABLES, [vec![1, 0x70, 0], number(10_000_000)].concat())]),
        Bomb::Functions => functions(FUNCTIONS, &[0, 0x0b]),
        Bomb::Nesting => {
            let blocks = [[0x02, 0x40].repeat(BLOCKS), vec![0x0b; BLOCKS]].concat();
            functions(1, &[vec![0], blocks, vec![0x0b]].concat())
        }
    };
    section(&mut bytes, CORE_MODULE, &module);
    // One instance, of that module, without arguments.
    let instance = [vec![1, 0], number(modules), vec![0]].concat();
    section(&mut bytes, CORE_INSTANCE, &instance);
    bytes
}

/// How many core modules a component has.
fn modules(component: &[u8]) -> u32 {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += u32::from(component[at] == CORE_MODULE);
        let (length, behind) = read_number(component, at + 1);
        at = behind + length;
    }
    count
}

/// A core module of these sections.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in sections {
        section(&mut bytes, *id, content);
    }
    bytes
}

/// A core module of so many functions with this body.
fn functions(count: u32, body: &[u8]) -> Vec<u8> {
    let n = usize::try_from(count).unwrap();
    let body = [number(u32::try_from(body.len()).unwrap()), body.to_vec()].concat();
    module(&[
        (TYPES, vec![1, 0x60, 0, 0]),
        (FUNCTION_TYPES, [number(count), vec![0; n]].concat()),
        (CODE, [number(count), body.repeat(n)].concat()),
    ])
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    bytes.extend(number(u32::try_from(content.len()).unwrap()));
    bytes.extend(content);
}

/// In LEB128.
fn number(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn read_number(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        number |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (number, at);
        }
        shift += 7;
    }
}
