//! The ways of keeping books that are compared.

use heapledger::ledger::{BlockState, Event, FamilyId, Insertion, Ledger, NewBlock, StackId};
use heapledger::memory::{Address, ByteCount};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Told of every allocation and of every release before it is carried out.
pub(crate) trait Bookkeeper: Sync {
    /// The name of the row.
    fn name(&self) -> &'static str;
    /// A block was allocated.
    fn note_allocation(&self, address: Address, size: ByteCount);
    /// A block is about to be released.
    fn note_release(&self, address: Address);
}

/// glibc alone.
pub(crate) struct Nothing;

impl Bookkeeper for Nothing {
    fn name(&self) -> &'static str {
        "glibc alone"
    }

    fn note_allocation(&self, _: Address, _: ByteCount) {}

    fn note_release(&self, _: Address) {}
}

/// The ledger: page map, record, one compare-and-swap per release.
pub(crate) struct LedgerBook(Ledger);

impl LedgerBook {
    pub(crate) fn new() -> Self {
        Self(Ledger::new().expect("the kernel gives address space"))
    }

    /// How many blocks the ledger says are live.
    pub(crate) fn live_block_count(&self) -> u64 {
        self.0.sums().live_blocks
    }
}

impl Bookkeeper for LedgerBook {
    fn name(&self) -> &'static str {
        "the ledger"
    }

    #[inline]
    fn note_allocation(&self, address: Address, size: ByteCount) {
        let block = NewBlock {
            address,
            size,
            family: FamilyId::MALLOC,
            allocated: StackId(1),
            epoch: self.0.epoch(),
            flags: 0,
        };
        assert_eq!(self.0.insert(&block), Insertion::Recorded);
    }

    #[inline]
    fn note_release(&self, address: Address) {
        let found = self.0.find(address).expect("every block was recorded");
        debug_assert_eq!(found.state(), Some(BlockState::Live));
        self.0
            .release(&found, Event::GiveBack, StackId(1))
            .expect("nobody else releases it");
    }
}

/// What one writes first: a map behind a lock.
#[derive(Default)]
pub(crate) struct LockedHashMap(Mutex<HashMap<usize, (usize, u32)>>);

impl Bookkeeper for LockedHashMap {
    fn name(&self) -> &'static str {
        "parking_lot::Mutex<HashMap>"
    }

    #[inline]
    fn note_allocation(&self, address: Address, size: ByteCount) {
        self.0.lock().insert(address.get(), (size.get(), 1));
    }

    #[inline]
    fn note_release(&self, address: Address) {
        self.0
            .lock()
            .remove(&address.get())
            .expect("every block was recorded");
    }
}
