//! What a period of the program's time has left behind: the blocks that are still live, which of them
//! somebody keeps, and how many.
//!
//! Who wants to know whether anything is lost, and then what, asks two questions with nothing between
//! them, and the second would be answered by the same search for references: so the answer to a count
//! stays for the question that follows it. It serves one question, and no other period.

use super::Tracker;
use super::exception_reserve::is_reserve;
use super::references::Moment;
use crate::detect::reach::Holding;
use crate::detect::{Finding, leak};
use crate::ledger::book::is_programs_own;
use crate::ledger::{BlockRecord, Epoch};
use crate::memory::lock::Lock;
use crate::memory::reentry::OurOwnWork;
use std::sync::MutexGuard;

/// A period of the program's time, by the marks at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// Blocks of this epoch were there before it.
    pub since: Epoch,
    /// Blocks of this epoch are the last that belong to it.
    pub until: Epoch,
}

impl Period {
    /// All the time there has been.
    pub const ALWAYS: Self = Self::since(Epoch(0));

    /// From a mark until now.
    #[must_use]
    pub const fn since(since: Epoch) -> Self {
        let until = Epoch(u32::MAX);
        Self { since, until }
    }

    fn has(self, block: &BlockRecord) -> bool {
        leak::is_leak(block, self.since) && block.epoch <= self.until
    }
}

/// Leaks, the largest of each kind one by one and the rest added up.
#[derive(Clone, Debug, Default)]
pub struct Leaks {
    /// Those that are told, most bytes first.
    pub told: Vec<Finding>,
    /// The others that nobody keeps.
    pub lost_left_out: LeftOut,
    /// The others that somebody keeps.
    pub kept_left_out: LeftOut,
}

/// Leaks that are only counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LeftOut {
    /// How many findings.
    pub findings: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LeftOut {
    fn add(&mut self, leak: &Finding) {
        self.findings += 1;
        self.blocks += leak.blocks;
        self.bytes += leak.bytes;
    }
}

/// What a count has found, for the question about the same that follows.
#[derive(Debug, Default)]
pub(super) struct LastCount(Lock<Option<(Moment, Period, Vec<Finding>)>>);

/// Keeps everybody else out, for the time of a fork.
pub(super) type HeldCount<'count> = MutexGuard<'count, Option<(Moment, Period, Vec<Finding>)>>;

impl LastCount {
    pub(super) fn hold(&self) -> HeldCount<'_> {
        self.0.lock()
    }

    fn keep(&self, now: Moment, period: Period, found: Vec<Finding>) {
        *self.0.lock() = Some((now, period, found));
    }

    /// The answer, if nothing was recorded or released since; it is gone in any case.
    fn take(&self, now: Moment, period: Period) -> Option<Vec<Finding>> {
        let last = self.0.lock().take();
        let is_meant = |(then, of, _): &(Moment, Period, _)| (*then, *of) == (now, period);
        last.filter(is_meant).map(|(_, _, found)| found)
    }
}

impl Tracker {
    /// Blocks of a period that are still live, grouped by where they came from.
    #[must_use]
    pub fn leaks(&self, period: Period) -> Vec<Finding> {
        let _ours = OurOwnWork::begin();
        let period = self.after_baseline(period);
        let known = self.last_count.take(Moment::of(self), period);
        known.unwrap_or_else(|| self.searched_leaks(period))
    }

    /// The same, the first `lost_max` of what nobody keeps and the first `kept_max` of what somebody
    /// does in full.
    #[must_use]
    pub fn largest_leaks(&self, period: Period, lost_max: u64, kept_max: u64) -> Leaks {
        let mut leaks = Leaks::default();
        let (mut lost_count, mut kept_count) = (0, 0);
        for leak in self.leaks(period) {
            let (count, max, left_out) = if self.is_kept(&leak) {
                (&mut kept_count, kept_max, &mut leaks.kept_left_out)
            } else {
                (&mut lost_count, lost_max, &mut leaks.lost_left_out)
            };
            *count += 1;
            if *count <= max {
                leaks.told.push(leak);
            } else {
                left_out.add(&leak);
            }
        }
        leaks
    }

    /// How many blocks of a period are still live.
    #[must_use]
    pub fn leak_count(&self, period: Period) -> u64 {
        let period = self.after_baseline(period);
        let live = self.programs_own();
        live.filter(|block| period.has(block)).count() as u64
    }

    /// How many of the blocks in `leaks` nobody keeps: in a program without an interpreter, all.
    #[must_use]
    pub fn lost_count(&self, period: Period) -> u64 {
        let _ours = OurOwnWork::begin();
        let period = self.after_baseline(period);
        let now = Moment::of(self);
        let leaks = self.searched_leaks(period);
        let lost = leaks.iter().filter(|leak| !self.is_kept(leak));
        let count = lost.map(|leak| leak.blocks).sum();
        self.last_count.keep(now, period, leaks);
        count
    }

    fn after_baseline(&self, period: Period) -> Period {
        Period {
            since: period.since.max(self.session.baseline()),
            ..period
        }
    }

    fn is_kept(&self, leak: &Finding) -> bool {
        !self.is_plain_program() && leak::is_kept_by_somebody(leak)
    }

    fn searched_leaks(&self, period: Period) -> Vec<Finding> {
        if self.session.options().all_leaks {
            let every = self.certainly_left();
            let left = every.filter(|block| period.has(block));
            let unknown = left.map(|block| (block, Holding::Unknown));
            return leak::leaks(unknown, |_| false, |_| false);
        }
        let live: Vec<BlockRecord> = self.programs_own().collect();
        // What came later may hold what the period left: it is no less in question.
        let references = self.references(&live, period.since);
        let left = live.into_iter().filter(|block| period.has(block));
        let left = left.map(|block| (block, references.holding(&block)));
        let left = left.filter(|(block, holding)| !is_reserve(block, *holding));
        let mut found = leak::leaks(
            left,
            |stack| self.is_given_again(stack),
            |stack| self.is_copied_result(stack),
        );
        found.retain(|leak| {
            let allocated = leak.block.map(|block| block.allocated);
            !allocated.is_some_and(|stack| self.capture.is_for_extension_module(stack))
        });
        found
    }

    /// Live blocks that neither the interpreter nor the C runtime keeps for itself.
    fn programs_own(&self) -> impl Iterator<Item = BlockRecord> + '_ {
        self.certainly_left()
            .filter(|block| is_programs_own(block.flags))
    }

    /// Live blocks that may be called leaks.
    fn certainly_left(&self) -> impl Iterator<Item = BlockRecord> + '_ {
        let live = self.ledger.live_blocks();
        live.filter(|block| self.may_be_leak(block))
    }
}
