//! The session: its options, who is told of findings, and life across fork and exit.
//!
//! From here upwards `tracing` may be used: nothing in this file runs for an event that is no finding,
//! except [`Session::is_on`] and [`Session::scope`].
//!
//! The state's lock is held across a fork, so it is one that a child can let go. `parking_lot`'s is
//! not: it hands the lock to a thread that waits for it, which the child does not have.

use super::death::{Death, DeathNote};
use super::guarded::HeldGuarded;
use super::left_behind::HeldCount;
use super::options::Options;
pub use super::options::{Check, Scope};
use super::references::HeldSearch;
use super::views::HeldViews;
use super::{Tracker, existing, switching};
use crate::detect::Finding;
use crate::detect::closed::HeldClosed;
use crate::detect::quarantine::HeldDepot;
use crate::detect::store::HeldFindings;
use crate::ledger::Epoch;
use crate::ledger::families::HeldFamilies;
use crate::memory::loaded_list;
use crate::memory::lock::Lock;
use crate::memory::reentry::{OurOwnWork, as_the_program};
use crate::memory::sync::{AtomicU32, Ordering};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::MutexGuard;
use std::time::{Instant, SystemTime};

/// Notes of trouble kept for the report.
const TROUBLE_COUNT_MAX: usize = 32;

/// Told of every finding, with whether it is new; called with the reentry flag down.
pub type Announcer = fn(&'static Tracker, &Finding, bool);

/// What changes rarely.
#[derive(Debug)]
pub struct State {
    /// The options in force.
    pub options: Options,
    /// When this process's ledger began.
    pub started: SystemTime,
    /// The same on the monotonic clock.
    pub began: Instant,
    /// What went wrong on our side, as sentences.
    pub troubles: Vec<String>,
    announcer: Option<Announcer>,
    phase: Phase,
}

/// Who asked for the session that is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nobody.
    Idle,
    /// The environment is about to.
    ByEnvironmentNext,
    /// The environment: its options hold until exit. The program may start and stop on top of it.
    ByEnvironment { program_too: bool },
    /// The program.
    ByProgram,
}

/// The session of this process. There is always one, for our own functions record without being
/// asked; [`Session::start`] gives it the user's options.
#[derive(Debug)]
pub struct Session {
    checks: AtomicU32,
    check_every: AtomicU32,
    event_count: AtomicU32,
    scope: AtomicU32,
    death: DeathNote,
    /// Blocks up to this epoch are not this session's leaks.
    baseline: AtomicU32,
    process: AtomicU32,
    state: Lock<State>,
}

/// Why a session cannot be started or stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateError {
    /// It is running already.
    Running,
    /// It is not running.
    NotRunning,
}

impl Session {
    pub(super) fn new() -> Self {
        let options = Options::new();
        Self {
            checks: AtomicU32::new(options.effective_checks()),
            check_every: AtomicU32::new(0),
            event_count: AtomicU32::new(0),
            scope: AtomicU32::new(options.scope as u32),
            baseline: AtomicU32::new(0),
            process: AtomicU32::new(0),
            death: DeathNote::new(),
            state: Lock::new(State {
                options,
                started: SystemTime::now(),
                began: Instant::now(),
                troubles: Vec::new(),
                announcer: None,
                phase: Phase::Idle,
            }),
        }
    }

    /// Whether a check is on.
    #[inline]
    #[must_use]
    pub fn is_on(&self, check: Check) -> bool {
        self.checks.load(Ordering::Relaxed) & check as u32 != 0
    }

    /// Whether the option `check_every` says that everything is to be verified at this event.
    #[inline]
    pub(super) fn is_time_to_check(&self) -> bool {
        match self.check_every.load(Ordering::Relaxed) {
            0 => false,
            every => {
                let event = self.event_count.fetch_add(1, Ordering::Relaxed);
                event.wrapping_add(1).is_multiple_of(every)
            }
        }
    }

