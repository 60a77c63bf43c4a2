//! What stands in front of a guarded first block, so that glibc gets nowhere with it unseen.
//!
//! A pointer to `free` that the program kept from before we rewrote its slots (a static constructor's, one
//! from before `start`) leads past us, and glibc would abort over a block that is not its own. So the word in
//! front of the block says what glibc writes for a block of one of its arenas for threads. For such a one
//! glibc first reads whose it is, at the multiple of 64 MiB below. There the first page of our places
//! lies, which is closed: before glibc has changed anything, we are asked, and put a block of its own in
//! the place of ours ([`Disguise::replace`]).

#![expect(unsafe_code, reason = "writes in front of blocks of its own")]

use super::size_word::{self, FLAG_BITS};
use crate::memory::Address;

/// What the heaps of glibc's arenas for threads begin at multiples of.
pub const WINDOW_BYTE_COUNT: usize = 64 << 20;
/// The size of a chunk that the word says. Larger than any guarded block's, and than what glibc keeps in a
/// thread's cache without asking whose it is.
const CHUNK_BYTE_COUNT: usize = 0x1_1000;
const _: () = assert!(CHUNK_BYTE_COUNT > super::guard::GUARDED_BYTE_MAX + HEADER_BYTE_COUNT);
/// Bytes of glibc's in front of a block.
pub const HEADER_BYTE_COUNT: usize = 16;
const WORD_BYTE_COUNT: usize = size_of::<usize>();

const PREVIOUS_IN_USE: usize = 1;
const MAPPED: usize = 2;
const OF_A_THREADS_ARENA: usize = 4;
const WORD: usize = CHUNK_BYTE_COUNT | OF_A_THREADS_ARENA | PREVIOUS_IN_USE;

/// Writes the word in front of a block.
///
/// # Safety
/// * The page in front of the block's first byte is the block's own, open, and nobody else knows it.
pub unsafe fn put_on(block: Address) {
    let place = size_word::place(block).get();
    let place = std::ptr::with_exposed_provenance_mut::<usize>(place);
    // SAFETY: the caller's duties; a block is aligned to 16 bytes.
    unsafe { place.write(WORD) };
}

/// The bytes of the word, when it is what `bytes` in front of a block end with, damaged or not; they may
/// end with `pattern` instead.
#[must_use]
pub fn worn_by(bytes: &[u8], pattern: u8) -> Option<[u8; WORD_BYTE_COUNT]> {
    let last = bytes.last_chunk::<WORD_BYTE_COUNT>()?;
    let word = WORD.to_ne_bytes();
    let of_word = last
        .iter()
        .zip(word)
        .filter(|(byte, of_word)| **byte == *of_word);
    let of_pattern = last.iter().filter(|byte| **byte == pattern);
    (of_word.count() >= of_pattern.count()).then_some(word)
}

/// Bytes to ask glibc for, to get a block of the size that the word says.
pub const SUBSTITUTE_BYTE_COUNT: usize = CHUNK_BYTE_COUNT - WORD_BYTE_COUNT;

/// What glibc is to go on with instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Substitute {
    /// A block of glibc's, which nobody else knows.
    pub block: usize,
    /// The word in front of it.
    pub word: usize,
    /// Where it is written which arena it belongs to, when that is the main one; zero when not known.
    pub main_arena_note: usize,
}

impl Substitute {
    /// Whether the block is of the size that the word says, as glibc has read it by now.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        let is_of_heap = self.word & MAPPED == 0;
        is_of_heap && self.word & !FLAG_BITS == CHUNK_BYTE_COUNT && self.arena_note() != 0
    }

    fn arena_note(&self) -> usize {
        if self.word & OF_A_THREADS_ARENA == 0 {
            self.main_arena_note
        } else {
            (self.block - HEADER_BYTE_COUNT) & !(WINDOW_BYTE_COUNT - 1)
        }
    }

    /// Has the registers name this block instead of `block`, and where its arena is written instead of
    /// `window`; `false`, and nothing is changed, when no register names the window.
    pub fn replace(&self, registers: &mut [i64], block: usize, window: usize) -> bool {
        let changes = [
            (window, self.arena_note()),
            (block, self.block),
            (block - HEADER_BYTE_COUNT, self.block - HEADER_BYTE_COUNT),
            (WORD, self.word),
        ];
        if !registers.iter().any(|&register| names(register, window)) {
            return false;
        }
        for register in registers {
            let change = changes.iter().find(|(from, _)| names(*register, *from));
            if let Some(to) = change.and_then(|(_, to)| i64::try_from(*to).ok()) {
                *register = to;
            }
        }
        true
    }
}

