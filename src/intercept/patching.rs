//! When passes are made, and the lock that keeps them apart.
//!
//! The lock is taken by `install`, `remove` and by whoever finds that the list of loaded objects
//! has changed; never on the allocation path. It is held for milliseconds and nothing is waited for
//! meanwhile except the dynamic linker's list. A fork waits for it, but not for ever
//! (`memory::loaded_list`), so it is not a mutex: a child of a process that forked in the middle of a
//! pass all the same finds it held by a thread that does not exist, and the book half-written. Such
//! a child makes no more passes and restores nothing.

#![expect(
    unsafe_code,
    reason = "shares the book between threads behind a lock of its own"
)]

use std::cell::UnsafeCell;

use super::book::Book;
use super::install;
use super::load_counts::LoadCounts;
use super::loaded::{self, ListAge};
use super::owner::KnownPlaces;
use super::pass::{Pass, forget_reloaded};
use crate::capture;
use crate::memory::loaded_list::Reading;
use crate::memory::reentry::OurOwnWork;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How long after a pass its slots are looked at once more, for bindings that were under way.
const SECOND_LOOK_MILLISECONDS: u64 = 50;

const FREE: u32 = 0;
const HELD: u32 = 1;
const LOST_IN_FORK: u32 = 2;

struct SharedBook {
    state: AtomicU32,
    book: UnsafeCell<Book>,
}

// SAFETY: the book is reached through `with_book` alone, which lets one thread in at a time.
unsafe impl Sync for SharedBook {}

static BOOK: SharedBook = SharedBook {
    state: AtomicU32::new(FREE),
    book: UnsafeCell::new(Book::new()),
};

/// The age of the list at the last pass, for the quick question.
static SEEN_ADDED: AtomicU64 = AtomicU64::new(0);
/// How many objects had been unloaded by then.
static SEEN_REMOVED: AtomicU64 = AtomicU64::new(0);
/// The linker's own counts, for a question that takes no lock.
static COUNTS: LoadCounts = LoadCounts::new();
/// When to look again at what was looked at (milliseconds of a steady clock); zero: not.
static LOOK_AGAIN_AT: AtomicU64 = AtomicU64::new(0);
/// Whether slots are rewritten at all.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Puts the lock back when work on the book ends, also by unwinding.
struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        BOOK.state.store(FREE, Ordering::Release);
    }
}

/// Works on the book alone; `None` in a child that lost it.
pub(super) fn with_book<T>(work: impl FnOnce(&mut Book) -> T) -> Option<T> {
    // A fork in between would leave the child without the book, and with the list locked.
    let _reading = Reading::begin();
    loop {
        match BOOK
            .state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => break,
            Err(LOST_IN_FORK) => return None,
            Err(_) => std::thread::yield_now(),
        }
    }
    let _held = Held;
    // SAFETY: the exchange above let this thread in, `Held` lets the next one in only when this
    // reference is gone, and no work on the book asks for the book again.
    Some(work(unsafe { &mut *BOOK.book.get() }))
}

/// Called in a forked child, where no other thread exists: a lock that is held now will never be
/// given back.
pub(super) fn after_fork_in_child() {
    let _ = BOOK
        .state
        .compare_exchange(HELD, LOST_IN_FORK, Ordering::Relaxed, Ordering::Relaxed);
}

/// Rewrites the slots of everything loaded now, and from now on of what is loaded later. Returns
/// how many slots hold our entries; `None` in a child that lost the book.
pub(super) fn begin(places: &KnownPlaces) -> Option<usize> {
    let _ours = OurOwnWork::begin();
    let slots = with_book(|book| {
        book.active = true;
        make_pass(book, places, true);
        book.images.iter().map(|image| image.slots.len()).sum()
    })?;
    ACTIVE.store(1, Ordering::Release);
    Some(slots)
}

