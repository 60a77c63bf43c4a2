//! Owns what is known about each address: one record per block, its state, the totals, the marks.
//!
//! Promises: one compare-and-swap decides each release, so of any number of simultaneous releases
//! exactly one wins; a record is never half-visible; looking up an address takes no lock.
//!
//! Must never: allocate from glibc, log, touch the block itself, or know where an event came from
//! beyond an opaque [`StackId`].

pub mod identifiers;

pub use identifiers::{BlockState, Epoch, FamilyId, StackId, ThreadNumber};
