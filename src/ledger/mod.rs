//! Owns what is known about each address: one record per block, its state, the totals, the marks.
//!
//! Promises: one compare-and-swap decides each release, so of any number of simultaneous releases
//! exactly one wins; a record is never half-visible; looking up an address takes no lock.
//!
//! Must never: allocate from glibc, log, touch the block itself, or know where an event came from
//! beyond an opaque [`StackId`].

pub mod book;
pub mod chain;
pub mod families;
pub mod identifiers;
pub mod insertion;
pub mod record;
pub mod threads;
pub mod totals;
pub mod transition;
pub mod vacancy;
pub mod word;

#[cfg(test)]
mod tests;

pub use book::{Ledger, LedgerCounters};
pub use chain::{Found, Ticket};
pub use identifiers::{BlockState, Epoch, FamilyId, StackId, ThreadNumber};
pub use insertion::Insertion;
pub use record::{BlockRecord, NewBlock};
pub use totals::Sums;
pub use transition::{Event, Outcome};