    fn set_checks(&self, options: &Options) {
        self.checks
            .store(options.effective_checks(), Ordering::Relaxed);
        self.check_every
            .store(options.check_every, Ordering::Relaxed);
    }

    /// Which allocations enter the ledger.
    #[inline]
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.scope.load(Ordering::Relaxed) {
            scope if scope == Scope::Foreign as u32 => Scope::Foreign,
            scope if scope == Scope::Process as u32 => Scope::Process,
            _ => Scope::Explicit,
        }
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> Options {
        self.state.lock().options.clone()
    }

    /// The next start is the environment's.
    pub fn begin_by_environment(&self) {
        self.state.lock().phase = Phase::ByEnvironmentNext;
    }

    /// Gives the session the user's options; a session that the environment started keeps its own.
    ///
    /// # Errors
    /// [`StateError::Running`] when it has been started and not stopped.
    pub fn start(&self, options: Options) -> Result<(), StateError> {
        let mut state = self.state.lock();
        state.phase = match state.phase {
            Phase::Idle => Phase::ByProgram,
            Phase::ByEnvironmentNext => Phase::ByEnvironment { program_too: false },
            Phase::ByEnvironment { program_too: false } => {
                state.phase = Phase::ByEnvironment { program_too: true };
                return Ok(());
            }
            Phase::ByEnvironment { program_too: true } | Phase::ByProgram => {
                return Err(StateError::Running);
            }
        };
        let (scope, checks) = (options.scope.name(), options.check_names());
        tracing::info!(scope, ?checks, "session started");
        self.set_checks(&options);
        self.scope.store(options.scope as u32, Ordering::Relaxed);
        state.options = options;
        Ok(())
    }

    /// Ends the program's session: from now on only our own functions record. What is known stays
    /// known, and a session that the environment started goes on.
    ///
    /// # Errors
    /// [`StateError::NotRunning`] when none was started.
    pub fn stop(&self) -> Result<(), StateError> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle
            | Phase::ByEnvironmentNext
            | Phase::ByEnvironment { program_too: false } => Err(StateError::NotRunning),
            Phase::ByEnvironment { program_too: true } => {
                state.phase = Phase::ByEnvironment { program_too: false };
                Ok(())
            }
            Phase::ByProgram => {
                tracing::info!("session stopped");
                state.phase = Phase::Idle;
                state.options = Options {
                    json: state.options.json.take(),
                    text: state.options.text.take(),
                    suppressions: state.options.suppressions.take(),
                    ..Options::new()
                };
                self.scope
                    .store(state.options.scope as u32, Ordering::Relaxed);
                self.set_checks(&state.options);
                Ok(())
            }
        }
    }

    /// Whether a session is running, the program's or the environment's.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !matches!(
            self.state.lock().phase,
            Phase::Idle | Phase::ByEnvironmentNext
        )
    }

    /// Blocks recorded up to this epoch are not this process's leaks: a child's parent had them.
    #[must_use]
    pub fn baseline(&self) -> Epoch {
        Epoch(self.baseline.load(Ordering::Relaxed))
    }

    /// Whether this process, and not a child that shares its memory for a moment (`vfork`), owns
    /// the session.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.process.load(Ordering::Relaxed) == std::process::id()
    }

    /// Notes what the process is dying of.
    pub(super) fn note_death(&self, death: Death) {
        self.death.write(death);
    }

    /// What the process is dying of.
    #[must_use]
    pub fn death(&self) -> Option<Death> {
        self.death.read()
    }

    /// Claims the session for this process; `true` for the first caller.
    pub(super) fn take_over_process(&self) -> bool {
        let own = std::process::id();
        self.process
            .compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Looks at the state of the session.
    pub fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Has `announcer` told of every finding.
    pub fn set_announcer(&self, announcer: Announcer) {
        self.state.lock().announcer = Some(announcer);
    }

    /// Keeps a sentence about trouble of ours for the report.
    pub fn note_trouble(&self, sentence: &str) {
        let mut state = self.state.lock();
        tracing::warn!("{sentence}");
        if state.troubles.len() < TROUBLE_COUNT_MAX {
            state.troubles.push(sentence.to_owned());
        }
    }

    pub(super) fn announce(&self, finding: &Finding, is_new: bool) {
        tracing::warn!(
            kind = finding.kind.name(),
            address = %finding.address,
            block = ?finding.block.map(|block| (block.address, block.size.get())),
            is_new,
            "finding"
        );
        let announcer = self.state.lock().announcer;
        if let (Some(announcer), Some(tracker)) = (announcer, existing()) {
            as_the_program(|| announcer(tracker, finding, is_new));
        }
    }
}

