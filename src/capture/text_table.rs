//! Copies of names: files, functions, libraries.
//!
//! A report never reads the program's memory, so it can be written after the interpreter has been
//! finalised and its strings are gone.

use super::intern_table::InternTable;
use crate::memory::sync::{AtomicU64, Ordering};

/// How many different texts are kept.
#[cfg(not(test))]
const TEXT_COUNT_MAX: usize = 1 << 17;
#[cfg(test)]
const TEXT_COUNT_MAX: usize = 200;

/// Longer texts are cut here: half of Linux's longest path, more than any readable name.
#[cfg(not(test))]
pub(super) const TEXT_BYTE_MAX: usize = 2_048;
#[cfg(test)]
pub(super) const TEXT_BYTE_MAX: usize = 128;

/// The number of a stored text. Zero: no text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct TextId(pub(super) u32);

impl TextId {
    /// The empty text, and every text that could not be stored.
    pub(super) const NONE: Self = Self(0);
}

/// The texts.
#[derive(Debug)]
pub(super) struct TextTable {
    records: InternTable,
    cut: AtomicU64,
}

impl TextTable {
    /// An empty table; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            records: InternTable::new(TEXT_COUNT_MAX)?,
            cut: AtomicU64::new(0),
        })
    }

    /// The number of this text, stored now if it was not known.
    pub(super) fn intern(&self, text: &[u8]) -> TextId {
        let kept = cut_to_limit(text);
        if kept.len() < text.len() {
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
        if kept.is_empty() {
            return TextId::NONE;
        }
        self.records
            .intern(&words_of(kept))
            .map_or(TextId::NONE, TextId)
    }

    /// The text, for a report; bytes that are not UTF-8 become U+FFFD.
    pub(super) fn text(&self, text: TextId) -> String {
        let bytes: Vec<u8> = self.bytes(text).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether `whole` begins with the text `prefix`, which is not empty.
    pub(super) fn is_prefix(&self, prefix: TextId, whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        prefix != TextId::NONE && self.bytes(prefix).all(|byte| rest.next() == Some(&byte))
    }

    /// How many texts were longer than the limit.
    pub(super) fn cut_count(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// The table of records, for its counters.
    pub(super) fn records(&self) -> &InternTable {
        &self.records
    }

    fn bytes(&self, text: TextId) -> impl Iterator<Item = u8> + '_ {
        let mut words = self.records.record(text.0);
        let length = words.next().unwrap_or(0) as usize;
        words.flat_map(u32::to_le_bytes).take(length)
    }
}

/// As much of the text as may be kept, ending where a UTF-8 character ends.
fn cut_to_limit(text: &[u8]) -> &[u8] {
    if text.len() <= TEXT_BYTE_MAX {
        return text;
    }
    let is_character_start = |&end: &usize| text.get(end).is_some_and(|byte| byte & 0xC0 != 0x80);
    let end = (TEXT_BYTE_MAX - 3..=TEXT_BYTE_MAX)
        .rev()
        .find(is_character_start);
    text.get(..end.unwrap_or(TEXT_BYTE_MAX)).unwrap_or_default()
}

/// The length in bytes, then the bytes, four to a word, padded with zeroes.
fn words_of(text: &[u8]) -> impl Iterator<Item = u32> + Clone + '_ {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let words = text.chunks(size_of::<u32>()).map(|chunk| {
        let mut bytes = [0; size_of::<u32>()];
        for (place, byte) in bytes.iter_mut().zip(chunk) {
            *place = *byte;
        }
        u32::from_le_bytes(bytes)
    });
    std::iter::once(length).chain(words)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_went_in() {
        let table = TextTable::new().expect("pages");
        for text in ["a", "four", "fünf5", "/nowhere/файл_漢字.py", "nul\0inside"] {
            let id = table.intern(text.as_bytes());
            assert_eq!(table.text(id), text);
            assert_eq!(table.intern(text.as_bytes()), id);
        }
        assert_eq!(table.intern(b""), TextId::NONE);
        assert_eq!(table.text(TextId::NONE), "");
        assert_ne!(
            table.intern(b"ab"),
            table.intern(b"ab\0"),
            "padding is not content"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_counted() {
        let table = TextTable::new().expect("pages");
        let long = [b'x'; TEXT_BYTE_MAX + 1];
        let id = table.intern(&long);
        assert_eq!(table.text(id).len(), TEXT_BYTE_MAX);
        assert_eq!(table.cut_count(), 1);
        assert_eq!(table.intern(&long[1..]), id);
        assert_eq!(table.cut_count(), 1, "this one fits");
        let euros = "€".repeat(TEXT_BYTE_MAX);
        assert!(
            euros.starts_with(&table.text(table.intern(euros.as_bytes()))),
            "whole characters"
        );
    }

    #[test]
    fn a_prefix_is_recognised() {
        let table = TextTable::new().expect("pages");
        let prefix = table.intern(b"/site/heapledger/");
        assert!(table.is_prefix(prefix, b"/site/heapledger/blocks.py"));
        assert!(!table.is_prefix(prefix, b"/site/heapledger"));
        assert!(!table.is_prefix(prefix, b"/other/heapledger/blocks.py"));
        assert!(!table.is_prefix(TextId::NONE, b"anything"));
    }
}
