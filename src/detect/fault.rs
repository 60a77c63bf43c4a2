//! Receiving the signals of forbidden accesses, and passing on those that are not ours.
//!
//! Other owners of `SIGSEGV` keep working: what stood there before us is called for addresses we
//! know nothing of, and what is registered after us takes that place instead of ours, either because
//! `sigaction` is intercepted ([`register`]) or because [`keep`] puts our handler back. Where nobody
//! else is, the process dies of the signal as it would without us.

#![expect(unsafe_code, reason = "signal handlers are foreign calls")]

use crate::memory::Address;
use crate::memory::own_stack::OwnStack;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

const SIGNALS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// A forbidden access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The address that was accessed.
    pub address: Address,
    /// Whether it was written; `None` where the processor does not say.
    pub is_write: Option<bool>,
    /// The instruction that did it.
    pub instruction: usize,
    /// The stack pointer then; zero where the processor does not say.
    pub stack_pointer: usize,
    /// The frame pointer then; zero as above.
    pub frame_pointer: usize,
}

/// Decides about an access on the thread that made it: `true` when it may be tried again, with the
/// registers as they are then. Where the processor does not tell them there are none.
pub type Judge = fn(Fault, &mut [i64]) -> bool;

static JUDGE: OnceLock<Judge> = OnceLock::new();
/// What accesses are judged on.
static STACK: OwnStack = OwnStack::new();
/// What takes the signals that are not ours.
static NEXT: [AtomicPtr<libc::sigaction>; 2] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];
/// What is done in the place of the default action; null for the kernel's own.
static STAND_IN: [AtomicPtr<libc::sigaction>; 2] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];
/// The thread that is in somebody else's handler, which handler that is, and where its stack was then.
static PASSING_THREAD: AtomicU32 = AtomicU32::new(0);
static PASSING_HANDLER: AtomicUsize = AtomicUsize::new(0);
static PASSING_STACK: AtomicUsize = AtomicUsize::new(0);

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

/// Puts our handler in front; the first `judge` decides for good. `false` when the system refuses.
pub fn install(judge: Judge) -> bool {
    JUDGE.get_or_init(|| judge);
    STACK.prepare();
    SIGNALS.iter().all(|&signal| put_in_front(signal))
}

/// Puts our handler back in front where somebody has registered another since.
pub fn keep() {
    if JUDGE.get().is_some() {
        put_in_front(libc::SIGSEGV);
    }
}

/// Whether our handler is registered for `signal`, and others wait behind it.
#[must_use]
pub fn has_signal(signal: i32) -> bool {
    JUDGE.get().is_some() && SIGNALS.contains(&signal)
}

/// Has `action` done wherever the program has the default action, or the kernel's own again (`None`):
/// also after a handler that is registered for one time.
pub fn stand_in(signal: i32, action: Option<&libc::sigaction>) {
    let place = SIGNALS.iter().position(|&ours| ours == signal);
    if let Some(place) = place.and_then(|place| STAND_IN.get(place)) {
        let action = action.map_or(std::ptr::null_mut(), |action| {
            Box::into_raw(Box::new(*action))
        });
        place.store(action, Ordering::Release);
    }
}

/// Registers on behalf of the program: `None` when the signal is not ours and the real function must
/// be called.
///
/// # Safety
/// * `new` is null or an action; `old` is null or a place for one.
pub unsafe fn register(
    signal: i32,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> Option<i32> {
    JUDGE.get()?;
    let place = NEXT.get(SIGNALS.iter().position(|&ours| ours == signal)?)?;
    let before = next_action(place);
    if !new.is_null() {
        // SAFETY: not null, so it is an action.
        set_next(place, unsafe { new.read() });
    }
    if !old.is_null() {
        // SAFETY: not null, so it is a place for one.
        unsafe { old.write(before) };
    }
    Some(0)
}

fn put_in_front(signal: i32) -> bool {
    let Some(place) = SIGNALS.iter().position(|&ours| ours == signal) else {
        return false;
    };
    let now = action_of(signal);
    let ours: Handler = on_signal;
    if now.sa_sigaction == ours as usize {
        return true;
    }
    if let Some(place) = NEXT.get(place) {
        set_next(place, now);
    }
    let mut action = default_action();
    action.sa_sigaction = ours as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the action is complete, and its handler is a function of this object, which is never
    // unloaded.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) == 0 }
}

fn action_of(signal: i32) -> libc::sigaction {
    let mut action = default_action();
    // SAFETY: only asks; `action` is a place for the answer.
    unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    action
}

fn default_action() -> libc::sigaction {
    // SAFETY: zeroes are an action: the default one, with no flags and an empty mask.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn next_action(place: &AtomicPtr<libc::sigaction>) -> libc::sigaction {
    let next = place.load(Ordering::Acquire);
    if next.is_null() {
        return default_action();
    }
    // SAFETY: `set_next` and `stand_in` store boxes and never free them.
    unsafe { next.read() }
}

/// The old action is not freed: a handler on another thread may be reading it. Programs register
/// few.
fn set_next(place: &AtomicPtr<libc::sigaction>, action: libc::sigaction) {
    place.store(Box::into_raw(Box::new(action)), Ordering::Release);
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: glibc gives every thread an `errno` of its own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: that thread's own integer.
    let before = unsafe { errno.read() };
    // SAFETY: with `SA_SIGINFO` the kernel passes both.
    let fault = unsafe { fault_of(info, context) };
    let passes = fault.is_some_and(|fault| {
        // SAFETY: as above.
        let registers = unsafe { registers_of(context) };
        let judged = JUDGE
            .get()
            .map(|judge| STACK.run(|| judge(fault, registers)));
        judged.flatten().unwrap_or(false)
    });
    if !passes {
        pass_on(signal, info, context, fault.is_some());
    }
    // SAFETY: as above.
    unsafe { errno.write(before) };
}

/// The access behind a signal; `None` for one that somebody sent.
///
/// # Safety
/// * The arguments are those of a handler registered with `SA_SIGINFO`.
unsafe fn fault_of(info: *mut libc::siginfo_t, context: *mut c_void) -> Option<Fault> {
    // SAFETY: the caller's duty.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        return None;
    }
    // SAFETY: the kernel's own codes for these signals come with an address.
    let address = Address::of(unsafe { info.si_addr() }.cast::<u8>());
    // SAFETY: the caller's duty.
    Some(unsafe { with_registers(address, context) })
}

