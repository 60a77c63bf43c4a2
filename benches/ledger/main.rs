//! What bookkeeping costs: malloc+free pairs with glibc alone, with the ledger, and with the
//! obvious alternative; and how much memory the ledger takes for ten million live blocks.
//!
//! `cargo bench --bench ledger` prints both tables; `-- speed` or `-- memory` prints one. Read the
//! figures as ratios: the rounds alternate, so what slows the machine down slows all rows down.

#![expect(
    clippy::print_stdout,
    reason = "the result of a benchmark is its output"
)]

mod bookkeepers;
mod memory;
mod ring;

use bookkeepers::{Bookkeeper, LedgerBook, LockedHashMap, Nothing};
use std::env;

/// Rounds per row and thread count; each row shows the median.
const ROUND_COUNT: usize = 7;
const THREAD_COUNTS: [usize; 2] = [1, 2];

fn main() {
    let wants = |name: &str| {
        let mut chosen = env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with("--"));
        chosen.next().is_none_or(|first| first == name)
    };
    if wants("speed") {
        print_speed();
    }
    if wants("memory") {
        memory::print_bytes_per_block();
    }
}

fn print_speed() {
    let books: [&dyn Bookkeeper; 3] = [&Nothing, &LedgerBook::new(), &LockedHashMap::default()];
    println!(
        "malloc+free pairs over a ring of {} slots, ns per pair:\n",
        ring::SLOT_COUNT
    );
    println!("| {:<28} | threads | median | over glibc alone |", "");
    println!("|{:-<30}|---------|--------|------------------|", "");
    for thread_count in THREAD_COUNTS {
        let mut rounds = vec![Vec::new(); books.len()];
        for _ in 0..ROUND_COUNT {
            for (book, results) in books.iter().zip(&mut rounds) {
                results.push(ring::nanoseconds_per_pair(*book, thread_count));
            }
        }
        let medians: Vec<f64> = rounds.into_iter().map(median).collect();
        for (book, nanoseconds) in books.iter().zip(&medians) {
            let name = book.name();
            let added = nanoseconds - medians[0];
            println!("| {name:<28} | {thread_count:>7} | {nanoseconds:>6.1} | {added:>+16.1} |");
        }
    }
    println!();
}

fn median(mut results: Vec<f64>) -> f64 {
    results.sort_by(f64::total_cmp);
    results[results.len() / 2]
}
