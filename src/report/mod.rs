//! Owns the words: what a finding is called, which findings are one, which are hidden, and the two
//! forms of the report, text for people and JSON for programs.
//!
//! Promises: plain data in, bytes out. The same findings give the same text; a fingerprint is equal
//! between runs; a saved report of any origin is read or refused, never a panic; text from the
//! program under test reaches a terminal only escaped. A report of 10,000 stacks takes less than
//! two seconds.
//!
//! Must never: run on the allocation path, read Python's memory, print, or change what it reports on.

pub mod assemble;
mod crash;
mod damage;
mod dangling;
mod ended_twice;
pub mod escape;
pub mod files;
pub mod fingerprint;
#[cfg(test)]
mod fixtures;
mod frame;
pub mod glob;
pub mod group;
pub mod hints;
pub mod json;
mod lessons;
mod matcher;
pub mod message;
pub mod model;
pub mod number;
pub mod part;
pub mod resymbolize;
pub mod saved;
pub mod source;
pub mod stacks;
#[cfg(test)]
mod strategies;
pub mod suppress;
pub mod text;
pub mod timestamp;
pub mod totals;
pub mod translate;

pub use hints::{Learned, UsualRelease};
pub use model::Report;
pub use resymbolize::resymbolize;
pub use saved::{Format, render_saved};
pub use suppress::{SuppressionError, Suppressions};
pub use text::TextOptions;
pub use translate::{Resolver, finding_to_model, findings_to_model};
