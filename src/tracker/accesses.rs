//! What follows when somebody touches a closed page.
//!
//! The signal handler runs on the thread that made the access, which is in the program's code then:
//! it holds no lock of ours. So the finding is stored at once. Telling the program of it waits for
//! the next event: the stack for signals may be too small for what a callback does.

use super::{Tracker, existing};
use crate::capture::{EventPlace, LocationId, Registers};
use crate::detect::damage;
use crate::detect::diagnose;
use crate::detect::fault::{self, Fault};
use crate::detect::finding::Access;
use crate::detect::guard::Nearby;
use crate::detect::{Finding, FindingKind};
use crate::ledger::{BlockRecord, StackId, Ticket};
use crate::memory::reentry::OurOwnWork;
use crate::memory::sync::Ordering;
use crate::memory::{Address, FrameAddress};

/// The block that an access was near to, what the access was to it, and how far from its start.
type Judged = (BlockRecord, FindingKind, i64);

impl Tracker {
    /// Stores what an access was, in the signal handler.
    fn report_fault(&self, fault: Fault, nearby: Nearby) {
        if let Some(judged) = self.judge_access(fault.address, nearby) {
            self.report_access(fault, self.with_its_beginning(fault, judged));
        }
    }

    /// A write to a closed page beside a live block mostly began in the checked bytes between them, and
    /// what it leaves there is not reported a second time.
    fn with_its_beginning(&self, fault: Fault, judged: Judged) -> Judged {
        let (record, kind, offset) = judged;
        if fault.is_write != Some(true) || kind == FindingKind::UseAfterFree {
            return judged;
        }
        self.note_told(&record, kind, StackId::UNKNOWN);
        let behind = damage::by_copy(&record).and_then(|damage| damage.behind);
        let began = behind.and_then(|behind| i64::try_from(behind.offset).ok());
        match (kind, began) {
            (FindingKind::HeapOverflow, Some(began)) => (record, kind, began.min(offset)),
            _ => judged,
        }
    }

    /// Stores the access to a closed block, in the signal handler.
    fn report_closed(&self, fault: Fault, ticket: Ticket) {
        let Some(record) = self.ledger.read(ticket) else {
            return;
        };
        if let Some((kind, offset)) = diagnose::access_kind(&record, fault.address) {
            self.report_access(fault, (record, kind, offset));
        }
    }

    fn report_access(&self, fault: Fault, judged: Judged) {
        let (record, kind, offset) = judged;
        let place = place_of(fault);
        let finding = Finding {
            access: match fault.is_write {
                Some(true) => Access::Write,
                Some(false) => Access::Read,
                None => Access::Unknown,
            },
            ..diagnose::accessed(kind, &record, offset, self.occurrence(place))
        };
        self.guarded.access_count.fetch_add(1, Ordering::Relaxed);
        let is_new = self.findings.add(&finding);
        self.guarded.note_pending(finding, is_new);
    }

    /// The nearer of the two blocks, and what an access at `address` is to it. `None` inside a live
    /// block: another thread has opened the page meanwhile.
    fn judge_access(&self, address: Address, nearby: Nearby) -> Option<Judged> {
        let record = |block: Address| self.ledger.find(block)?.read();
        let near = record(nearby.block);
        let next = nearby.next.and_then(record);
        let distance = |record: &BlockRecord| {
            let start = record.address.get();
            let end = start + record.size.get();
            start
                .saturating_sub(address.get())
                .max((address.get() + 1).saturating_sub(end))
        };
        let record = [near, next]
            .into_iter()
            .flatten()
            .min_by_key(|record| distance(record))?;
        diagnose::access_kind(&record, address).map(|(kind, offset)| (record, kind, offset))
    }
}

/// Where an access was made.
pub(super) fn place_of(fault: Fault) -> EventPlace {
    // One past the instruction, where a return address would be.
    let return_address = fault.instruction + 1;
    EventPlace {
        caller: FrameAddress::from_return_address(return_address),
        registers: Registers {
            return_address,
            stack_pointer: fault.stack_pointer,
            frame_pointer: fault.frame_pointer,
        },
        location: LocationId::NONE,
    }
}

/// Makes sure that accesses to closed pages come to us; `false` where that is not possible.
pub(super) fn watch_accesses() -> bool {
    fault::install(judge)
}

/// Decides, in the signal handler, whether an access may go on.
pub(super) fn judge(fault: Fault, registers: &mut [i64]) -> bool {
    let Some(tracker) = existing() else {
        return false;
    };
    if let Some(ticket) = tracker.closed.find(fault.address) {
        if let Some(_ours) = OurOwnWork::begin() {
            tracker.report_closed(fault, ticket);
        }
        return tracker.closed.let_pass(fault.address);
    }
    if let Some(guard) = tracker.guarded.window_at(fault.address) {
        return tracker.substitute(guard, fault, registers);
    }
    let Some((guard, nearby)) = tracker.guarded.nearby(fault.address) else {
        return false;
    };
    // Our own look at the words in front of a block is not the program's error.
    if let Some(_ours) = OurOwnWork::begin() {
        tracker.report_fault(fault, nearby);
    }
    guard.let_pass(fault.address)
}
