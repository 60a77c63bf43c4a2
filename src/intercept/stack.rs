//! Where this thread's stack is: asked once for each thread, then kept in two thread-local words.

#![expect(
    unsafe_code,
    reason = "asks the C library and the kernel about the thread"
)]

use super::image::Range;
use super::mappings::Mappings;
use crate::memory::reentry::OurOwnWork;
use crate::memory::thread_local::{Word, get, set, thread_pointer};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far above the present frame memory counts as stack when the present frame is not on the
/// thread's own stack: programs switch to stacks they made themselves.
const NEAR_BYTE_MAX: usize = 16 << 10;
/// What a main thread's stack may grow to when it is not limited.
const UNLIMITED_STACK_BYTES: usize = 64 << 20;

/// Whether a place where a frame of this thread once was can be read now.
///
/// The thread's own stack is mapped until the thread ends. A stack that the program made may be
/// gone, so there only the neighbourhood of the present frame counts.
pub(super) fn is_still_mapped(place: usize, stack_pointer: usize) -> bool {
    bounds().is_some_and(|bounds| bounds.contains(place))
        || place.wrapping_sub(stack_pointer) < NEAR_BYTE_MAX
}

/// Whether `address` lies in the part of the thread's stack that is in use: at or above the present
/// frame.
pub(super) fn is_in_use(address: usize, stack_pointer: usize) -> bool {
    bounds().is_some_and(|bounds| {
        bounds.contains(stack_pointer) && (stack_pointer..bounds.end).contains(&address)
    })
}

/// Where the main thread's stack begins, from which it grows down; zero while nobody has asked.
static MAIN_STACK_TOP: AtomicUsize = AtomicUsize::new(0);

/// Whether `address` lies on the main thread's stack, whoever asks. Reads the kernel's list only for
/// addresses where that may be: a program that releases gigabytes asks for each of their pages.
pub(super) fn is_main_threads(address: usize) -> bool {
    let top = MAIN_STACK_TOP.load(Ordering::Relaxed);
    let may_be = (top.saturating_sub(UNLIMITED_STACK_BYTES)..top).contains(&address);
    if top != 0 && !may_be {
        return false;
    }
    let Some(stack) = Mappings::read().and_then(|mappings| mappings.main_stack()) else {
        return false;
    };
    MAIN_STACK_TOP.store(stack.end, Ordering::Relaxed);
    stack.contains(address)
}

/// The quick form of [`is_in_use`]: may say yes for an address that is none.
#[inline]
pub(super) fn may_be_in_use(address: usize, stack_pointer: usize) -> bool {
    let top = get(Word::StackTop);
    address >= stack_pointer && (top == 0 || address < top) && {
        let bottom = get(Word::StackBottom);
        bottom <= stack_pointer
    }
}

/// Sees to it that the bounds are known: whoever unwinds reads no further.
#[inline]
pub(super) fn learn() {
    if get(Word::StackTop) == 0 {
        find_bounds();
    }
}

/// The thread's stack; `None` when the system does not say.
fn bounds() -> Option<Range> {
    let top = get(Word::StackTop);
    if top != 0 {
        return Some(Range {
            start: get(Word::StackBottom),
            end: top,
        });
    }
    find_bounds()
}

#[cold]
fn find_bounds() -> Option<Range> {
    // What glibc allocates meanwhile is our doing.
    let _ours = OurOwnWork::begin();
    let range = if is_main_thread() {
        of_main_thread()
    } else {
        of_started_thread()
    }?;
    set(Word::StackBottom, range.start);
    set(Word::StackTop, range.end);
    Some(range)
}

fn is_main_thread() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let process = unsafe { libc::getpid() };
    // SAFETY: as above.
    let thread = unsafe { libc::gettid() };
    process == thread
}

/// From the kernel's list: glibc would read the same with stdio, whose locks the caller may hold.
fn of_main_thread() -> Option<Range> {
    let end = Mappings::read()?.main_stack()?.end;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a place for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } == 0;
    let byte_count = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    let limited = known && byte_count < UNLIMITED_STACK_BYTES;
    let byte_count = if limited {
        byte_count
    } else {
        UNLIMITED_STACK_BYTES
    };
    Some(Range {
        start: end.saturating_sub(byte_count),
        end,
    })
}

/// From the kernel's list too. Not from `pthread_getattr_np`: that holds a lock of the thread while
/// it allocates and releases, so it may be what called us (the interpreter asks it for every thread
/// from 3.14 on), and would wait for itself.
fn of_started_thread() -> Option<Range> {
    // The C library keeps the thread's own data at the upper end of its stack.
    let end = thread_pointer()?;
    let mappings = Mappings::read()?;
    let mapping = mappings.at(end)?;
    Some(Range {
        start: mapping.range.start,
        end,
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn check_this_thread() {
        let local = 0_usize;
        let here = (&raw const local).addr();
        let boxed = Box::new(0_usize);
        assert!(is_in_use(here, here - 64));
        assert!(may_be_in_use(here, here - 64));
        assert!(!is_in_use(here - 4_096, here), "below the present frame");
        assert!(!is_in_use((&raw const *boxed).addr(), here));
        assert!(is_still_mapped(here, here - 64));
    }

    #[test]
    fn locals_are_on_the_stack_and_boxes_are_not() {
        check_this_thread();
        std::thread::spawn(check_this_thread)
            .join()
            .expect("no assertion failed");
    }
}
