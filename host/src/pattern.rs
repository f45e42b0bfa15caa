//! Patterns of topic names: globs and regular expressions.
//!
//! Handed the text of a manifest, gives a pattern that two engines read alike: `regex` in the host and the POSIX
//! extended expressions of librdkafka (or RE2/J in a broker, KIP-848). A regular expression is therefore rewritten
//! into the part that all of them share, over the 65 characters of topic names.
//! **Invariant:** a pattern matches whole names, and never one that begins with `__`.

mod posix;

use self::posix::push_literal;
use crate::ids::TopicName;

/// The characters of topic names, in the order of ASCII.
const TOPIC_CHARS: &str = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
/// Characters that a pattern may have.
const SOURCE_CHARS_MAX: usize = 1000;
/// Bytes of a compiled pattern, so that no handler's `((a{200}){200})` costs the host its memory.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("the pattern is empty")]
    Empty,
    /// The text is over-long, or what it stands for is.
    #[error("the pattern is too large")]
    TooLarge,
    /// A glob has a character that neither a topic nor a glob may have.
    #[error("the character {0:?} is not allowed, only those of topic names, '*' and '?'")]
    Character(char),
    /// The text is no regular expression; holds the reason of the `regex` crate.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// The expression asks for something that Kafka's clients and brokers cannot do.
    #[error("{0} cannot be used in a pattern of topics")]
    Unsupported(&'static str),
    /// The expression can match no topic name at all.
    #[error("the pattern matches no topic name")]
    MatchesNothing,
}

/// A pattern of topic names; equal where text and meaning are.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    source: String,
    regex: regex::Regex,
    except: Option<TopicName>,
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.kafka_regex() == other.kafka_regex()
            && self.except == other.except
    }
}

impl TopicPattern {
    /// Reads a glob: `*` is any run of characters, `?` is one character.
    pub fn glob(source: &str) -> Result<Self, PatternError> {
        check_length(source)?;
        let mut out = String::from("^");
        for c in source.chars() {
            match c {
                '*' => out.push_str(".*"),
                '?' => out.push('.'),
                c if TOPIC_CHARS.contains(c) => push_literal(&mut out, c),
                c => return Err(PatternError::Character(c)),
            }
        }
        out.push('$');
        Self::compiled(source, &out)
    }

    /// Reads a regular expression, which must match the whole name; anchors at its ends change nothing.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        check_length(source)?;
        let out = posix::rewrite(source)?;
        Self::compiled(source, &format!("^{out}$"))
    }

    /// Leaves out one topic: that of the handler's own dead letters, which it would otherwise read again for ever.
    #[must_use]
    pub fn except(mut self, topic: &TopicName) -> Self {
        self.except = Some(topic.clone());
        self
    }

    /// Puts the pattern behind a prefix, unless all that it matches begins with that anyway.
    ///
    /// # Errors
    /// [`PatternError::TooLarge`].
    pub fn behind(&self, prefix: &str) -> Result<Self, PatternError> {
        if self.literal_prefix().starts_with(prefix) {
            return Ok(self.clone());
        }
        let mut anchored = String::from("^");
        prefix.chars().for_each(|c| push_literal(&mut anchored, c));
        let rest = self.kafka_regex().strip_prefix('^').unwrap_or_default();
        anchored.push_str(rest);
        let is_glob =
            Self::glob(&self.source).is_ok_and(|it| it.kafka_regex() == self.kafka_regex());
        let source = if is_glob {
            format!("{prefix}{}", self.source)
        } else {
            anchored.clone()
        };
        let behind = Self::compiled(&source, &anchored)?;
        Ok(Self {
            except: self.except.clone(),
            ..behind
        })
    }

    fn compiled(source: &str, anchored: &str) -> Result<Self, PatternError> {
        let built = regex::RegexBuilder::new(anchored)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Self {
                source: source.to_owned(),
                regex,
                except: None,
            }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError::TooLarge),
            Err(error) => Err(PatternError::Syntax(error.to_string())),
        }
    }

    /// Returns whether the pattern stands for `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        !TopicName::is_internal(topic)
            && self
                .except
                .as_ref()
                .is_none_or(|except| except.as_str() != topic)
            && self.regex.is_match(topic)
    }

    /// Returns the text as the manifest has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the pattern as librdkafka takes it: an extended POSIX expression from `^` to `$`.
    pub fn kafka_regex(&self) -> &str {
        self.regex.as_str()
    }

    /// Returns characters with which every topic begins that matches; there may be more of them.
    pub fn literal_prefix(&self) -> String {
        literal_prefix(self.kafka_regex())
    }

    /// Returns expressions of what [`Self::kafka_regex`] may match and [`Self::matches`] does not.
    pub fn kafka_ignored(&self) -> Vec<String> {
        let mut ignored = vec!["^__".to_owned()];
        if let Some(topic) = &self.except {
            let mut out = String::from("^");
            topic
                .as_str()
                .chars()
                .for_each(|c| push_literal(&mut out, c));
            out.push('$');
            ignored.push(out);
        }
        ignored
    }
}

