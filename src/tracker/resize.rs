//! Deciding a resize, and what follows from how the real call went.

#![expect(
    unsafe_code,
    reason = "looks at and copies blocks whose release it has won"
)]

use super::allocate::Allocated;
use super::release::{ReleaseVerdict, was_repaired};
use super::session::Check;
use super::{Tracker, fronts, glibc};
use crate::capture::EventPlace;
use crate::detect::closed::Closed;
use crate::detect::damage;
use crate::detect::diagnose::{self, Attempt};
use crate::detect::imprint::MomentKind;
use crate::ledger::record::flag;
use crate::ledger::{
    BlockRecord, BlockState, Epoch, Event, FamilyId, Found, NewBlock, Outcome, StackId, Ticket,
};
use crate::memory::{Address, ByteCount};

/// Flags that say whose block it is: the new block's are the old one's.
const OWNER_FLAGS: u32 = flag::INTERPRETERS_OWN | flag::RUNTIMES_OWN;

/// A resize under way: the old block is withdrawn, and must be restored when the real call fails.
#[must_use = "a resize that is not finished leaves the old block out of the ledger"]
#[derive(Debug)]
pub struct Resize {
    ticket: Ticket,
    /// Who may release the new block.
    family: FamilyId,
    stack: StackId,
    place: EventPlace,
    before: Option<BlockRecord>,
    /// The new block, when the old one is to be withheld: where it is, and its flags.
    fresh: Option<(Address, u32)>,
    /// Whether glibc's words around the old block are damaged, so that it must never go back.
    must_keep: bool,
    /// When the resize began: the new block's epoch.
    epoch: Epoch,
    /// The old block's flags: the new one is of the same kind.
    pub flags: u32,
}

/// A resize as it reaches us.
#[derive(Clone, Copy, Debug)]
pub struct Resizing {
    /// The family of the function that was called.
    pub family: FamilyId,
    /// The size that the program wants, in bytes.
    pub size: usize,
    /// The new block's epoch (`Allocated::epoch`).
    pub epoch: Epoch,
    /// Whether the old memory may be withheld: only when the real function is glibc's.
    pub may_withhold: bool,
}

/// A larger block than this grows where it is, if glibc can arrange it: moving it would cost more
/// than the write through an old pointer that it may show.
const MOVED_BYTE_MAX: usize = 1 << 20;
/// A block of more bytes than this moves only when it grows by a quarter, so that a program which
/// grows it in small steps copies each byte a few times and not once for each step.
const MOVED_OFTEN_BYTE_MAX: usize = 4_096;

/// Whether a block that grows to `size` bytes gets another address, so that the old one can be
/// withheld.
const fn moves_to_grow(old: usize, size: usize) -> bool {
    let is_step = old > MOVED_OFTEN_BYTE_MAX && size < old + old / 4;
    size > old && old <= MOVED_BYTE_MAX && !is_step
}

