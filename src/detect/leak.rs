//! The leak verdict: live blocks grouped by where they came from.

use super::finding::{Access, BlockFacts, Finding, FindingKind, PointerPlace};
use super::reach::{Holding, is_carved_up};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, Epoch, FamilyId, StackId};
use std::collections::HashMap;

/// What makes blocks one leak.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    allocated: StackId,
    family: FamilyId,
    handed_to_python: bool,
    is_kept: bool,
}

/// Whether a live block, allocated after `since`, is a leak. Not one that the program did release,
/// but with a function of another family: that is a finding already, and that the block lives is due
/// to our refusal.
#[must_use]
pub fn is_leak(record: &BlockRecord, since: Epoch) -> bool {
    record.epoch > since && record.flags & flag::REFUSED == 0
}

/// Groups live blocks by where they were allocated; one finding each, most bytes first. The block
/// named is the oldest met, as an example of the group.
///
/// What something else still holds and nobody handed to Python is a group of its own, with the
/// holding of its first block. Blocks that were handed to Python are one group, whatever holds them:
/// a library may well know all the handles it gave out. Two cases are taken for what they look like,
/// when a library's data lead to the blocks: a single one is an object the library makes once, and
/// where one `is_given_again` the library keeps them to give them out. A text whose pointer ctypes
/// dropped when it `was_copied` is nobody's but the library's that still refers to it, in an object
/// that it gave to the program, say.
pub fn leaks(
    live: impl Iterator<Item = (BlockRecord, Holding)>,
    is_given_again: impl Fn(StackId) -> bool,
    was_copied: impl Fn(StackId) -> bool,
) -> Vec<Finding> {
    let mut groups: HashMap<Group, Finding> = HashMap::new();
    for (record, found) in live {
        let mut facts = BlockFacts::from(&record);
        // The object at the beginning of such a page was handed over, not the page.
        facts.handed_to_python &= !is_carved_up(record.address, record.size);
        let holding = match found {
            // An object of the program's may well know the handles that it gave out.
            Holding::OtherBlock if facts.handed_to_python && !was_copied(record.allocated) => {
                Holding::Elsewhere
            }
            known => known,
        };
        let group = Group {
            allocated: record.allocated,
            family: record.family,
            handed_to_python: facts.handed_to_python,
            is_kept: if facts.handed_to_python {
                holding == Holding::OtherBlock
                    || (is_librarys(holding)
                        && (is_given_again(record.allocated) || was_copied(record.allocated)))
            } else {
                is_librarys(holding) || is_unknown_memory(holding)
            },
        };
        let finding = groups
            .entry(group)
            .or_insert_with(|| none_yet(&record, facts, holding));
        finding.count += 1;
        finding.blocks += 1;
        finding.bytes += record.size.get() as u64;
        finding.holding = together(finding, group, holding);
    }
    let mut findings: Vec<Finding> = groups.into_values().collect();
    // The address breaks ties, so that two reports of the same state are equal.
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.bytes), finding.address));
    findings
}

/// Whether somebody keeps the blocks of a leak. What was handed to Python is Python's to release: only
/// a library's data counts as keeping it, not the pointer that Python itself may still have.
#[must_use]
pub fn is_kept_by_somebody(leak: &Finding) -> bool {
    match leak.holding {
        Holding::Image(_) | Holding::UnloadedImage | Holding::OtherBlock => true,
        Holding::Elsewhere => !leak.block.is_some_and(|block| block.handed_to_python),
        Holding::Unknown | Holding::OtherLeak | Holding::Nowhere => false,
    }
}

const fn is_unknown_memory(holding: Holding) -> bool {
    matches!(holding, Holding::Elsewhere | Holding::OtherBlock)
}

/// Whether a library's data lead to a block.
const fn is_librarys(holding: Holding) -> bool {
    matches!(holding, Holding::Image(_) | Holding::UnloadedImage)
}

/// What holds a group that has just got one more block: nothing, when one of them is lost.
fn together(so_far: &Finding, group: Group, holding: Holding) -> Holding {
    match (so_far.holding, holding) {
        (first, _) if group.is_kept || so_far.blocks == 1 => first,
        (Holding::OtherLeak, Holding::OtherLeak) => Holding::OtherLeak,
        (Holding::Unknown, _) | (_, Holding::Unknown) => Holding::Unknown,
        (_, _) => Holding::Nowhere,
    }
}

