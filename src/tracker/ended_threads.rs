//! The stacks of threads that have ended. glibc keeps them for threads to come, as they were left:
//! a pointer in one is no reference.
//!
//! Owns the list of such stacks. A thread adds its own when it ends (if it ever had a corner of the
//! ledger); whether a stack has been taken over by a new thread, or been unmapped, is found out when
//! somebody asks, for the new thread need not be one that we hear of.
//!
//! Must never: call a stack ended on which a thread runs. The thread descriptor, which glibc keeps
//! at the stack's upper end, tells: it refers to itself, and its number is that of the thread until
//! the thread is gone.

#![expect(unsafe_code, reason = "asks the C library for the extent of a stack")]

use crate::memory::Address;
use crate::memory::peek::{peek, words};
use crate::memory::sync::{AtomicU32, AtomicUsize, Ordering};
use std::ops::Range;

/// Stacks remembered; a later one takes the place of an earlier one. glibc keeps at most 40 MiB of
/// them, 5 of the usual size.
const STACK_COUNT_MAX: usize = 256;
/// Where the thread descriptor refers to itself, for x86-64's thread pointer and for glibc.
const SELF_PLACES: [usize; 2] = [0, 2];
/// Where glibc's thread descriptor on x86-64 has the kernel's number of the thread, in bytes. Each
/// thread checks it with its own.
const NUMBER_PLACE: usize = 720;
/// What the kernel writes there when the thread is gone, and glibc when it has noticed.
const GONE: [u32; 2] = [0, u32::MAX];
const WORD: usize = size_of::<usize>();
const DESCRIPTOR_WORDS: usize = NUMBER_PLACE / WORD + 1;

/// A stack by its two ends; zeroes for none.
#[derive(Debug)]
struct Stack {
    lowest: AtomicUsize,
    /// The thread descriptor, above everything that the thread put there: what lies behind it is
    /// glibc's, and may hold the thread's result.
    descriptor: AtomicUsize,
    /// The number of the thread that said that it ends.
    number: AtomicU32,
}

/// The list.
#[derive(Debug)]
pub(super) struct EndedThreads {
    stacks: [Stack; STACK_COUNT_MAX],
    next: AtomicUsize,
    end_count: AtomicUsize,
}

impl Default for EndedThreads {
    fn default() -> Self {
        let none = |_| Stack {
            lowest: AtomicUsize::new(0),
            descriptor: AtomicUsize::new(0),
            number: AtomicU32::new(0),
        };
        Self {
            stacks: std::array::from_fn(none),
            next: AtomicUsize::new(0),
            end_count: AtomicUsize::new(0),
        }
    }
}

impl EndedThreads {
    /// Adds the stack of the calling thread, which is about to end.
    pub(super) fn add_own(&self) {
        if let Some((stack, number)) = own_stack() {
            self.add(&stack, number);
        }
    }

    fn add(&self, stack: &Range<usize>, number: u32) {
        self.end_count.fetch_add(1, Ordering::Relaxed);
        let is_this = |known: &&Stack| known.extent() == *stack;
        if let Some(known) = self.stacks.iter().find(is_this) {
            known.number.store(number, Ordering::Release);
            return;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed) % STACK_COUNT_MAX;
        if let Some(place) = self.stacks.get(index) {
            // The range is empty in between: who reads meanwhile passes over nothing.
            place.descriptor.store(0, Ordering::Release);
            place.lowest.store(stack.start, Ordering::Release);
            place.number.store(number, Ordering::Release);
            place.descriptor.store(stack.end, Ordering::Release);
        }
    }

    /// How many threads have ended.
    pub(super) fn end_count(&self) -> usize {
        self.end_count.load(Ordering::Relaxed)
    }

    /// What lies on stacks on which no thread runs, or only one on its way out.
    pub(super) fn stacks(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.stacks.iter().filter_map(Stack::ended)
    }
}

impl Stack {
    fn extent(&self) -> Range<usize> {
        let end = self.descriptor.load(Ordering::Acquire);
        self.lowest.load(Ordering::Acquire)..end
    }

