//! What leaves the quarantine: looked at for damage, and given back to glibc unless that would abort.

#![expect(unsafe_code, reason = "looks at withheld blocks and gives them back")]
#![expect(
    clippy::inline_always,
    reason = "the path of every release of a recorded block is one piece"
)]

use super::release::was_repaired;
use super::{Tracker, fronts, glibc};
use crate::capture::EventPlace;
use crate::detect::damage::{self, Damage};
use crate::detect::imprint::MomentKind;
use crate::detect::quarantine::Evict;
use crate::detect::size_word;
use crate::ledger::{BlockRecord, BlockState, Found, Ticket};
use crate::memory::prefetch::prefetch;
use crate::memory::reentry::OurOwnWork;

/// Who sees to the blocks that leave the quarantine, and what led to it.
pub(super) struct Evicting<'a>(pub(super) &'a Tracker, pub(super) &'a EventPlace);

impl Evict for Evicting<'_> {
    #[inline]
    fn approach(&self, ticket: Ticket) {
        self.0.ledger.prefetch(ticket);
        prefetch(size_word::place(ticket.word.address()));
    }

    #[inline]
    fn come_near(&self, ticket: Ticket) {
        // The redzone lies at the end, which only the record tells.
        if let Some(size) = self.0.ledger.size_of(ticket) {
            prefetch(ticket.word.address().offset_by(size.get()));
        }
    }

    #[inline(always)]
    fn evict(&self, ticket: Ticket) {
        self.0.evict(ticket, self.1);
    }

    fn evict_at_once(&self, ticket: Ticket) {
        self.0.evict_at_once(ticket, self.1);
    }
}

impl Tracker {
    /// [`Self::evict`], where it is not part of the path of every release.
    #[inline(never)]
    pub(super) fn evict_at_once(&self, ticket: Ticket, place: &EventPlace) {
        self.evict(ticket, place);
    }

    /// Gives back what is withheld, because memory or addresses are short. `true` when that may have
    /// helped.
    #[cold]
    pub fn make_room(&self) -> bool {
        let Some(_ours) = OurOwnWork::begin() else {
            return false;
        };
        self.make_room_for_own()
    }

    /// The same for our own functions, with the reentry flag up.
    pub(super) fn make_room_for_own(&self) -> bool {
        self.drain_quarantine();
        self.closed
            .drain(|ticket| self.evict_at_once(ticket, &EventPlace::UNKNOWN))
    }

    /// Takes a block out of the quarantine, looks for damage and gives it back to glibc, unless
    /// that would abort over the words next to it.
    #[inline(always)]
    fn evict(&self, ticket: Ticket, place: &EventPlace) {
        let Some((found, flags)) = self.ledger.take_out(ticket) else {
            return;
        };
        let (block, (size, _)) = (found.address(), found.extent());
        // SAFETY: `carry_out` withheld the block; the ledger's compare-and-swap made this thread the
        // only one to take it out, and it has not given it back yet.
        let is_intact = unsafe { damage::is_withheld_intact(block, size, flags) };
        if !is_intact || was_repaired(flags) {
            // SAFETY: as above.
            let damage = unsafe { damage::of_withheld(block, size, flags) };
            if self.keep_damaged(&found, damage, flags, *place) {
                return;
            }
        }
        // SAFETY: as above.
        unsafe { fronts::give_back(block, size, flags) };
        // SAFETY: the block was allocated by glibc and withheld by `carry_out`; the ledger's
        // compare-and-swap made this thread the only one to take it out.
        unsafe { glibc::release(block) };
    }

    /// Reports the damage to a block that was just taken out of the quarantine with these flags;
    /// whether glibc would abort over it, so that the block must not go back.
    #[cold]
    fn keep_damaged(
        &self,
        found: &Found<'_>,
        damage: Damage,
        flags: u32,
        place: EventPlace,
    ) -> bool {
        if damage.is_any() {
            let as_withheld = BlockRecord {
                state: BlockState::Quarantined,
                flags,
                ..found.read().unwrap_or_else(|| found.outline())
            };
            let after = self.last_intact(&as_withheld);
            self.report_damage(&as_withheld, damage, after, (MomentKind::Eviction, place));
        }
        let keep = damage.spreads() || was_repaired(flags);
        if keep {
            self.kept.count(found.extent().0);
        }
        keep
    }
}
