//! Owns the judgement: what is wrong with an event, and the store of what was found.
//!
//! Promises: what decides is a pure function over plain data, so it is tested with invented
//! addresses; findings are deduplicated by fingerprint and counted; the store has a limit and
//! counts what it dropped.
//!
//! Must never: know how a stack was captured (a record holds an opaque `StackId`), release memory,
//! print, or call back into the program while holding a lock.

mod capacity;
pub mod closed;
mod closing;
pub mod damage;
pub mod diagnose;
pub mod disguise;
pub mod fault;
pub mod finding;
pub mod front;
pub mod guard;
pub mod imprint;
pub mod leak;
pub mod look;
pub mod parts;
mod pattern;
pub mod poison;
pub mod quarantine;
pub mod reach;
pub mod redzone;
pub mod size_word;
pub mod store;

pub use finding::{BlockFacts, Finding, FindingKind, PointerPlace};
