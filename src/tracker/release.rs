//! Deciding a release, and what happens before its memory can be reused.

#![expect(
    unsafe_code,
    reason = "looks at blocks whose release it has won, and fills them"
)]
#![expect(
    clippy::inline_always,
    reason = "the path of every release of a recorded block is one piece"
)]

use super::accesses::watch_accesses;
use super::evict::Evicting;
use super::session::Check;
use super::{Tracker, fronts};
use crate::capture::EventPlace;
use crate::detect::closed::Closed;
use crate::detect::damage::{self, Damage};
use crate::detect::diagnose::{self, Attempt};
use crate::detect::imprint::{Moment, MomentKind};
use crate::detect::size_word::SizeWord;
use crate::detect::{Finding, FindingKind, PointerPlace, poison, redzone};
use crate::ledger::record::flag;
use crate::ledger::{
    BlockRecord, BlockState, Event, FamilyId, Found, Outcome, StackId, ThreadNumber, Ticket,
};
use crate::memory::sync::{Ordering, spin};
use crate::memory::{Address, ByteCount, regions};

/// How long a loser waits for the winner of a release to write down where it happened.
const RELEASE_NOTE_SPIN_COUNT: usize = 10_000;

/// What the caller of the real release function must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReleaseVerdict {
    /// Carry it out.
    Execute,
    /// Nothing: the quarantine holds the memory, and gives it back later.
    Withheld,
    /// Nothing: it is the program's error, and has been reported.
    Refused,
    /// The ledger does not know the pointer: the caller decides.
    Unknown,
}

/// A release as it reaches us.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// What the program passed; not null.
    pub pointer: Address,
    /// The family of the function it called.
    pub family: FamilyId,
    /// Whether the memory may be withheld: only when the real release is glibc's `free`.
    pub may_withhold: bool,
}

impl Tracker {
    /// Decides a release before it is carried out. Called with the reentry flag up.
    #[inline]
    pub fn note_release(&self, release: Release, place: EventPlace) -> ReleaseVerdict {
        match self.ledger.find(release.pointer) {
            Some(found) => self.note_release_of(&found, release, place),
            None => ReleaseVerdict::Unknown,
        }
    }

    /// The same for a pointer that was looked up: `found` is what the ledger has at it.
    #[inline(always)]
    pub fn note_release_of(
        &self,
        found: &Found<'_>,
        release: Release,
        place: EventPlace,
    ) -> ReleaseVerdict {
        self.announce_pending();
        self.check_in_turn(&place);
        let (size, family) = found.extent();
        let attempt = Attempt::Release(release.family);
        if !diagnose::may_release(release.family, family) {
            return self.refuse_mismatch(*found, attempt, place);
        }
        let flags = found.flags();
        if flags & (flag::GUARDED | flag::VIEWED) != 0 {
            if flags & flag::VIEWED != 0 && self.leaves_views(found, attempt, &place) {
                return ReleaseVerdict::Refused;
            }
            if flags & flag::GUARDED != 0 {
                return self.release_guarded(found, attempt, place);
            }
        }
        let withhold = release.may_withhold
            && self.session.is_on(Check::Quarantine)
            && (self.quarantine.takes(size.get() as u64) || Closed::takes(size));
        let event = if withhold {
            Event::Withhold
        } else {
            Event::GiveBack
        };
        let here = self.capture.at(&place);
        match self.ledger.release(found, event, here) {
            Ok(ticket) => self.carry_out(found, ticket, withhold, place),
            Err(Outcome::ReleasedBefore) => self.refuse_second(*found, attempt, place),
            Err(_) => ReleaseVerdict::Unknown,
        }
    }

    /// The winner's part: everything that must happen before the memory can be reused.
    #[inline(always)]
    fn carry_out(
        &self,
        found: &Found<'_>,
        ticket: Ticket,
        withhold: bool,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let (size, _) = found.extent();
        let flags = found.flags();
        let block = ticket.word.address();
        // SAFETY: this thread won the release, and the memory has not gone back.
        let is_intact = unsafe { damage::is_intact_around(block, size, flags) };
        let (flags, keep) = if is_intact {
            (flags, was_repaired(flags))
        } else {
            // SAFETY: as above.
            let damage = unsafe { damage::around(block, size, flags) };
            let keep = damage.spreads() || was_repaired(flags);
            (
                self.settle_damage(found, damage, (MomentKind::Release, place)),
                keep,
            )
        };
        if keep {
            self.kept.count(size);
        }
        if !withhold {
            if keep {
                return ReleaseVerdict::Withheld;
            }
            // SAFETY: this thread won the release.
            unsafe { fronts::give_back(block, size, flags) };
            return ReleaseVerdict::Execute;
        }
        // SAFETY: this thread won the release, and the quarantine does not have the block yet.
        unsafe { poison::poison(block, size) };
        found.set_flags((flags | flag::POISONED) & !flag::VERIFIED);
        if !keep {
            self.lock_away(ticket, (size, flags), &place);
        }
        ReleaseVerdict::Withheld
    }

