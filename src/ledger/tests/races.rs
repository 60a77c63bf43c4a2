//! Every interleaving of two threads, under limits so small that they are reached.
//!
//! A model's threads share one corner of the ledger, so what is proved here is what threads do to
//! one another's records. The granule is real (32 bytes), the address space is 512 bytes.

use super::super::record::flag;
use super::super::{
    BlockState, Epoch, Event, Insertion, Ledger, NewBlock, Outcome, StackId, ThreadNumber,
};
use super::{block, find, live_count_at};
use crate::memory::Address;
use loom::sync::Arc;
use loom::thread::spawn;

const START: usize = 0x40;
const FIRST: StackId = StackId(11);
const SECOND: StackId = StackId(12);

/// A ledger with one live block of 16 bytes at [`START`].
fn ledger() -> Arc<Ledger> {
    let ledger = Ledger::new().expect("a small ledger");
    assert_eq!(ledger.insert(&block(START, 16)), Insertion::Recorded);
    Arc::new(ledger)
}

/// Finds the block at [`START`] and releases it.
fn release(ledger: &Ledger, event: Event, stack: StackId) -> Result<super::super::Ticket, Outcome> {
    let found = find(ledger, START).ok_or(Outcome::Unknown)?;
    ledger.release(&found, event, stack)
}

/// What the ledger says of the block at [`START`].
fn now(ledger: &Ledger) -> super::super::BlockRecord {
    let found = find(ledger, START).expect("a record");
    found.read().expect("a record that nobody changes")
}

#[test]
fn loom_of_two_releases_one_wins_and_its_stack_is_noted() {
    loom::model(|| {
        let ledger = ledger();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || release(&other, Event::Withhold, FIRST).is_ok());
        let here = release(&ledger, Event::GiveBack, SECOND);
        let there = thread.join().expect("the thread returns");
        assert_ne!(here.is_ok(), there, "one of two");
        if let Err(outcome) = here {
            assert_eq!(outcome, Outcome::ReleasedBefore, "the other is told why");
        }
        let record = now(&ledger);
        let winner = if there {
            (BlockState::Quarantined, FIRST)
        } else {
            (BlockState::Freed, SECOND)
        };
        assert_eq!((record.state, record.released), winner);
        let sums = ledger.sums();
        assert_eq!((sums.live_blocks, sums.total_blocks), (0, 1));
    });
}

#[test]
fn loom_a_release_during_a_resize_that_fails_is_told_from_one_after_it() {
    loom::model(|| {
        let ledger = ledger();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || release(&other, Event::Withhold, FIRST));
        let resized = release(&ledger, Event::GiveBack, SECOND);
        let restored = resized.map(|ticket| ledger.restore(ticket));
        let released = thread.join().expect("the thread returns");
        let record = now(&ledger);
        let live_blocks = ledger.sums().live_blocks;
        if released.is_ok() {
            assert_eq!(
                (record.state, record.released),
                (BlockState::Quarantined, FIRST)
            );
            assert_ne!(record.released_by, ThreadNumber::default());
            assert_eq!(live_blocks, 0);
            assert!(matches!(restored, Ok(true) | Err(Outcome::ReleasedBefore)));
        } else {
            assert_eq!(restored, Ok(true));
            assert_eq!(released, Err(Outcome::ReleasedBefore));
            assert_eq!(record.state, BlockState::Live);
            assert_eq!(record.released_by, ThreadNumber::default(), "no trace");
            assert_eq!(live_blocks, 1);
        }
    });
}

#[test]
fn loom_a_resize_that_fails_does_not_undo_the_block_that_took_the_address() {
    loom::model(|| {
        let ledger = ledger();
        let ticket = release(&ledger, Event::GiveBack, FIRST).expect("nobody else");
        let other = Arc::clone(&ledger);
        let thread = spawn(move || other.insert(&block(START, 24)));
        let restored = ledger.restore(ticket);
        assert_eq!(thread.join().ok(), Some(Insertion::Recorded));
        let record = now(&ledger);
        assert_eq!((record.state, record.size.get()), (BlockState::Live, 24));
        assert_eq!(live_count_at(&ledger, START), 1);
        assert_eq!(ledger.sums().live_blocks, 1);
        let superseded = ledger.counters().superseded_record_count;
        assert_eq!(
            superseded,
            u64::from(restored),
            "the block that was put back for nothing"
        );
    });
}

/// A thread inserts a block with `flags` at [`START`], another one without, both over what is left
/// of a block that was released at `freed`.
fn insert_twice(freed: usize, flags: u32) {
    loom::model(move || {
        let ledger = Arc::new(Ledger::new().expect("a small ledger"));
        ledger.insert(&block(freed, 8));
        let gone = find(&ledger, freed).expect("a record");
        assert!(ledger.release(&gone, Event::GiveBack, FIRST).is_ok());
        let other = Arc::clone(&ledger);
        let flagged = NewBlock {
            flags,
            ..block(START, 24)
        };
        let thread = spawn(move || other.insert(&flagged));
        let here = ledger.insert(&block(START, 24));
        let there = thread.join().expect("the thread returns");
        assert_eq!((here, there), (Insertion::Recorded, Insertion::Recorded));
        assert_eq!(live_count_at(&ledger, START), 1);
        assert_eq!(ledger.sums().live_blocks, 1);
    });
}

#[test]
fn loom_two_insertions_over_the_record_of_their_address_leave_one_live() {
    insert_twice(START, 0);
}

#[test]
fn loom_two_insertions_over_a_record_that_overlaps_leave_one_live() {
    insert_twice(START + 8, 0);
}

