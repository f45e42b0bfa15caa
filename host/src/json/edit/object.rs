//! An object that is taken apart.
//!
//! Handed its text, notes where the members are whose names a change has; then what becomes of them. It is written in a
//! second pass over the text, so that nothing is kept of the other members.
//! **Invariant:** of a name that is set or removed the result has one member or none.

use std::{collections::BTreeMap, mem, ops::Range};

use super::{
    Out,
    tree::{Names, Node},
};
use crate::json::{JsonError, scan::Scanner};

#[derive(Debug)]
pub(super) struct Object<'a> {
    text: &'a str,
    level: usize,
    members: BTreeMap<&'a str, Member<'a>>,
    /// How many members came last so far.
    appended: usize,
}

#[derive(Debug, Default)]
struct Member<'a> {
    /// Where the first of its name begins, with its name.
    first: usize,
    /// Where the value of the last of its name is, the one that counts.
    last: Range<usize>,
    fate: Fate<'a>,
}

/// What becomes of a member.
#[derive(Debug, Default)]
enum Fate<'a> {
    /// It is not there, or all of its name are removed.
    #[default]
    Gone,
    /// All of its name stay.
    Kept,
    /// All of its name stay, but the last is changed inside.
    Inside(Node<'a>),
    /// It is set, in the place of the first of its name.
    Here(Node<'a>),
    /// It is set after all that were there, in the order of the number.
    Appended(usize, Node<'a>),
}

/// Where a member stands in the text.
struct Place {
    start: usize,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    /// Takes an object apart whose text is checked.
    pub(super) fn new(text: &'a str, level: usize, names: &Names<'a>) -> Result<Self, JsonError> {
        let mut members: BTreeMap<&str, Member<'_>> = BTreeMap::new();
        let unknown = |_: &str, _| None;
        each(text, level, names, unknown, |token, place| {
            if let Some(token) = token {
                let member = members.entry(token).or_insert_with(|| Member {
                    first: place.start,
                    fate: Fate::Kept,
                    ..Member::default()
                });
                member.last = place.value;
            }
            Ok(())
        })?;
        Ok(Self {
            text,
            level,
            members,
            appended: 0,
        })
    }

    /// Returns the value of a member, if there is one.
    pub(super) fn child(&mut self, token: &str) -> Option<&mut Node<'a>> {
        let member = self.members.get_mut(token)?;
        if let Fate::Kept = member.fate {
            let value = self.text.get(member.last.clone())?;
            member.fate = Fate::Inside(Node::Text(value));
        }
        match &mut member.fate {
            Fate::Inside(node) | Fate::Here(node) | Fate::Appended(_, node) => Some(node),
            Fate::Gone | Fate::Kept => None,
        }
    }

    /// Sets a member.
    pub(super) fn set(&mut self, token: &'a str, value: Node<'a>) {
        let member = self.members.entry(token).or_default();
        member.fate = match mem::take(&mut member.fate) {
            Fate::Kept | Fate::Inside(_) | Fate::Here(_) => Fate::Here(value),
            Fate::Appended(number, _) => Fate::Appended(number, value),
            Fate::Gone => {
                self.appended += 1;
                Fate::Appended(self.appended, value)
            }
        };
    }

    /// Removes a member, if there is one.
    pub(super) fn remove(&mut self, token: &str) {
        if let Some(member) = self.members.get_mut(token) {
            member.fate = Fate::Gone;
        }
    }

    /// Writes the object.
    pub(super) fn write(&self, names: &Names<'a>, out: &mut Out) -> Result<(), JsonError> {
        let text = self.text;
        out.push(text.get(..1))?;
        // The space before the first member, and the end of the member before.
        let (mut head, mut end) = (None, 1);
        let mut some = false;
        let known = |token: &str, start| {
            let last = &self.members.get(token)?.last;
            (last.start == start).then_some(last.end)
        };
        each(text, self.level, names, known, |token, place| {
            let Place { start, value } = place;
            let head = head.get_or_insert(1..start).clone();
            let separator = if some { end..start } else { head };
            end = value.end;
            let member = token.and_then(|token| self.members.get(token));
            let node = match member.map(|member| (&member.fate, member)) {
                Some((Fate::Gone | Fate::Appended(..), _)) => return Ok(()),
                Some((Fate::Here(_), member)) if start != member.first => return Ok(()),
                Some((Fate::Here(node), _)) => Some(node),
                Some((Fate::Inside(node), member)) if value == member.last => Some(node),
                Some(_) | None => None,
            };
            some = true;
            out.push(text.get(separator))?;
            out.push(text.get(start..value.start))?;
            match node {
                Some(node) => node.write(names, out),
                None => out.push(text.get(value)),
            }
        })?;
        for (token, node) in self.appended() {
            let separator = if some {
                Some(",")
            } else {
                head.clone().and_then(|head| text.get(head))
            };
            some = true;
            out.push(separator)?;
            out.push(Some(&serde_json::Value::from(token).to_string()))?;
            out.push(Some(":"))?;
            node.write(names, out)?;
        }
        out.push(text.get(end..))
    }

    /// The members that come last, in their order.
    fn appended(&self) -> impl Iterator<Item = (&'a str, &Node<'a>)> {
        let mut appended: Vec<_> = self
            .members
            .iter()
            .filter_map(|(token, member)| match &member.fate {
                Fate::Appended(number, node) => Some((*number, *token, node)),
                _ => None,
            })
            .collect();
        appended.sort_unstable_by_key(|(number, ..)| *number);
        appended.into_iter().map(|(_, token, node)| (token, node))
    }
}

/// Goes over the members of an object, with the tokens that are equal to their names. A value is not gone over if it is
/// `known` where it ends.
fn each<'a>(
    text: &str,
    level: usize,
    names: &Names<'a>,
    known: impl Fn(&'a str, usize) -> Option<usize>,
    mut member: impl FnMut(Option<&'a str>, Place) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    let mut scanner = Scanner::resume(text, 0);
    let mut more = scanner.first(b'}')?;
    while more {
        scanner.space();
        let start = scanner.at();
        let name = scanner.name()?;
        let token = names.find(level, text, &name);
        scanner.space();
        let from = scanner.at();
        match token.and_then(|token| known(token, from)) {
            Some(end) => scanner.jump(end),
            None => scanner.value()?,
        }
        let value = from..scanner.at();
        member(token, Place { start, value })?;
        more = scanner.next(b'}')?;
    }
    Ok(())
}