fn none_yet(record: &BlockRecord, facts: BlockFacts, holding: Holding) -> Finding {
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
        views: None,
        written: None,
        next: None,
        holding,
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

    const IMAGE: Holding = Holding::Image(Address::new(8));

    fn block(address: usize, size: usize, stack: u32, flags: u32) -> BlockRecord {
        BlockRecord {
            address: Address::new(address),
            size: ByteCount::new(size),
            state: BlockState::Live,
            family: FamilyId::MALLOC,
            allocated: StackId(stack),
            released: StackId::UNKNOWN,
            epoch: Epoch(1),
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(0),
            flags,
        }
    }

    fn never(_: StackId) -> bool {
        false
    }

    /// Blocks of 10 bytes from one place.
    fn found(flags: u32, holdings: &[Holding]) -> Vec<(u64, Holding)> {
        found_where(flags, holdings, never)
    }

    fn found_where(
        flags: u32,
        holdings: &[Holding],
        is_given_again: fn(StackId) -> bool,
    ) -> Vec<(u64, Holding)> {
        let live = holdings
            .iter()
            .enumerate()
            .map(|(number, &holding)| (block(64 + 32 * number, 10, 1, flags), holding));
        let mut found: Vec<_> = leaks(live, is_given_again, never)
            .iter()
            .map(|leak| (leak.blocks, leak.holding))
            .collect();
        found.sort_by_key(|&(blocks, _)| blocks);
        found
    }

    #[test]
    fn blocks_of_one_place_are_one_leak_and_most_bytes_come_first() {
        let live = [
            block(64, 10, 1, 0),
            block(128, 10, 1, 0),
            block(256, 500, 2, 0),
        ];
        let found = leaks(
            live.into_iter().map(|block| (block, Holding::Unknown)),
            never,
            never,
        );
        let summary: Vec<_> = found.iter().map(|leak| (leak.blocks, leak.bytes)).collect();
        assert_eq!(summary, [(1, 500), (2, 20)]);
        assert_eq!(found[1].count, 2);
    }

    #[test]
    fn what_a_library_keeps_for_itself_is_told_from_what_is_lost() {
        let holdings = [IMAGE, Holding::Nowhere, IMAGE, Holding::Elsewhere];
        assert_eq!(found(0, &holdings), [(1, Holding::Nowhere), (3, IMAGE)]);
    }

    #[test]
    fn lost_once_is_lost_and_held_by_leaks_is_said_of_all() {
        let (other, nowhere) = (Holding::OtherLeak, Holding::Nowhere);
        assert_eq!(found(0, &[other, other]), [(2, other)]);
        assert_eq!(found(0, &[other, nowhere, other]), [(3, nowhere)]);
        assert_eq!(
            found(0, &[nowhere, Holding::Unknown]),
            [(2, Holding::Unknown)]
        );
    }

    #[test]
    fn of_blocks_handed_to_python_only_a_single_one_can_be_kept() {
        let handed = flag::HANDED_TO_PYTHON;
        assert_eq!(found(handed, &[IMAGE]), [(1, IMAGE)]);
        assert_eq!(
            found(handed, &[IMAGE, Holding::Nowhere, IMAGE]),
            [(3, Holding::Nowhere)]
        );
        assert_eq!(found(handed, &[IMAGE, IMAGE]), [(2, Holding::Nowhere)]);
    }

    #[test]
    fn what_a_library_gives_out_again_and_its_data_lead_to_is_kept() {
        let again = |holdings: &[Holding]| {
            found_where(flag::HANDED_TO_PYTHON, holdings, |stack| {
                stack == StackId(1)
            })
        };
        assert_eq!(again(&[IMAGE, IMAGE, IMAGE]), [(3, IMAGE)]);
        let lost = [IMAGE, Holding::Nowhere, IMAGE, Holding::Elsewhere];
        assert_eq!(
            again(&lost).len(),
            2,
            "those that nothing leads to are lost"
        );
        assert_eq!(again(&[Holding::Elsewhere; 2]), [(2, Holding::Nowhere)]);
    }

    #[test]
    fn a_copied_text_is_kept_by_the_object_that_has_it_and_a_handle_is_not() {
        let handed = flag::HANDED_TO_PYTHON;
        let found = |holdings: &[Holding], was_copied: bool| {
            let blocks = (1..).zip(holdings);
            let live = blocks.map(|(number, &held)| (block(number * 64, 10, 1, handed), held));
            let found = leaks(live, never, |_| was_copied);
            let told = found
                .iter()
                .map(|leak| (leak.blocks, is_kept_by_somebody(leak)));
            let mut told: Vec<_> = told.collect();
            told.sort_unstable();
            told
        };
        let other = Holding::OtherBlock;
        assert_eq!(found(&[other, other], true), [(2, true)]);
        assert_eq!(found(&[IMAGE, IMAGE], true), [(2, true)]);
        assert_eq!(
            found(&[other, Holding::Nowhere], true),
            [(1, false), (1, true)]
        );
        assert_eq!(found(&[Holding::Elsewhere], true), [(1, false)]);
        assert_eq!(found(&[Holding::OtherLeak], true), [(1, false)]);
        assert_eq!(found(&[other], false), [(1, false)]);
    }

    #[test]
    fn only_a_librarys_data_keep_what_was_handed_to_python() {
        let kept = |flags, holding| {
            let found = leaks(
                [(block(64, 10, 1, flags), holding)].into_iter(),
                never,
                never,
            );
            found.iter().map(is_kept_by_somebody).collect::<Vec<_>>()
        };
        for flags in [0, flag::HANDED_TO_PYTHON] {
            assert_eq!(kept(flags, IMAGE), [true]);
            assert_eq!(kept(flags, Holding::UnloadedImage), [true]);
            assert_eq!(kept(flags, Holding::Elsewhere), [flags == 0]);
            for lost in [Holding::Unknown, Holding::OtherLeak, Holding::Nowhere] {
                assert_eq!(kept(flags, lost), [false]);
            }
        }
    }

    #[test]
    fn a_page_that_is_carved_up_is_kept_by_any_reference_though_it_was_handed_over() {
        let handed = flag::HANDED_TO_PYTHON;
        let page = |address| (block(address, 4_080, 1, handed), Holding::Elsewhere);
        let found = leaks([page(0x1000), page(0x2000)].into_iter(), never, never);
        let summary: Vec<_> = found
            .iter()
            .map(|leak| {
                let handed = leak.block.is_some_and(|block| block.handed_to_python);
                (leak.blocks, handed, leak.holding)
            })
            .collect();
        assert_eq!(summary, [(2, false, Holding::Elsewhere)]);
    }

    #[test]
    fn a_block_whose_release_was_refused_is_no_leak() {
        let refused = block(64, 10, 1, flag::REFUSED | flag::HANDED_TO_PYTHON);
        assert!(!is_leak(&refused, Epoch(0)));
        let other = block(64, 10, 1, flag::HANDED_TO_PYTHON);
        assert!(is_leak(&other, Epoch(0)));
        assert!(!is_leak(&other, Epoch(1)), "older than the mark");
    }
}
