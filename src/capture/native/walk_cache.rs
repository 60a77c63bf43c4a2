//! The last walks of each thread: what they began with, what they read, and what came of it.
//!
//! A walk depends on where it begins, on the rules (one load generation) and on the words of the
//! stack that it reads: return addresses and saved frame pointers. Where all of them are as they
//! were, it would end as it did. So a stack seen just before costs a comparison for each word, and
//! the loads do not wait for each other. Only walks on the thread's own stack are remembered, which
//! is mapped from any of its frames to its end.

#![expect(unsafe_code, reason = "reads words of the thread's own stack")]

use super::registers::Registers;
use super::rule::Rule;
use super::unwind::NATIVE_FRAME_COUNT_MAX;
use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::table::Table;
use crate::memory::thread_local::{Word, get};

/// Threads that remember walks; those beyond walk each time.
const THREAD_COUNT_MAX: usize = 1_024;
/// Walks that a thread remembers: places in a loop that allocate or release.
const WALK_COUNT: usize = 16;
/// Words that a remembered walk has read: a full walk's return addresses, and some saved `rbp`.
pub(super) const READ_COUNT_MAX: usize = NATIVE_FRAME_COUNT_MAX + 16;

const HEAD_LENGTH: usize = 10;
const WORDS_PER_WALK: usize = HEAD_LENGTH + 2 * READ_COUNT_MAX;
const _: () = assert!(
    WALK_COUNT.is_power_of_two(),
    "a walk's place is a part of a hash"
);

/// One remembered walk.
type Walk = [AtomicU64; WORDS_PER_WALK];

/// The remembered walks of all threads: pairs, in which a new one displaces the older.
#[derive(Debug)]
pub(super) struct WalkCache {
    words: Table<AtomicU64>,
}

/// What a walk begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// The innermost frame.
    pub(super) registers: Registers,
    /// Load generation and depth.
    pub(super) rules: u64,
    /// Where the foreign call began: part of what a boundary is.
    pub(super) call: usize,
}

/// A word of the stack: where it is, and what it is.
pub(super) type Read = (usize, usize);

/// What a walk depends on, in the order of reading.
///
/// Compilers use `rbp` for anything. So its values count only where a frame is found by them.
#[derive(Debug)]
pub(super) struct Reads {
    words: [Read; READ_COUNT_MAX],
    count: usize,
    frame_pointer: FramePointer,
    needs_first_frame_pointer: bool,
}

/// Where the present value of `rbp` came from.
#[derive(Clone, Copy, Debug)]
enum FramePointer {
    /// The walk began with it.
    Given,
    /// It was read, and nothing depends on it yet.
    Read(Read),
    /// It is noted.
    Noted,
}

impl Reads {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            words: [(0, 0); READ_COUNT_MAX],
            count: 0,
            frame_pointer: FramePointer::Given,
            needs_first_frame_pointer: false,
        }
    }

    /// Notes one step to `caller`, and the words it read.
    pub(super) fn note_step(&mut self, rule: Rule, reads: &[Read], caller: Registers) {
        if rule.needs_frame_pointer() {
            match std::mem::replace(&mut self.frame_pointer, FramePointer::Noted) {
                FramePointer::Given => self.needs_first_frame_pointer = true,
                FramePointer::Read(read) => self.note(read),
                FramePointer::Noted => {}
            }
        }
        for &read in reads {
            if rule.reads_frame_pointer_at(read.0, caller) {
                self.frame_pointer = FramePointer::Read(read);
            } else {
                self.note(read);
            }
        }
    }

    /// Notes a word that the walk depends on; one too many makes it too long to be remembered.
    fn note(&mut self, read: Read) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = read;
        }
        self.count += 1;
    }
}

/// The words in the head of a walk.
#[derive(Clone, Copy)]
enum Field {
    ReturnAddress = 0,
    StackPointer = 1,
    FramePointer = 2,
    Rules = 3,
    Call = 4,
    Key = 5,
    ReadCount = 6,
    StackTop = 7,
    NeedsFramePointer = 8,
}