/// The general registers as the thread is to have them when it goes on: the stack pointer and the
/// instruction's address come after all others.
///
/// # Safety
/// * As for [`fault_of`]; the handler has not returned while the result is used.
#[cfg(target_arch = "x86_64")]
unsafe fn registers_of<'a>(context: *mut c_void) -> &'a mut [i64] {
    let general = usize::try_from(libc::REG_RSP).unwrap_or_default();
    // SAFETY: the third argument of such a handler is this structure, which is the handler's alone.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context
        .uc_mcontext
        .gregs
        .get_mut(..general)
        .unwrap_or_default()
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn registers_of<'a>(_context: *mut c_void) -> &'a mut [i64] {
    &mut []
}

#[cfg(target_arch = "x86_64")]
unsafe fn with_registers(address: Address, context: *mut c_void) -> Fault {
    const WRITE: i64 = 2;
    // SAFETY: the third argument of such a handler is this structure.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = |number: i32| {
        let index = usize::try_from(number).unwrap_or_default();
        context.uc_mcontext.gregs.get(index).copied().unwrap_or(0)
    };
    let place = |number| usize::try_from(register(number).cast_unsigned()).unwrap_or(0);
    Fault {
        address,
        is_write: Some(register(libc::REG_ERR) & WRITE != 0),
        instruction: place(libc::REG_RIP),
        stack_pointer: place(libc::REG_RSP),
        frame_pointer: place(libc::REG_RBP),
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn with_registers(address: Address, _context: *mut c_void) -> Fault {
    Fault {
        address,
        is_write: None,
        instruction: 0,
        stack_pointer: 0,
        frame_pointer: 0,
    }
}

/// Does what would have been done without us.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void, is_fault: bool) {
    let Some(place) = SIGNALS.iter().position(|&ours| ours == signal) else {
        return;
    };
    let (Some(place), Some(default)) = (NEXT.get(place), STAND_IN.get(place)) else {
        return;
    };
    let mut next = next_action(place);
    let stand_in = next_action(default);
    if next.sa_sigaction == libc::SIG_DFL {
        next = stand_in;
    }
    let stands_in = next.sa_sigaction == stand_in.sa_sigaction;
    // SAFETY: takes no argument.
    let thread = unsafe { libc::gettid() }.cast_unsigned();
    let here = (&raw const next).addr();
    // A handler that raises the signal again, to die of it, must not be called for ever. One that has
    // put another in its place first, as it should, is followed by that one. What stands in for the default
    // action knows by itself when it has crashed in its turn.
    let is_nested = !stands_in
        && PASSING_THREAD.load(Ordering::Acquire) == thread
        && PASSING_HANDLER.load(Ordering::Acquire) == next.sa_sigaction
        && here < PASSING_STACK.load(Ordering::Acquire);
    if next.sa_sigaction == libc::SIG_IGN && !is_fault {
        return;
    }
    if is_nested || matches!(next.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        die_of(signal, is_fault);
        return;
    }
    if next.sa_flags & libc::SA_RESETHAND != 0 {
        set_next(place, default_action());
    }
    PASSING_STACK.store(here, Ordering::Release);
    PASSING_HANDLER.store(next.sa_sigaction, Ordering::Release);
    PASSING_THREAD.store(thread, Ordering::Release);
    let before = block(signal, &next);
    // SAFETY: the program registered this handler for this signal, with or without `SA_SIGINFO`,
    // and a handler may be given more arguments than it takes.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(next.sa_sigaction) };
    handler(signal, info, context);
    // Before what the handler has raised comes in: it is called anew then.
    PASSING_THREAD.store(0, Ordering::Release);
    unblock(&before);
}

/// Lets the default action happen: at once for a signal that was sent, when the access is tried
/// again for a fault.
fn die_of(signal: i32, is_fault: bool) {
    let action = default_action();
    // SAFETY: the default action is complete.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if !is_fault {
        // SAFETY: sends the signal to this thread, for which it is not blocked.
        unsafe { libc::raise(signal) };
    }
}

/// Blocks what the kernel would have blocked for this handler, and returns what was blocked before.
fn block(signal: i32, action: &libc::sigaction) -> libc::sigset_t {
    let mut mask = action.sa_mask;
    if action.sa_flags & libc::SA_NODEFER == 0 {
        // SAFETY: `mask` is a set of signals, and the signal has a number.
        unsafe { libc::sigaddset(&raw mut mask, signal) };
    }
    let mut before = default_action().sa_mask;
    // SAFETY: both are sets of signals.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, &raw mut before) };
    before
}

fn unblock(before: &libc::sigset_t) {
    let before: *const libc::sigset_t = before;
    // SAFETY: a set of signals that `block` filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}
