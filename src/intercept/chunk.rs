//! What glibc wrote in front of a block: enough to tell an ordinary pointer from one that `free`
//! would choke on, and a block in use from one that glibc has back.
//!
//! The word before a block holds its chunk's size and three flags. The pure functions below judge
//! copies of such words; what reads them is at the end.

#![expect(unsafe_code, reason = "reads glibc's words around a block")]

use crate::memory::Address;
use crate::memory::peek::{Answer, ask, peek, word_at};
use crate::tracker::allocate::margin_max;
use crate::tracker::thread_cache;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The previous chunk is in use.
const PREVIOUS_IN_USE: usize = 1;
/// No chunk is so large: user space ends here.
const BYTE_END: usize = 1 << 47;
/// The chunk is a mapping of its own.
const IS_MAPPED: usize = 2;
/// The chunk lies in an arena other than the main one.
const NOT_MAIN_ARENA: usize = 4;
const FLAGS: usize = 7;

/// Bytes of the smallest chunk, and what every size is a multiple of.
const CHUNK_BYTE_MIN: usize = 32;
const GRAIN: usize = 16;
/// Bytes of an arena's part that lies together.
const ARENA_BYTES: usize = 64 << 20;
/// How much of the main arena is noted at a time.
const MAIN_ARENA_LOOK_BYTES: usize = 64 << 20;
/// Bytes between a chunk's start and the block.
const HEADER_BYTES: usize = 16;
const PAGE: usize = super::page_kinds::PAGE;
const ADDRESS_BIT_COUNT: u32 = 47;

/// The words in front of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// The size of the previous chunk, when that is free; for a mapping the bytes before the chunk.
    pub(super) previous: usize,
    /// The size of this chunk, with its flags.
    pub(super) size: usize,
}

impl Header {
    /// The chunk's size without its flags.
    pub(super) fn byte_count(self) -> usize {
        self.size & !FLAGS
    }

    fn is_mapped(self) -> bool {
        self.size & IS_MAPPED != 0
    }

    /// Whether glibc could have written this in front of `block`. `main_end` is where the main
    /// arena ends.
    pub(super) fn is_plausible(self, block: usize, main_end: usize) -> bool {
        let bytes = self.byte_count();
        let chunk = block.wrapping_sub(HEADER_BYTES);
        if self.size & (GRAIN - 1) & !FLAGS != 0 || bytes < CHUNK_BYTE_MIN {
            return false;
        }
        if self.is_mapped() {
            let start = chunk.wrapping_sub(self.previous);
            let whole = self.previous.wrapping_add(bytes);
            // From 2.43 on the size ends a header before the mapping does, as if a chunk came next.
            let ends_at_page =
                whole.is_multiple_of(PAGE) || whole.wrapping_add(HEADER_BYTES).is_multiple_of(PAGE);
            return start.is_multiple_of(PAGE) && ends_at_page;
        }
        if self.size & NOT_MAIN_ARENA != 0 {
            return bytes <= ARENA_BYTES;
        }
        // The last chunk of the arena is what is left of it, never a block.
        bytes < main_end.saturating_sub(chunk)
    }

    /// Whether glibc cannot have written this in front of `block`, wherever its arenas lie: `free`
    /// would stop the process over it.
    pub(super) fn is_impossible(self, block: usize, main_end: usize) -> bool {
        let bytes = self.byte_count();
        if self.size & (GRAIN - 1) & !FLAGS != 0 || bytes < CHUNK_BYTE_MIN {
            return true;
        }
        // A main arena that met an obstacle goes on in mappings above its end.
        let is_in_main = block < main_end && main_end - block <= MAIN_ARENA_LOOK_BYTES;
        let is_lenient = !self.is_mapped() && self.size & NOT_MAIN_ARENA == 0 && !is_in_main;
        bytes >> ADDRESS_BIT_COUNT != 0 || (!is_lenient && !self.is_plausible(block, main_end))
    }
}

/// Where the main arena ends: glibc keeps it in a variable, so asking costs no system call.
fn main_arena_end() -> usize {
    // SAFETY: an increment of zero changes nothing.
    let end = unsafe { libc::sbrk(0) }.addr();
    SEEN_END.store(end, Ordering::Relaxed);
    end
}

/// Where the main arena ended when somebody asked. It may end elsewhere now, mostly farther.
static SEEN_END: AtomicUsize = AtomicUsize::new(0);

