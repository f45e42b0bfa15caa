//! What is wrong with a file, and the name that was probably meant.
//!
//! Handed offsets into a text, gives lines; handed a wrong name and the right ones, gives a suggestion.
//! **Invariant:** a problem's text says what to do and fits on one line.

use std::fmt;
use std::path::Path;

/// Something in a file that has to be put right before the file can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; none where something is missing from it.
    pub line: Option<usize>,
    /// The key in question, with its tables: `limits.deadline-ms`; empty where the file is no TOML.
    pub key: String,
    /// What is wrong and what was expected, with the key.
    pub what: String,
}

impl Problem {
    /// Returns the problem with its place, as compilers print it: `handlers/x/handler.toml:12: unknown key …`.
    pub fn at(&self, file: &Path) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: {}", file.display(), self.what),
            None => format!("{}: {}", file.display(), self.what),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// Problems on their way to the reader of the report: each with its offset, put in order at the end.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<(Option<usize>, Problem)>,
}

impl Problems {
    /// Notes a problem at a byte of the text; `None` is for what is not in the text.
    pub(crate) fn add(
        &mut self,
        text: &str,
        offset: Option<usize>,
        key: &str,
        what: impl Into<String>,
    ) {
        let line = offset.map(|offset| line_of(text, offset));
        self.found.push((
            offset,
            Problem {
                line,
                key: key.to_owned(),
                what: what.into(),
            },
        ));
    }

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the problems in the order of the file, what is missing last.
    pub(crate) fn in_order(mut self) -> Vec<Problem> {
        self.found
            .sort_by_key(|(offset, _)| offset.unwrap_or(usize::MAX));
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// Returns the line of a byte, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

/// Two names this many edits apart are taken for the same word.
const EDITS_MAX: usize = 2;
/// From here on two longer words are taken for relatives, as "retires" and "retry" are.
const LIKENESS_MIN: f64 = 0.84;

/// Returns the only name of which `wrong` differs by a letter.
pub(crate) fn slip<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_slip = |name: &&str| strsim::damerau_levenshtein(wrong, name) == 1;
    let mut slips = names.into_iter().filter(is_slip);
    slips.next().filter(|_| slips.next().is_none())
}

/// Returns the name that `wrong` was probably meant to be.
pub(crate) fn closest<'a>(
    wrong: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('_', "-");
    let ranked = names.into_iter().filter_map(|name| {
        let edits = strsim::damerau_levenshtein(&wrong, &name.to_lowercase().replace('_', "-"));
        let likeness = strsim::jaro_winkler(&wrong, name);
        // Two edits make any two letters out of two others.
        let near = edits <= EDITS_MAX && edits * 2 <= name.len().max(2);
        (near || likeness >= LIKENESS_MIN).then_some((
            !near,
            if near { edits } else { 0 },
            likeness,
            name,
        ))
    });
    let better = |a: &(bool, usize, f64, &str), b: &(bool, usize, f64, &str)| {
        a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(b.2.total_cmp(&a.2))
    };
    ranked.min_by(better).map(|(_, _, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_printed_with_its_file_and_line() {
        let mut problems = Problems::default();
        problems.add("a\nb", None, "topics", "topics: missing");
        problems.add("a\nb", Some(2), "b", "unknown key \"b\"");
        problems.add("a\nb", Some(0), "a", "unknown key \"a\"");
        assert!(!problems.is_empty());
        let problems = problems.in_order();
        let file = Path::new("handlers/x/handler.toml");
        let lines: Vec<String> = problems.iter().map(|problem| problem.at(file)).collect();
        assert_eq!(
            lines,
            [
                "handlers/x/handler.toml:1: unknown key \"a\"",
                "handlers/x/handler.toml:2: unknown key \"b\"",
                "handlers/x/handler.toml: topics: missing",
            ]
        );
        assert_eq!(problems[1].to_string(), "2: unknown key \"b\"");
        assert_eq!(problems[2].to_string(), "topics: missing");
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["topics", "retry", "group", "dead-letter-topic", "linger.ms"];
        assert_eq!(closest("topic", names), Some("topics"));
        assert_eq!(closest("retires", names), Some("retry"));
        assert_eq!(
            closest("Dead_Letter_Topic", names),
            Some("dead-letter-topic")
        );
        assert_eq!(closest("linger", names), Some("linger.ms"));
        assert_eq!(closest("colour", names), None);
        assert_eq!(closest("", names), None);
    }
}
