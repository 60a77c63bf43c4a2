//! How much memory the ledger takes for each live block, as the kernel counts it.

#![expect(unsafe_code, reason = "calls glibc's malloc and free")]

use crate::bookkeepers::{Bookkeeper, LedgerBook};
use heapledger::memory::{Address, ByteCount};
use std::fs;
use std::time::Instant;

const BLOCK_COUNT: u32 = 10_000_000;
const BLOCK_BYTE_COUNT: usize = 24;
/// The promise of the design.
const BYTES_PER_BLOCK_MAX: u64 = 64;

/// Allocates the blocks, then records them, and prints what the recording added.
pub(crate) fn print_bytes_per_block() {
    // SAFETY: any size may be asked for.
    let allocate = |_| unsafe { libc::malloc(BLOCK_BYTE_COUNT) };
    let blocks: Vec<_> = (0..BLOCK_COUNT).map(allocate).collect();
    let book = LedgerBook::new();
    let before = resident_byte_count();
    let began = Instant::now();
    for block in &blocks {
        book.note_allocation(Address::of(*block), ByteCount::new(BLOCK_BYTE_COUNT));
    }
    let nanoseconds = began.elapsed().as_secs_f64() * 1e9 / f64::from(BLOCK_COUNT);
    let added = resident_byte_count().saturating_sub(before);
    assert_eq!(
        book.live_block_count(),
        u64::from(BLOCK_COUNT),
        "every block is live"
    );
    let per_block = added / u64::from(BLOCK_COUNT);
    println!(
        "{BLOCK_COUNT} live blocks of {BLOCK_BYTE_COUNT} bytes: {} MiB of ledger, {per_block} \
         bytes per block ({BYTES_PER_BLOCK_MAX} promised), {nanoseconds:.0} ns to record each\n",
        added >> 20
    );
    assert!(per_block <= BYTES_PER_BLOCK_MAX, "more than was promised");
    for block in blocks {
        book.note_release(Address::of(block));
        // SAFETY: allocated above, and released once.
        unsafe { libc::free(block) };
    }
    assert_eq!(book.live_block_count(), 0, "nothing is left");
}

fn resident_byte_count() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages = status
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is the resident pages") * 4_096
}
