//! Where the head of a request ends.
//!
//! Handed the bytes of a connection piece by piece, says when the empty line behind the head was among them.
//! **Invariant:** how the bytes are cut into pieces makes no difference, and empty lines before the head are none of it.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Whether the line has anything in it so far.
    in_line: bool,
    /// Whether there was a line before it.
    has_lines: bool,
    is_whole: bool,
}

impl Head {
    /// Takes further bytes; returns whether the head was whole by then.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' if self.in_line => {
                    self.has_lines = true;
                    self.in_line = false;
                }
                b'\n' => self.is_whole |= self.has_lines,
                _ => self.in_line = true,
            }
            if self.is_whole {
                break;
            }
        }
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the module says, of all bytes at once.
    fn naive(text: &str) -> bool {
        let text = text.replace('\r', "");
        text.trim_start_matches('\n').contains("\n\n")
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (text, is_whole) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\n\n", true),
            ("\r\nGET / HTTP/1.1\r\n", false),
            ("\r\n\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(Head::default().take(text.as_bytes()), is_whole, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(pieces in prop::collection::vec("[a\r\n]{0,4}", 0..8)) {
            let mut head = Head::default();
            let mut text = String::new();
            for piece in &pieces {
                text += piece;
                prop_assert_eq!(head.take(piece.as_bytes()), naive(&text), "{:?}", text);
            }
        }
    }
}
