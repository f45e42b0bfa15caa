//! What a key of a TOML file may hold: the words of the tables of keys.
//!
//! The tables themselves are `keys.rs` for a manifest and `settings.rs` for the host. One entry serves the reader,
//! the messages, the JSON Schema and the documentation.
//! **Invariant:** a default lies within its own range.

use crate::manifest::kafka::Clients;

/// One key: where it stands, what it may hold, what it does.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name with the tables around it: `limits.deadline-ms`.
    pub(crate) path: &'static str,
    /// What it may hold.
    pub(crate) kind: Kind,
    /// What it does: plain sentences, as Markdown.
    pub(crate) doc: &'static str,
}

/// What a key may hold.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A text; `what` names it with its article, `default` says in words what holds without it.
    Text {
        what: &'static str,
        default: &'static str,
    },
    /// A list of texts; `what` is their plural, `example` the list as TOML has it.
    Texts {
        what: &'static str,
        example: &'static str,
    },
    /// A list of lists of texts, in which no text stands twice; words as for [`Self::Texts`].
    TextLists {
        what: &'static str,
        example: &'static str,
    },
    /// One of a few words; the first is the default.
    Choice { words: &'static [&'static str] },
    /// A whole number, `unit` in the plural.
    Whole {
        unit: &'static str,
        min: u64,
        max: u64,
        default: Option<u64>,
    },
    /// A list of whole numbers, `unit` in the plural; `example` is the list as TOML has it.
    Wholes {
        unit: &'static str,
        min: u64,
        max: u64,
        example: &'static str,
    },
    /// A number with or without a fraction.
    Real { min: f64, max: f64, default: f64 },
    /// `true` or `false`.
    Flag { default: bool },
    /// A table of any keys; with `clients` they are librdkafka's, for these clients.
    Table { clients: Option<Clients> },
    /// A table of any values, handed on as JSON.
    Arguments,
    /// A list of tables, each of which has these keys.
    Rows { keys: &'static [&'static Key] },
    /// A table of tables, each by a name of its own and with these keys.
    Named { keys: &'static [&'static Key] },
    /// What another key may hold, and that one's value where it is left out.
    Like { key: &'static Key },
}

impl Kind {
    /// Returns what may stand there, with the other key's kind for [`Self::Like`].
    pub(crate) fn held(&self) -> &Self {
        match self {
            Self::Like { key } => key.kind.held(),
            own => own,
        }
    }

    /// Returns what was expected, for messages.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text { what, .. } => (*what).to_owned(),
            Self::Texts { what, example } => format!("a list of {what} such as {example}"),
            Self::TextLists { what, example } => {
                format!("a list of lists of {what} such as {example}")
            }
            Self::Choice { words } => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, rest)) if !rest.is_empty() => {
                        format!("{} or {last}", rest.join(", "))
                    }
                    _ => quoted.concat(),
                }
            }
            Self::Whole { unit, min, max, .. } => {
                format!("a whole number of {unit} from {min} to {max}")
            }
            Self::Wholes {
                unit,
                min,
                max,
                example,
            } => {
                format!("a list of whole numbers of {unit} from {min} to {max} such as {example}")
            }
            Self::Real { min, max, .. } => format!("a number from {min} to {max}"),
            Self::Flag { .. } => "true or false".to_owned(),
            Self::Table { .. } | Self::Arguments => "a table".to_owned(),
            Self::Rows { keys } => {
                let names: Vec<&str> = keys.iter().map(|key| key.path).collect();
                format!("a list of tables with {}", names.join(", "))
            }
            Self::Named { keys } => {
                let names: Vec<&str> = keys.iter().map(|key| key.path).collect();
                format!("tables by name, each with {}", names.join(", "))
            }
            Self::Like { key } => key.kind.expected(),
        }
    }

    /// Returns the default as TOML or in words; empty where there is none.
    pub(crate) fn default_text(&self) -> String {
        match self {
            Self::Text { default, .. } => (*default).to_owned(),
            Self::Choice { words } => words
                .first()
                .map(|word| format!("`\"{word}\"`"))
                .unwrap_or_default(),
            Self::Whole {
                default: Some(default),
                ..
            } => format!("`{default}`"),
            Self::Real { default, .. } => format!("`{default:?}`"),
            Self::Flag { default } => format!("`{default}`"),
            Self::Like { key } => format!("that of `{}`", key.path),
            Self::Texts { .. }
            | Self::TextLists { .. }
            | Self::Whole { default: None, .. }
            | Self::Wholes { .. }
            | Self::Rows { .. }
            | Self::Named { .. }
            | Self::Arguments
            | Self::Table { .. } => String::new(),
        }
    }
}

impl Key {
    /// Returns the key's name without the tables around it.
    pub(crate) fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// Returns the path of the table that the key stands in; empty for the file itself.
    pub(crate) fn around(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(around, _)| around)
    }

    /// Returns the path within the table `around`, if it lies there; the empty table holds everything.
    pub(crate) fn within(&self, around: &str) -> Option<&'static str> {
        if around.is_empty() {
            return Some(self.path);
        }
        self.path
            .strip_prefix(around)
            .and_then(|rest| rest.strip_prefix('.'))
    }
}
