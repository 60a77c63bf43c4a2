//! Owns the order of steps for one event, and the session: what is being watched, and how.
//!
//! The order, which a two-thread test attacks (`tests/order.rs`):
//!
//! * **Allocate**: the real allocation first, then the redzone, then the stack, then the record,
//!   and only then the pointer goes to the program. Nobody can release what nobody has.
//!   The first block of a stack is given back before it has a record, and one between guard pages or
//!   with a margin in front takes its place ([`first_blocks`]).
//! * **Release**: look up; judge the family; then one compare-and-swap decides who releases. The
//!   winner checks the redzone, notes its stack, fills the block, and withholds it or gives it back,
//!   in this order: the release is on record before the memory can be reused. A loser reports and
//!   does nothing.
//!   A block with damage around it that would make glibc abort is never given back.
//! * **Resize**: where the old memory is to be withheld, another block is allocated first, then the old
//!   one is released as above, its content copied, and it goes to the quarantine. Elsewhere the old
//!   address is released first, as above, then the real call is made, then the
//!   new address is recorded. When the real call fails, the old record is restored. Between the two
//!   another thread may be given the old address: its record replaces ours, which is right.
//! * **Evict**: the ledger's compare-and-swap first, so that a block which left the quarantine in
//!   another way is not given back a second time; then the look for damage; then the real release.
//! * **Start and stop**: slots are rewritten, then a watch begins, then allocations are admitted; the
//!   watch ends before they are restored. What holds meanwhile is written in `watch`.
//! * **Finding**: stored first, announced afterwards, with no lock held and the reentry flag down.
//!
//! Promises: an event that cannot be recorded is served as if we were not there, and counted.
//!
//! Must never: decide what is an error (`detect` does), read stacks (`capture` does), or know how a
//! call reached us.

mod accesses;
pub mod adopt;
pub mod allocate;
mod block_words;
pub mod death;
mod distances;
mod ended_threads;
mod evict;
mod exception_reserve;
pub mod explicit;
mod first_blocks;
mod followed;
mod fronts;
mod glibc;
pub mod guarded;
mod handed_over;
mod kept;
pub mod left_behind;
pub mod log;
#[cfg(all(test, not(any(loom, miri))))]
mod model;
mod neighbour;
mod option_values;
pub mod options;
pub mod references;
pub mod release;
pub mod resize;
pub mod session;
pub mod snapshot;
pub mod spans;
mod stack_set;
pub mod switching;
pub mod thread_cache;
mod told;
mod top;
mod truncation;
mod unloaded;
mod unseen;
mod unused;
pub mod verify;
pub mod views;
mod watch;

use crate::capture::{Capture, EventPlace};
use crate::detect::Finding;
use crate::detect::closed::Closed;
use crate::detect::diagnose::Occurrence;
use crate::detect::quarantine::{Quarantine, Withheld};
use crate::detect::store::FindingStore;
use crate::ledger::families::Families;
use crate::ledger::{BlockRecord, BlockState, Ledger};
use crate::memory::reentry::OurOwnWork;
use crate::memory::sync::AtomicU32;
use crate::memory::{Address, fork, thread_exit};
use ended_threads::EndedThreads;
use evict::Evicting;
use first_blocks::FirstBlocks;
use guarded::Guarded;
use kept::Kept;
use once_cell::race::OnceBox;
use session::Session;
use stack_set::StackSet;
use told::ToldWrites;
use top::TopChunk;
use views::Views;
use watch::Watch;

/// Everything heapledger knows of this process.
#[derive(Debug)]
pub struct Tracker {
    ledger: Ledger,
    capture: Capture,
    families: Families,
    findings: FindingStore,
    quarantine: Quarantine,
    /// The stack of the last look at everything.
    last_check: AtomicU32,
    closed: Closed,
    kept: Kept,
    last_search: references::LastSearch,
    last_count: left_behind::LastCount,
    ended_threads: EndedThreads,
    unloaded: unloaded::Unloaded,
    guarded: Guarded,
    /// Whether blocks have glibc's words around them.
    heap_is_glibcs: bool,
    first_blocks: FirstBlocks,
    top: TopChunk,
    views: Views,
    session: Session,
    told_writes: ToldWrites,
    watch: Watch,
    /// Where blocks were allocated whose pointer ctypes dropped after it had copied the text.
    copied_results: StackSet,
    /// Where blocks were allocated that their own function gave to Python again.
    given_again: StackSet,
}

static TRACKER: OnceBox<Tracker> = OnceBox::new();

