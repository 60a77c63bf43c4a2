//! The last walks of each thread: what they began with, what they read, and what came of it.
//!
//! A walk depends on where it begins, on the rules (one load generation) and on the words of the
//! stack that it reads: return addresses and saved frame pointers. Where all of them are as they
//! were, it would end as it did. So a stack seen just before costs a comparison for each word, and
//! the loads do not wait for each other. A walk also remembers the number of the whole stack that it
//! was last part of. Only walks on the thread's own stack are remembered, which is mapped from any of
//! its frames to its end.

#![expect(unsafe_code, reason = "reads words of the thread's own stack")]
#![expect(
    clippy::inline_always,
    reason = "the path of every event, a comparison for each word"
)]

use super::reads::{READ_COUNT_MAX, Read, Reads};
use super::registers::Registers;
use crate::memory::sync::{AtomicU64, Ordering};
use crate::memory::table::{Table, Zeroed};
use crate::memory::thread_local::{Word, get};

/// Threads that remember walks; those beyond walk each time.
const THREAD_COUNT_MAX: usize = 1_024;
/// Pairs of walks that a thread remembers: places in a loop that allocate or release.
const PAIR_COUNT: usize = 8;

const _: () = assert!(
    PAIR_COUNT.is_power_of_two(),
    "a walk's place is a part of a hash"
);

/// One remembered walk. Its head, which is compared, fills one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Walk {
    return_address: AtomicU64,
    stack_pointer: AtomicU64,
    frame_pointer: AtomicU64,
    needs_frame_pointer: AtomicU64,
    rules: AtomicU64,
    call: AtomicU64,
    stack_top: AtomicU64,
    read_count: AtomicU64,
    key: AtomicU64,
    /// The whole stack that the walk was last part of, and its number; zero while there is none.
    rest: [AtomicU64; 3],
    stack: AtomicU64,
    reads: [[AtomicU64; 2]; READ_COUNT_MAX],
}

/// What a whole stack consists of besides its native frames.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture) struct Rest {
    /// The number of the Python stack.
    pub(in crate::capture) python: u64,
    /// The foreign function.
    pub(in crate::capture) foreign: u64,
    /// Of the memory of stacks.
    pub(in crate::capture) generation: u64,
}

/// Two walks: a new one displaces the older.
#[derive(Debug, Default)]
struct Pair {
    walks: [Walk; 2],
    newest: AtomicU64,
}

/// The remembered walks of one thread. Only that thread looks there.
#[derive(Debug, Default)]
struct ThreadWalks {
    pairs: [Pair; PAIR_COUNT],
}

impl Default for Walk {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            return_address: zero(),
            stack_pointer: zero(),
            frame_pointer: zero(),
            needs_frame_pointer: zero(),
            rules: zero(),
            call: zero(),
            stack_top: zero(),
            read_count: zero(),
            key: zero(),
            rest: std::array::from_fn(|_| zero()),
            stack: zero(),
            reads: std::array::from_fn(|_| [zero(), zero()]),
        }
    }
}

// SAFETY: made of atomic integers, for which zero is the default.
unsafe impl Zeroed for ThreadWalks {}

/// The remembered walks of all threads.
#[derive(Debug)]
pub(super) struct WalkCache {
    threads: Table<ThreadWalks>,
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

impl WalkCache {
    /// An empty cache; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        let threads = Table::new(THREAD_COUNT_MAX)?;
        Some(Self { threads })
    }

    /// The walk that begins so, if it would be the one remembered.
    pub(super) fn find(&self, beginning: &Beginning) -> Option<&Walk> {
        let mut walks = self.pair(beginning)?.walks.iter();
        walks.find(|walk| walk.is_at(beginning) && walk.is_of(beginning))
    }

    /// The number of the whole stack that the walk which begins so and this rest make, if it was
    /// the last one of this walk.
    #[inline(always)]
    pub(super) fn stack(&self, beginning: &Beginning, rest: &Rest) -> Option<u32> {
        let [first, second] = &self.pair(beginning)?.walks;
        let walk = if first.is_at(beginning) {
            first
        } else {
            second
        };
        if walk.is_at(beginning) && walk.is_of(beginning) {
            walk.stack_with(rest)
        } else {
            None
        }
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
        if let Some(pair) = self.pair(beginning) {
            let [first, second] = &pair.walks;
            let older = pair.newest.load(Ordering::Relaxed) ^ 1;
            pair.newest.store(older, Ordering::Relaxed);
            let walk = if older == 0 { first } else { second };
            walk.fill(beginning, reads, key);
        }
    }

