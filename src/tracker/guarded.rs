//! Blocks between guard pages: which blocks get a place there, and what becomes of them.

use super::accesses::judge;
use super::options::Options;
use super::{Tracker, glibc};
use crate::capture::EventPlace;
use crate::detect::Finding;
use crate::detect::damage::{self, Damage};
use crate::detect::diagnose::Attempt;
use crate::detect::fault;
use crate::detect::guard::{Capacity, Guard, HeldQueues, Nearby, Side};
use crate::detect::imprint::MomentKind;
use crate::ledger::{BlockRecord, Event, Found, Outcome};
use crate::memory::lock::Lock;
use crate::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::memory::{Address, ByteCount};
use crate::tracker::release::{Noticed, ReleaseVerdict};
use once_cell::race::OnceBox;
use std::sync::MutexGuard;

/// Findings that wait to be announced; further ones are stored all the same.
const PENDING_COUNT_MAX: usize = 64;

/// After so many accesses to closed pages, a page that was opened for one is closed again only when a
/// guarded block comes or goes: a program that errs all the time is not to stand still.
const CLOSED_AT_ONCE_COUNT_MAX: u32 = 10_000;

/// What guarded blocks need.
#[derive(Default)]
pub(super) struct Guarded {
    guard: OnceBox<Guard>,
    /// The places of stacks' first blocks.
    pub(super) first: OnceBox<Guard>,
    /// One while stacks' first blocks are guarded.
    pub(super) guards_first: AtomicU32,
    pub(super) access_count: AtomicU32,
    /// Every how many blocks one is guarded; zero while the check is off.
    interval: AtomicU32,
    turn: AtomicU32,
    /// A [`Side`], as its number.
    side: AtomicU32,
    refused: AtomicU64,
    /// Threads that may be placing and recording a block.
    placing_count: AtomicU32,
    pending_count: AtomicU32,
    pending: Lock<Vec<(Finding, bool)>>,
}

/// Announces that this thread may place a block and record it, for as long as it lives.
#[derive(Debug)]
pub struct Placing<'a>(&'a AtomicU32);

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Proof that nobody takes or gives back a place, or notes a finding, for the time of a fork.
pub(super) struct HeldGuarded<'a> {
    _queues: Option<HeldQueues<'a>>,
    _first_queues: Option<HeldQueues<'a>>,
    _pending: MutexGuard<'a, Vec<(Finding, bool)>>,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl Guarded {
    pub(super) fn side(&self) -> Side {
        match self.side.load(Ordering::Relaxed) {
            left if left == Side::Left as u32 => Side::Left,
            both if both == Side::Alternate as u32 => Side::Alternate,
            _ => Side::Right,
        }
    }

    /// Blocks that were to be guarded and found no place.
    pub(super) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Keeps a finding until it can be announced.
    pub(super) fn note_pending(&self, finding: Finding, is_new: bool) {
        let mut pending = self.pending.lock();
        if pending.len() < PENDING_COUNT_MAX {
            pending.push((finding, is_new));
            self.pending_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All places.
    fn pools(&self) -> impl Iterator<Item = &Guard> {
        [self.guard.get(), self.first.get()].into_iter().flatten()
    }

    /// The places that an address lies among.
    fn pool_of(&self, address: Address) -> Option<&Guard> {
        self.pools().find(|guard| guard.covers(address))
    }

    /// The places whose window an address lies in.
    pub(super) fn window_at(&self, address: Address) -> Option<&Guard> {
        self.pools().find(|guard| guard.window() == Some(address))
    }

    /// The places next to which an address is, and what is there.
    pub(super) fn nearby(&self, address: Address) -> Option<(&Guard, Nearby)> {
        self.pools()
            .find_map(|guard| Some((guard, guard.nearby(address)?)))
    }

    /// Keeps everybody else out, for the time of a fork.
    pub(super) fn hold(&self) -> HeldGuarded<'_> {
        HeldGuarded {
            _queues: self.guard.get().map(Guard::hold),
            _first_queues: self.first.get().map(Guard::hold),
            _pending: self.pending.lock(),
        }
    }
}