/// The end of the main arena, when `block` lies in it: everything from the block to there is the
/// arena's.
pub(super) fn main_arena_rest(block: usize) -> Option<usize> {
    let end = main_arena_end();
    // The arena grows upwards from the end of the program; mappings lie far above it.
    (block < end && end - block <= MAIN_ARENA_LOOK_BYTES).then_some(end)
}

/// The words in front of `block`.
///
/// # Safety
/// * `block` is a multiple of 16, and the 16 bytes before it are mapped.
#[inline]
pub(super) unsafe fn header(block: usize) -> Header {
    let words = std::ptr::with_exposed_provenance::<[usize; 2]>(block - HEADER_BYTES);
    // SAFETY: the caller's duties; volatile, because glibc may write them on another thread.
    let [previous, size] = unsafe { words.read_volatile() };
    Header { previous, size }
}

/// Whether the words around `block` are those of a chunk in use: what `free` expects.
///
/// # Safety
/// * As for [`header`].
#[inline]
pub(super) unsafe fn looks_ordinary(block: usize) -> bool {
    // SAFETY: the caller's duties.
    let header = unsafe { header(block) };
    let seen_end = SEEN_END.load(Ordering::Relaxed);
    if !header.is_plausible(block, seen_end) && !header.is_plausible(block, main_arena_end()) {
        return false;
    }
    if header.is_mapped() {
        return true;
    }
    // In use means that the next chunk says so. Where that lies on another page it is not looked
    // at: nothing is known of that page.
    let next = block - HEADER_BYTES + header.byte_count();
    if next / PAGE != block / PAGE || next % PAGE > PAGE - HEADER_BYTES {
        return true;
    }
    // SAFETY: on the page of `block`, which the caller knows to be mapped.
    let next = unsafe { self::header(next + HEADER_BYTES) };
    next.size & PREVIOUS_IN_USE != 0 && (HEADER_BYTES..BYTE_END).contains(&next.byte_count())
}

/// Where the block of the next chunk begins, by the words in front of `block`.
///
/// # Safety
/// * As for [`header`].
pub(super) unsafe fn next_block(block: usize) -> usize {
    // SAFETY: the caller's duties.
    block.wrapping_add(unsafe { header(block) }.byte_count())
}

/// Whether the words in front of `block` cannot be a chunk's.
///
/// # Safety
/// * As for [`header`].
pub(super) unsafe fn is_impossible(block: usize) -> bool {
    // SAFETY: the caller's duties.
    unsafe { header(block) }.is_impossible(block, main_arena_end())
}

/// What glibc writes into a block that waits in a thread's cache, from 2.34 on one random number for
/// the process; zero while it is not known.
static CACHE_KEY: AtomicUsize = AtomicUsize::new(0);

/// Finds out what glibc writes into released blocks, and where it keeps them. Called once, before slots are rewritten.
pub(super) fn learn_cache_key() {
    thread_cache::learn();
    let (first, second) = (released_key(24), released_key(200));
    let known = first != 0 && first == second;
    CACHE_KEY.store(if known { first } else { 0 }, Ordering::Relaxed);
}

/// The second word of a block of `byte_count` bytes right after its release.
fn released_key(byte_count: usize) -> usize {
    // SAFETY: malloc takes any size.
    let block = unsafe { libc::malloc(byte_count) };
    let place = Address::of(block.cast::<u8>()).offset_by(size_of::<usize>());
    // SAFETY: the block came from malloc a moment ago; null is allowed.
    unsafe { libc::free(block) };
    // Through the kernel: the memory is no longer ours to read.
    word_at(place.get()).unwrap_or(0)
}

/// Whether glibc certainly has the block at `block` back: a chunk in this thread's cache, one that
/// the next chunk calls free, or no chunk at all any more. Reads through the kernel.
pub(super) fn is_certainly_released(block: usize) -> bool {
    let mut words = [0_u8; 32];
    let start = Address::new(block.wrapping_sub(HEADER_BYTES));
    if !block.is_multiple_of(GRAIN) {
        return true;
    }
    match ask(start, &mut words) {
        Answer::Copied => {}
        Answer::Unreadable => return true,
        Answer::Refused => return false,
    }
    let word = |index: usize| {
        words
            .get(index * 8..index * 8 + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, usize::from_ne_bytes)
    };
    let header = Header {
        previous: word(0),
        size: word(1),
    };
    if !header.is_plausible(block, main_arena_end()) {
        return true;
    }
    let key = CACHE_KEY.load(Ordering::Relaxed);
    if key != 0 && word(3) == key && thread_cache::holds(block, header.byte_count()) {
        return true;
    }
    !header.is_mapped() && next_says_in_use(block, header) == Some(false)
}