/// The process's tracker, built on first use. `None` when the kernel refuses the address space for
/// it; the next call tries again.
#[inline]
#[must_use]
pub fn tracker() -> Option<&'static Tracker> {
    match TRACKER.get() {
        Some(tracker) => Some(tracker),
        None => build(),
    }
}

/// The tracker if it has been built: for handlers that must not build one.
#[must_use]
pub fn existing() -> Option<&'static Tracker> {
    TRACKER.get()
}

#[cold]
fn build() -> Option<&'static Tracker> {
    let _ours = OurOwnWork::begin();
    let built = TRACKER
        .get_or_try_init(|| Tracker::new().map(Box::new).ok_or(()))
        .ok()?;
    if built.session.take_over_process() {
        // Costs a few symbol look-ups in a program without an interpreter.
        built.capture.connect_python();
        thread_exit::install(leave_thread);
        let handlers = fork::ForkHandlers {
            prepare: session::before_fork,
            parent: session::after_fork_in_parent,
            child: session::after_fork_in_child,
        };
        if !fork::install(handlers) {
            built
                .session
                .note_trouble("fork handlers could not be registered");
        }
    }
    Some(built)
}

/// A thread ends: what it withheld stays so among that of all threads, and its corner of the ledger
/// is free.
fn leave_thread() {
    let (Some(tracker), Some(_ours)) = (existing(), OurOwnWork::begin()) else {
        return;
    };
    if let Some(corner) = tracker.ledger.corner_index() {
        tracker
            .quarantine
            .leave(corner, &Evicting(tracker, &EventPlace::UNKNOWN));
    }
    tracker.ended_threads.add_own();
    tracker.ledger.leave();
}

impl Tracker {
    fn new() -> Option<Self> {
        let heap_is_glibcs = glibc::is_the_heap();
        Some(Self {
            ledger: Ledger::new()?,
            capture: Capture::new()?,
            families: Families::default(),
            findings: FindingStore::default(),
            quarantine: Quarantine::default(),
            last_check: AtomicU32::new(0),
            closed: Closed::default(),
            kept: Kept::default(),
            last_search: references::LastSearch::default(),
            last_count: left_behind::LastCount::default(),
            ended_threads: EndedThreads::default(),
            unloaded: unloaded::Unloaded::default(),
            guarded: Guarded::default(),
            heap_is_glibcs,
            first_blocks: FirstBlocks::default(),
            top: if heap_is_glibcs {
                TopChunk::find()
            } else {
                TopChunk::default()
            },
            views: Views::default(),
            session: Session::new(),
            told_writes: ToldWrites::default(),
            watch: Watch::default(),
            copied_results: StackSet::default(),
            given_again: StackSet::default(),
        })
    }

    /// Another than the process's, for a test on a thread of its own.
    #[cfg(all(test, not(any(loom, miri))))]
    fn beside_the_process() -> Self {
        use crate::memory::thread_local::{Word, set};
        // The word belongs to the process's ledger.
        set(Word::Thread, usize::MAX);
        Self::new().expect("address space for a tracker")
    }

    /// The stacks.
    #[must_use]
    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// The names of families.
    #[must_use]
    pub fn families(&self) -> &Families {
        &self.families
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &FindingStore {
        &self.findings
    }

    /// The options and the state of the session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The ledger, for questions.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The block that `pointer` starts or lies in.
    #[must_use]
    pub fn block_at(&self, pointer: Address) -> Option<BlockRecord> {
        let exact = self.ledger.find(pointer).and_then(|found| found.read());
        exact
            .filter(|record| record.state != BlockState::Forgotten)
            .or_else(|| self.ledger.containing(pointer))
    }

    /// Where and by whom the present event is done.
    fn occurrence(&self, place: EventPlace) -> Occurrence {
        Occurrence {
            here: self.capture.here(place),
            thread: self.ledger.thread_number(),
        }
    }

    /// Stores a finding and announces it. The reentry flag is lowered for the announcement: what a
    /// callback allocates through us is recorded like everything else.
    #[cold]
    fn found(&self, finding: &Finding) {
        let is_new = self.findings.add(finding);
        self.session.announce(finding, is_new);
    }

    /// Gives back what this thread withholds, and what is withheld behind the threads' queues.
    pub fn drain_quarantine(&self) {
        if let Some(corner) = self.ledger.corner_index() {
            self.quarantine
                .drain(corner, &Evicting(self, &EventPlace::UNKNOWN));
        }
    }

    /// What is withheld now and holds memory.
    #[must_use]
    pub fn withheld(&self) -> Withheld {
        self.quarantine.withheld()
    }
}
