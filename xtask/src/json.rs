//! The little JSON that the demo needs: write a string, read one field of a line.
//!
//! It is handed lines that programs of this repository wrote, one object each. It is no JSON parser: a
//! crate for that would be built on every machine before anything else.
//! **Invariant:** a field is found by its own nesting level, never inside another field's text.

use std::fmt::Write as _;

/// Returns `text` as a JSON string, with its quotes.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns the field `name` of the object in `line`: a string's text, anything else as it is written.
pub(crate) fn field(line: &str, name: &str) -> Option<String> {
    let mut rest = line.trim().strip_prefix('{')?;
    loop {
        let (key, after) = token(rest)?;
        let (value, after) = token(after.trim_start().strip_prefix(':')?)?;
        if text(key) == name {
            return Some(text(value));
        }
        rest = after.trim_start().strip_prefix(',')?;
    }
}

/// Returns the field `name` as a number.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    field(line, name)?.parse().ok()
}

/// Splits off one value: a string, an object or array with all it holds, or a bare word.
fn token(rest: &str) -> Option<(&str, &str)> {
    let rest = rest.trim_start();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, c) in rest.char_indices() {
        let after = at + c.len_utf8();
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            if !in_string && depth == 0 {
                return rest.split_at_checked(after);
            }
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            '}' | ']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return rest.split_at_checked(after);
                }
            }
            '}' | ']' | ',' | ':' if depth == 0 => return rest.split_at_checked(at),
            _ => {}
        }
    }
    None
}

/// Returns the text that a token stands for.
fn text(token: &str) -> String {
    let token = token.trim();
    let quoted = token
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(quoted) = quoted else {
        return token.to_owned();
    };
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let code: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&code, 16).ok();
                out.push(code.and_then(char::from_u32).unwrap_or('\u{fffd}'));
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{field, number, string};

    #[test]
    fn a_string_is_read_back_as_it_was_written() {
        let text = "a \"quote\", a \\ and\na line\u{1}";
        let line = format!("{{\"v\":{}}}", string(text));
        assert_eq!(field(&line, "v").as_deref(), Some(text));
    }

    #[test]
    fn a_field_is_not_found_inside_another() {
        let line = r#"{"a":{"x":1},"b":["x",2],"c":"\"x\":3", "x" : -4.5e1}"#;
        assert_eq!(number(line, "x"), Some(-45.0));
        assert_eq!(field(line, "a").as_deref(), Some(r#"{"x":1}"#));
        assert_eq!(field(line, "b").as_deref(), Some(r#"["x",2]"#));
        assert_eq!(field(line, "y"), None);
    }

    #[test]
    fn half_a_line_has_no_fields() {
        assert_eq!(field(r#"{"x":"#, "x"), None);
        assert_eq!(field(r#"{"x":"abc"#, "x"), None);
        assert_eq!(field("", "x"), None);
        assert_eq!(field("not json", "x"), None);
    }
}
