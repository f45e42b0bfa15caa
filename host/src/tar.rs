//! The files of a handler in one piece: a tar archive without folders.
//!
//! Handed the bytes of an archive, gives its files by name; and the other way round. It takes what `tar` of GNU and BSD make
//! of a flat folder, and refuses all that is more than that: folders, links, devices, names that mean another place.
//! **Invariant:** a name that comes out of here is the name of one file in any folder; no archive makes it allocate more than
//! it has bytes.

use std::collections::BTreeMap;

/// Everything in an archive is a multiple of so many bytes.
const BLOCK: usize = 512;
/// Files of a handler.
const FILES_MAX: usize = 100;
/// Bytes of a name; the format has no more.
const NAME_MAX: usize = 100;
/// Where the fields of a header lie.
const SIZE: std::ops::Range<usize> = 124..136;
const SUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// Why bytes are no archive of a handler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// It is compressed.
    #[error("it is compressed (make it without: tar -cf, not tar -czf)")]
    Compressed,
    /// It does not have the form of an archive.
    #[error("it is no tar archive, or a damaged one (at byte {0})")]
    Damaged(usize),
    /// The end is missing.
    #[error("it is cut off: its end is missing")]
    CutOff,
    /// Something else than a file.
    #[error("{0:?} is no plain file, and a handler has nothing else in its folder")]
    NoFile(String),
    /// A name that no file of a handler has.
    #[error(
        "{0:?} is no name for a file of a handler (ASCII letters, digits, '.', '_' and '-', at most 100, none of them hidden)"
    )]
    Name(String),
    /// The same name twice.
    #[error("{0:?} is in it twice")]
    Twice(String),
    /// Too many files.
    #[error("it has more than {FILES_MAX} files")]
    TooMany,
    /// No file at all.
    #[error("there is no file in it")]
    Empty,
}

/// Reads an archive.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, TarError> {
    if bytes.starts_with(&[0x1f, 0x8b])
        || bytes.starts_with(b"BZh")
        || bytes.starts_with(&[0xfd, b'7', b'z'])
    {
        return Err(TarError::Compressed);
    }
    let (mut files, mut at) = (BTreeMap::new(), 0);
    loop {
        let header = bytes.get(at..at + BLOCK).ok_or(TarError::CutOff)?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::read(header).ok_or(TarError::Damaged(at))?;
        let content = at + BLOCK;
        let end = content
            .checked_add(header.size)
            .ok_or(TarError::Damaged(at))?;
        let content = bytes.get(content..end).ok_or(TarError::CutOff)?;
        at = end.next_multiple_of(BLOCK);
        match header.kind {
            b'0' | 0 => {
                if !is_name(&header.name) {
                    return Err(TarError::Name(header.name));
                }
                if files.insert(header.name.clone(), content).is_some() {
                    return Err(TarError::Twice(header.name));
                }
                if files.len() > FILES_MAX {
                    return Err(TarError::TooMany);
                }
            }
            // The folder itself.
            b'5' if header.name.is_empty() || header.name == "." => {}
            // What other programs have to say of a file; of a time or an owner that is nothing to us.
            b'x' | b'g' if !renames(content) => {}
            _ => return Err(TarError::NoFile(header.name)),
        }
    }
    if files.is_empty() {
        return Err(TarError::Empty);
    }
    Ok(files)
}

/// Makes an archive; the names are those of files of a handler.
pub fn write<B: AsRef<[u8]>>(files: &BTreeMap<String, B>) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        if !is_name(name) {
            return Err(TarError::Name(name.clone()));
        }
        let content = content.as_ref();
        bytes.extend(header(name, content.len()));
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    Ok(bytes)
}

/// Returns whether a text names one file in any folder, and none that is hidden.
pub fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with('.')
        && name.chars().all(is_allowed)
}

/// What stands before each file.
struct Header {
    name: String,
    size: usize,
    kind: u8,
}

