//! An array that is taken apart.
//!
//! Handed its text, keeps it as runs of items; an item that a change goes to is cut out of its run.
//! **Invariant:** items that stay do so in their order, and the items that are appended follow them.

use std::ops::Range;

use super::{
    Out,
    tree::{Names, Node, Put},
};
use crate::json::{JsonError, pointer::index, scan::Scanner};

/// How far apart the places are that are noted, in bytes at least, so that an item is found without reading all before.
const MARK_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Array<'a> {
    text: &'a str,
    /// Where some of the items begin: number and place.
    marks: Vec<(usize, usize)>,
    /// How many items the text has.
    items: usize,
    /// Where the last of them ends.
    end: usize,
    pieces: Vec<Piece<'a>>,
}

#[derive(Debug)]
enum Piece<'a> {
    /// Items of the text that stay, by number.
    Run(Range<usize>),
    /// An item that stands in the place of one of the text.
    Item(usize, Node<'a>),
    /// An item that was appended.
    New(Node<'a>),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Run(run) => run.len(),
            Self::Item(..) | Self::New(_) => 1,
        }
    }
}

impl<'a> Array<'a> {
    /// Takes an array apart whose text is checked.
    pub(super) fn new(text: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::resume(text, 0);
        let mut more = scanner.first(b']')?;
        let (mut marks, mut items, mut end, mut mark) = (Vec::new(), 0, 1, 0);
        while more {
            scanner.space();
            let at = scanner.at();
            if items == 0 || at - mark >= MARK_BYTES {
                mark = at;
                marks.push((items, at));
            }
            scanner.value()?;
            end = scanner.at();
            items += 1;
            more = scanner.next(b']')?;
        }
        Ok(Self {
            text,
            marks,
            items,
            end,
            pieces: vec![Piece::Run(0..items)],
        })
    }

    /// Returns an item, if there is one.
    pub(super) fn child(&mut self, token: &str) -> Result<Option<&mut Node<'a>>, JsonError> {
        let Some(place) = self.cut(index(token))? else {
            return Ok(None);
        };
        match self.pieces.get_mut(place) {
            Some(Piece::Item(_, node) | Piece::New(node)) => Ok(Some(node)),
            Some(Piece::Run(_)) | None => Ok(None),
        }
    }

    /// Sets an item, or appends one.
    pub(super) fn set(&mut self, token: &str, value: Node<'a>) -> Result<Put, JsonError> {
        let length = self.pieces.iter().map(Piece::len).sum();
        if token == "-" || index(token) == Some(length) {
            self.pieces.push(Piece::New(value));
            return Ok(Put::Done);
        }
        match self.child(token)? {
            Some(node) => *node = value,
            None => return Ok(Put::NoIndex),
        }
        Ok(Put::Done)
    }

    /// Removes an item, if there is one.
    pub(super) fn remove(&mut self, token: &str) -> Result<(), JsonError> {
        if let Some(place) = self.cut(index(token))? {
            self.pieces.remove(place);
        }
        Ok(())
    }

    /// Makes an item a piece of its own, and finds it.
    fn cut(&mut self, index: Option<usize>) -> Result<Option<usize>, JsonError> {
        let Some(mut offset) = index else {
            return Ok(None);
        };
        for (place, piece) in self.pieces.iter().enumerate() {
            let Some(left) = offset.checked_sub(piece.len()) else {
                if let Piece::Run(run) = piece {
                    return self.cut_run(place, run.clone(), offset).map(Some);
                }
                return Ok(Some(place));
            };
            offset = left;
        }
        Ok(None)
    }

    fn cut_run(
        &mut self,
        place: usize,
        run: Range<usize>,
        offset: usize,
    ) -> Result<usize, JsonError> {
        let item = run.start + offset;
        let mut scanner = self.find(item)?;
        let start = scanner.at();
        scanner.value()?;
        let node = Node::Text(scanner.slice(start..scanner.at()));
        let runs = [run.start..item, item + 1..run.end]
            .map(|run| (!run.is_empty()).then_some(Piece::Run(run)));
        let [before, after] = runs;
        let found = place + usize::from(before.is_some());
        let pieces = [before, Some(Piece::Item(item, node)), after];
        self.pieces
            .splice(place..=place, pieces.into_iter().flatten());
        Ok(found)
    }

    /// Goes to where an item of the text begins.
    fn find(&self, item: usize) -> Result<Scanner<'a>, JsonError> {
        let next = self.marks.partition_point(|(marked, _)| *marked <= item);
        let mark = self.marks.get(next.saturating_sub(1));
        let (mut at, place) = mark.copied().unwrap_or((item, 0));
        let mut scanner = Scanner::resume(self.text, place);
        while at < item {
            scanner.value()?;
            scanner.next(b']')?;
            at += 1;
        }
        scanner.space();
        Ok(scanner)
    }

    /// Writes the array.
    pub(super) fn write(&self, names: &Names<'a>, out: &mut Out) -> Result<(), JsonError> {
        let text = self.text;
        let head = self.marks.first().and_then(|(_, at)| text.get(1..*at));
        out.push(text.get(..1))?;
        for (place, piece) in self
            .pieces
            .iter()
            .filter(|piece| piece.len() > 0)
            .enumerate()
        {
            let start = match piece {
                Piece::Run(Range { start, .. }) | Piece::Item(start, _) => self.find(*start)?.at(),
                Piece::New(_) => self.end,
            };
            match piece {
                _ if place == 0 => out.push(head)?,
                Piece::New(_) => out.push(Some(","))?,
                Piece::Run(_) | Piece::Item(..) => out.push(text.get(self.before(start)..start))?,
            }
            match piece {
                Piece::Run(run) if run.end == self.items => out.push(text.get(start..self.end))?,
                Piece::Run(run) => {
                    let next = self.find(run.end)?.at();
                    out.push(text.get(start..self.before(next)))?;
                }
                Piece::Item(_, node) | Piece::New(node) => node.write(names, out)?,
            }
        }
        out.push(text.get(self.end..))
    }

    /// Returns where the item ends after which one begins at `start`.
    fn before(&self, start: usize) -> usize {
        let space = [' ', '\t', '\n', '\r'];
        let before = self.text.get(..start).unwrap_or_default();
        let before = before.trim_end_matches(space);
        let item = before.strip_suffix(',').unwrap_or(before);
        item.trim_end_matches(space).len()
    }
}