/// Whether the next chunk calls this one in use; `None` when the kernel does not let us ask.
fn next_says_in_use(block: usize, header: Header) -> Option<bool> {
    let next = Address::new(block - HEADER_BYTES + header.byte_count() + size_of::<usize>());
    let mut size = [0; size_of::<usize>()];
    match ask(next, &mut size) {
        Answer::Copied => Some(usize::from_ne_bytes(size) & PREVIOUS_IN_USE != 0),
        Answer::Unreadable => Some(false),
        Answer::Refused => None,
    }
}

/// Whether the chunk at `block` could be one that was allocated for `byte_count` bytes. When not, the
/// block on record is gone, and the memory was given out again unseen.
pub(super) fn could_have(block: usize, byte_count: usize) -> bool {
    let Some(header) = header_through_kernel(block) else {
        return true;
    };
    let usable = header.byte_count().saturating_sub(size_of::<usize>());
    // A chunk is a little larger than asked for, an aligned one by its alignment, and a mapping up
    // to a page.
    let rounding = if header.is_mapped() {
        2 * PAGE
    } else {
        8 * CHUNK_BYTE_MIN
    };
    let slack = rounding + margin_max(byte_count);
    usable + size_of::<usize>() >= byte_count && usable <= byte_count.saturating_add(slack)
}

/// Whether a block of at most `byte_count` bytes, in use, starts at `place` in the main arena.
pub(super) fn is_small_in_main_arena(place: usize, byte_count: usize) -> bool {
    let Some(header) = header_through_kernel(place) else {
        return false;
    };
    let is_small = header.byte_count() <= byte_count + CHUNK_BYTE_MIN;
    let is_in_main = header.size & (IS_MAPPED | NOT_MAIN_ARENA) == 0;
    is_small
        && is_in_main
        && header.is_plausible(place, main_arena_end())
        && next_says_in_use(place, header) == Some(true)
}

/// Chunks that must follow each other before words are taken for chunks.
const CHAIN_LENGTH: usize = 3;

/// How many of so many bytes at `place` lie in front of the next chunk, where `place` lies in the main
/// arena; all of them where no chunk begins among them.
pub(super) fn bytes_before_next_chunk(place: usize, byte_count: usize) -> usize {
    let Some(end) = main_arena_rest(place) else {
        return byte_count;
    };
    // The first word in front of a block may be the previous block's.
    let first = (place + HEADER_BYTES).next_multiple_of(GRAIN);
    let mut blocks = (first..place + byte_count + GRAIN).step_by(GRAIN);
    let next = blocks.find(|&block| is_chain(block, end));
    next.map_or(byte_count, |block| {
        byte_count.min(block - size_of::<usize>() - place)
    })
}

/// Whether chunks of the main arena follow each other from `block` on.
fn is_chain(mut block: usize, main_end: usize) -> bool {
    for _ in 0..CHAIN_LENGTH {
        let Some(header) = header_through_kernel(block) else {
            return false;
        };
        let bytes = header.byte_count();
        let is_rest = block - HEADER_BYTES + bytes == main_end;
        let is_in_main = header.size & (IS_MAPPED | NOT_MAIN_ARENA) == 0;
        if !is_in_main || !(is_rest || header.is_plausible(block, main_end)) {
            return false;
        }
        if is_rest {
            return true;
        }
        block += bytes;
    }
    true
}

