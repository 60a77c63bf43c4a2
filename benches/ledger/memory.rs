//! How much memory the ledger takes for each live block, as the kernel counts it.

#![expect(unsafe_code, reason = "calls glibc's malloc and free")]

use crate::bookkeepers::{Bookkeeper, LedgerBook};
use heapledger::memory::{Address, ByteCount};
use std::fs;
use std::time::Instant;

const BLOCK_COUNT: u32 = 10_000_000;
const BLOCK_BYTE_COUNT: usize = 24;
/// The promise of the design for small blocks.
const BYTES_PER_BLOCK_MAX: u64 = 64;
/// The page map's share: four bytes for each 32 of address space.
const MAP_SHARE: usize = 8;
const RECORD_BYTE_COUNT: u64 = 40;
/// A block commits at most one page of the map.
const PAGE_BYTE_COUNT: u64 = 4_096;

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
    drop(book);
    print_bytes_by_size();
}

/// The same for other sizes, at the distances glibc would leave. The addresses are invented, for the
/// ledger never touches a block: so the machine need not hold the blocks.
fn print_bytes_by_size() {
    const START: usize = 0x10_0000_0000;
    const SPAN: usize = 1 << 30;
    println!("| bytes of a block | of ledger for each | share |");
    println!("|------------------|--------------------|-------|");
    for size in [24, 200, 1_000, 10_000, 100_000] {
        let distance = (size + 8_usize).next_multiple_of(16);
        let book = LedgerBook::new();
        let before = resident_byte_count();
        let starts = (START..START + SPAN).step_by(distance);
        let count = starts.clone().count() as u64;
        for start in starts {
            book.note_allocation(Address::new(start), ByteCount::new(size));
        }
        let per_block = resident_byte_count().saturating_sub(before) / count;
        let share = per_block * 1_000 / size as u64;
        println!(
            "| {size:>16} | {per_block:>18} | {:>4}.{}% |",
            share / 10,
            share % 10
        );
        let map = (distance.div_ceil(MAP_SHARE) as u64).min(PAGE_BYTE_COUNT);
        assert!(
            per_block <= RECORD_BYTE_COUNT + map + 24,
            "more than is documented"
        );
    }
    println!();
}

fn resident_byte_count() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages = status
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is the resident pages") * 4_096
}
