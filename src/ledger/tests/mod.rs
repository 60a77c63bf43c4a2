//! The ledger as a whole, driven as the tracker drives it: `whole` with chosen cases, `model` with
//! random ones against a map, `races` with every interleaving of two threads (loom).

#[cfg(not(any(loom, miri)))]
mod model;
#[cfg(not(any(loom, miri)))]
mod whole;

#[cfg(loom)]
mod races;

use super::{Epoch, FamilyId, Found, Ledger, NewBlock, StackId};
use crate::memory::{Address, ByteCount};

/// Where a block was allocated, in these tests.
const ALLOCATED: StackId = StackId(7);

fn block(address: usize, size: usize) -> NewBlock {
    NewBlock {
        address: Address::new(address),
        size: ByteCount::new(size),
        family: FamilyId::MALLOC,
        allocated: ALLOCATED,
        epoch: Epoch(1),
        flags: 0,
    }
}

fn find(ledger: &Ledger, address: usize) -> Option<Found<'_>> {
    ledger.find(Address::new(address))
}

/// How many live blocks the ledger knows at an address, by looking at every record.
fn live_count_at(ledger: &Ledger, address: usize) -> usize {
    let at = Address::new(address);
    let live = ledger.live_blocks();
    live.filter(|copy| copy.address == at).count()
}
