//! Chosen cases, each on one thread.

use super::super::book::LOOK_COUNT_MAX;
use super::super::record::flag;
use super::super::{
    BlockState, Event, Insertion, Ledger, NewBlock, Outcome, StackId, ThreadNumber,
};
use super::{ALLOCATED, block, find, live_count_at};
use crate::memory::Address;
use crate::memory::page_map::GRANULE;

/// The start of a granule.
const START: usize = 0x7f00_0000_1000;
const RELEASED: StackId = StackId(8);

fn ledger() -> Ledger {
    Ledger::new().expect("address space for a ledger")
}

fn adopted(address: usize, size: usize) -> NewBlock {
    NewBlock {
        flags: flag::ADOPTED,
        ..block(address, size)
    }
}

/// Releases the block at `address`, as the only one who does.
fn release(ledger: &Ledger, address: usize, event: Event) -> super::super::Ticket {
    let found = find(ledger, address).expect("a record");
    let released = ledger.release(&found, event, RELEASED);
    released.expect("nobody else releases it")
}

#[test]
fn a_block_is_live_then_withheld_then_freed_and_keeps_both_stacks() {
    let ledger = ledger();
    assert_eq!(ledger.insert(&block(START, 48)), Insertion::Recorded);
    let live = find(&ledger, START).and_then(|found| found.read());
    let live = live.expect("a live block");
    assert_eq!((live.state, live.allocated), (BlockState::Live, ALLOCATED));
    assert!(!live.released.is_known());
    let ticket = release(&ledger, START, Event::Withhold);
    let withheld = ledger.read(ticket).expect("the same life");
    assert_eq!(
        (withheld.state, withheld.released),
        (BlockState::Quarantined, RELEASED)
    );
    assert_eq!(ledger.evict(ticket), Some(withheld.address));
    assert_eq!(ledger.evict(ticket), None, "a ticket is good for once");
    let freed = ledger.read(ticket).expect("still the same life");
    assert_eq!(
        (freed.state, freed.allocated),
        (BlockState::Freed, ALLOCATED)
    );
}

#[test]
fn a_forgotten_block_is_as_if_it_had_never_been_met() {
    let ledger = ledger();
    ledger.insert(&block(START, 48));
    ledger.insert(&block(START + 64, 48));
    let seen = find(&ledger, START).expect("a record");
    ledger.forget_live(|found| found.address() == seen.address());
    assert!(find(&ledger, START).is_none());
    assert!(ledger.containing(seen.address()).is_none());
    assert_eq!(live_count_at(&ledger, START + 64), 1, "the other one stays");
    assert_eq!(ledger.blocks().count(), 1);
    let late = ledger.release(&seen, Event::GiveBack, RELEASED);
    assert_eq!(late.err(), Some(Outcome::Unknown), "not released before");
    assert!(!ledger.forget(&seen), "forgotten once");
    let counters = ledger.counters();
    assert_eq!(counters.forgotten_record_count, 1);
    ledger.insert(&block(START, 16));
    assert_eq!(live_count_at(&ledger, START), 1);
    let after = ledger.counters();
    assert_eq!(
        (after.superseded_record_count, after.record_count),
        (0, counters.record_count)
    );
    let sums = ledger.sums();
    assert_eq!(
        (sums.live_blocks, sums.live_bytes, sums.total_blocks),
        (2, 64, 3)
    );
}

#[test]
fn the_nearest_block_that_has_its_memory_tells_which_one_an_address_lies_in() {
    let ledger = ledger();
    let around = |offset: usize| {
        let copy = ledger.held_around(Address::new(START + offset))?;
        Some((copy.address.get() - START, copy.state))
    };
    // A record whose block left unseen lies under blocks that are there.
    ledger.insert(&block(START, 4_096));
    ledger.insert(&block(START + 512, 48));
    assert_eq!(around(500), Some((0, BlockState::Live)));
    assert_eq!(around(512 + 47), Some((512, BlockState::Live)));
    assert_eq!(around(512 + 48), None, "the nearest one ends before");
    release(&ledger, START + 512, Event::Withhold);
    assert_eq!(around(512 + 47), Some((512, BlockState::Quarantined)));
    assert_eq!(around(512 + 48), None, "its memory is still its own");
    ledger.insert(&adopted(START + 256, 16));
    assert_eq!(around(300), Some((0, BlockState::Live)), "an adopted part");
}

#[test]
fn a_few_released_blocks_hide_no_block_around_them_and_many_do() {
    let ledger = ledger();
    let step = 2 * GRANULE;
    ledger.insert(&block(START, 4_096));
    for number in 1..=LOOK_COUNT_MAX {
        ledger.insert(&block(START + number * step, 16));
        release(&ledger, START + number * step, Event::GiveBack);
    }
    let around = |number: usize| ledger.held_around(Address::new(START + number * step));
    assert!(around(LOOK_COUNT_MAX - 1).is_some());
    assert!(around(LOOK_COUNT_MAX).is_none());
}

