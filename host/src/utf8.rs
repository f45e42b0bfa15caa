//! Files that are to be text.
//!
//! Handed their bytes; gives the text, or says where it is none and what to do.

use std::path::Path;

/// Returns the text of a file. The error names file, line and remedy.
pub(crate) fn text_of(bytes: Vec<u8>, path: &Path) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = bytes.get(..at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let byte = bytes.get(at).copied().unwrap_or_default();
        format!(
            "{}:{line}: cannot be read: byte {at} (0x{byte:02x}) is not UTF-8 (save the file as UTF-8: iconv -f latin1 -t utf-8)",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let text = |bytes: &[u8]| text_of(bytes.to_vec(), Path::new("handler.toml"));
        assert_eq!(
            text("topics = [\"é\"]".as_bytes()).unwrap(),
            "topics = [\"é\"]"
        );
        let told = text(b"topics = []\n# caf\xe9\n").unwrap_err();
        assert_eq!(
            told,
            "handler.toml:2: cannot be read: byte 17 (0xe9) is not UTF-8 (save the file as UTF-8: iconv -f latin1 -t utf-8)"
        );
        // Cut off within a character.
        assert!(text(b"\xc3").unwrap_err().contains(":1: "));
    }
}
