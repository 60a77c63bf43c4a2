//! Reporting a released block that a foreign call was given, when the process died in that call.

use super::Tracker;
use crate::capture::EventPlace;
use crate::detect::{FindingKind, diagnose};
use crate::memory::Address;

impl Tracker {
    /// Reports the block that starts at `pointer` when it has been released; nothing otherwise. Called
    /// with the reentry flag up, on the thread that made the call.
    #[cold]
    pub fn report_released_argument(&self, pointer: Address, place: EventPlace) {
        let record = self.ledger.find(pointer).and_then(|found| found.read());
        let Some(record) = record.filter(|record| diagnose::is_released(record.state)) else {
            return;
        };
        let at = self.occurrence(place);
        self.found(&diagnose::accessed(
            FindingKind::UseAfterFree,
            &record,
            0,
            at,
        ));
    }
}