/// Reads the plain characters at the beginning of what [`TopicPattern::kafka_regex`] returns.
fn literal_prefix(regex: &str) -> String {
    let mut rest = regex
        .strip_prefix('^')
        .unwrap_or_default()
        .chars()
        .peekable();
    let mut prefix = String::new();
    while let Some(next) = rest.next() {
        let is_escaped = next == '\\';
        match if is_escaped { rest.next() } else { Some(next) } {
            Some(c) if is_escaped || c.is_ascii_alphanumeric() || matches!(c, '_' | '-') => {
                prefix.push(c);
            }
            _ => break,
        }
        // The last one may be there not at all.
        if matches!(rest.peek(), Some('*' | '?' | '{' | '+')) {
            prefix.pop();
            break;
        }
    }
    prefix
}

fn check_length(source: &str) -> Result<(), PatternError> {
    match source.chars().count() {
        0 => Err(PatternError::Empty),
        n if n > SOURCE_CHARS_MAX => Err(PatternError::TooLarge),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn translated(source: &str) -> String {
        TopicPattern::regex(source)
            .unwrap()
            .kafka_regex()
            .to_owned()
    }

    #[test]
    fn a_glob_stands_for_whole_names() {
        let pattern = TopicPattern::glob("or?ers.*-v1").unwrap();
        assert_eq!(pattern.kafka_regex(), r"^or.ers\..*-v1$");
        assert_eq!(pattern.source(), "or?ers.*-v1");
        assert!(pattern.matches("orders.eu-v1"));
        assert!(!pattern.matches("my-orders.eu-v1"));
        assert!(!pattern.matches("ordersXeu-v1"));
    }

    #[test]
    fn no_pattern_matches_topics_of_kafka_itself_or_its_own_dead_letters() {
        let pattern = TopicPattern::glob("*")
            .unwrap()
            .except(&"g.dead-letter".parse().unwrap());
        assert!(pattern.matches("_schemas"));
        assert!(!pattern.matches("__consumer_offsets"));
        assert!(!pattern.matches("g.dead-letter"));
        assert_eq!(pattern.kafka_ignored(), ["^__", r"^g\.dead-letter$"]);
    }

    #[test]
    fn a_regular_expression_is_written_in_the_part_that_all_engines_share() {
        assert_eq!(translated(r"orders\.v\d+"), r"^orders\.v[0-9]+$");
        assert_eq!(
            translated(r"^orders\.\w{2,3}$"),
            r"^orders\.[0-9A-Z_a-z]{2,3}$"
        );
        assert_eq!(translated("a|b[.-]c|"), "^(a|b[.-]c)?$");
        assert_eq!(translated("(?:eu|us)-.*?"), "^(eu|us)-.*$");
        assert_eq!(translated("(?i)ab"), "^[Aa][Bb]$");
        assert_eq!(translated("[^a-z]+x{1,900}"), "^[.0-9A-Z_-]+(x)+$");
        assert_eq!(translated("^a$|^b$"), "^(a|b)$");
        assert_eq!(translated("(ab()|()){3}(/)?"), "^((ab)?){3}$");
    }

    #[test]
    fn what_cannot_be_a_pattern_says_why() {
        let fails = |source: &str| TopicPattern::regex(source).unwrap_err().to_string();
        assert_eq!(fails(""), "the pattern is empty");
        assert_eq!(fails("a("), "not a regular expression: unclosed group");
        assert_eq!(
            fails("a^b"),
            "an anchor in the middle cannot be used in a pattern of topics"
        );
        assert_eq!(
            fails(r"\borders"),
            "a word boundary cannot be used in a pattern of topics"
        );
        assert_eq!(fails("a/b"), "the pattern matches no topic name");
        assert_eq!(fails("^$"), "the pattern matches no topic name");
        assert_eq!(fails("((a{200}){200}){200}"), "the pattern is too large");
        assert_eq!(fails(&"a".repeat(1001)), "the pattern is too large");
        assert_eq!(
            TopicPattern::glob("{a,b}").unwrap_err().to_string(),
            "the character '{' is not allowed, only those of topic names, '*' and '?'"
        );
    }

    #[test]
    fn patterns_are_equal_where_text_and_meaning_are() {
        assert_eq!(
            TopicPattern::glob("a*").unwrap(),
            TopicPattern::glob("a*").unwrap()
        );
        assert_ne!(
            TopicPattern::glob("a*").unwrap(),
            TopicPattern::regex("a*").unwrap()
        );
        let except = TopicPattern::glob("a*")
            .unwrap()
            .except(&"ab".parse().unwrap());
        assert_ne!(TopicPattern::glob("a*").unwrap(), except);
    }

    /// Matches a glob the slow way.
    fn naive_glob(glob: &[u8], name: &[u8]) -> bool {
        match (glob.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=name.len()).any(|n| naive_glob(rest, &name[n..])),
            (Some((b'?', rest)), Some((_, name))) => naive_glob(rest, name),
            (Some((g, rest)), Some((n, name))) => g == n && naive_glob(rest, name),
            _ => false,
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let atom = prop_oneof![
            "[ab._-]",
            Just(r"\.".to_owned()),
            Just(r"\d".to_owned()),
            Just(r"\W".to_owned()),
            Just("[^a]".to_owned()),
            Just("[a-c.]".to_owned()),
            Just("()".to_owned()),
            Just("/".to_owned()),
            Just("^".to_owned()),
            Just("$".to_owned()),
        ];
        atom.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                (inner.clone(), "[*+?]|[{]2[}]|[{]0,2[}]|[*][?]")
                    .prop_map(|(e, count)| format!("(?:{e}){count}")),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner, 1..4)
                    .prop_map(|parts| format!("({})", parts.join("|"))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_the_naive_matcher_does(glob in "[ab.*?]{1,6}", name in "[ab.]{1,6}") {
            let pattern = TopicPattern::glob(&glob).unwrap();
            prop_assert_eq!(pattern.matches(&name), naive_glob(glob.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_translated_expression_matches_as_its_source_does(source in expression(), names in prop::collection::vec("[abc1._-]{1,5}", 20)) {
            let Ok(plain) = regex::Regex::new(&format!("^(?:{source})$")) else { return Ok(()) };
            let pattern = TopicPattern::regex(&source);
            for name in names.iter().filter(|name| !name.starts_with("__")) {
                match &pattern {
                    Ok(pattern) => prop_assert_eq!(pattern.matches(name), plain.is_match(name), "{} as {}", name, pattern.kafka_regex()),
                    Err(PatternError::MatchesNothing) => prop_assert!(!plain.is_match(name)),
                    Err(PatternError::Unsupported(_)) => {}
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }

        #[test]
        fn no_text_makes_a_pattern_panic(source in any::<String>()) {
            let _ = TopicPattern::regex(&source);
            let _ = TopicPattern::glob(&source);
        }
    }
}
