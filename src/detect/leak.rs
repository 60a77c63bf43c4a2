//! The leak verdict: live blocks grouped by where they came from.

use super::finding::{Access, BlockFacts, Finding, FindingKind, PointerPlace};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Epoch, FamilyId, StackId};
use std::collections::HashMap;

/// What makes blocks one leak.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    allocated: StackId,
    family: FamilyId,
    handed_to_python: bool,
}

/// Whether a live block, allocated after `since`, is a leak. Not one that the program did release,
/// but with a function of another family: that is a finding already, and that the block lives is due
/// to our refusal.
#[must_use]
pub fn is_leak(record: &BlockRecord, since: Epoch) -> bool {
    record.epoch > since && record.flags & flag::REFUSED == 0
}

/// Groups the leaks among the blocks allocated after `since` by where they were allocated; one
/// finding each, most bytes first. The block named is the oldest met, as an example of the group.
pub fn leaks(live: impl Iterator<Item = BlockRecord>, since: Epoch) -> Vec<Finding> {
    let mut groups: HashMap<Group, Finding> = HashMap::new();
    for record in live.filter(|record| is_leak(record, since)) {
        let facts = BlockFacts::from(&record);
        let group = Group {
            allocated: record.allocated,
            family: record.family,
            handed_to_python: facts.handed_to_python,
        };
        let finding = groups
            .entry(group)
            .or_insert_with(|| none_yet(&record, facts));
        finding.count += 1;
        finding.blocks += 1;
        finding.bytes += record.size.get() as u64;
    }
    let mut findings: Vec<Finding> = groups.into_values().collect();
    // The address breaks ties, so that two reports of the same state are equal.
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.bytes), finding.address));
    findings
}

fn none_yet(record: &BlockRecord, facts: BlockFacts) -> Finding {
    Finding {
        kind: FindingKind::Leak,
        address: record.address,
        place: PointerPlace::Block,
        block: Some(facts),
        offset: 0,
        used_family: record.family,
        requested: record.size,
        here: StackId::UNKNOWN,
        thread: record.allocated_by,
        access: Access::Unknown,
        count: 0,
        bytes: 0,
        blocks: 0,
        sequence: 0,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ledger::{BlockState, ThreadNumber};
    use crate::memory::{Address, ByteCount};

    fn block(address: usize, size: usize, stack: u32, epoch: u32) -> BlockRecord {
        BlockRecord {
            address: Address::new(address),
            size: ByteCount::new(size),
            state: BlockState::Live,
            family: FamilyId::HEAPLEDGER,
            allocated: StackId(stack),
            released: StackId::UNKNOWN,
            epoch: Epoch(epoch),
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(0),
            flags: 0,
        }
    }

    #[test]
    fn blocks_of_one_place_are_one_leak_and_most_bytes_come_first() {
        let live = [
            block(64, 10, 1, 1),
            block(128, 10, 1, 1),
            block(256, 500, 2, 1),
        ];
        let found = leaks(live.into_iter(), Epoch(0));
        let summary: Vec<_> = found.iter().map(|leak| (leak.blocks, leak.bytes)).collect();
        assert_eq!(summary, [(1, 500), (2, 20)]);
        assert_eq!(found[1].count, 2);
    }

    #[test]
    fn blocks_older_than_the_mark_do_not_count() {
        let live = [block(64, 10, 1, 3), block(128, 10, 1, 4)];
        assert_eq!(leaks(live.into_iter(), Epoch(3)).len(), 1);
        assert!(leaks(live.into_iter(), Epoch(4)).is_empty());
    }

    #[test]
    fn a_block_whose_release_was_refused_is_no_leak() {
        let refused = BlockRecord {
            flags: flag::REFUSED | flag::HANDED_TO_PYTHON,
            ..block(64, 10, 1, 1)
        };
        let found = leaks([refused, block(128, 20, 1, 1)].into_iter(), Epoch(0));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].blocks, found[0].bytes), (1, 20));
    }
}
