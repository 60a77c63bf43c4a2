//! Reporting pointers that were cut on their way to Python.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::diagnose;
use crate::memory::Address;

impl Tracker {
    /// Reports that a foreign function returned `value`, the low 32 bits of the address of a live
    /// block. Called with the reentry flag up, while the call is still in progress.
    #[cold]
    pub fn report_truncated_pointer(&self, block: Address, value: usize, place: EventPlace) {
        let record = self.ledger.find(block).and_then(|found| found.read());
        let Some(record) = record.filter(|record| self.vouches_for_copy(record)) else {
            return;
        };
        let at = self.occurrence(place);
        self.found(&diagnose::truncated(&record, value, at));
    }
}
