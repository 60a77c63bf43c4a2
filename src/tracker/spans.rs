//! Bytes that a call says it reads or writes, judged before it touches them.
//!
//! `memmove` and its kin name their bytes, and so does ctypes where it copies a text. Whether they lie in
//! a live block needs no closed page and no pattern then: the record knows. Only what is certain is
//! said. A live block is judged while its margin is intact, so that a record whose block went back unseen accuses
//! nobody, and of released blocks only those count that are withheld.
//!
//! Promises: one finding for one error. What the processor will tell of (guarded and closed blocks) is left
//! to it, and the damage that a write does which was told of here is not told of again.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::FindingKind;
use crate::detect::damage;
use crate::detect::diagnose;
pub use crate::detect::diagnose::Span;
use crate::detect::finding::{Access, Finding};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState};
use crate::memory::Address;
use crate::memory::pages::PAGE;

/// How far in front of a span the block may start that it begins in: more would take longer than the
/// short texts that are looked at most. A span at a block's start is found whatever the block's size.
const SEARCH_BYTE_COUNT: usize = 1_024;

/// A span that must not be accessed, and why.
#[derive(Debug)]
pub struct BadSpan {
    record: BlockRecord,
    span: Span,
    kind: FindingKind,
    offset: i64,
}

impl BadSpan {
    /// The same for `span`, the part of the bytes that was touched; `None` when that may be.
    #[must_use]
    pub fn shortened(self, span: Span) -> Option<Self> {
        let (kind, offset) = diagnose::span_kind(&self.record, &span)?;
        Some(Self {
            span,
            kind,
            offset,
            ..self
        })
    }
}

impl Tracker {
    /// Judges a span that begins in a released block, or leaves a live one; `None` for every other. Takes
    /// some loads, and neither allocates nor changes `errno`.
    #[inline]
    #[must_use]
    pub fn judge_span(&self, span: &Span) -> Option<BadSpan> {
        let record = self.held_at(span.start)?;
        let (kind, offset) = diagnose::span_kind(&record, span)?;
        Some(BadSpan {
            record,
            span: *span,
            kind,
            offset,
        })
    }

    /// Reports a span that was judged, if that is certain. Called with the reentry flag up, before the
    /// bytes are touched.
    #[cold]
    pub fn report_span(&self, bad: &BadSpan, place: EventPlace) {
        if !self.is_closed(&bad.record) && self.is_certain(bad) {
            self.report_transfer(bad, place);
        }
    }

    /// The same for bytes that the kernel has touched, of which the processor told nobody. That the span
    /// was certain had to be asked before.
    #[cold]
    pub fn report_transfer(&self, bad: &BadSpan, place: EventPlace) {
        let at = self.occurrence(place);
        if bad.span.access == Access::Write {
            self.note_told(&bad.record, bad.kind, at.here);
        }
        self.found(&Finding {
            access: bad.span.access,
            ..diagnose::accessed(bad.kind, &bad.record, bad.offset, at)
        });
    }

    /// Opens what is closed of the bytes, for the kernel, as an access to them would.
    #[cold]
    pub fn open_span(&self, bad: &BadSpan) {
        if !self.is_closed(&bad.record) {
            return;
        }
        let start = bad.span.start.get() / PAGE * PAGE;
        let asked = bad.span.start.offset_by(bad.span.byte_count).get();
        // The page behind the block is the last that is its own.
        let own = bad.record.range().end.next_multiple_of(PAGE) + PAGE;
        for page in (start..asked.min(own)).step_by(PAGE) {
            self.open_page(Address::new(page));
        }
    }

    /// The block whose memory has not gone back and that `start` lies in.
    #[inline]
    fn held_at(&self, start: Address) -> Option<BlockRecord> {
        let is_held = |state: BlockState| !state.is_gone();
        let exact = self.ledger.find(start);
        let exact = exact.filter(|found| found.state().is_some_and(is_held));
        let around = || self.ledger.held_before(start, SEARCH_BYTE_COUNT);
        let found = exact.or_else(around)?;
        let (size, _) = found.extent();
        if start.bytes_after(found.address())? >= size.get().max(1) {
            return None;
        }
        found.read()
    }

    /// Whether the processor tells of accesses to the block.
    fn is_closed(&self, record: &BlockRecord) -> bool {
        // Of a closed block the first and the last page may be open.
        let middle = record.address.offset_by(record.size.get() / 2);
        record.flags & flag::GUARDED != 0 || self.closed.find(middle).is_some()
    }

    /// Whether the record describes what is there: the block is withheld by us, or guarded, or the bytes behind
    /// it still hold the pattern, as they would not for a block that went back unseen and is another's.
    #[cold]
    #[must_use]
    pub fn is_certain(&self, bad: &BadSpan) -> bool {
        let record = &bad.record;
        let is_ours = record.state == BlockState::Quarantined
            || record.flags & (flag::GUARDED | flag::ADOPTED) != 0;
        let has_margin = record.flags & flag::REDZONE != 0;
        let is_intact = || damage::by_copy(record).is_some_and(|damage| !damage.is_any());
        self.vouches_for_copy(record) && (is_ours || has_margin && is_intact())
    }
}
