//! Reads the values of several pointers in one pass.
//!
//! Handed a document and the tree of the pointers' tokens, gives the text of each pointer's value. Only what a token
//! names is looked into; the rest is gone over.
//! **Invariant:** a value counts only if each member on the way to it is the last of its name in its object.

use std::ops::Range;

use super::{
    JsonError, JsonText, Limits, Pointer, PointerError,
    escape::compare,
    pointer::index,
    scan::{Name, Scanner},
    utf8,
};

/// Pointers that a set may have.
pub const POINTERS_MAX: usize = 1024;
/// No place in a document.
const NOWHERE: usize = usize::MAX;

/// Pointers, made ready to be read in one pass.
#[derive(Debug, Clone)]
pub struct PointerSet {
    /// The tree of their tokens, each node after that above it. The first is the whole document.
    nodes: Vec<Node>,
    /// The node of each pointer.
    places: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    above: usize,
    /// By token, in order.
    members: Vec<(Box<str>, usize)>,
    /// By index, in order.
    items: Vec<(usize, usize)>,
    /// Which lengths the tokens have, modulo 64, a bit for each: most names are of none of them.
    lengths: u64,
}

impl PointerSet {
    /// Makes a set; values are given in the order of its pointers.
    pub fn new<'p>(pointers: impl IntoIterator<Item = &'p Pointer>) -> Result<Self, PointerError> {
        let mut set = Self::empty();
        for pointer in pointers {
            set.add(pointer);
            let pointers = set.places.len();
            if pointers > POINTERS_MAX {
                return Err(PointerError::TooMany { pointers });
            }
        }
        Ok(set)
    }

    /// Makes a set of no pointers.
    pub(super) fn empty() -> Self {
        Self {
            nodes: vec![Node::default()],
            places: Vec::new(),
        }
    }

    /// Adds a pointer as the last one; the caller counts them.
    pub(super) fn add(&mut self, pointer: &Pointer) {
        let node = pointer
            .tokens()
            .fold(0, |node, token| self.below(node, token));
        self.places.push(node);
    }

    /// Finds or makes the node of a token.
    fn below(&mut self, above: usize, token: &str) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(above) else {
            return above;
        };
        let place = match node.members.binary_search_by(|(t, _)| (**t).cmp(token)) {
            Ok(place) => return node.members.get(place).map_or(above, |(_, below)| *below),
            Err(place) => place,
        };
        node.members.insert(place, (token.into(), new));
        node.lengths |= 1 << (token.len() % 64);
        if let Some(index) = index(token) {
            let place = node.items.partition_point(|(i, _)| *i < index);
            node.items.insert(place, (index, new));
        }
        self.nodes.push(Node {
            above,
            ..Node::default()
        });
        new
    }
}

impl Node {
    fn member(&self, text: &str, escaped: bool) -> Option<usize> {
        if !escaped && self.lengths >> (text.len() % 64) & 1 == 0 {
            return None;
        }
        let find = |(token, _): &(Box<str>, usize)| compare(token, text, escaped);
        let place = self.members.binary_search_by(find).ok()?;
        self.members.get(place).map(|(_, node)| *node)
    }
}

/// The values of a set of pointers, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<'a> {
    values: Vec<Option<JsonText<'a>>>,
}

impl<'a> Picked<'a> {
    /// Returns the value of the pointer at `place` in the set; nothing if the document has none.
    pub fn get(&self, place: usize) -> Option<JsonText<'a>> {
        self.values.get(place).copied().flatten()
    }

    /// Returns what each pointer of the set names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<JsonText<'a>>> {
        self.values.iter().copied()
    }
}

/// Reads the values of pointers, within the default limits.
pub fn pick<'a>(document: &'a [u8], pointers: &PointerSet) -> Result<Picked<'a>, JsonError> {
    pick_within(document, pointers, Limits::default())
}

