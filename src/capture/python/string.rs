//! From the inside of a Python string to UTF-8: PEP 393's three widths.

use crate::capture::text_table::TEXT_BYTE_MAX;

/// Room for one character more than a text may have, so that the text table sees, and counts, a
/// text that is too long.
const BUFFER_BYTE_COUNT: usize = TEXT_BYTE_MAX + size_of::<char>();

/// A text being copied out of the interpreter; lives on the thread's own stack.
#[derive(Debug)]
pub(super) struct TextBuffer {
    bytes: [u8; BUFFER_BYTE_COUNT],
    length: usize,
}

impl TextBuffer {
    /// What has been copied.
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// A copy of these characters, as many as fit whole. Half of a surrogate pair, which stands for
    /// an undecodable byte of a file name, becomes U+FFFD.
    pub(super) fn of(characters: impl Iterator<Item = u32>) -> Self {
        let mut copy = Self {
            bytes: [0; BUFFER_BYTE_COUNT],
            length: 0,
        };
        for character in characters {
            let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
            match copy.bytes.get_mut(copy.length..) {
                Some(rest) if rest.len() >= character.len_utf8() => {
                    copy.length += character.encode_utf8(rest).len();
                }
                _ => break,
            }
        }
        copy
    }
}

/// The characters of a string's data, `width` bytes each.
pub(super) fn characters(data: &[u8], width: usize) -> impl Iterator<Item = u32> + '_ {
    data.chunks_exact(width).map(|unit| {
        let mut bytes = [0; size_of::<u32>()];
        for (place, byte) in bytes.iter_mut().zip(unit) {
            *place = *byte;
        }
        u32::from_le_bytes(bytes)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn copied(data: &[u8], width: usize) -> Vec<u8> {
        TextBuffer::of(characters(data, width)).text().to_vec()
    }

    #[test]
    fn every_width_becomes_utf8() {
        assert_eq!(copied(b"abc", 1), b"abc");
        assert_eq!(copied(&[0xe9], 1), "é".as_bytes());
        assert_eq!(copied(&[0x22, 0x6f, 0x57, 0x5b], 2), "漢字".as_bytes());
        assert_eq!(copied(&[0x00, 0xf6, 0x01, 0x00], 4), "😀".as_bytes());
        assert_eq!(copied(&[], 1), b"");
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        assert_eq!(copied(&[0x80, 0xdc], 2), "\u{fffd}".as_bytes());
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut_between_characters() {
        let data: Vec<u8> = [0x22, 0x6f].repeat(TEXT_BYTE_MAX);
        let text = copied(&data, 2);
        assert!(text.len() > TEXT_BYTE_MAX);
        assert!(std::str::from_utf8(&text).is_ok());
    }
}
