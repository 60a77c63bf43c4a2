//! Blocks that are never given back, counted.

use crate::memory::ByteCount;
use crate::memory::sync::{AtomicU64, Ordering};

/// How much memory stays with us because glibc would abort over the damage around it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    block_count: AtomicU64,
    byte_count: AtomicU64,
}

impl Kept {
    /// One more block.
    pub(super) fn count(&self, size: ByteCount) {
        self.block_count.fetch_add(1, Ordering::Relaxed);
        self.byte_count
            .fetch_add(size.get() as u64, Ordering::Relaxed);
    }

    /// Blocks and bytes so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        (
            self.block_count.load(Ordering::Relaxed),
            self.byte_count.load(Ordering::Relaxed),
        )
    }
}