/// Reads the values of pointers in one pass over the document, all of which is checked.
pub fn pick_within<'a>(
    document: &'a [u8],
    pointers: &PointerSet,
    limits: Limits,
) -> Result<Picked<'a>, JsonError> {
    let text = utf8(document, limits)?;
    let found = find(text, pointers, limits.depth_max)?;
    let value = |range: Option<Range<usize>>| text.get(range?).map(JsonText::checked);
    let values = found.into_iter().map(value).collect();
    Ok(Picked { values })
}

/// Finds where the values of pointers are, in one pass over the text.
pub(super) fn find(
    text: &str,
    pointers: &PointerSet,
    depth_max: usize,
) -> Result<Vec<Option<Range<usize>>>, JsonError> {
    let mut picker = Picker {
        scanner: Scanner::new(text, depth_max),
        nodes: &pointers.nodes,
        seen: vec![Seen::default(); pointers.nodes.len()],
    };
    picker.value(0, 0)?;
    picker.scanner.end()?;
    picker.forget_replaced();
    let place = |&place: &usize| {
        let seen = picker.seen.get(place)?;
        (seen.start != NOWHERE).then_some(seen.start..seen.end)
    };
    Ok(pointers.places.iter().map(place).collect())
}

/// Where a node's value was seen last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    start: usize,
    end: usize,
    /// Where the array or object began in which it was. One that began elsewhere is another, even of the same name.
    under: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            start: NOWHERE,
            end: NOWHERE,
            under: NOWHERE,
        }
    }
}

struct Picker<'a, 'p> {
    scanner: Scanner<'a>,
    nodes: &'p [Node],
    seen: Vec<Seen>,
}

impl Picker<'_, '_> {
    /// Reads the value of a node. Recurses along the tokens of pointers only.
    fn value(&mut self, place: usize, under: usize) -> Result<(), JsonError> {
        let first = self.scanner.space();
        let start = self.scanner.at();
        let node = self.nodes.get(place);
        match (first, node.filter(|node| !node.members.is_empty())) {
            (Some(b'{'), Some(node)) => self.object(node)?,
            (Some(b'['), Some(node)) if !node.items.is_empty() => self.array(node)?,
            _ => self.scanner.value()?,
        }
        let end = self.scanner.at();
        if let Some(seen) = self.seen.get_mut(place) {
            *seen = Seen { start, end, under };
        }
        Ok(())
    }

    fn object(&mut self, node: &Node) -> Result<(), JsonError> {
        let under = self.scanner.at();
        let mut more = self.scanner.first(b'}')?;
        while more {
            let Name { range, escaped } = self.scanner.name()?;
            match node.member(self.scanner.slice(range), escaped) {
                Some(below) => self.value(below, under)?,
                None => self.scanner.value()?,
            }
            more = self.scanner.next(b'}')?;
        }
        Ok(())
    }

    fn array(&mut self, node: &Node) -> Result<(), JsonError> {
        let under = self.scanner.at();
        let mut wanted = node.items.iter().peekable();
        let mut more = self.scanner.first(b']')?;
        let mut index = 0;
        while more {
            match wanted.next_if(|(wanted, _)| *wanted == index) {
                Some((_, below)) => self.value(*below, under)?,
                None => self.scanner.value()?,
            }
            more = self.scanner.next(b']')?;
            index += 1;
        }
        Ok(())
    }

    /// Takes back what was seen in arrays and objects that a later member of the same name replaced.
    fn forget_replaced(&mut self) {
        for (place, node) in self.nodes.iter().enumerate().skip(1) {
            let above = self
                .seen
                .get(node.above)
                .map_or(NOWHERE, |above| above.start);
            // Nodes above come first. One that was never seen, or is taken back, begins nowhere: nothing is under it.
            if let Some(seen) = self.seen.get_mut(place)
                && seen.under != above
            {
                *seen = Seen::default();
            }
        }
    }
}
