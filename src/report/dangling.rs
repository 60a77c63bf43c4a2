//! The sentence of a view that dangles.

use super::message::{sized_at, thread_apart};
use super::number::counted;
use crate::detect::Finding;
use crate::ledger::FamilyId;

/// What was released, and whether it was; how many views of it were alive.
pub(super) fn sentence(finding: &Finding) -> String {
    let (views, _) = finding.views.unwrap_or_default();
    let of_it = match views {
        1 => "a view of it is alive".to_owned(),
        views => format!("{} of it are alive", counted(views.into(), "view")),
    };
    let by = thread_apart(finding.thread);
    let Some(block) = finding.block else {
        return format!("dangling view of {}{by}", finding.address);
    };
    let block_named = sized_at(&block);
    if block.family == FamilyId::HEAPLEDGER {
        format!("dangling view prevented: {block_named} is not released, for {of_it}{by}")
    } else {
        format!("dangling view: {block_named} is released while {of_it}{by}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::FindingKind;
    use crate::ledger::StackId;
    use crate::report::fixtures::error;

    #[test]
    fn blocks_of_others_dangle_and_ours_are_kept() {
        let mut finding = error(FindingKind::UseAfterFree, 48);
        finding.views = Some((2, StackId(1)));
        assert_eq!(
            sentence(&finding),
            "dangling view: a 48-byte block at 0x7f10 is released while 2 views of it are alive, \
             by thread 3"
        );
        finding.views = Some((1, StackId(1)));
        if let Some(block) = &mut finding.block {
            block.family = FamilyId::HEAPLEDGER;
        }
        assert_eq!(
            sentence(&finding),
            "dangling view prevented: a 48-byte block at 0x7f10 is not released, for a view of it \
             is alive, by thread 3"
        );
    }
}
