//! Which allocations enter the ledger, and as whose.
//!
//! The first test costs a thread that makes no foreign call one load of a thread-local word. What
//! passes it is looked at in this order: our own work, a part of another intercepted call, a stale
//! foreign call, the caller's owner, Python code inside a callback.

#![expect(
    clippy::inline_always,
    reason = "what is put together here would be copied through memory to where it is used"
)]

use super::entry::Frame;
use super::foreign_notes::OngoingCall;
use super::hand_over;
use super::outer;
use super::owner::Owner;
use super::page_kinds::{self, PageKind};
use super::stack;
use crate::capture::EventPlace;
use crate::ledger::record::flag;
use crate::ledger::{Epoch, FamilyId};
use crate::memory::FrameAddress;
use crate::memory::reentry::is_our_own_work;
use crate::memory::thread_local::{Word, get};
use crate::tracker::session::Scope;
use crate::tracker::{self, Tracker};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which allocations are looked at; the number of a [`Scope`].
static SCOPE: AtomicU32 = AtomicU32::new(OFF);

const OFF: u32 = Scope::Explicit as u32;
const FOREIGN: u32 = Scope::Foreign as u32;
const PROCESS: u32 = Scope::Process as u32;
const _: () = assert!(OFF != FOREIGN && FOREIGN != PROCESS && OFF != PROCESS);

/// Sets which allocations are looked at from now on.
pub(super) fn set_scope(scope: Scope) {
    SCOPE.store(scope as u32, Ordering::Release);
}

/// Whether calls that we receive are looked at at all.
#[inline]
pub(super) fn is_on() -> bool {
    SCOPE.load(Ordering::Relaxed) != OFF
}

/// Whether an allocation on this thread may enter the ledger now: the quick test.
#[inline]
pub(super) fn is_watching() -> bool {
    let scope = SCOPE.load(Ordering::Relaxed);
    scope == PROCESS || (scope == FOREIGN && get(Word::ForeignFunction) != 0)
}

/// An allocation that enters the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// Where to.
    pub(super) tracker: &'static Tracker,
    /// Where it came from.
    pub(super) place: EventPlace,
    /// `ledger::record::flag` bits that say whose it is.
    pub(super) flags: u32,
    /// Which functions may release it.
    pub(super) family: FamilyId,
    /// The ledger's epoch before the allocator is asked.
    pub(super) epoch: Epoch,
    /// The foreign call that made it.
    pub(super) call: Option<OngoingCall>,
}

/// Decides whether an allocation of `family` enters the ledger, after [`is_watching`] said that it
/// may. Inlined, so that an admission is put together where it is used.
#[inline(always)]
pub(super) fn admit(frame: Frame, family: FamilyId) -> Option<Admission> {
    if is_our_own_work() || outer::is_part_of_another_call(frame) {
        return None;
    }
    let scope = SCOPE.load(Ordering::Relaxed);
    let call = OngoingCall::find(frame);
    if scope != PROCESS && call.is_none() {
        return None;
    }
    let caller = frame.caller();
    let judged = if page_kinds::is_users_code(caller.call_address()) {
        Judged {
            caller,
            flags: 0,
            family,
        }
    } else {
        judge_other(frame, family, call)
    };
    let is_left_out =
        || judged.flags != 0 || call.is_some_and(|call| Call::of(call).is_in_callback());
    if scope != PROCESS && is_left_out() {
        return None;
    }
    let tracker = tracker::tracker()?;
    Some(Admission {
        tracker,
        epoch: tracker.ledger().epoch(),
        place: place_of(frame, judged.caller),
        flags: judged.flags,
        family: judged.family,
        call,
    })
}

/// What is known of an allocation by its caller.
#[derive(Clone, Copy, Debug)]
struct Judged {
    caller: FrameAddress,
    flags: u32,
    family: FamilyId,
}

/// Judges an allocation that code of no library of the program's made.
#[inline(never)]
fn judge_other(frame: Frame, family: FamilyId, call: Option<OngoingCall>) -> Judged {
    let (caller, flags) = judge(frame, family, call.map(Call::of));
    Judged {
        caller,
        flags,
        family: certain_family(caller, family),
    }
}

/// The foreign call that an allocation belongs to.
#[derive(Clone, Copy, Debug)]
struct Call {
    is_direct: bool,
    python_frame: usize,
}

impl Call {
    #[inline]
    fn of(call: OngoingCall) -> Self {
        call.with_notes(|notes| Self {
            is_direct: notes.is_direct(),
            python_frame: notes.python_frame(),
        })
    }

    /// Whether what the machinery of foreign calls calls is this call's function, or what that
    /// jumped to.
    fn is_in_charge(self) -> bool {
        self.is_direct || !self.is_in_callback()
    }

    /// Whether Python code runs inside the call: another frame than the one that made it is on top
    /// of the thread's Python stack. What it allocates is Python's.
    fn is_in_callback(self) -> bool {
        super::python::top_frame() != self.python_frame
    }
}

