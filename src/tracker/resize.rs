//! Deciding a resize, and what follows from how the real call went.

use super::allocate::Allocated;
use super::{Tracker, release::ReleaseVerdict};
use crate::capture::EventPlace;
use crate::detect::diagnose::{self, Attempt};
use crate::ledger::{BlockRecord, Event, FamilyId, NewBlock, Outcome, StackId, Ticket};
use crate::memory::Address;

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
        let stack = self.capture.here(place);
        match self.ledger.release(&found, Event::GiveBack, stack) {
            Ok(ticket) => {
                self.report_damaged_redzone(&found, place);
                ResizeVerdict::Proceed(Resize {
                    ticket,
                    stack,
                    before,
                    flags: before.map_or(0, |record| record.flags),
                })
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
