//! Deciding a resize, and what follows from how the real call went.

#![expect(
    unsafe_code,
    reason = "looks at and copies blocks whose release it has won"
)]

use super::allocate::Allocated;
use super::release::{ReleaseVerdict, was_repaired};
use super::{Tracker, glibc};
use crate::capture::EventPlace;
use crate::detect::damage;
use crate::detect::diagnose::{self, Attempt};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Event, FamilyId, Found, NewBlock, Outcome, StackId, Ticket};
use crate::memory::{Address, ByteCount};

/// Flags that say whose block it is: the new block's are the old one's.
const OWNER_FLAGS: u32 = flag::INTERPRETERS_OWN | flag::RUNTIMES_OWN;

/// A resize under way: the old block is withdrawn, and must be restored when the real call fails.
#[must_use = "a resize that is not finished leaves the old block out of the ledger"]
#[derive(Debug)]
pub struct Resize {
    ticket: Ticket,
    stack: StackId,
    before: Option<BlockRecord>,
    /// The old block's flags: the new one is of the same kind.
    pub flags: u32,
}

/// What the caller of the real resize function must do.
#[derive(Debug)]
pub enum ResizeVerdict {
    /// Carry it out, and then call [`Tracker::finish_resize`].
    Proceed(Resize),
    /// Not the real call, over which glibc would abort: [`Tracker::move_block`] instead.
    Move(Resize),
    /// Nothing: it is the program's error, and has been reported.
    Refused,
    /// The ledger does not know the pointer: the caller decides.
    Unknown,
}

impl From<ReleaseVerdict> for ResizeVerdict {
    fn from(verdict: ReleaseVerdict) -> Self {
        match verdict {
            ReleaseVerdict::Refused => Self::Refused,
            ReleaseVerdict::Execute | ReleaseVerdict::Withheld | ReleaseVerdict::Unknown => {
                Self::Unknown
            }
        }
    }
}

impl Tracker {
    /// Withdraws the block that is about to be resized. Called with the reentry flag up.
    pub fn begin_resize(
        &self,
        pointer: Address,
        family: FamilyId,
        place: EventPlace,
    ) -> ResizeVerdict {
        let Some(found) = self.ledger.find(pointer) else {
            return ResizeVerdict::Unknown;
        };
        let attempt = Attempt::Resize(family);
        let (_, owner) = found.extent();
        if !diagnose::may_release(family, owner) {
            return self.refuse_mismatch(found, attempt, place).into();
        }
        let before = found.read();
        if let Some(record) = before.filter(|record| record.flags & flag::GUARDED != 0) {
            self.report_guarded_damage(&record, place);
        }
        let stack = self.capture.here(place);
        match self.ledger.release(&found, Event::GiveBack, stack) {
            Ok(ticket) => {
                let resize = Resize {
                    ticket,
                    stack,
                    before,
                    flags: before.map_or(0, |record| record.flags),
                };
                if self.must_move(&found, place) {
                    ResizeVerdict::Move(resize)
                } else {
                    ResizeVerdict::Proceed(resize)
                }
            }
            Err(Outcome::ReleasedBefore) => self.refuse_second(found, attempt, place).into(),
            Err(_) => ResizeVerdict::Unknown,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a finished resize is spent")]
    /// Records the new block, or restores the old one when the real call failed (`None`).
    pub fn finish_resize(&self, resize: Resize, outcome: Option<Allocated>) {
        let Resize {
            ticket,
            stack,
            before,
            ..
        } = resize;
        if let Some(block) = outcome {
            self.record_new(block, stack);
        } else if !self.ledger.restore(ticket)
            && let Some(before) = before
        {
            self.record_anew(&before);
        }
    }

    /// Whether the words of glibc's around the block forbid it to touch the block; reports damage.
    fn must_move(&self, found: &Found<'_>, place: EventPlace) -> bool {
        if found.flags() & flag::GUARDED != 0 {
            return true;
        }
        let (size, _) = found.extent();
        // SAFETY: the caller won the release, and the memory has not gone back.
        let damage = unsafe { damage::around(found.address(), size, found.flags()) };
        let must_move = damage.spreads() || was_repaired(found.flags());
        if damage.is_any() {
            self.settle_damage(found, damage, place);
        }
        must_move
    }

    /// Resizes by allocating another block and copying; the old one is never given back. `None`
    /// when there is no memory: then the old block is as it was.
    pub fn move_block(&self, resize: Resize, size: usize) -> Option<Address> {
        let guarded = self.place_guarded(size);
        let moved = guarded.map(|address| (address, flag::GUARDED)).or_else(|| {
            let room = self.room_for(size)?;
            Some((glibc::allocate(room.byte_count)?, room.flags))
        });
        let (Some((address, flags)), Some(old)) = (moved, resize.before) else {
            self.finish_resize(resize, None);
            return None;
        };
        let kept_byte_count = old.size.get().min(size);
        // SAFETY: the old block was withdrawn and is not given back, the new one is not known yet;
        // both have this many bytes.
        unsafe { glibc::copy(old.address, address, kept_byte_count) };
        if old.flags & flag::GUARDED == 0 {
            self.kept.count(old.size);
        } else {
            self.close_moved(old.address);
        }
        let block = Allocated {
            address,
            size: ByteCount::new(size),
            family: old.family,
            flags: flags | old.flags & OWNER_FLAGS,
        };
        self.finish_resize(resize, Some(block));
        Some(address)
    }

    /// The record of the block was needed elsewhere while its resize was tried.
    #[cold]
    fn record_anew(&self, before: &BlockRecord) {
        self.ledger.insert(&NewBlock {
            address: before.address,
            size: before.size,
            family: before.family,
            allocated: before.allocated,
            flags: before.flags,
        });
    }
}