/// Registers a signal action on the program's behalf: `None` when the signal is not ours.
///
/// # Safety
/// * As for `sigaction`.
#[expect(unsafe_code, reason = "passes on the program's pointers")]
pub unsafe fn register(
    signal: i32,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> Option<i32> {
    // SAFETY: the caller's duties.
    unsafe { fault::register(signal, new, old) }
}

/// Has `action` done wherever the program has the default action for a signal that is ours.
pub fn stand_in(signal: i32, action: Option<&libc::sigaction>) {
    fault::stand_in(signal, action);
}

/// Whether a signal is ours, so that others wait behind us.
#[must_use]
pub fn has_signal(signal: i32) -> bool {
    fault::has_signal(signal)
}

impl Tracker {
    /// Guards the blocks that the options name from now on.
    pub(super) fn set_guard(&self, options: &Options) {
        self.set_guard_interval(options.effective_guard_interval(), options.guard_side);
        let guards_first = options.guards_first();
        self.guarded
            .guards_first
            .store(guards_first.into(), Ordering::SeqCst);
    }

    /// Guards one of `interval` blocks from now on, on this side; zero guards none.
    pub(super) fn set_guard_interval(&self, interval: u32, side: Side) {
        let guarded = &self.guarded;
        guarded.side.store(side as u32, Ordering::Relaxed);
        let is_ready = || {
            let made = guarded
                .guard
                .get_or_try_init(|| Guard::new(Capacity::Full).map(Box::new).ok_or(()));
            made.is_ok() && fault::install(judge)
        };
        if interval != 0 && !is_ready() {
            self.session
                .note_trouble("the check \"guard\" is not possible here");
            return;
        }
        guarded.interval.store(interval, Ordering::Release);
    }

    /// Whether blocks are guarded at all.
    #[inline]
    #[must_use]
    pub fn is_guarding(&self) -> bool {
        self.guarded.interval.load(Ordering::Relaxed) != 0
    }

    /// To be held around [`Tracker::place_guarded`] and the making of the record, where the block is the
    /// program's: whoever ends the watch sees one or the other, and nobody places a block after that.
    #[must_use]
    pub fn placing(&self) -> Placing<'_> {
        self.guarded.placing_count.fetch_add(1, Ordering::SeqCst);
        Placing(&self.guarded.placing_count)
    }

    /// Has no further blocks guarded.
    pub(super) fn end_guarding(&self) {
        self.guarded.interval.store(0, Ordering::SeqCst);
        self.guarded.guards_first.store(0, Ordering::SeqCst);
    }

    /// Whether a thread was about to place a block when guarding ended.
    pub(super) fn is_placing(&self) -> bool {
        self.guarded.placing_count.load(Ordering::SeqCst) != 0
    }

    /// A place between guard pages for a block of `size` zeroed bytes, to be recorded with the flag
    /// `GUARDED`. `None` when the check is off, when it is not this block's turn, or when there is
    /// no place. Called with the reentry flag up.
    #[inline]
    #[must_use]
    pub fn place_guarded(&self, size: usize) -> Option<Address> {
        match self.guarded.interval.load(Ordering::SeqCst) {
            0 => None,
            interval => self.place_in_turn(size, interval),
        }
    }

    #[inline(never)]
    fn place_in_turn(&self, size: usize, interval: u32) -> Option<Address> {
        let turn = self.guarded.turn.fetch_add(1, Ordering::Relaxed);
        if !turn.is_multiple_of(interval) {
            return None;
        }
        let side = self.guarded.side().at(turn / interval);
        let taken = self.take_place(self.guarded.guard.get()?, size, side);
        if taken.is_none() {
            self.guarded.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// A place among these for a block of `size` bytes.
    pub(super) fn take_place(&self, guard: &Guard, size: usize, side: Side) -> Option<Address> {
        fault::keep();
        let taken = guard.take(ByteCount::new(size), side)?;
        if let Some(before) = taken.before {
            // None: its record has been used again meanwhile, which is right.
            let _ = self.ledger.evict(before);
        }
        Some(taken.block)
    }

    /// Decides the release of a guarded block, and closes its pages.
    #[expect(unsafe_code, reason = "looks at a block whose release it has won")]
    pub(super) fn release_guarded(
        &self,
        found: &Found<'_>,
        attempt: Attempt,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let before = found.read();
        let here = self.capture.here(place);
        match self.ledger.release(found, Event::Withhold, here) {
            Ok(ticket) => {
                if let Some(record) = before {
                    // SAFETY: this thread won the release, and closes the pages below.
                    let damage = unsafe { damage::around_guarded(&record) };
                    self.report_around_guarded(&record, damage, (MomentKind::Release, place));
                }
                if let Some(guard) = self.guarded.pool_of(found.address()) {
                    guard.give_back(found.address(), Some(ticket));
                }
                ReleaseVerdict::Withheld
            }
            Err(Outcome::ReleasedBefore) => self.refuse_second(*found, attempt, place),
            Err(_) => ReleaseVerdict::Unknown,
        }
    }

    /// Reports what was written to the checked bytes around a block; `record` is from before its
    /// release.
    pub(super) fn report_guarded_damage(&self, record: &BlockRecord, noticed: Noticed) {
        if let Some(damage) = damage::by_copy(record) {
            self.report_around_guarded(record, damage, noticed);
        }
    }

    fn report_around_guarded(&self, record: &BlockRecord, damage: Damage, noticed: Noticed) {
        if damage.is_any() {
            self.report_damage(record, damage, self.last_intact(record), noticed);
        }
    }

    /// Closes the pages of a guarded block that was moved elsewhere.
    pub(super) fn close_moved(&self, block: Address) {
        if let Some(guard) = self.guarded.pool_of(block) {
            guard.give_back(block, None);
        }
    }

    /// Takes back a guarded block whose record found no room when it was moved; `false` for a pointer
    /// to anything else.
    pub fn take_back_unrecorded(&self, block: Address) -> bool {
        let guard = self.guarded.pool_of(block);
        // A pointer into a block, or at one that was released, is an error like any other.
        let Some(guard) = guard.filter(|guard| guard.is_live(block)) else {
            return false;
        };
        guard.give_back(block, None);
        true
    }

    /// Resizes such a block: what it holds moves to a block of glibc's, which has no record either.
    /// `None` for a pointer to anything else, and inside it where there is no memory.
    #[cold]
    pub fn move_unrecorded(&self, block: Address, size: usize) -> Option<Option<Address>> {
        let guard = self.guarded.pool_of(block);
        if !guard.is_some_and(|guard| guard.is_live(block)) {
            return None;
        }
        let moved = glibc::allocate_copy(block, size);
        if moved.is_some() {
            self.take_back_unrecorded(block);
        }
        Some(moved)
    }

    /// Whether an address lies where blocks are guarded.
    #[must_use]
    pub fn is_among_guarded(&self, address: Address) -> bool {
        self.guarded.pool_of(address).is_some()
    }

    /// Opens a closed page for an access that is about to be made.
    pub(super) fn open_page(&self, page: Address) {
        if self.closed.find(page).is_some() {
            self.closed.let_pass(page);
        } else if let Some((guard, _)) = self.guarded.nearby(page) {
            guard.let_pass(page);
        }
    }

    /// Tells the program of what was found in signal handlers.
    #[inline]
    pub(super) fn announce_pending(&self) {
        if self.guarded.pending_count.load(Ordering::Relaxed) != 0 {
            self.announce_all();
        }
    }

    #[cold]
    fn announce_all(&self) {
        let pending = std::mem::take(&mut *self.guarded.pending.lock());
        self.guarded.pending_count.store(0, Ordering::Relaxed);
        if self.guarded.access_count.load(Ordering::Relaxed) < CLOSED_AT_ONCE_COUNT_MAX {
            self.guarded.pools().for_each(Guard::close_again);
        }
        for (finding, is_new) in pending {
            self.session.announce(&finding, is_new);
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    #![expect(unsafe_code, reason = "reads and writes a guarded block")]

    use super::*;
    use crate::memory::reentry::OurOwnWork;

    #[test]
    fn a_fork_finds_nobody_noting_a_finding() {
        let guarded = Guarded::default();
        let held = guarded.hold();
        assert!(guarded.pending.is_held());
        drop(held);
        assert!(!guarded.pending.is_held());
    }

    #[test]
    fn a_guarded_block_without_a_record_can_be_resized() {
        let tracker = Tracker::new().expect("address space for a tracker");
        tracker.set_guard_interval(1, Side::Right);
        let _ours = OurOwnWork::begin();
        let block = tracker.place_guarded(100).expect("a place");
        let bytes = |address: Address| std::ptr::with_exposed_provenance_mut::<u8>(address.get());
        // SAFETY: the block has 100 bytes, and this test alone has it.
        unsafe { bytes(block).write_bytes(7, 100) };
        let moved = tracker
            .move_unrecorded(block, 300)
            .expect("a guarded block");
        let moved = moved.expect("memory");
        // SAFETY: it has 300 bytes, of which the old block's were copied.
        let kept = unsafe { std::slice::from_raw_parts(bytes(moved), 100) };
        assert_eq!(kept, [7; 100]);
        assert_eq!(tracker.move_unrecorded(block, 300), None, "it is gone");
        assert_eq!(tracker.move_unrecorded(moved, 10), None, "one of glibc's");
        // SAFETY: it came from glibc above.
        unsafe { glibc::release(moved) };
    }
}