impl Header {
    fn read(block: &[u8]) -> Option<Self> {
        let sum: u64 = (0..)
            .zip(block)
            .map(|(at, byte)| u64::from(if SUM.contains(&at) { b' ' } else { *byte }))
            .sum();
        if octal(block.get(SUM)?)? != sum {
            return None;
        }
        let mut name = text(block.get(..NAME_MAX)?);
        // GNU has other things in the place of the rest of a long name.
        if block.get(MAGIC)?.starts_with(b"ustar\0") {
            let prefix = text(block.get(PREFIX)?);
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        // `tar -C folder .` has it before each name.
        let plain = name.strip_prefix("./").unwrap_or(&name);
        Some(Self {
            name: plain.to_owned(),
            size: usize::try_from(octal(block.get(SIZE)?)?).ok()?,
            kind: *block.get(KIND)?,
        })
    }
}

/// Returns whether a block of more words gives the file another name or size than its header does.
fn renames(words: &[u8]) -> bool {
    let words = String::from_utf8_lossy(words);
    [" path=", " size=", " linkpath=", " GNU.sparse"]
        .iter()
        .any(|it| words.contains(it))
}

fn text(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// Reads a number as the format has it: octal digits, with blanks or zeros around them.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(field)
        .ok()?
        .trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() {
        return Some(0);
    }
    let is_octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u64::from_str_radix(digits, 8).ok().filter(|_| is_octal)
}

fn header(name: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(SIZE.start, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(SUM.start, "        ");
    put(KIND, "0");
    put(MAGIC.start, "ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in block.iter_mut().skip(SUM.start).zip(sum.bytes()) {
        *place = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An archive with one entry of this name and kind.
    fn one(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = header(name, content.len());
        bytes[KIND] = kind;
        bytes[SUM].copy_from_slice(b"        ");
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        bytes[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    #[test]
    fn what_is_no_plain_file_of_one_folder_is_refused() {
        let read_one = |name: &str, kind: u8| read(&ended(one(name, kind, b""))).map(|_| ());
        for name in [
            "../x", "/etc/x", "a/b", "..", ".", "", ".hidden", "ü", "a b", "./../x", "././x",
            "a\\b",
        ] {
            assert!(
                matches!(read_one(name, b'0'), Err(TarError::Name(_))),
                "{name}"
            );
        }
        for (name, kind) in [
            ("x", b'1'),
            ("x", b'2'),
            ("x", b'3'),
            ("sub/", b'5'),
            ("..", b'5'),
            ("x", b'L'),
            ("x", b'S'),
        ] {
            assert!(
                matches!(read_one(name, kind), Err(TarError::NoFile(_))),
                "{name} {kind}"
            );
        }
    }

    #[test]
    fn what_tar_says_besides_is_passed_over_unless_it_names_another_place() {
        let read_one = |name: &str, kind: u8| read(&ended(one(name, kind, b""))).map(|_| ());
        assert_eq!(read_one("./handler.toml", b'0'), Ok(()));
        assert_eq!(read_one("./", b'5'), Err(TarError::Empty));
        let twice = [one("x", b'0', b"1"), one("./x", b'0', b"2")].concat();
        assert_eq!(read(&ended(twice)), Err(TarError::Twice("x".to_owned())));
        let time = [one("p", b'x', b"30 mtime=1.5\n"), one("x", b'0', b"1")].concat();
        assert_eq!(read(&ended(time)).unwrap()["x"], b"1");
        let path = [one("p", b'x', b"30 path=../../x\n"), one("x", b'0', b"1")].concat();
        assert!(matches!(read(&ended(path)), Err(TarError::NoFile(_))));
    }

    #[test]
    fn bytes_that_are_no_archive_are_told() {
        assert_eq!(read(&[0x1f, 0x8b, 8]), Err(TarError::Compressed));
        assert_eq!(read(b"{}"), Err(TarError::CutOff));
        assert_eq!(read(&[b'a'; 1024]), Err(TarError::Damaged(0)));
        let many: Vec<u8> = (0..=FILES_MAX)
            .flat_map(|it| one(&format!("f{it}"), b'0', b""))
            .collect();
        assert_eq!(read(&ended(many)), Err(TarError::TooMany));
    }

    #[test]
    fn a_size_beyond_the_end_is_no_size() {
        let mut bytes = one("x", b'0', b"");
        bytes[SIZE].copy_from_slice(b"77777777777\0");
        bytes[SUM].copy_from_slice(b"        ");
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        bytes[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&ended(bytes)), Err(TarError::CutOff));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            files in prop::collection::btree_map("[a-z0-9_-][a-z0-9._-]{0,99}", prop::collection::vec(any::<u8>(), 0..1100), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = write(&files).unwrap();
            let found = read(&bytes).unwrap();
            prop_assert_eq!(found.len(), files.len());
            for (name, content) in &files {
                prop_assert_eq!(found[name], content.as_slice());
            }
            // Whatever is cut off before the marks of the end is missed.
            let cut = cut.index(bytes.len() - 2 * BLOCK);
            prop_assert!(read(&bytes[..cut]).is_err());
        }

        #[test]
        fn whatever_is_read_has_good_names_only(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            if let Ok(files) = read(&bytes) {
                prop_assert!(files.keys().all(|name| is_name(name)));
            }
        }
    }
}