/// Whether `realloc` of a block of another family is carried out when it has been reported: where
/// glibc has the memory all the same. Null would tell the program that memory is short.
fn is_carried_out(resizing: Resizing, owner: FamilyId, flags: u32) -> bool {
    let has_glibc = matches!(
        owner,
        FamilyId::NEW | FamilyId::NEW_ARRAY | FamilyId::HEAPLEDGER
    );
    resizing.family == FamilyId::MALLOC
        && has_glibc
        && resizing.may_withhold
        && flags & flag::ADOPTED == 0
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
        resizing: Resizing,
        place: EventPlace,
    ) -> ResizeVerdict {
        let family = resizing.family;
        let Some(found) = self.ledger.find(pointer) else {
            return ResizeVerdict::Unknown;
        };
        let attempt = Attempt::Resize(family);
        let (_, owner) = found.extent();
        if !diagnose::may_release(family, owner) {
            let is_live = found.state() == Some(BlockState::Live);
            let verdict = self.refuse_mismatch(found, attempt, place);
            if !(is_live && is_carried_out(resizing, owner, found.flags())) {
                return verdict.into();
            }
        }
        if found.flags() & flag::VIEWED != 0 && self.leaves_views(&found, attempt, &place) {
            return ResizeVerdict::Refused;
        }
        let before = found.read();
        if let Some(record) = before.filter(|record| record.flags & flag::GUARDED != 0) {
            self.report_guarded_damage(&record, (MomentKind::Resize, place));
        }
        let stack = self.capture.here(place);
        // Allocated before the old block is withdrawn: so there is nothing to restore.
        let fresh = before.and_then(|old| self.fresh_for(&old, resizing));
        let event = if fresh.is_some() {
            Event::Withhold
        } else {
            Event::GiveBack
        };
        match self.ledger.release(&found, event, stack) {
            Ok(ticket) => {
                let must_keep = self.must_move(&found, place);
                let resize = Resize {
                    ticket,
                    family: if owner == FamilyId::ADOPTED {
                        owner
                    } else {
                        family
                    },
                    stack,
                    place,
                    before,
                    fresh,
                    must_keep,
                    epoch: resizing.epoch,
                    flags: before.map_or(0, |record| record.flags),
                };
                if must_keep || fresh.is_some() {
                    ResizeVerdict::Move(resize)
                } else {
                    ResizeVerdict::Proceed(resize)
                }
            }
            Err(outcome) => {
                self.give_up(fresh);
                match outcome {
                    Outcome::ReleasedBefore => self.refuse_second(found, attempt, place).into(),
                    _ => ResizeVerdict::Unknown,
                }
            }
        }
    }

    /// Another block for one that grows and may be withheld.
    fn fresh_for(&self, old: &BlockRecord, resizing: Resizing) -> Option<(Address, u32)> {
        let size = resizing.size;
        let moves = resizing.may_withhold
            && !diagnose::is_released(old.state)
            && old.flags & (flag::GUARDED | flag::ADOPTED) == 0
            && self.session.is_on(Check::Quarantine)
            && (self.quarantine.takes(old.size.get() as u64) || Closed::takes(old.size))
            && moves_to_grow(old.size.get(), size);
        if moves { self.fresh(size) } else { None }
    }

    /// A block of `size` bytes, between guard pages when it is its turn, and its flags.
    fn fresh(&self, size: usize) -> Option<(Address, u32)> {
        if let Some(address) = self.place_guarded(size) {
            return Some((address, flag::GUARDED));
        }
        let room = self.room_for(size)?;
        Some((glibc::allocate(room.byte_count)?, room.flags))
    }

    /// Gives a block back that nobody has seen.
    fn give_up(&self, fresh: Option<(Address, u32)>) {
        match fresh {
            Some((address, flags)) if flags & flag::GUARDED != 0 => self.close_moved(address),
            // SAFETY: `fresh` got the block from glibc, and it went to nobody.
            Some((address, _)) => unsafe { glibc::release(address) },
            None => {}
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a finished resize is spent")]
    /// Records the new block, or restores the old one when the real call failed (`None`).
    pub fn finish_resize(&self, resize: Resize, outcome: Option<Allocated>) {
        let Resize {
            ticket,
            stack,
            before,
            fresh,
            must_keep,
            ..
        } = resize;
        let went_back = fresh.is_none() && !must_keep;
        if let Some(block) = outcome {
            if let Some(before) = before
                && went_back
            {
                // SAFETY: the caller won the release, and glibc has the block.
                unsafe { fronts::give_back(before.address, before.size, before.flags) };
            }
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
            self.settle_damage(found, damage, (MomentKind::Resize, place));
        }
        let flags = found.flags();
        if flags & flag::VERIFIED != 0 {
            // That was before the release.
            found.set_flags(flags & !flag::VERIFIED);
        }
        must_move
    }

    /// Resizes by allocating another block and copying; the old one is withheld, or never given back
    /// where the words of glibc's around it are damaged. `None`
    /// when there is no memory: then the old block is as it was.
    pub fn move_block(&self, resize: Resize, size: usize) -> Option<Address> {
        let moved = resize.fresh.or_else(|| self.fresh(size));
        let (Some((address, flags)), Some(old)) = (moved, resize.before) else {
            self.finish_resize(resize, None);
            return None;
        };
        let kept_byte_count = old.size.get().min(size);
        // SAFETY: the old block was withdrawn and is not given back, the new one is not known yet;
        // both have this many bytes.
        unsafe { glibc::copy(old.address, address, kept_byte_count) };
        if old.flags & flag::GUARDED != 0 {
            self.close_moved(old.address);
        } else if resize.fresh.is_some() {
            self.withhold_moved(resize.ticket, old.size, resize.must_keep, &resize.place);
        } else {
            self.kept.count(old.size);
        }
        let block = Allocated {
            address,
            size: ByteCount::new(size),
            family: resize.family,
            epoch: resize.epoch,
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
            epoch: before.epoch,
            flags: before.flags,
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn blocks_move_to_grow_unless_that_would_copy_them_over_and_over() {
        assert!(moves_to_grow(16, 17));
        assert!(moves_to_grow(
            MOVED_OFTEN_BYTE_MAX,
            MOVED_OFTEN_BYTE_MAX + 1
        ));
        assert!(!moves_to_grow(100_000, 100_001), "a small step");
        assert!(moves_to_grow(100_000, 125_000));
        assert!(!moves_to_grow(16, 16) && !moves_to_grow(16, 8));
        assert!(!moves_to_grow(MOVED_BYTE_MAX + 1, usize::MAX));
    }
}