impl Tracker {
    /// Starts a session and reads the interpreter's frames, if there is an interpreter by now.
    ///
    /// # Errors
    /// As for [`Session::start`].
    pub fn start(&self, options: Options) -> Result<(), StateError> {
        self.session.start(options)?;
        let options = self.session.options();
        self.quarantine.set_limits(options.quarantine);
        self.set_guard(&options);
        self.capture.set_native_depth(options.native_stacks.depth());
        self.capture.connect_python();
        Ok(())
    }

    /// Stops the program's session and takes our function away from the interpreter. Our own
    /// functions go on recording; their stacks are read more slowly.
    ///
    /// # Errors
    /// As for [`Session::stop`].
    pub fn stop(&self) -> Result<(), StateError> {
        self.session.stop()?;
        let options = self.session.options();
        self.quarantine.set_limits(options.quarantine);
        self.set_guard(&options);
        if !self.session.is_running() {
            self.capture.disconnect_python();
        }
        Ok(())
    }
}

/// The locks that the forking thread holds while the process is copied, in lock order.
struct HeldLocks {
    _session: MutexGuard<'static, State>,
    _families: HeldFamilies<'static>,
    _findings: HeldFindings<'static>,
    _guarded: HeldGuarded<'static>,
    _closed: HeldClosed<'static>,
    _depot: HeldDepot<'static>,
    _last_search: HeldSearch<'static>,
    _last_count: HeldCount<'static>,
    _views: HeldViews<'static>,
}

thread_local! {
    /// Without a destructor, whose registration would have libc allocate from the program's heap.
    static HELD: RefCell<Option<ManuallyDrop<HeldLocks>>> = const { RefCell::new(None) };
}

fn give_locks_back() {
    let locks = HELD.try_with(RefCell::take).ok().flatten();
    drop(locks.map(ManuallyDrop::into_inner));
}

pub(super) extern "C" fn before_fork() {
    loaded_list::before_fork();
    let (Some(tracker), _ours) = (existing(), OurOwnWork::begin()) else {
        return;
    };
    let locks = HeldLocks {
        _session: tracker.session.state.lock(),
        _families: tracker.families.hold(),
        _findings: tracker.findings.hold(),
        _guarded: tracker.guarded.hold(),
        _closed: tracker.closed.hold(),
        _depot: tracker.quarantine.hold(),
        _last_search: tracker.last_search.hold(),
        _last_count: tracker.last_count.hold(),
        _views: tracker.views.hold(),
    };
    let _ = HELD.try_with(|held| held.replace(Some(ManuallyDrop::new(locks))));
}

pub(super) extern "C" fn after_fork_in_parent() {
    let _ours = OurOwnWork::begin();
    give_locks_back();
    loaded_list::after_fork_in_parent();
}

/// The child begins a ledger view of its own: what it inherited is baseline, not leak.
pub(super) extern "C" fn after_fork_in_child() {
    let _ours = OurOwnWork::begin();
    give_locks_back();
    switching::after_fork_in_child();
    loaded_list::after_fork_in_child();
    let Some(tracker) = existing() else { return };
    let session = &tracker.session;
    session.process.store(std::process::id(), Ordering::Relaxed);
    session
        .baseline
        .store(tracker.ledger.mark().0, Ordering::Relaxed);
    let mut state = session.state.lock();
    state.started = SystemTime::now();
    state.began = Instant::now();
}