    /// Where the calling thread remembers a walk that begins so.
    #[inline(always)]
    fn pair(&self, beginning: &Beginning) -> Option<&Pair> {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        let walks = self.threads.get(get(Word::Thread).wrapping_sub(1))?;
        let Registers {
            return_address,
            stack_pointer,
            ..
        } = beginning.registers;
        let hash = (return_address as u64 ^ (stack_pointer as u64) << 1).wrapping_mul(MULTIPLIER);
        let place = usize::try_from(hash >> (u64::BITS - PAIR_COUNT.trailing_zeros()));
        walks.pairs.get(place.unwrap_or(0))
    }
}

#[inline(always)]
fn is(word: &AtomicU64, value: usize) -> bool {
    word.load(Ordering::Relaxed) == value as u64
}

impl Walk {
    /// Whether the walk began at this place of the code and of the stack.
    #[inline(always)]
    fn is_at(&self, beginning: &Beginning) -> bool {
        is(&self.return_address, beginning.registers.return_address)
            && is(&self.stack_pointer, beginning.registers.stack_pointer)
    }

    /// Whether the walk that begins at its place would be this one.
    #[inline(always)]
    fn is_of(&self, beginning: &Beginning) -> bool {
        let Registers {
            stack_pointer,
            frame_pointer,
            ..
        } = beginning.registers;
        (is(&self.frame_pointer, frame_pointer) || is(&self.needs_frame_pointer, 0))
            && self.rules.load(Ordering::Relaxed) == beginning.rules
            && is(&self.call, beginning.call)
            && is(&self.stack_top, get(Word::StackTop))
            && stack_pointer >= get(Word::StackBottom)
            && self.reads_the_same()
    }

    /// Whether the words of the stack are what the walk read. Only asked when the stack pointer is
    /// the walk's.
    #[inline(always)]
    fn reads_the_same(&self) -> bool {
        let count = usize::try_from(self.read_count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let Some(reads) = self.reads.get(..count) else {
            return false;
        };
        reads.iter().all(|read| {
            let place = usize::try_from(read[0].load(Ordering::Relaxed)).unwrap_or(0);
            let place = std::ptr::with_exposed_provenance::<u64>(place);
            // SAFETY: `put` checked that the place, an aligned word, lies above this stack pointer
            // on a stack with this end, which is the calling thread's own: mapped to its end.
            let word = unsafe { place.read_volatile() };
            word == read[1].load(Ordering::Relaxed)
        })
    }

    /// What the walk is recognised by.
    #[inline]
    pub(super) fn key(&self) -> u64 {
        self.key.load(Ordering::Relaxed)
    }

    /// The number of the whole stack that the walk and this rest make, if it was the last one.
    #[inline(always)]
    pub(super) fn stack_with(&self, rest: &Rest) -> Option<u32> {
        let is = |index: usize, value: u64| self.rest[index].load(Ordering::Relaxed) == value;
        let is_last = is(0, rest.python) && is(1, rest.foreign) && is(2, rest.generation);
        let stack = u32::try_from(self.stack.load(Ordering::Relaxed)).unwrap_or(0);
        (is_last && stack != 0).then_some(stack)
    }

    /// Remembers the number of the whole stack that the walk and this rest make.
    pub(super) fn remember_stack(&self, rest: &Rest, stack: u32) {
        let parts = [rest.python, rest.foreign, rest.generation];
        for (place, part) in self.rest.iter().zip(parts) {
            place.store(part, Ordering::Relaxed);
        }
        self.stack.store(u64::from(stack), Ordering::Relaxed);
    }

    fn fill(&self, beginning: &Beginning, reads: &Reads, key: u64) {
        let set = |word: &AtomicU64, value: usize| word.store(value as u64, Ordering::Relaxed);
        let Registers {
            return_address,
            stack_pointer,
            frame_pointer,
        } = beginning.registers;
        set(&self.return_address, return_address);
        set(&self.stack_pointer, stack_pointer);
        set(&self.frame_pointer, frame_pointer);
        set(
            &self.needs_frame_pointer,
            usize::from(reads.needs_first_frame_pointer),
        );
        self.rules.store(beginning.rules, Ordering::Relaxed);
        set(&self.call, beginning.call);
        set(&self.stack_top, get(Word::StackTop));
        set(&self.read_count, reads.count);
        self.key.store(key, Ordering::Relaxed);
        set(&self.stack, 0);
        for (read, &(place, word)) in self.reads.iter().zip(&reads.words) {
            set(&read[0], place);
            set(&read[1], word);
        }
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

    fn key(cache: &WalkCache, beginning: &Beginning) -> Option<u64> {
        cache.find(beginning).map(Walk::key)
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
            assert_eq!(key(&cache, &beginning(start)), None);
            cache.put(&beginning(start), &reads, 99);
            assert_eq!(key(&cache, &beginning(start)), Some(99));
            let other_rules = Beginning {
                rules: 6,
                ..beginning(start)
            };
            assert_eq!(key(&cache, &other_rules), None);
            assert_eq!(key(&cache, &beginning(start + 8)), None);
        });
        std::hint::black_box(&mut stack)[2] = 1;
        on_stack(&stack, |start| {
            assert_eq!(key(&cache, &beginning(start)), Some(99), "not one it read");
        });
        std::hint::black_box(&mut stack)[3] = 1;
        on_stack(&stack, |start| {
            assert_eq!(key(&cache, &beginning(start)), None);
        });
    }

