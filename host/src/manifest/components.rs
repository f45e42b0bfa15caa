//! Reads which components make up a handler.

use std::collections::BTreeMap;
use std::fmt;

use crate::manifest::keys::{component as component_keys, middleware as keys};
use crate::manifest::{Key, Masked, Reader, Text};
use crate::release::FileDigest;
use crate::secrets::Secrets;

/// What the name of a component's file ends with.
pub(super) const SUFFIX: &str = ".wasm";

/// A component that sees records before a handler is chosen.
#[derive(Clone, PartialEq, Eq)]
pub struct Middleware {
    /// File name of the component beside the file that names it.
    pub component: String,
    /// What messages and metrics call it.
    pub name: String,
    /// Texts for the component, by name.
    pub config: BTreeMap<String, String>,
    /// Texts for it that are said by name; they are among the others once they are read.
    pub secrets: Secrets,
}

impl fmt::Debug for Middleware {
    /// Prints the names of settings without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Middleware")
            .field("component", &self.component)
            .field("name", &self.name)
            .field("config", &Masked(&self.config))
            .field("secrets", &self.secrets)
            .finish()
    }
}

/// Reads which file is the handler's own component, and what it is recognized by.
pub(super) fn own(reader: &mut Reader<'_>) -> (Option<String>, Option<FileDigest>) {
    let file = component(reader, &component_keys::COMPONENT);
    (file, reader.parsed(&component_keys::DIGEST))
}

/// Reads the name of a component's file.
pub(super) fn component(reader: &mut Reader<'_>, key: &'static Key) -> Option<String> {
    file_name(reader, key, SUFFIX, "the component")
}

/// Reads the name of a file that lies beside its manifest.
pub(super) fn file_name(
    reader: &mut Reader<'_>,
    key: &'static Key,
    suffix: &str,
    what: &str,
) -> Option<String> {
    let Text { text, offset } = reader.text(key)?;
    if text.contains(['/', '\\']) {
        let what = format!(
            "expected a file name, found the path {text:?} ({what} lies beside its manifest)"
        );
        reader.problem(key, Some(offset), &what);
    } else if text.strip_suffix(suffix).is_none_or(str::is_empty) {
        let what = format!("expected {}, found the text {text:?}", key.kind.expected());
        reader.problem(key, Some(offset), &what);
    }
    Some(text)
}

/// Reads the tables `[[middleware]]`.
pub(super) fn middleware(reader: &mut Reader<'_>) -> Vec<Middleware> {
    let mut all: Vec<Middleware> = Vec::new();
    reader.each_row(&keys::MIDDLEWARE, |row, start| {
        if row.offset(&keys::COMPONENT).is_none() {
            let what = "missing (name the file of the middleware beside this one)";
            return row.problem(&keys::COMPONENT, Some(start), what);
        }
        let Some(component) = component(row, &keys::COMPONENT) else {
            return;
        };
        let stem = component.strip_suffix(SUFFIX).unwrap_or(&component);
        let named = row.text(&keys::NAME).map(|Text { text, .. }| text);
        let name = named.unwrap_or_else(|| stem.to_owned());
        if name.is_empty() {
            row.problem(&keys::NAME, Some(start), "a name must not be empty");
        }
        if all.iter().any(|other| other.name == name) {
            let what = format!("there are two of the name {name} (give one of them another name)");
            row.problem(&keys::NAME, Some(start), &what);
        }
        let (config, secrets) = row.texts(&keys::CONFIG);
        all.push(Middleware {
            component,
            name,
            config,
            secrets,
        });
    });
    all
}