/// Restores every slot.
pub(super) fn end(places: &KnownPlaces) {
    let _ours = OurOwnWork::begin();
    ACTIVE.store(0, Ordering::Release);
    with_book(|book| {
        book.active = false;
        loaded::with_images(&mut |images, _| {
            Pass::new(images, places, book, milliseconds()).restore(book);
        });
        book.age = ListAge::default();
        SEEN_ADDED.store(0, Ordering::Release);
    });
}

/// Whether libraries were loaded since the last pass.
pub(super) fn has_new_libraries() -> bool {
    loaded::list_age().added_count != SEEN_ADDED.load(Ordering::Acquire)
}

/// Whether the last pass has seen every library and is not to be repeated, as far as can be told without
/// a lock; no pass is due either while slots are not rewritten.
#[inline]
pub(super) fn knows_every_library() -> bool {
    if ACTIVE.load(Ordering::Acquire) == 0 {
        return true;
    }
    let seen = ListAge {
        added_count: SEEN_ADDED.load(Ordering::Acquire),
        removed_count: SEEN_REMOVED.load(Ordering::Relaxed),
    };
    LOOK_AGAIN_AT.load(Ordering::Relaxed) == 0 && COUNTS.are_of(seen)
}

/// Asks whether libraries were loaded since the last pass, and makes one if so.
pub(super) fn look_for_new_libraries(places: &KnownPlaces) {
    if !knows_every_library() {
        look_closer(places, LOOK_AGAIN_AT.load(Ordering::Relaxed));
    }
}

/// The same, asked of the linker with its lock.
#[inline(never)]
fn look_closer(places: &KnownPlaces, due: u64) {
    let age = loaded::list_age();
    if age.removed_count != SEEN_REMOVED.load(Ordering::Relaxed) {
        SEEN_REMOVED.store(age.removed_count, Ordering::Relaxed);
        capture::forget_native_places();
    }
    if age.added_count != SEEN_ADDED.load(Ordering::Acquire) || (due != 0 && milliseconds() >= due)
    {
        look_now(places, due);
    }
}

#[cold]
fn look_now(places: &KnownPlaces, due: u64) {
    let _ours = OurOwnWork::begin();
    let again = due != 0 && milliseconds() >= due;
    let added_count = loaded::list_age().added_count;
    let late_count = with_book(|book| {
        let before = book.late_slot_count;
        // Another thread may have been here while this one waited.
        let changed = added_count != book.age.added_count;
        if book.active && (changed || again) {
            make_pass(book, places, again);
        }
        book.late_slot_count - before
    });
    if late_count.is_some_and(|count| count > 0) {
        install::doubt_what_is_live();
    }
}

/// Makes a pass and decides when the next look is due.
fn make_pass(book: &mut Book, places: &KnownPlaces, again: bool) {
    let mut waiting_count = 0;
    book.pass_count += 1;
    capture::forget_native_places();
    let changed_before = slot_count(book);
    loaded::with_images(&mut |images, age| {
        let some_were_unloaded = age.removed_count != book.age.removed_count;
        if some_were_unloaded {
            forget_reloaded(images, book);
        }
        let pass = Pass::new(images, places, book, milliseconds());
        pass.find_main_targets();
        waiting_count = pass.run(book, again);
        book.age = age;
        COUNTS.compare(images, age);
        SEEN_ADDED.store(age.added_count, Ordering::Release);
    });
    // A second look at fresh slots, and then as many as waiting objects need.
    let fresh = slot_count(book) != changed_before;
    let next = if fresh || waiting_count > 0 {
        milliseconds() + SECOND_LOOK_MILLISECONDS
    } else {
        0
    };
    LOOK_AGAIN_AT.store(next, Ordering::Relaxed);
}

fn slot_count(book: &Book) -> usize {
    book.images.iter().map(|image| image.slots.len()).sum()
}

/// A steady clock, cheap because it is coarse: milliseconds since some moment, never zero.
fn milliseconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a place for the answer; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000 + 1
}
