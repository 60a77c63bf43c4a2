//! Stacks, each stored once.
//!
//! Identity is by content: the foreign function and the places, innermost first. Code objects that
//! are created anew for the same text therefore give the same [`StackId`].

use super::intern_table::InternTable;
use super::native::NATIVE_FRAME_COUNT_MAX;
use super::site_table::SiteId;
use crate::ledger::StackId;
use crate::memory::sync::{AtomicU64, Ordering};

/// How many different stacks are kept.
#[cfg(not(any(loom, test)))]
const STACK_COUNT_MAX: usize = 1 << 19;
#[cfg(any(loom, test))]
const STACK_COUNT_MAX: usize = 100;

/// How many Python frames of a stack are kept, counted from the innermost.
pub const PYTHON_FRAME_COUNT_MAX: usize = 64;

/// The Python frames and the native ones around them.
const SITE_COUNT_MAX: usize = PYTHON_FRAME_COUNT_MAX + NATIVE_FRAME_COUNT_MAX;

/// A stack being put together; lives on the thread's own stack, half a kilobyte.
#[derive(Debug)]
pub(super) struct NewStack {
    foreign: SiteId,
    sites: [SiteId; SITE_COUNT_MAX],
    length: usize,
}

impl NewStack {
    /// A stack without frames, in this foreign function.
    pub(super) const fn new(foreign: SiteId) -> Self {
        Self {
            foreign,
            sites: [SiteId::NONE; SITE_COUNT_MAX],
            length: 0,
        }
    }

    /// Adds the next frame outward. A place that is not known, or one frame too many, is left out.
    pub(super) fn push(&mut self, site: SiteId) {
        if site.is_known()
            && let Some(place) = self.sites.get_mut(self.length)
        {
            *place = site;
            self.length += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.length == 0 && !self.foreign.is_known()
    }

    fn words(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        std::iter::once(self.foreign.0)
            .chain(self.sites.iter().take(self.length).map(|site| site.0))
    }
}

/// The stacks.
#[derive(Debug)]
pub(super) struct StackTable {
    records: InternTable,
    cut: AtomicU64,
}

impl StackTable {
    /// An empty table; `None` when the kernel refuses pages.
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            records: InternTable::new(STACK_COUNT_MAX)?,
            cut: AtomicU64::new(0),
        })
    }

    /// The number of this stack, stored now if it was not known. An empty stack, and one for
    /// which there is no room, is [`StackId::UNKNOWN`].
    pub(super) fn intern(&self, stack: &NewStack) -> StackId {
        if stack.is_empty() {
            return StackId::UNKNOWN;
        }
        self.records
            .intern(&stack.words())
            .map_or(StackId::UNKNOWN, StackId)
    }

    /// The places of a stack, innermost first.
    pub(super) fn sites(&self, stack: StackId) -> impl Iterator<Item = SiteId> + '_ {
        self.records.record(stack.0).skip(1).map(SiteId)
    }

    /// The foreign function a stack was captured in.
    pub(super) fn foreign(&self, stack: StackId) -> SiteId {
        self.records
            .record(stack.0)
            .next()
            .map_or(SiteId::NONE, SiteId)
    }

    /// Notes that a stack has more frames than are kept.
    pub(super) fn note_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// How many times a stack with too many frames was looked at for the first time.
    pub(super) fn cut_count(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// The table of records, for its counters.
    pub(super) fn records(&self) -> &InternTable {
        &self.records
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn stack_of(foreign: u32, sites: &[u32]) -> NewStack {
        let mut stack = NewStack::new(SiteId(foreign));
        for &site in sites {
            stack.push(SiteId(site));
        }
        stack
    }

    #[test]
    fn frames_and_foreign_function_make_a_stack() {
        let table = StackTable::new().expect("pages");
        let plain = table.intern(&stack_of(0, &[3, 2, 1]));
        let foreign = table.intern(&stack_of(9, &[3, 2, 1]));
        assert_ne!(plain, foreign);
        assert_eq!(table.intern(&stack_of(0, &[3, 2, 1])), plain);
        assert!(table.sites(foreign).eq([3, 2, 1].map(SiteId)));
        assert_eq!(table.foreign(foreign), SiteId(9));
        assert_eq!(table.foreign(plain), SiteId::NONE);
    }

    #[test]
    fn nothing_known_is_the_unknown_stack() {
        let table = StackTable::new().expect("pages");
        assert_eq!(table.intern(&stack_of(0, &[])), StackId::UNKNOWN);
        assert_eq!(table.intern(&stack_of(0, &[0, 0])), StackId::UNKNOWN);
        assert_eq!(table.sites(StackId::UNKNOWN).count(), 0);
        assert!(
            table.intern(&stack_of(4, &[])).is_known(),
            "a foreign function is something"
        );
    }

    #[test]
    fn a_full_table_answers_unknown_and_counts() {
        let table = StackTable::new().expect("pages");
        let known = (1..=200).filter(|&site| table.intern(&stack_of(0, &[site])).is_known());
        assert_eq!(known.count(), STACK_COUNT_MAX);
        assert_eq!(table.records().dropped_count(), 100);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn loom_a_stack_captured_by_two_threads_is_one_stack() {
        loom::model(|| {
            let table = Arc::new(StackTable::new().expect("a small table"));
            let other = Arc::clone(&table);
            let capture = |table: &StackTable| {
                let mut stack = NewStack::new(SiteId::NONE);
                stack.push(SiteId(4));
                table.intern(&stack)
            };
            let thread = loom::thread::spawn(move || capture(&other));
            let here = capture(&table);
            assert!(
                table.sites(here).eq([SiteId(4)]),
                "complete as soon as it is known"
            );
            assert_eq!(thread.join().expect("the thread returns"), here);
        });
    }
}
