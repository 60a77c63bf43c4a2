//! The time in which the list of loaded objects has not changed, as far as we noticed.
//!
//! What is remembered by an address in code (unwind rules, places, stacks) is remembered for one
//! generation. Interception begins a new one around `dlclose`, and when the loader's counts have
//! changed at a foreign call or a symbol look-up.

use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// The present generation.
#[inline]
pub(in crate::capture) fn current() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// Forgets what was remembered by addresses in code: objects were loaded or unloaded.
pub fn begin_new() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}