/// The caller to report, and the flags that say whose the block is.
fn judge(frame: Frame, family: FamilyId, call: Option<Call>) -> (FrameAddress, u32) {
    let caller = frame.caller();
    let PageKind::Image(owner) = page_kinds::kind_of(caller.call_address()) else {
        return (caller, 0);
    };
    let of_owner = |owner, caller| match owner {
        // The machinery calls one of our functions because Python called `malloc` itself, or
        // because the foreign function ends in a jump to it and has left no frame of its own:
        // `double *make(size_t n) { return new double[n]; }` does, when optimised.
        Owner::Interpreter if call.is_some_and(|call| call.is_direct) => (FrameAddress::UNKNOWN, 0),
        Owner::ForeignInterface if call.is_some_and(Call::is_in_charge) => {
            (FrameAddress::UNKNOWN, 0)
        }
        Owner::Interpreter | Owner::ForeignInterface => (caller, flag::INTERPRETERS_OWN),
        Owner::ExtensionModule if call.is_none() => (caller, flag::INTERPRETERS_OWN),
        Owner::CRuntime | Owner::Linker => (caller, flag::RUNTIMES_OWN),
        // What the C++ run time gets from `operator new` belongs to the program's objects; what it
        // gets from `malloc` it keeps.
        Owner::CxxRuntime if family == FamilyId::MALLOC => (caller, flag::RUNTIMES_OWN),
        Owner::CxxRuntime | Owner::ExtensionModule | Owner::User | Owner::Ourselves => (caller, 0),
    };
    let (place, flags) = of_owner(owner, caller);
    if flags != flag::RUNTIMES_OWN {
        return (place, flags);
    }
    // `strdup` and the like: the caller is whoever called them.
    let Some(behalf) = hand_over::in_progress(frame) else {
        return (place, flags);
    };
    match page_kinds::kind_of(behalf.call_address()) {
        PageKind::Image(owner) => of_owner(owner, behalf),
        PageKind::Unseen | PageKind::Ordinary => (behalf, 0),
    }
}

/// The family of a block, as far as the function that we received the call of tells.
///
/// While ld.so loads a library, its static constructors run before its slots are rewritten. Then
/// only the inner part of its calls reaches us, through the C++ run time's own slots: the `malloc` of
/// an `operator new`, the `operator new` that `operator new[]` jumps to. Such a block may be any of
/// them.
fn certain_family(caller: FrameAddress, family: FamilyId) -> FamilyId {
    let is_inner_part = match page_kinds::kind_of(caller.call_address()) {
        PageKind::Image(Owner::CxxRuntime) => family == FamilyId::MALLOC,
        PageKind::Unseen => family == FamilyId::NEW,
        PageKind::Image(_) | PageKind::Ordinary => false,
    };
    if is_inner_part {
        FamilyId::ADOPTED
    } else {
        family
    }
}

/// The family of a block that `operator new` gives through a slot of the C++ run time's own, when we have
/// not received the call that this one is a part of.
///
/// Either code of the run time wants an object, or `operator new[]` was called before its slot was
/// rewritten, and has jumped here since: then the caller is whoever called that.
#[cold]
pub(super) fn inner_family(frame: Frame, family: FamilyId) -> FamilyId {
    match page_kinds::kind_of(frame.caller().call_address()) {
        PageKind::Image(Owner::CxxRuntime) => family,
        PageKind::Image(_) | PageKind::Unseen | PageKind::Ordinary => FamilyId::ADOPTED,
    }
}

/// Whether a release may be only the inner part of the call that was made: as for
/// [`certain_family`], the `free` that `operator delete` jumps to.
pub(super) fn is_inner_release(frame: Frame) -> bool {
    page_kinds::kind_of(frame.caller().call_address()) == PageKind::Unseen
}

/// Where a call came from: who called, or on whose behalf the C library did.
#[inline(always)]
pub(super) fn place_for(frame: Frame) -> EventPlace {
    let caller = frame.caller();
    if page_kinds::is_users_code(caller.call_address()) {
        return place_of(frame, caller);
    }
    let runtime = PageKind::Image(Owner::CRuntime);
    let behalf = if page_kinds::kind_of(caller.call_address()) == runtime {
        hand_over::in_progress(frame)
    } else {
        None
    };
    place_of(frame, behalf.unwrap_or(caller))
}

/// An event's place: its stack is unwound from `frame`, unless the machinery of foreign calls made
/// it itself and `caller` is unknown.
#[inline(always)]
fn place_of(frame: Frame, caller: FrameAddress) -> EventPlace {
    stack::learn();
    EventPlace {
        registers: frame.registers(),
        ..place_of_caller(caller)
    }
}

/// An event's place, by its caller alone.
pub(super) fn place_of_caller(caller: FrameAddress) -> EventPlace {
    EventPlace {
        caller,
        ..EventPlace::UNKNOWN
    }
}