    /// The extent, unless a thread runs there that has not said that it ends.
    fn ended(&self) -> Option<Range<usize>> {
        let stack = self.extent();
        let leaving = self.number.load(Ordering::Acquire);
        let number = (!stack.is_empty()).then(|| number_of(stack.end))??;
        (GONE.contains(&number) || number == leaving).then_some(stack)
    }
}

/// From the lowest address of the calling thread's stack to its descriptor, and its number; `None`
/// where the descriptor is not as expected.
fn own_stack() -> Option<(Range<usize>, u32)> {
    // SAFETY: a call without arguments that cannot fail.
    let own = unsafe { libc::pthread_self() };
    let descriptor = usize::try_from(own).ok()?;
    // SAFETY: as above.
    let number = unsafe { libc::gettid() }.cast_unsigned();
    if number_of(descriptor) != Some(number) {
        return None;
    }
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the thread is the calling one, and the place is for such a structure.
    if unsafe { libc::pthread_getattr_np(own, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut lowest, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the call above filled the structure; both places are for such values.
    let status = unsafe {
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut length)
    };
    // SAFETY: filled above, and not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let lowest = lowest.addr();
    let stack = lowest..lowest.checked_add(length)?;
    (status == 0 && stack.contains(&descriptor)).then_some((lowest..descriptor, number))
}

/// The number of the thread with this descriptor, or one of [`GONE`]; `None` where there is no
/// descriptor.
fn number_of(descriptor: usize) -> Option<u32> {
    let mut bytes = [0; DESCRIPTOR_WORDS * WORD];
    if !peek(Address::new(descriptor), &mut bytes) {
        return None;
    }
    let refers_to_itself = |place| words(&bytes).nth(place) == Some(descriptor);
    if !SELF_PLACES.into_iter().all(refers_to_itself) {
        return None;
    }
    let number = bytes.get(NUMBER_PLACE..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*number))
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn a_stack_is_ended_once_its_thread_says_so_until_another_runs_on_it() {
        let ended = EndedThreads::default();
        let (at_work, done) = (Barrier::new(2), Barrier::new(2));
        let run = |says_so: bool| {
            let local = 0_u8;
            if says_so {
                ended.add_own();
            }
            at_work.wait();
            done.wait();
            (&raw const local).addr()
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| run(true));
            at_work.wait();
            assert_eq!(ended.stacks().count(), 1, "its thread is on its way out");
            done.wait();
            let first = thread.join().expect("no panic");
            let stack = ended.stacks().find(|stack| stack.contains(&first));
            assert!(stack.is_some(), "its thread is gone");
            let thread = scope.spawn(|| run(false));
            at_work.wait();
            let meanwhile = ended.stacks().any(|stack| stack.contains(&first));
            done.wait();
            let second = thread.join().expect("no panic");
            let is_same = stack.is_some_and(|stack| stack.contains(&second));
            assert!(!(is_same && meanwhile), "another thread runs on it");
        });
    }

    #[test]
    fn memory_that_is_no_descriptor_tells_nothing() {
        let memory = [0_usize; DESCRIPTOR_WORDS];
        let place = memory.as_ptr().addr();
        assert_eq!(number_of(place), None);
        assert_eq!(number_of(WORD), None);
        let ended = EndedThreads::default();
        ended.add(&(place - 64..place), 7);
        assert_eq!(ended.stacks().count(), 0);
    }

    #[test]
    fn a_list_that_is_full_forgets_the_oldest() {
        let ended = EndedThreads::default();
        for index in 1..=STACK_COUNT_MAX + 1 {
            ended.add(&(index * 64..index * 64 + 8), 7);
            ended.add(&(index * 64..index * 64 + 8), 8);
        }
        let extents: Vec<_> = ended.stacks.iter().map(Stack::extent).collect();
        let first_and_last = [64, (STACK_COUNT_MAX + 1) * 64];
        let [has_first, has_last] =
            first_and_last.map(|start| extents.contains(&(start..start + 8)));
        assert!(has_last && !has_first);
    }
}
