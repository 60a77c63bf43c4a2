//! Attacks the order of steps that the head of `src/tracker/mod.rs` promises, with two threads.
//!
//! Both threads allocate from one arena of glibc, and nothing is withheld, so that memory given back
//! by one is in the other's hands a moment later. A release that were recorded after the memory went
//! back would then strike the record of the next owner: a double free nobody committed, a live record
//! replaced by another, or a block that stays. None may be there at the end. The file is one test,
//! for the ledger and its counters belong to the process.

use heapledger::capture::EventPlace;
use heapledger::detect::FindingKind;
use heapledger::ledger::Sums;
use heapledger::memory::Address;
use heapledger::tracker::explicit::Request;
use heapledger::tracker::options::Options;
use heapledger::tracker::snapshot::Statistics;
use heapledger::tracker::{Tracker, tracker};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Beyond what glibc keeps for each thread by itself: given back, it is anybody's.
const SIZE: usize = 2_000;
const HAND_OVER_COUNT: usize = 60_000;
const RESIZE_COUNT: usize = 30_000;
const RACE_COUNT: usize = 10_000;
/// More than any process can have, and less than what is called an overflow.
const IMPOSSIBLE_SIZE: usize = 1 << 50;

#[test]
fn two_threads_find_no_moment_at_which_the_ledger_is_wrong() {
    use_one_arena();
    let tracker = tracker().expect("address space for a tracker");
    let options = Options::new().with("check=none").expect("valid options");
    tracker.start(options).expect("nobody has started");
    memory_is_not_reused_before_its_release_is_on_record(tracker);
    a_resize_withdraws_the_old_address_first(tracker);
    a_resize_that_fails_leaves_the_block_to_its_owner(tracker);
    of_two_releases_at_one_moment_one_is_a_finding(tracker);
    a_release_and_a_resize_at_one_moment_leave_nothing_behind(tracker);
}

/// One thread allocates and hands over, the other one releases.
fn memory_is_not_reused_before_its_release_is_on_record(tracker: &'static Tracker) {
    let before = tracker.statistics();
    let hand = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..HAND_OVER_COUNT {
                let block = allocate(tracker, SIZE);
                while hand.load(Ordering::Acquire) != 0 {
                    thread::yield_now();
                }
                hand.store(block.get(), Ordering::Release);
                // The other thread releases while this one goes for the same memory.
                release(tracker, allocate(tracker, SIZE));
            }
        });
        scope.spawn(|| {
            for _ in 0..HAND_OVER_COUNT {
                let block = loop {
                    match hand.swap(0, Ordering::AcqRel) {
                        0 => thread::yield_now(),
                        block => break Address::new(block),
                    }
                };
                release(tracker, block);
            }
        });
    });
    assert_nothing_wrong(tracker, &before);
}

/// Both threads resize, so that blocks move, and take each other's old addresses.
fn a_resize_withdraws_the_old_address_first(tracker: &'static Tracker) {
    let before = tracker.statistics();
    on_two_threads(|_| {
        for round in 0..RESIZE_COUNT {
            let block = allocate(tracker, SIZE);
            let behind = allocate(tracker, SIZE);
            let moved = resize(tracker, block, 3 * SIZE + round % 7).expect("memory");
            release(tracker, behind);
            release(tracker, moved);
        }
    });
    assert_nothing_wrong(tracker, &before);
}

fn a_resize_that_fails_leaves_the_block_to_its_owner(tracker: &'static Tracker) {
    let before = tracker.statistics();
    on_two_threads(|_| {
        for _ in 0..RESIZE_COUNT {
            let block = allocate(tracker, SIZE);
            assert_eq!(resize(tracker, block, IMPOSSIBLE_SIZE), None);
            let found = tracker.ledger().find(block).expect("on record");
            let record = found.read().expect("nobody else changes it");
            assert_eq!(record.released_by.0, 0, "no trace of the attempt");
            release(tracker, block);
        }
    });
    assert_nothing_wrong(tracker, &before);
}

fn of_two_releases_at_one_moment_one_is_a_finding(tracker: &'static Tracker) {
    let before = tracker.statistics();
    race(tracker, |_, block| release(tracker, block));
    let after = tracker.statistics();
    let found = |kind: FindingKind| found_between(&before, &after, kind);
    assert_eq!(found(FindingKind::DoubleFree), RACE_COUNT as u64);
    assert_eq!(found(FindingKind::InvalidFree), 0);
    assert_eq!(live(&after), live(&before));
}

fn a_release_and_a_resize_at_one_moment_leave_nothing_behind(tracker: &'static Tracker) {
    let before = tracker.statistics();
    race(tracker, |is_first, block| {
        if is_first {
            release(tracker, block);
        } else if let Some(moved) = resize(tracker, block, SIZE / 2) {
            // Shrunk where it was: the other thread's release may be the one that is too late, or
            // come after the resize and be a right one.
            if tracker
                .ledger()
                .find(moved)
                .and_then(|found| found.read())
                .is_some_and(|record| record.state == heapledger::ledger::BlockState::Live)
            {
                release(tracker, moved);
            }
        }
    });
    let after = tracker.statistics();
    assert_eq!(found_between(&before, &after, FindingKind::InvalidFree), 0);
    assert_eq!(live(&after), live(&before));
    assert_eq!(
        after.ledger.superseded_record_count,
        before.ledger.superseded_record_count
    );
}

/// Lets two threads do `attack` to one block at the same moment, many times.
fn race(tracker: &'static Tracker, attack: impl Fn(bool, Address) + Sync) {
    let (start, end) = (Barrier::new(2), Barrier::new(2));
    let shared = AtomicUsize::new(0);
    on_two_threads(|number| {
        for _ in 0..RACE_COUNT {
            if number == 0 {
                shared.store(allocate(tracker, SIZE).get(), Ordering::Release);
            }
            start.wait();
            attack(number == 0, Address::new(shared.load(Ordering::Acquire)));
            end.wait();
        }
    });
}

fn on_two_threads(work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for number in 0..2 {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

fn assert_nothing_wrong(tracker: &Tracker, before: &Statistics) {
    let after = tracker.statistics();
    assert_eq!(after.findings, before.findings, "nobody did anything wrong");
    assert_eq!(after.ledger.dropped_record_count, 0);
    assert_eq!(
        after.ledger.superseded_record_count, before.ledger.superseded_record_count,
        "no block was handed out whose release was not on record"
    );
    assert_eq!(live(&after), live(before));
}

fn live(statistics: &Statistics) -> (u64, u64) {
    let Sums {
        live_blocks,
        live_bytes,
        ..
    } = statistics.sums;
    (live_blocks, live_bytes)
}

fn found_between(before: &Statistics, after: &Statistics, kind: FindingKind) -> u64 {
    after.findings[kind as usize] - before.findings[kind as usize]
}

fn allocate(tracker: &Tracker, size: usize) -> Address {
    let request = Request {
        size,
        alignment: 16,
        zeroed: false,
    };
    tracker
        .explicit(EventPlace::UNKNOWN)
        .allocate(request)
        .expect("memory")
}

fn resize(tracker: &Tracker, block: Address, size: usize) -> Option<Address> {
    tracker.explicit(EventPlace::UNKNOWN).resize(block, size)
}

fn release(tracker: &Tracker, block: Address) {
    tracker.explicit(EventPlace::UNKNOWN).release(block);
}

/// Has glibc serve all threads from one arena.
#[expect(unsafe_code, reason = "mallopt is a foreign call")]
fn use_one_arena() {
    // SAFETY: called before there are other threads.
    let is_done = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    assert_eq!(is_done, 1, "this C library is not glibc");
}