fn header_through_kernel(block: usize) -> Option<Header> {
    let mut words = [0; HEADER_BYTES];
    let start = block.checked_sub(HEADER_BYTES)?;
    if !block.is_multiple_of(GRAIN) || !peek(Address::new(start), &mut words) {
        return None;
    }
    let (previous, size) = words.split_at(size_of::<usize>());
    Some(Header {
        previous: usize::from_ne_bytes(previous.try_into().ok()?),
        size: usize::from_ne_bytes(size.try_into().ok()?),
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const BLOCK: usize = 0x55_0000_1010;
    const MAIN_END: usize = 0x55_0002_0000;

    fn is_plausible(previous: usize, size: usize) -> bool {
        Header { previous, size }.is_plausible(BLOCK, MAIN_END)
    }

    #[test]
    fn sizes_that_glibc_writes_are_plausible() {
        assert!(is_plausible(0, 32 | PREVIOUS_IN_USE));
        assert!(is_plausible(64, 4_096), "the previous chunk is free");
        assert!(is_plausible(0, 4_096 | NOT_MAIN_ARENA));
        assert!(is_plausible(0x1000 - 0x1000, 0x1000 | IS_MAPPED));
        assert!(
            is_plausible(0, 0x22ff0 | IS_MAPPED),
            "a mapping of glibc 2.43"
        );
    }

    #[test]
    fn what_programs_keep_in_memory_is_not() {
        assert!(!is_plausible(0, 0), "zeroes");
        assert!(!is_plausible(0, 16 | PREVIOUS_IN_USE), "too small");
        assert!(!is_plausible(0, 0x41 | 8), "not a multiple");
        assert!(!is_plausible(0, 0x7f12_3456_7890 & !IS_MAPPED), "a pointer");
        assert!(
            !is_plausible(0, usize::try_from(1.5_f64.to_bits()).expect("64 bits")),
            "a float"
        );
        assert!(
            !is_plausible(8, 0x1000 | IS_MAPPED),
            "a mapping is whole pages"
        );
        assert!(!is_plausible(0, 0x1_f000), "beyond the end of the arena");
    }

    #[test]
    fn only_what_free_would_choke_on_is_impossible() {
        let is_impossible =
            |size, block| Header { previous: 0, size }.is_impossible(block, MAIN_END);
        for wrong in [0, 16, 0x48, 0x7878_7878, 0x4343_4343_4343_4343] {
            assert!(is_impossible(wrong, BLOCK), "{wrong:#x}");
        }
        assert!(
            is_impossible(0x1_f000, BLOCK),
            "beyond the end of the arena"
        );
        assert!(
            !is_impossible(0x1_f000, BLOCK + (1 << 40)),
            "a mapping of the main arena's"
        );
        assert!(!is_impossible(64 | PREVIOUS_IN_USE, BLOCK));
    }

    #[test]
    fn a_chunk_is_a_little_larger_than_its_block() {
        for byte_count in [1, 24, 25, 1_000, 500_000] {
            // SAFETY: malloc takes any size.
            let block = unsafe { libc::malloc(byte_count) };
            assert!(could_have(block.addr(), byte_count), "{byte_count}");
            assert!(
                !could_have(block.addr(), byte_count + 10_000),
                "{byte_count}"
            );
            assert!(!could_have(block.addr(), byte_count / 4) || byte_count <= 1_000);
            // SAFETY: malloc gave it above.
            unsafe { libc::free(block) };
        }
    }

    #[test]
    fn small_blocks_of_the_main_arena_are_told_from_other_memory() {
        // SAFETY: malloc takes any size.
        let [small, large] = [100, 2_000].map(|byte_count| unsafe { libc::malloc(byte_count) });
        let is_small = |place| is_small_in_main_arena(place, 512);
        // A thread of the test runner may have another arena.
        let is_in_main = main_arena_rest(small.addr()).is_some();
        assert_eq!(is_small(small.addr()), is_in_main);
        assert!(!is_small(small.addr() + GRAIN), "inside a block");
        assert!(!is_small(large.addr()), "larger");
        let here = [0_u128; 4];
        assert!(!is_small(here.as_ptr().addr() + 32), "on the stack");
        for block in [small, large] {
            // SAFETY: malloc gave it above.
            unsafe { libc::free(block) };
        }
    }

    #[test]
    fn blocks_in_use_look_ordinary_and_released_ones_do_not() {
        learn_cache_key();
        for byte_count in [1, 24, 100, 2_000, 200_000] {
            // The thread's cache keeps seven blocks of a size; a full one would send the block to a
            // bin that marks nothing.
            // SAFETY: malloc takes any size.
            let room = [(); 7].map(|()| unsafe { libc::malloc(byte_count) });
            // SAFETY: malloc takes any size.
            let block = unsafe { libc::malloc(byte_count) };
            // SAFETY: a block in use has its header in front.
            assert!(unsafe { looks_ordinary(block.addr()) }, "{byte_count}");
            assert!(!is_certainly_released(block.addr()), "{byte_count}");
            let address = block.expose_provenance();
            // SAFETY: malloc gave it above.
            unsafe { libc::free(block) };
            assert!(is_certainly_released(address), "{byte_count}");
            for block in room {
                // SAFETY: malloc gave it above.
                unsafe { libc::free(block) };
            }
        }
    }
}
