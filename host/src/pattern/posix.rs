//! Rewrites a regular expression into extended POSIX.
//!
//! Handed the parsed expression, writes the same language over the characters of topic names. Every construct that
//! comes out means the same to the `regex` crate, to a C library and to RE2/J.
//! **Invariant:** what comes out matches a topic name exactly where the whole of what went in does.

use std::fmt::Write as _;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::{PatternError, TOPIC_CHARS};

/// Bytes of a topic name, see `org.apache.kafka.common.internals.Topic`.
const NAME_BYTES_MAX: u32 = 249;

/// Rewrites `source`, without anchors around it.
pub(super) fn rewrite(source: &str) -> Result<String, PatternError> {
    // Names are ASCII; byte classes say so and need no tables of Unicode.
    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build();
    let hir = parser
        .parse(source)
        .map_err(|error| PatternError::Syntax(reason(&error)))?;
    let mut out = String::new();
    translate(
        &hir,
        Ends {
            start: true,
            end: true,
        },
        &mut out,
    )?;
    if out.is_empty() {
        Err(PatternError::MatchesNothing)
    } else {
        Ok(out)
    }
}

/// Writes a character that stands for itself.
pub(super) fn push_literal(out: &mut String, c: char) {
    if c == '.' {
        out.push('\\');
    }
    out.push(c);
}

/// Takes the reason out of an error that otherwise draws the expression over several lines.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}

/// Which ends of the name a part of the expression touches: there an anchor says nothing new.
#[derive(Clone, Copy)]
struct Ends {
    start: bool,
    end: bool,
}

const MIDDLE: Ends = Ends {
    start: false,
    end: false,
};

fn translate(hir: &Hir, ends: Ends, out: &mut String) -> Result<(), PatternError> {
    match hir.kind() {
        HirKind::Empty => Ok(()),
        HirKind::Literal(literal) => {
            for &byte in &*literal.0 {
                let c = char::from(byte);
                if !TOPIC_CHARS.contains(c) {
                    return Err(PatternError::MatchesNothing);
                }
                push_literal(out, c);
            }
            Ok(())
        }
        HirKind::Class(class) => push_class(class, out),
        HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) if ends.start => Ok(()),
        HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) if ends.end => Ok(()),
        HirKind::Look(
            Look::Start | Look::StartLF | Look::StartCRLF | Look::End | Look::EndLF | Look::EndCRLF,
        ) => Err(PatternError::Unsupported("an anchor in the middle")),
        HirKind::Look(_) => Err(PatternError::Unsupported("a word boundary")),
        HirKind::Repetition(repetition) => translate_repetition(repetition, out),
        // Groups are written where they bind; nobody reads what they captured.
        HirKind::Capture(capture) => translate(&capture.sub, ends, out),
        HirKind::Concat(parts) => translate_concat(parts, ends, out),
        HirKind::Alternation(branches) => translate_alternation(branches, ends, out),
    }
}

fn translate_repetition(repetition: &Repetition, out: &mut String) -> Result<(), PatternError> {
    let mut part = String::new();
    match translate(&repetition.sub, MIDDLE, &mut part) {
        // What no topic can have may still be left out.
        Err(PatternError::MatchesNothing) if repetition.min == 0 => return Ok(()),
        done => done?,
    }
    if part.is_empty() {
        return Ok(());
    }
    let single = part == "." || matches!(repetition.sub.kind(), HirKind::Class(_));
    // Writing to a String cannot fail.
    let _ = if single {
        write!(out, "{part}")
    } else {
        write!(out, "({part})")
    };
    push_count(repetition.min, repetition.max, out)
}

fn translate_concat(parts: &[Hir], ends: Ends, out: &mut String) -> Result<(), PatternError> {
    let takes_nothing = |part: &Hir| part.properties().maximum_len() == Some(0);
    let first = parts
        .iter()
        .position(|part| !takes_nothing(part))
        .unwrap_or(parts.len());
    let last = parts
        .iter()
        .rposition(|part| !takes_nothing(part))
        .unwrap_or(0);
    for (at, part) in parts.iter().enumerate() {
        let ends = Ends {
            start: ends.start && at <= first,
            end: ends.end && at >= last,
        };
        translate(part, ends, out)?;
    }
    Ok(())
}

/// Writes `(a|b)`; an empty branch becomes `(a|b)?`, since POSIX does not define `(a|)`.
fn translate_alternation(
    branches: &[Hir],
    ends: Ends,
    out: &mut String,
) -> Result<(), PatternError> {
    let mut text = String::new();
    let (mut some, mut empty) = (false, false);
    for branch in branches {
        let mut part = String::new();
        match translate(branch, ends, &mut part) {
            Ok(()) if part.is_empty() => empty = true,
            Ok(()) => {
                text.push_str(if some { "|" } else { "" });
                text.push_str(&part);
                some = true;
            }
            // A branch that no topic can take is no loss while another one can.
            Err(PatternError::MatchesNothing) => {}
            Err(error) => return Err(error),
        }
    }
    if some {
        // Writing to a String cannot fail.
        let _ = write!(out, "({text}){}", if empty { "?" } else { "" });
        return Ok(());
    }
    if empty {
        Ok(())
    } else {
        Err(PatternError::MatchesNothing)
    }
}

fn push_count(min: u32, max: Option<u32>, out: &mut String) -> Result<(), PatternError> {
    if min > NAME_BYTES_MAX {
        return Err(PatternError::MatchesNothing);
    }
    // No name is longer, so a higher count means the same.
    let max = max.filter(|&max| max <= NAME_BYTES_MAX);
    let written = match (min, max) {
        (0, None) => write!(out, "*"),
        (1, None) => write!(out, "+"),
        (0, Some(1)) => write!(out, "?"),
        (min, None) => write!(out, "{{{min},}}"),
        (min, Some(max)) if min == max => write!(out, "{{{min}}}"),
        (min, Some(max)) => write!(out, "{{{min},{max}}}"),
    };
    // Writing to a String cannot fail.
    let _ = written;
    Ok(())
}

/// Writes a class as a bracket expression over the characters of topic names, the whole alphabet as `.`.
fn push_class(class: &Class, out: &mut String) -> Result<(), PatternError> {
    let has = |c: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| range.start() <= c && c <= range.end()),
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&(c as u8))),
    };
    let members: Vec<char> = TOPIC_CHARS.chars().filter(|&c| has(c)).collect();
    if members.is_empty() {
        return Err(PatternError::MatchesNothing);
    }
    if members.len() == TOPIC_CHARS.len() {
        out.push('.');
        return Ok(());
    }
    out.push('[');
    for run in members.chunk_by(|a, b| *a as u32 + 1 == *b as u32) {
        match run {
            // A hyphen must come last.
            ['-', '.'] => out.push('.'),
            ['-'] => {}
            [first, .., last] if run.len() > 2 => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{first}-{last}");
            }
            run => out.extend(run),
        }
    }
    if members.first() == Some(&'-') {
        out.push('-');
    }
    out.push(']');
    Ok(())
}