    /// Puts a filled block into the quarantine, or gives it back where there is no place for it.
    #[inline(always)]
    fn lock_away(&self, ticket: Ticket, (size, flags): (ByteCount, u32), place: &EventPlace) {
        if Closed::takes(size) {
            self.close(ticket, size, place);
            return;
        }
        let is_withheld = self.ledger.corner_index().is_some_and(|corner| {
            let byte_count = memory_of(ticket.word.address(), size, flags);
            self.quarantine
                .withhold(corner, ticket, byte_count, &Evicting(self, place))
        });
        if !is_withheld {
            self.evict_at_once(ticket, place);
        }
    }

    /// Closes a large block, or gives it back where that cannot be.
    #[inline(never)]
    fn close(&self, ticket: Ticket, size: ByteCount, place: &EventPlace) {
        let evict = |oldest| self.evict_at_once(oldest, place);
        if !(watch_accesses() && self.closed.withhold(ticket, size, evict)) {
            self.evict_at_once(ticket, place);
        }
    }

    /// Withholds a block that was released with [`Event::Withhold`] because it moved elsewhere.
    /// One that must be kept stays filled, and never goes back.
    #[inline(never)]
    pub(super) fn withhold_moved(
        &self,
        ticket: Ticket,
        size: ByteCount,
        must_keep: bool,
        place: &EventPlace,
    ) {
        // SAFETY: the caller won the release, and the quarantine does not have the block yet.
        unsafe { poison::poison(ticket.word.address(), size) };
        self.ledger.flag_once(ticket, flag::POISONED);
        if must_keep {
            self.kept.count(size);
            return;
        }
        let flags = self.ledger.read(ticket).map_or(0, |record| record.flags);
        self.lock_away(ticket, (size, flags), place);
    }

    /// Reports the damage around a block whose release this thread has won, unless that has been
    /// done, and gives the flags with which the block is looked at from now on: what was found is
    /// not found again.
    #[cold]
    pub(super) fn settle_damage(&self, found: &Found<'_>, damage: Damage, noticed: Noticed) -> u32 {
        let mut flags = found.flags();
        // A look at everything may be about to report the same: the record as it was is no proof.
        let is_first = found.flag_once(flag::DAMAGE_REPORTED);
        if let Some(record) = found.read() {
            // What lies around the block was damaged while it was live.
            let as_live = BlockRecord {
                state: BlockState::Live,
                ..record
            };
            let after = self.last_intact(&as_live);
            if is_first {
                let record = BlockRecord {
                    flags: record.flags & !flag::DAMAGE_REPORTED,
                    ..record
                };
                self.report_damage(&record, damage, after, noticed);
            }
            if damage.behind.is_some() {
                let remembered = SizeWord::from_flags(record.flags, record.address);
                // SAFETY: the redzone was armed before, and the block is released.
                unsafe { redzone::arm(record.address, record.size, remembered) };
            }
        }
        if damage.before.is_some() {
            flags &= (1 << flag::BIT_COUNT) - 1;
        }
        flags &= !flag::DAMAGE_REPORTED;
        found.set_flags(flags);
        flags
    }

    /// The last moment at which a block is known to have been intact.
    pub(super) fn last_intact(&self, record: &BlockRecord) -> Moment {
        let last_check = StackId(self.last_check.load(Ordering::Relaxed));
        diagnose::last_intact(record, last_check)
    }

    /// Reports what was seen of a block that is held, unless its damage has been reported; `false` then.
    #[cold]
    pub(super) fn report_damage_once(
        &self,
        ticket: Ticket,
        record: &BlockRecord,
        damage: Damage,
        noticed: Noticed,
    ) -> bool {
        let is_first = self.ledger.flag_once(ticket, flag::DAMAGE_REPORTED);
        if is_first {
            let after = self.last_intact(record);
            self.report_damage(record, damage, after, noticed);
        }
        is_first
    }

    /// Reports damage that has not been reported.
    #[cold]
    pub(super) fn report_damage(
        &self,
        record: &BlockRecord,
        damage: Damage,
        after: Moment,
        (kind, place): Noticed,
    ) {
        if record.flags & flag::DAMAGE_REPORTED != 0 {
            return;
        }
        let mut damage = damage;
        if record.flags & flag::GUARDED != 0 {
            // Nothing of glibc's is there to be put right.
            let is_untold = |kind| self.told_at(record, kind).is_none();
            damage.before = damage
                .before
                .filter(|_| is_untold(FindingKind::HeapUnderflow));
            damage.behind = damage
                .behind
                .filter(|_| is_untold(FindingKind::HeapOverflow));
        }
        if damage.before.is_some() {
            if self.blame_block_in_front(record, place) {
                damage.before = None;
            } else {
                self.restore_size_word(record);
            }
        }
        damage.behind = damage
            .behind
            .filter(|behind| !self.blame_block_behind(record, *behind, place));
        let at = self.occurrence(place);
        let before = Moment {
            kind,
            stack: at.here,
        };
        let nearer = |behind| self.nearer_block_behind(record, behind);
        let next = damage.behind.and_then(nearer);
        for finding in diagnose::damaged(record, damage, (after, before), at) {
            if let Some(told) = self.told_at(record, finding.kind) {
                self.findings.bring_up(finding.kind, record.allocated, told);
                continue;
            }
            let next = next.filter(|_| finding.kind == FindingKind::HeapOverflow);
            self.found(&Finding { next, ..finding });
        }
        if damage.behind.is_some_and(|behind| behind.reaches_end) {
            self.repair_behind(record);
        }
    }

