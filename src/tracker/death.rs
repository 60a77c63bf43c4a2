//! What the process is dying of, and where: noted once, by the thread that ends it.

use super::Tracker;
use super::options::NativeStacks;
use crate::capture::{EventPlace, NativeDepth};
use crate::detect::FindingKind;
use crate::detect::diagnose::{self, Occurrence};
use crate::ledger::StackId;
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, AtomicUsize, Ordering};

/// A death that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Death {
    /// The signal.
    pub signal: u32,
    /// The address that was accessed or jumped to, where the signal comes with one.
    pub address: Option<Address>,
    /// Where the thread was; unknown for a signal that somebody sent.
    pub here: StackId,
}

/// The death as it is noted: words that a signal handler may write.
#[derive(Debug)]
pub(super) struct DeathNote {
    /// Zero before.
    signal: AtomicU32,
    here: AtomicU32,
    /// All ones for none: no access is made there.
    address: AtomicUsize,
}

impl DeathNote {
    pub(super) fn new() -> Self {
        Self {
            signal: AtomicU32::new(0),
            here: AtomicU32::new(StackId::UNKNOWN.0),
            address: AtomicUsize::new(usize::MAX),
        }
    }

    pub(super) fn write(&self, death: Death) {
        let address = death.address.map_or(usize::MAX, Address::get);
        self.address.store(address, Ordering::Relaxed);
        self.here.store(death.here.0, Ordering::Relaxed);
        self.signal.store(death.signal, Ordering::Release);
    }

    pub(super) fn read(&self) -> Option<Death> {
        let signal = self.signal.load(Ordering::Acquire);
        let address = self.address.load(Ordering::Relaxed);
        (signal != 0).then(|| Death {
            signal,
            address: (address != usize::MAX).then(|| Address::new(address)),
            here: StackId(self.here.load(Ordering::Relaxed)),
        })
    }
}

impl Tracker {
    /// Notes that the process is dying of `signal`.
    pub fn note_death(&self, death: Death) {
        self.session.note_death(death);
    }

    /// The stack of a place of this thread: all of it, for in the machinery of foreign calls and in the
    /// interpreter one dies too. Called with the reentry flag up.
    #[cold]
    pub fn stack_at_death(&self, place: EventPlace) -> StackId {
        if self.session.options().native_stacks != NativeStacks::Off {
            self.capture.set_native_depth(NativeDepth::Full);
        }
        self.capture.here(place)
    }

    /// Reports the block that starts at `pointer`, which the foreign call that the process dies in was
    /// given, when it has been released; `false` otherwise. Called with the reentry flag up, on the
    /// thread that made the call.
    #[cold]
    pub fn report_released_argument(&self, pointer: Address, here: StackId) -> bool {
        let record = self.ledger.find(pointer).and_then(|found| found.read());
        let Some(record) = record.filter(|record| diagnose::is_released(record.state)) else {
            return false;
        };
        let at = self.death_at(here);
        let finding = diagnose::accessed(FindingKind::UseAfterFree, &record, 0, at);
        self.found(&finding);
        true
    }

    pub(super) fn death_at(&self, here: StackId) -> Occurrence {
        let thread = self.ledger.thread_number();
        Occurrence { here, thread }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_read_as_it_was_noted() {
        let note = DeathNote::new();
        assert_eq!(note.read(), None);
        for address in [None, Some(Address::NULL), Some(Address::new(0x1234))] {
            let death = Death {
                signal: 11,
                address,
                here: StackId(7),
            };
            note.write(death);
            assert_eq!(note.read(), Some(death));
        }
    }
}
