//! The state of everything at one moment, as plain data for reports.

use super::Tracker;
use super::left_behind::Period;
use super::options::Options;
use crate::capture::PythonStatus;
use crate::detect::quarantine::Withheld;
use crate::detect::{Finding, FindingKind};
use crate::ledger::book::is_programs_own;
use crate::ledger::{Epoch, LedgerCounters, Sums};
use crate::memory::reentry::OurOwnWork;
use std::time::{Duration, SystemTime};

/// A point in time for "since".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    /// Blocks recorded later have a higher epoch.
    pub epoch: Epoch,
    /// Findings made later have a higher sequence number.
    pub finding: u64,
}

/// Numbers at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Statistics {
    /// Blocks and bytes: live, peak, total.
    pub sums: Sums,
    /// What is withheld and holds memory, and what has been.
    pub withheld: Withheld,
    /// Blocks closed, the bytes of their pages, and how many had to make room: they hold addresses.
    pub closed: (u64, u64, u64),
    /// Blocks and bytes that never go back, for glibc would abort over the damage around them.
    pub kept: (u64, u64),
    /// Stacks of copied results (see the hints), and of blocks given to Python again, that found no
    /// room.
    pub dropped_note_counts: [u64; 2],
    /// Views that found no room.
    pub dropped_view_count: u64,
    /// Blocks that were to be guarded and found no place.
    pub unguarded_block_count: u64,
    /// Bytes of the heap that the last search for references could not read as chunks.
    pub unread_heap_byte_count: u64,
    /// Occurrences of findings, in the order of [`FindingKind::ALL`].
    pub findings: [u64; FindingKind::ALL.len()],
    /// Different findings that found no room in the store.
    pub dropped_finding_count: u64,
    /// The ledger's own limits and size.
    pub ledger: LedgerCounters,
}

/// Everything a report is made of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Errors in the order in which they were first seen, then leaks, most bytes first.
    pub findings: Vec<Finding>,
    /// The numbers.
    pub statistics: Statistics,
    /// Live blocks of a process whose leaks nobody asks for (see [`Options::run_by`]).
    pub unjudged_block_count: u64,
    /// Live blocks and bytes of the interpreter, extension modules and the C run time.
    pub others_own: (u64, u64),
    /// The options in force.
    pub options: Options,
    /// When this process's ledger began.
    pub started: SystemTime,
    /// How long ago that is.
    pub duration: Duration,
    /// What went wrong on our side.
    pub troubles: Vec<String>,
}

impl Mark {
    /// The mark as one number for the C interface: the epoch above, the finding below. Findings
    /// are limited far below 2^32 (`detect::store::FINDING_COUNT_MAX`).
    #[must_use]
    pub fn to_number(self) -> u64 {
        u64::from(self.epoch.0) << 32 | (self.finding & 0xffff_ffff)
    }

    /// The mark that a number stands for; zero is the beginning.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let epoch = u32::try_from(number >> 32).unwrap_or(u32::MAX);
        Self {
            epoch: Epoch(epoch),
            finding: number & 0xffff_ffff,
        }
    }
}

impl Tracker {
    /// Marks the present.
    pub fn mark(&self) -> Mark {
        let _ours = OurOwnWork::begin();
        Mark {
            epoch: self.ledger.mark(),
            finding: self.findings.latest(),
        }
    }

    /// Live blocks, and their bytes, that are the interpreter's or the C run time's: one group, and no
    /// leaks; none where every block is a leak.
    fn others_own(&self) -> (u64, u64) {
        if self.session.options().all_leaks {
            return (0, 0);
        }
        let others = self
            .ledger
            .live_blocks()
            .filter(|block| !is_programs_own(block.flags));
        others.fold((0, 0), |(blocks, bytes), block| {
            (blocks + 1, bytes + block.size.get() as u64)
        })
    }

    /// The numbers of this moment.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            sums: self.ledger.sums(),
            withheld: self.withheld(),
            closed: self.closed.held(),
            kept: self.kept.totals(),
            dropped_note_counts: self.dropped_note_counts(),
            dropped_view_count: self.views.dropped_count(),
            unguarded_block_count: self.guarded.refused_count(),
            unread_heap_byte_count: self.last_search.unread_byte_count(),
            findings: self.findings.counts(),
            dropped_finding_count: self.findings.dropped_count(),
            ledger: self.ledger.counters(),
        }
    }

    /// Whether what is live at the end says anything: not in a program without Python that the
    /// program under `run` has started (a shell, a compiler), which leaves it to its end to free its
    /// memory. Searching such a process for references takes longer than its own work.
    fn has_leaks_judged(&self) -> bool {
        let run_by = self.session.options().run_by;
        run_by.is_none_or(|run| run == std::os::unix::process::parent_id())
            || !self.is_plain_program()
    }

    /// Whether there is no interpreter in this process: then nothing that is live counts as kept.
    #[must_use]
    pub fn is_plain_program(&self) -> bool {
        self.capture.python_status() == PythonStatus::NotPython
    }

    /// Everything a report is made of.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let _ours = OurOwnWork::begin();
        let mut findings = self.findings.since(0);
        let unjudged_block_count = if self.has_leaks_judged() {
            findings.extend(self.leaks(Period::ALWAYS));
            0
        } else {
            self.leak_count(Period::ALWAYS)
        };
        let statistics = self.statistics();
        let others_own = self.others_own();
        self.session.with_state(|state| Snapshot {
            findings,
            statistics,
            unjudged_block_count,
            others_own,
            options: state.options.clone(),
            started: state.started,
            duration: state.began.elapsed(),
            troubles: state.troubles.clone(),
        })
    }
}