    /// Reports a pointer at which no recorded block starts, after finding out what it points at.
    #[cold]
    pub fn refuse_unknown(&self, pointer: Address, attempt: Attempt, place: EventPlace) {
        let inside = self.ledger.containing(pointer);
        let region = regions::region_of(pointer);
        let at = self.occurrence(place);
        self.found(&diagnose::not_a_block(
            pointer,
            inside.as_ref(),
            region,
            attempt,
            at,
        ));
    }

    /// Reports an invalid release whose pointer has been judged already.
    #[cold]
    pub fn report_invalid_release(
        &self,
        pointer: Address,
        judged: (PointerPlace, Option<BlockRecord>),
        family: FamilyId,
        place: EventPlace,
    ) {
        let (pointer_place, inside) = judged;
        let at = self.occurrence(place);
        let attempt = Attempt::Release(family);
        let region = regions::Region::Mapped;
        let finding = diagnose::not_a_block(pointer, inside.as_ref(), region, attempt, at);
        self.found(&Finding {
            place: pointer_place,
            ..finding
        });
    }

    /// Reports the release of a live block by a function of another family that was given `pointer`,
    /// a little beside the start: where an array of objects has its first, or would have its number.
    #[cold]
    pub fn refuse_shifted(
        &self,
        block: Address,
        pointer: Address,
        family: FamilyId,
        place: EventPlace,
    ) {
        let Some(found) = self.ledger.find(block) else {
            return;
        };
        let Some(record) = found.read() else { return };
        self.ledger.flag_once(found.ticket(), flag::REFUSED);
        let at = self.occurrence(place);
        let mismatched = diagnose::mismatched(&record, Attempt::Release(family), at);
        self.found(&diagnose::seen_at(mismatched, pointer));
    }

    #[cold]
    pub(super) fn refuse_second(
        &self,
        found: Found<'_>,
        attempt: Attempt,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let at = self.occurrence(place);
        let record = read_released(&found).unwrap_or_else(|| found.outline());
        if let Some(around) = self.block_in_its_place(&record) {
            let (pointer, region) = (record.address, regions::Region::Mapped);
            self.found(&diagnose::not_a_block(
                pointer,
                Some(&around),
                region,
                attempt,
                at,
            ));
            return ReleaseVerdict::Refused;
        }
        self.found(&diagnose::released_before(&record, attempt, at));
        ReleaseVerdict::Refused
    }

    /// The block that holds the memory of a released one now, and starts elsewhere: a pointer to where
    /// the released one was points into it.
    fn block_in_its_place(&self, released: &BlockRecord) -> Option<BlockRecord> {
        if released.state != BlockState::Freed {
            return None;
        }
        let around = self.ledger.containing(released.address)?;
        (around.state != BlockState::Freed && around.address != released.address).then_some(around)
    }

    #[cold]
    pub(super) fn refuse_mismatch(
        &self,
        found: Found<'_>,
        attempt: Attempt,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let record = match found.read() {
            Some(record) if record.state == BlockState::Live => record,
            Some(record) if diagnose::is_released(record.state) => {
                return self.refuse_second(found, attempt, place);
            }
            // Nothing is known any more of what was found a moment ago.
            Some(_) | None => return ReleaseVerdict::Unknown,
        };
        self.ledger.flag_once(found.ticket(), flag::REFUSED);
        let at = self.occurrence(place);
        self.found(&diagnose::mismatched(&record, attempt, at));
        ReleaseVerdict::Refused
    }
}

/// What led to a look at a block, and where.
pub(super) type Noticed = (MomentKind, EventPlace);

/// The memory that a block of this size holds, in bytes: glibc's chunk, where that is known.
#[inline]
fn memory_of(block: Address, size: ByteCount, flags: u32) -> u64 {
    let chunk = SizeWord::from_flags(flags, block).chunk_byte_count();
    chunk.max(size.get()) as u64
}

/// Whether damage to the block has been reported before, and glibc's words around it may have been
/// put right by guess: it must not go back.
pub(super) const fn was_repaired(flags: u32) -> bool {
    flags & flag::DAMAGE_REPORTED != 0
}

/// The record of a released block, once the winner has noted where it released it; `None` when it
/// describes another block by now.
fn read_released(found: &Found<'_>) -> Option<BlockRecord> {
    for _ in 0..RELEASE_NOTE_SPIN_COUNT {
        let record = found.read()?;
        if record.released_by != ThreadNumber::default() {
            return Some(record);
        }
        spin();
    }
    found.read()
}