    #[test]
    fn a_frame_pointer_counts_only_where_a_frame_is_found_by_it() {
        use super::super::rule::{Base, Rule, SavedFramePointer};
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
            assert_eq!(key(&cache, &other), Some(99));
            let mut needed = Reads::new();
            needed.note_step(by_stack, &[(start, 7), (start + 8, 8)], caller(2));
            needed.note_step(by_frame, &[(start + 24, 10)], caller(4));
            assert_eq!(needed.count, 3, "both return addresses and what was saved");
            let mut first = Reads::new();
            first.note_step(by_frame, &[(start + 8, 8)], caller(2));
            cache.put(&beginning(start), &first, 98);
            assert_eq!(key(&cache, &beginning(start)), Some(98));
            assert_eq!(
                key(&cache, &other),
                Some(99),
                "not the one that needs another"
            );
        });
    }

    #[test]
    fn a_whole_stack_is_known_while_every_part_of_it_is_the_same() {
        let cache = WalkCache::new().expect("pages");
        let mut stack = [7_usize, 8];
        let rest = |python, foreign, generation| Rest {
            python,
            foreign,
            generation,
        };
        let mut reads = Reads::new();
        reads.note((stack.as_ptr().expose_provenance(), 7));
        on_stack(&stack, |start| {
            let beginning = beginning(start);
            cache.put(&beginning, &reads, 99);
            assert_eq!(cache.stack(&beginning, &rest(1, 2, 3)), None, "none yet");
            let walk = cache.find(&beginning).expect("put above");
            walk.remember_stack(&rest(1, 2, 3), 50);
            assert_eq!(cache.stack(&beginning, &rest(1, 2, 3)), Some(50));
            for other in [rest(0, 2, 3), rest(1, 0, 3), rest(1, 2, 0)] {
                assert_eq!(cache.stack(&beginning, &other), None, "{other:?}");
            }
        });
        std::hint::black_box(&mut stack)[0] = 1;
        on_stack(&stack, |start| {
            let known = cache.stack(&beginning(start), &rest(1, 2, 3));
            assert_eq!(known, None, "another native stack");
            cache.put(&beginning(start), &Reads::new(), 98);
            let known = cache.stack(&beginning(start), &rest(1, 2, 3));
            assert_eq!(known, None, "a new walk is part of no stack yet");
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
            assert_eq!(key(&cache, &beginning(start)), None, "another stack");
            let mut long = Reads::new();
            (0..=READ_COUNT_MAX).for_each(|_| long.note((start, 0)));
            cache.put(&beginning(start), &long, 99);
            assert_eq!(key(&cache, &beginning(start)), None, "too long");
            set(Word::Thread, 0);
            cache.put(&beginning(start), &Reads::new(), 99);
            assert_eq!(key(&cache, &beginning(start)), None, "no corner yet");
        });
    }
}
