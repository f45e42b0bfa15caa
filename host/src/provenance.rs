//! What a component says of how it was made: what compilers and tools have left in it, beside its code.
//!
//! Handed the bytes of a component, gives a few short lines: its name and version, the tools that made it, and the packages
//! that it is built from (`cargo auditable`). All of it is what the file says, and may be a lie.
//! **Invariant:** whatever the bytes are, little comes out of them, it takes little, and it prints as plain text.

mod sections;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use self::sections::{Cursor, each_custom_section};

/// Characters of a text that are shown.
const TEXT_MAX: usize = 80;
/// Texts of a kind that are shown.
const SHOWN_MAX: usize = 8;
/// Texts of a kind that are looked at.
const TEXTS_MAX: usize = 256;
/// What a list of packages may have when it is no longer packed.
const LIST_BYTES_MAX: usize = 1 << 20;
/// Lists of packages that are looked at.
const LISTS_MAX: usize = 4;

/// The sections with one text each, in the order in which they are shown.
const ANNOTATIONS: [&str; 7] = [
    "version",
    "licenses",
    "authors",
    "revision",
    "source",
    "homepage",
    "description",
];
/// What the tools say of themselves, in the order in which it is shown.
const FIELDS: [&str; 3] = ["language", "sdk", "processed-by"];

/// What is said.
#[derive(Debug, Default)]
struct Said {
    annotations: BTreeMap<&'static str, String>,
    tools: BTreeMap<&'static str, BTreeSet<String>>,
    packages: BTreeSet<String>,
    lists: usize,
    /// Lists that are damaged, or too large.
    unreadable: usize,
}

/// Lists what a component says of itself.
pub fn provenance(wasm: &[u8]) -> Vec<String> {
    let mut said = Said::default();
    each_custom_section(wasm, |section| {
        said.take(section.name, section.content, section.is_outer);
    });
    said.lines()
}

impl Said {
    fn take(&mut self, name: &str, content: &[u8], is_outer: bool) {
        match name {
            "producers" => {
                // What was read before something is wrong is as good as the rest.
                let _ = self.producers(content);
            }
            ".dep-v0" => self.packages(content),
            "component-name" if is_outer => {
                if let Some(text) = component_name(content) {
                    self.annotations.entry("name").or_insert(text);
                }
            }
            // Those of modules inside are of libraries and adapters.
            _ if is_outer => {
                let known = ANNOTATIONS.iter().find(|it| **it == name);
                if let (Some(known), Ok(text)) = (known, std::str::from_utf8(content)) {
                    let text = plain(text);
                    self.annotations.entry(known).or_insert(text);
                }
            }
            _ => {}
        }
    }

    fn producers(&mut self, content: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(content);
        for _ in 0..cursor.number()? {
            let field = cursor.text()?;
            let field = FIELDS.into_iter().find(|it| *it == field);
            for _ in 0..cursor.number()? {
                let (name, version) = (cursor.text()?, cursor.text()?);
                let tools = field.map(|field| self.tools.entry(field).or_default());
                if let Some(tools) = tools.filter(|it| it.len() < TEXTS_MAX) {
                    tools.insert(named(name, version));
                }
            }
        }
        Some(())
    }

    fn packages(&mut self, content: &[u8]) {
        self.lists += 1;
        if self.lists > LISTS_MAX {
            return;
        }
        let unpacked =
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(content, LIST_BYTES_MAX);
        let list = unpacked.ok();
        let list = list.and_then(|json| serde_json::from_slice::<List>(&json).ok());
        let Some(list) = list else {
            self.unreadable += 1;
            return;
        };
        let packages = list.packages.iter().take(TEXTS_MAX * 16);
        self.packages
            .extend(packages.map(|it| named(&it.name, &it.version)));
    }

    fn lines(self) -> Vec<String> {
        let mut lines = Vec::new();
        let annotations = std::iter::once("name").chain(ANNOTATIONS);
        let annotations = annotations.filter_map(|name| {
            let text = self.annotations.get(name)?;
            Some(format!("{name} {text}"))
        });
        let annotations: Vec<String> = annotations.collect();
        if !annotations.is_empty() {
            lines.push(annotations.join(", "));
        }
        let tools = FIELDS.into_iter().filter_map(|field| {
            let tools = self.tools.get(field)?;
            Some(format!("{field} {}", some_of(tools)))
        });
        let tools: Vec<String> = tools.collect();
        if !tools.is_empty() {
            lines.push(tools.join("; "));
        }
        if !self.packages.is_empty() {
            let n = self.packages.len();
            lines.push(format!("{n} packages: {}", some_of(&self.packages)));
        }
        if self.unreadable > 0 {
            lines.push("a list of packages that is damaged or too large".to_owned());
        }
        lines
    }
}

/// What `cargo auditable` writes.
#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// Reads the name in a section of names.
fn component_name(content: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(content);
    // The first of its parts is the name of the whole.
    (cursor.byte()? == 0).then_some(())?;
    let mut part = Cursor::new(cursor.bytes()?);
    part.text().map(plain)
}

fn named(name: &str, version: &str) -> String {
    let text = format!("{} {}", plain(name), plain(version));
    text.trim_end().to_owned()
}

/// Lists the first few.
fn some_of(texts: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = texts.iter().map(String::as_str).take(SHOWN_MAX).collect();
    let rest = texts.len() - shown.len();
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

/// Returns the beginning of a text without anything that a terminal would obey.
fn plain(text: &str) -> String {
    let mut chars = text.chars();
    let shown = chars.by_ref().take(TEXT_MAX);
    // Quotes and the like may stay as they are.
    let mut plain = String::new();
    for c in shown {
        if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
    }
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests;