#[test]
fn a_resize_that_failed_leaves_no_trace_of_a_release() {
    let ledger = ledger();
    ledger.insert(&block(START, 48));
    let before = find(&ledger, START).and_then(|found| found.read());
    let sums = ledger.sums();
    let ticket = release(&ledger, START, Event::GiveBack);
    assert!(ledger.restore(ticket));
    let after = find(&ledger, START).and_then(|found| found.read());
    assert_eq!(after, before, "the record as it was");
    assert_eq!(ledger.sums(), sums);
    assert!(!ledger.restore(ticket), "restored once");
    let last = ledger.read(release(&ledger, START, Event::GiveBack));
    let last = last.expect("the same life");
    assert_eq!((last.released, last.state), (RELEASED, BlockState::Freed));
    assert_ne!(last.released_by, ThreadNumber::default());
}

#[test]
fn what_moved_on_while_a_resize_was_tried_is_not_restored() {
    let ledger = ledger();
    ledger.insert(&block(START, 48));
    let ticket = release(&ledger, START, Event::GiveBack);
    ledger.insert(&block(START, 16));
    assert!(!ledger.restore(ticket));
    let now = find(&ledger, START).and_then(|found| found.read());
    assert_eq!(now.map(|copy| copy.size.get()), Some(16));
    assert_eq!(live_count_at(&ledger, START), 1);
}

#[test]
fn a_new_block_takes_over_the_record_of_its_own_address_before_another() {
    let ledger = ledger();
    // Adopted memory lies inside a block that is recorded first: both are live, in one granule, the
    // inner one at the head of the chain.
    ledger.insert(&block(START, 32));
    ledger.insert(&adopted(START + 8, 8));
    assert_eq!(live_count_at(&ledger, START), 1);
    // Both left unseen, and the allocator hands out the outer address again.
    ledger.insert(&block(START, 24));
    assert_eq!(
        live_count_at(&ledger, START),
        1,
        "one live block at one address"
    );
    assert_eq!(
        live_count_at(&ledger, START + 8),
        0,
        "the inner one went with it"
    );
    let sums = ledger.sums();
    assert_eq!((sums.live_blocks, sums.live_bytes), (1, 24));
    assert_eq!(ledger.counters().superseded_record_count, 2);
}

#[test]
fn a_freed_record_of_the_address_does_not_hide_behind_one_that_overlaps() {
    let ledger = ledger();
    ledger.insert(&adopted(START, 8));
    release(&ledger, START, Event::GiveBack);
    ledger.insert(&adopted(START + 8, 8));
    release(&ledger, START + 8, Event::GiveBack);
    ledger.insert(&block(START, 24));
    release(&ledger, START, Event::GiveBack);
    let found = find(&ledger, START).and_then(|found| found.read());
    let found = found.expect("the newest block of the address");
    assert_eq!(found.size.get(), 24, "not the older one");
}

#[test]
fn a_second_release_is_told_from_one_of_a_block_that_took_the_address() {
    let ledger = ledger();
    ledger.insert(&block(START, 48));
    let first = find(&ledger, START).expect("a record");
    let second = find(&ledger, START).expect("the same record");
    assert!(ledger.release(&first, Event::Withhold, RELEASED).is_ok());
    let lost = ledger.release(&second, Event::Withhold, RELEASED);
    assert_eq!(lost, Err(Outcome::ReleasedBefore));
    ledger.insert(&block(START, 16));
    let stale = ledger.release(&second, Event::GiveBack, RELEASED);
    assert_eq!(
        stale,
        Err(Outcome::ReleasedBefore),
        "two releases, one of them seen late"
    );
    assert_eq!(live_count_at(&ledger, START), 1);
}

#[test]
fn a_full_ledger_drops_counts_and_records_again_once_blocks_are_freed() {
    const DISTANCE: usize = 64;
    let ledger = ledger();
    let place = |number: usize| block(START + number * DISTANCE, 16);
    let mut recorded = 0;
    while ledger.insert(&place(recorded)) == Insertion::Recorded {
        recorded += 1;
    }
    let counters = ledger.counters();
    assert_eq!(counters.record_count, recorded as u64);
    assert_eq!(counters.dropped_record_count, 1);
    assert_eq!(
        ledger.sums().live_blocks,
        recorded as u64,
        "what was dropped does not count"
    );
    for number in 0..100 {
        release(&ledger, START + number * DISTANCE, Event::GiveBack);
    }
    // An insertion looks at a few records only, so the search may have to come round.
    let again = (0..recorded).find(|_| ledger.insert(&place(recorded)) == Insertion::Recorded);
    assert!(again.is_some());
    assert_eq!(
        ledger.counters().record_count,
        recorded as u64,
        "a record was recycled"
    );
    assert_eq!(live_count_at(&ledger, START + recorded * DISTANCE), 1);
}