/// The block that glibc was given, of those that `is_live`: a register names its chunk, which nobody but glibc
/// does. `None` when that is not certain.
#[must_use]
pub fn given(registers: &[i64], is_live: impl Fn(usize) -> bool) -> Option<usize> {
    let block = |register: &i64| {
        usize::try_from(*register)
            .ok()?
            .checked_add(HEADER_BYTE_COUNT)
    };
    let mut blocks = registers
        .iter()
        .filter_map(block)
        .filter(|&block| is_live(block));
    let first = blocks.next()?;
    blocks.all(|other| other == first).then_some(first)
}

fn names(register: i64, address: usize) -> bool {
    usize::try_from(register) == Ok(address)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const WINDOW: usize = 0x7f00_0400_0000;
    const BLOCK: usize = WINDOW + 0x5fd0;

    fn as_register(word: usize) -> i64 {
        i64::try_from(word).expect("an address")
    }

    #[test]
    fn the_block_whose_chunk_a_register_names_was_given() {
        let is_live = |block| block == BLOCK || block == BLOCK + 0x2000;
        let registers = [1, as_register(BLOCK + 0x2000), as_register(BLOCK - 16), -1];
        assert_eq!(given(&registers, is_live), Some(BLOCK));
        assert_eq!(given(&registers[..2], is_live), None, "only a block");
        let two = [as_register(BLOCK - 16), as_register(BLOCK + 0x2000 - 16)];
        assert_eq!(given(&two, is_live), None);
    }

    #[test]
    fn registers_name_the_substitute_and_its_arena_afterwards() {
        let substitute = Substitute {
            block: 0x5555_0000_1010,
            word: CHUNK_BYTE_COUNT | PREVIOUS_IN_USE,
            main_arena_note: 0x1234,
        };
        assert!(substitute.is_alike());
        let mut registers = [BLOCK, BLOCK - 16, 7, WINDOW, WORD].map(as_register);
        assert!(substitute.replace(&mut registers, BLOCK, WINDOW));
        let now = [0x5555_0000_1010, 0x5555_0000_1000, 7, 0x1234, 0x1_1001];
        assert_eq!(registers, now.map(as_register));
        let mut others = [BLOCK, 5].map(as_register);
        assert!(!substitute.replace(&mut others, BLOCK, WINDOW));
        assert_eq!(others, [BLOCK, 5].map(as_register));
        let of_a_thread = Substitute {
            block: WINDOW + 0x1010,
            word: WORD,
            main_arena_note: 0,
        };
        assert_eq!(of_a_thread.arena_note(), WINDOW);
        assert!(
            !Substitute {
                word: WORD | MAPPED,
                ..of_a_thread
            }
            .is_alike()
        );
    }

    #[test]
    fn the_word_is_known_when_it_is_damaged() {
        let mut bytes = [0xbb; 24];
        assert_eq!(worn_by(&bytes, 0xbb), None);
        bytes[20..].fill(1);
        assert_eq!(worn_by(&bytes, 0xbb), None);
        bytes[16..].copy_from_slice(&WORD.to_ne_bytes());
        assert_eq!(worn_by(&bytes, 0xbb), Some(WORD.to_ne_bytes()));
        bytes[20..].fill(1);
        assert_eq!(worn_by(&bytes, 0xbb), Some(WORD.to_ne_bytes()));
        assert_eq!(worn_by(&bytes[..4], 0xbb), None);
    }
}
