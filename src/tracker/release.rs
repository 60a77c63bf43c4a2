//! Deciding a release, and giving memory back.

#![expect(
    unsafe_code,
    reason = "looks at blocks whose release it has won, and gives them back"
)]

use super::session::Check;
use super::{Tracker, glibc};
use crate::capture::EventPlace;
use crate::detect::diagnose::{self, Attempt, Occurrence};
use crate::detect::quarantine::Quarantine;
use crate::detect::{Finding, PointerPlace, redzone};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Event, FamilyId, Found, Outcome, ThreadNumber, Ticket};
use crate::memory::sync::spin;
use crate::memory::{Address, regions};

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
        let Some(found) = self.ledger.find(release.pointer) else {
            return ReleaseVerdict::Unknown;
        };
        let (size, family) = found.extent();
        let attempt = Attempt::Release(release.family);
        if !diagnose::may_release(release.family, family) {
            return self.refuse_mismatch(found, attempt, place);
        }
        let withhold = release.may_withhold
            && self.session.is_on(Check::Quarantine)
            && Quarantine::takes(size.get() as u64);
        let event = if withhold {
            Event::Withhold
        } else {
            Event::GiveBack
        };
        let here = self.capture.here(place);
        match self.ledger.release(&found, event, here) {
            Ok(ticket) => self.carry_out(&found, ticket, withhold, place),
            Err(Outcome::ReleasedBefore) => self.refuse_second(found, attempt, place),
            Err(_) => ReleaseVerdict::Unknown,
        }
    }

    /// The winner's part: everything that must happen before the memory can be reused.
    fn carry_out(
        &self,
        found: &Found<'_>,
        ticket: Ticket,
        withhold: bool,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let damaged = self.report_damaged_redzone(found, place);
        if !withhold {
            return if damaged {
                ReleaseVerdict::Withheld
            } else {
                ReleaseVerdict::Execute
            };
        }
        let (size, _) = found.extent();
        let Some(corner) = self.ledger.corner_index() else {
            return match self.ledger.evict(ticket) {
                Some(_) => ReleaseVerdict::Execute,
                None => ReleaseVerdict::Withheld,
            };
        };
        // SAFETY: this thread won the release, and the quarantine does not have the block yet.
        unsafe { redzone::poison(ticket.word.address(), size) };
        let evict = |oldest| self.evict(oldest);
        if damaged
            || self
                .quarantine
                .withhold(corner, ticket, size.get() as u64, evict)
        {
            return ReleaseVerdict::Withheld;
        }
        self.evict(ticket);
        ReleaseVerdict::Withheld
    }

    /// Takes a block out of the quarantine, looks for damage and gives it back to glibc. A damaged
    /// block stays withheld for ever: what lies behind it may be damaged too.
    pub(super) fn evict(&self, ticket: Ticket) {
        let before = self.ledger.read(ticket);
        let Some(block) = self.ledger.evict(ticket) else {
            return;
        };
        if before.is_some_and(|record| self.report_damaged_poison(&record)) {
            return;
        }
        // SAFETY: the block was allocated by glibc and withheld by `carry_out`; the ledger's
        // compare-and-swap made this thread the only one to take it out.
        unsafe { glibc::release(block) };
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

    #[cold]
    pub(super) fn refuse_second(
        &self,
        found: Found<'_>,
        attempt: Attempt,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let at = self.occurrence(place);
        let record = read_released(&found).unwrap_or_else(|| found.outline());
        self.found(&diagnose::released_before(&record, attempt, at));
        ReleaseVerdict::Refused
    }

    #[cold]
    pub(super) fn refuse_mismatch(
        &self,
        found: Found<'_>,
        attempt: Attempt,
        place: EventPlace,
    ) -> ReleaseVerdict {
        let live = found
            .read()
            .filter(|record| !diagnose::is_released(record.state));
        let Some(record) = live else {
            return self.refuse_second(found, attempt, place);
        };
        let at = self.occurrence(place);
        self.found(&diagnose::mismatched(&record, attempt, at));
        ReleaseVerdict::Refused
    }

    /// Looks behind a block whose release this thread has won; reports what it finds there.
    pub(super) fn report_damaged_redzone(&self, found: &Found<'_>, place: EventPlace) -> bool {
        if found.flags() & flag::REDZONE == 0 {
            return false;
        }
        let Some(record) = found.read() else {
            return false;
        };
        // SAFETY: the flag says that `arm` was called for this size; the release is won and the
        // memory not yet given back.
        let Some(offset) = (unsafe { redzone::damage_behind(record.address, record.size) }) else {
            return false;
        };
        self.report_overflow(&record, offset, self.occurrence(place));
        true
    }

    pub(super) fn report_overflow(&self, record: &BlockRecord, offset: usize, at: Occurrence) {
        self.found(&diagnose::overflow(record, offset, at));
    }

    fn report_damaged_poison(&self, record: &BlockRecord) -> bool {
        // SAFETY: `carry_out` poisoned every block it withheld, with the record's size, and the
        // caller has taken this one out without giving it back yet.
        let Some(offset) = (unsafe { redzone::damage_inside(record.address, record.size) }) else {
            return false;
        };
        let at = self.occurrence(EventPlace::UNKNOWN);
        self.found(&diagnose::write_after_free(record, offset, at));
        true
    }
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
