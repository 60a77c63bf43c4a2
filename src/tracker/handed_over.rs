//! What foreign calls gave to Python: which blocks, and what became of the pointers.

use super::Tracker;
use super::stack_set::StackSet;
use crate::capture::ForeignFunctionId;
use crate::detect::diagnose;
use crate::ledger::StackId;
use crate::ledger::record::flag;
use crate::memory::Address;

impl Tracker {
    /// Notes that a foreign call handed this block to Python; `false` when no live block starts
    /// there.
    pub fn mark_handed_to_python(&self, block: Address) -> bool {
        self.mark_returned_to_python(block, ForeignFunctionId::NONE)
    }

    /// The same where the call of `function` returned the block.
    ///
    /// A function that returns a block which Python has had already, and which it allocated itself,
    /// keeps its blocks to give them out again: a pool of objects, a table of what was asked for
    /// before.
    pub fn mark_returned_to_python(&self, block: Address, function: ForeignFunctionId) -> bool {
        let Some(found) = self.ledger.find(block) else {
            return false;
        };
        let live = found
            .read()
            .filter(|record| !diagnose::is_released(record.state));
        let Some(record) = live else {
            return false;
        };
        if record.flags & flag::HANDED_TO_PYTHON == 0 {
            found.raise(flag::HANDED_TO_PYTHON);
        } else if self
            .capture
            .is_in_foreign_function(record.allocated, function)
        {
            self.given_again.add(record.allocated);
        }
        true
    }

    /// Whether blocks allocated at a stack were given to Python more than once by what allocates
    /// them.
    #[must_use]
    pub fn is_given_again(&self, allocated: StackId) -> bool {
        self.given_again.contains(allocated)
    }

    /// Notes that ctypes has copied the text in a block and dropped the pointer to it. Called with
    /// the reentry flag up.
    pub fn note_copied_result(&self, block: Address) {
        if let Some(record) = self.ledger.find(block).and_then(|found| found.read()) {
            self.copied_results.add(record.allocated);
        }
    }

    /// Whether the pointers to blocks allocated at a stack were dropped so.
    #[must_use]
    pub fn is_copied_result(&self, allocated: StackId) -> bool {
        self.copied_results.contains(allocated)
    }

    /// Notes of both kinds that found no room: of copied results, and of blocks given again.
    pub(super) fn dropped_note_counts(&self) -> [u64; 2] {
        [&self.copied_results, &self.given_again].map(StackSet::dropped_count)
    }
}