/// What is adopted takes over no record but that of its address, so the two do not meet there.
#[test]
fn loom_an_adoption_and_an_allocation_at_one_address_leave_one_live() {
    insert_twice(START + 8, flag::ADOPTED);
}

#[test]
fn loom_who_looks_at_every_block_sees_whole_records() {
    loom::model(|| {
        let ledger = ledger();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || {
            release(&other, Event::GiveBack, FIRST).expect("nobody else releases");
            let block = NewBlock {
                allocated: SECOND,
                ..block(START, 24)
            };
            assert_eq!(other.insert(&block), Insertion::Recorded);
        });
        let whole = [(16, super::ALLOCATED), (24, SECOND)];
        for copy in ledger.live_blocks() {
            assert!(
                whole.contains(&(copy.size.get(), copy.allocated)),
                "{copy:?}"
            );
            assert_eq!(copy.address, Address::new(START));
            assert_eq!(
                copy.released_by,
                ThreadNumber::default(),
                "live, so not released"
            );
        }
        thread.join().expect("the thread returns");
        assert_eq!(ledger.live_blocks().count(), 1);
    });
}

const BESIDE: usize = START + 0x20;
const ELSEWHERE: usize = 0x80;

/// A ledger with one live block at [`START`], and a second record whose block has been released.
/// With the release of the first as many are kept as the model's limit allows, and one more.
fn ledger_about_to_recycle() -> Arc<Ledger> {
    let ledger = ledger();
    ledger.insert(&block(BESIDE, 16));
    let beside = find(&ledger, BESIDE).expect("a record");
    assert!(ledger.release(&beside, Event::GiveBack, FIRST).is_ok());
    ledger
}

fn assert_new_block_elsewhere(ledger: &Ledger) {
    let there = find(ledger, ELSEWHERE).and_then(|found| found.read());
    let there = there.expect("the new block");
    assert_eq!((there.state, there.size.get()), (BlockState::Live, 24));
    assert_eq!(there.released, StackId::UNKNOWN);
    assert_eq!(there.released_by, ThreadNumber::default());
}

#[test]
fn loom_a_record_that_is_reused_elsewhere_is_not_taken_for_what_it_was() {
    loom::model(|| {
        let ledger = ledger_about_to_recycle();
        release(&ledger, Event::GiveBack, FIRST).expect("nobody else");
        let stale = find(&ledger, START).expect("a record").ticket();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || other.insert(&block(ELSEWHERE, 24)));
        let seen = find(&ledger, START).and_then(|found| found.read());
        if let Some(copy) = seen {
            assert_eq!((copy.address, copy.size.get()), (Address::new(START), 16));
            assert_eq!((copy.state, copy.released), (BlockState::Freed, FIRST));
        }
        let twice = release(&ledger, Event::Withhold, SECOND);
        assert!(matches!(
            twice,
            Err(Outcome::ReleasedBefore | Outcome::Unknown)
        ));
        assert_eq!(thread.join().ok(), Some(Insertion::Recorded));
        assert_eq!(ledger.counters().record_count, 2, "one was recycled");
        assert!(!ledger.restore(stale), "its record has gone elsewhere");
        assert_new_block_elsewhere(&ledger);
        assert_eq!(ledger.sums().live_blocks, 1);
    });
}

#[test]
fn loom_a_record_is_not_recycled_before_its_release_is_noted() {
    loom::model(|| {
        let ledger = ledger_about_to_recycle();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || other.insert(&block(ELSEWHERE, 24)));
        assert!(release(&ledger, Event::GiveBack, SECOND).is_ok());
        assert_eq!(thread.join().ok(), Some(Insertion::Recorded));
        assert_new_block_elsewhere(&ledger);
        let beside = find(&ledger, BESIDE).and_then(|found| found.read());
        assert!(beside.is_none_or(|copy| copy.released == FIRST));
        assert_eq!(ledger.sums().live_blocks, 1);
    });
}

#[test]
fn loom_a_release_during_a_new_start_is_nobodys_error() {
    loom::model(|| {
        let ledger = ledger();
        let other = Arc::clone(&ledger);
        let thread = spawn(move || other.forget_live(|_| true));
        let released = release(&ledger, Event::GiveBack, FIRST);
        thread.join().expect("the thread returns");
        // Never `ReleasedBefore`: that would be a double free.
        assert!(matches!(released, Ok(_) | Err(Outcome::Unknown)));
        let forgotten = ledger.counters().forgotten_record_count;
        assert_eq!(
            forgotten,
            u64::from(released.is_err()),
            "released or forgotten, once"
        );
        let state = find(&ledger, START).and_then(|found| found.state());
        assert_eq!(state, released.is_ok().then_some(BlockState::Freed));
        assert_eq!(ledger.sums().live_blocks, 0);
    });
}

#[test]
fn loom_a_block_recorded_during_a_new_start_is_live_or_forgotten_and_counted_once() {
    loom::model(|| {
        let ledger = ledger();
        let gone = release(&ledger, Event::GiveBack, FIRST).expect("nobody else");
        let other = Arc::clone(&ledger);
        let thread = spawn(move || other.forget_live(|found| found.epoch() < Epoch(2)));
        assert_eq!(ledger.insert(&block(START, 24)), Insertion::Recorded);
        thread.join().expect("the thread returns");
        assert!(!ledger.restore(gone), "the old block does not come back");
        let live_count = live_count_at(&ledger, START) as u64;
        let counters = ledger.counters();
        assert_eq!(counters.forgotten_record_count, 1 - live_count);
        assert_eq!(counters.superseded_record_count, 0);
        assert_eq!(ledger.sums().live_blocks, live_count);
    });
}