impl WalkCache {
    /// An empty cache; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        let words = Table::new(THREAD_COUNT_MAX * WALK_COUNT * WORDS_PER_WALK)?;
        Some(Self { words })
    }

    /// The key of the walk that begins so, if it would be the one remembered.
    #[inline]
    pub(super) fn get(&self, beginning: &Beginning) -> Option<u64> {
        let [first, second] = self.places(beginning)?;
        remembered(first, beginning).or_else(|| remembered(second, beginning))
    }

    /// Remembers a walk, unless it was too long or left the thread's own stack.
    pub(super) fn put(&self, beginning: &Beginning, reads: &Reads, key: u64) {
        let Some(words) = reads.words.get(..reads.count) else {
            return;
        };
        let (bottom, top) = (get(Word::StackBottom), get(Word::StackTop));
        let start = beginning.registers.stack_pointer;
        let is_own = |&(place, _): &Read| {
            place >= start && place < top && place.is_multiple_of(size_of::<usize>())
        };
        if start < bottom || start >= top || !words.iter().all(is_own) {
            return;
        }
        if let Some([first, second]) = self.places(beginning) {
            // The newest comes first, and the one before it second.
            for (older, newer) in second.iter().zip(first) {
                older.store(newer.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            fill(first, beginning, reads, key);
        }
    }

    /// Where the calling thread remembers a walk that begins so. Only that thread looks there.
    #[inline]
    fn places(&self, beginning: &Beginning) -> Option<[&Walk; 2]> {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        const PAIR_BITS: u32 = WALK_COUNT.trailing_zeros() - 1;
        let thread = get(Word::Thread).wrapping_sub(1);
        if thread >= THREAD_COUNT_MAX {
            return None;
        }
        let Registers {
            return_address,
            stack_pointer,
            ..
        } = beginning.registers;
        let hash = (return_address as u64 ^ (stack_pointer as u64) << 1).wrapping_mul(MULTIPLIER);
        let pair = usize::try_from(hash >> (u64::BITS - PAIR_BITS)).unwrap_or(0);
        let start = (thread * WALK_COUNT + 2 * pair) * WORDS_PER_WALK;
        let (first, rest) = self.words.get(start..)?.split_first_chunk()?;
        Some([first, rest.first_chunk()?])
    }
}

/// The key of a remembered walk, if the one that begins so would be the same.
#[inline]
fn remembered(walk: &Walk, beginning: &Beginning) -> Option<u64> {
    let field = |field: Field| walk[field as usize].load(Ordering::Relaxed);
    let Registers {
        return_address,
        stack_pointer,
        frame_pointer,
    } = beginning.registers;
    let top = get(Word::StackTop);
    let is_same = field(Field::ReturnAddress) == return_address as u64
        && field(Field::StackPointer) == stack_pointer as u64
        && (field(Field::FramePointer) == frame_pointer as u64
            || field(Field::NeedsFramePointer) == 0)
        && field(Field::Rules) == beginning.rules
        && field(Field::Call) == beginning.call as u64
        && field(Field::StackTop) == top as u64
        && stack_pointer >= get(Word::StackBottom);
    if !is_same {
        return None;
    }
    let count = usize::try_from(field(Field::ReadCount)).ok()?;
    let (reads, _) = walk[HEAD_LENGTH..].as_chunks::<2>();
    let is_unchanged = reads.get(..count)?.iter().all(|read| {
        let place = usize::try_from(read[0].load(Ordering::Relaxed)).unwrap_or(0);
        let place = std::ptr::with_exposed_provenance::<u64>(place);
        // SAFETY: `put` checked that the place, an aligned word, lies above this stack pointer
        // on a stack with this end, which is the calling thread's own: mapped to its end.
        let word = unsafe { place.read_volatile() };
        word == read[1].load(Ordering::Relaxed)
    });
    is_unchanged.then(|| field(Field::Key))
}

fn fill(walk: &Walk, beginning: &Beginning, reads: &Reads, key: u64) {
    let set = |field: Field, value: u64| walk[field as usize].store(value, Ordering::Relaxed);
    let Registers {
        return_address,
        stack_pointer,
        frame_pointer,
    } = beginning.registers;
    set(Field::ReturnAddress, return_address as u64);
    set(Field::StackPointer, stack_pointer as u64);
    set(Field::FramePointer, frame_pointer as u64);
    set(Field::Rules, beginning.rules);
    set(Field::Call, beginning.call as u64);
    set(Field::Key, key);
    set(Field::ReadCount, reads.count as u64);
    let is_needed = u64::from(reads.needs_first_frame_pointer);
    set(Field::NeedsFramePointer, is_needed);
    set(Field::StackTop, get(Word::StackTop) as u64);
    let (places, _) = walk[HEAD_LENGTH..].as_chunks::<2>();
    for (read, &(place, word)) in places.iter().zip(&reads.words) {
        read[0].store(place as u64, Ordering::Relaxed);
        read[1].store(word as u64, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::memory::thread_local::set;

    /// Runs a test as the thread with the last corner, whose stack is `words`.
    fn on_stack(words: &[usize], check: impl FnOnce(usize)) {
        let before =
            [Word::Thread, Word::StackBottom, Word::StackTop].map(|word| (word, get(word)));
        let start = words.as_ptr().expose_provenance();
        set(Word::Thread, THREAD_COUNT_MAX);
        set(Word::StackBottom, start);
        set(Word::StackTop, start + size_of_val(words));
        check(start);
        for (word, value) in before {
            set(word, value);
        }
    }

    fn beginning(stack_pointer: usize) -> Beginning {
        Beginning {
            registers: Registers {
                return_address: 0x1000,
                stack_pointer,
                frame_pointer: 3,
            },
            rules: 4,
            call: 5,
        }
    }

    #[test]
    fn a_walk_is_known_while_what_it_read_is_unchanged() {
        let cache = WalkCache::new().expect("pages");
        let mut stack = [7_usize, 8, 9, 10];
        let mut reads = Reads::new();
        let place = stack.as_ptr().expose_provenance();
        reads.note((place + 8, 8));
        reads.note((place + 24, 10));
        on_stack(&stack, |start| {
            assert_eq!(cache.get(&beginning(start)), None);
            cache.put(&beginning(start), &reads, 99);
            assert_eq!(cache.get(&beginning(start)), Some(99));
            let other_rules = Beginning {
                rules: 6,
                ..beginning(start)
            };
            assert_eq!(cache.get(&other_rules), None);
            assert_eq!(cache.get(&beginning(start + 8)), None);
        });
        std::hint::black_box(&mut stack)[2] = 1;
        on_stack(&stack, |start| {
            assert_eq!(cache.get(&beginning(start)), Some(99), "not one it read");
        });
        std::hint::black_box(&mut stack)[3] = 1;
        on_stack(&stack, |start| {
            assert_eq!(cache.get(&beginning(start)), None);
        });
    }

    #[test]
    fn a_frame_pointer_counts_only_where_a_frame_is_found_by_it() {
        use super::super::rule::{Base, SavedFramePointer};
        let saves = SavedFramePointer::At(-16);
        let by_stack = Rule::usual(Base::StackPointer, 24, saves).expect("small");
        let by_frame = Rule::usual(Base::FramePointer, 16, saves).expect("small");
        let cache = WalkCache::new().expect("pages");
        let stack = [7_usize, 8, 9, 10];
        on_stack(&stack, |start| {
            let caller = |words: usize| Registers {
                stack_pointer: start + words * 8,
                ..Registers::UNKNOWN
            };
            let other = Beginning {
                registers: Registers {
                    frame_pointer: 77,
                    ..beginning(start).registers
                },
                ..beginning(start)
            };
            let mut unneeded = Reads::new();
            unneeded.note_step(by_stack, &[(start + 8, 8), (start + 16, 9)], caller(3));
            assert_eq!(unneeded.count, 1, "the return address");
            cache.put(&beginning(start), &unneeded, 99);
            assert_eq!(cache.get(&other), Some(99));
            let mut needed = Reads::new();
            needed.note_step(by_stack, &[(start, 7), (start + 8, 8)], caller(2));
            needed.note_step(by_frame, &[(start + 24, 10)], caller(4));
            assert_eq!(needed.count, 3, "both return addresses and what was saved");
            let mut first = Reads::new();
            first.note_step(by_frame, &[(start + 8, 8)], caller(2));
            cache.put(&beginning(start), &first, 98);
            assert_eq!(cache.get(&beginning(start)), Some(98));
            assert_eq!(
                cache.get(&other),
                Some(99),
                "not the one that needs another"
            );
        });
    }

    #[test]
    fn what_cannot_be_compared_is_not_remembered() {
        let cache = WalkCache::new().expect("pages");
        let stack = [0_usize; 4];
        on_stack(&stack, |start| {
            let mut outside = Reads::new();
            outside.note((start + size_of_val(&stack), 1));
            cache.put(&beginning(start), &outside, 99);
            assert_eq!(cache.get(&beginning(start)), None, "another stack");
            let mut long = Reads::new();
            (0..=READ_COUNT_MAX).for_each(|_| long.note((start, 0)));
            cache.put(&beginning(start), &long, 99);
            assert_eq!(cache.get(&beginning(start)), None, "too long");
            set(Word::Thread, 0);
            cache.put(&beginning(start), &Reads::new(), 99);
            assert_eq!(cache.get(&beginning(start)), None, "no corner yet");
        });
    }
}
