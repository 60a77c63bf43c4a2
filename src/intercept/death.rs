//! Signals that end the process: before it dies of one, the report is written.
//!
//! Our handler stands only where nobody else's does, in the place of the default action, and answers
//! for it: whoever asks is told "default", and whoever asks for the default gets us back. So a
//! program's own handlers, masks and flags are as they would be without us, and so is the status
//! that the process ends with.
//!
//! While the last report is written, every other thread goes on, longer than it would have without
//! us: a daemon thread that enters an interpreter that is gone now would crash. Such a thread is
//! held where it is until the process has ended.

#![expect(unsafe_code, reason = "signal handlers are foreign calls")]

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use super::crash::Crash;
use super::{given, leave, signal_stack, truncation};
use crate::ledger::StackId;
use crate::memory::Address;
use crate::memory::own_stack::OwnStack;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker::death::Death;
use crate::tracker::{self, Tracker, guarded};

type Action = libc::sigaction;
type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

/// Signals whose default action ends the process, as far as a program can be told of them.
const DEADLY: [i32; 16] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGUSR1,
    libc::SIGSEGV,
    libc::SIGUSR2,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGXCPU,
    libc::SIGSYS,
];
/// Those that an instruction raises, which raises them again when it is tried again.
const FAULTS: [i32; 4] = [libc::SIGILL, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];
/// What a thread that enters a dead interpreter may die of.
const CRASHES: [i32; 5] = [
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
];

/// Whether our handler stands in the place of default actions.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// The thread that ends the process, as process and thread number; zero before.
static ENDING: AtomicU64 = AtomicU64::new(0);
/// What a death is told on, and what is told on when the attempt to read its place has crashed: the frames
/// of that are still on the first.
static STACKS: [OwnStack; 2] = [const { OwnStack::new() }; 2];
/// The signal of a death whose place that thread is trying to read; zero at other times.
static ATTEMPTED_FOR: AtomicI32 = AtomicI32::new(0);

/// Whether our handler may stand for the default action of `signal`.
pub(super) fn stands_for(signal: i32) -> bool {
    IS_ON.load(Ordering::Acquire) && DEADLY.contains(&signal)
}

/// Puts our handler in the place of every default action.
pub(super) fn begin() {
    IS_ON.store(true, Ordering::Release);
    signal_stack::provide();
    STACKS.iter().for_each(OwnStack::prepare);
    for signal in DEADLY {
        guarded::stand_in(signal, Some(&ours(&default_action())));
        if ask(signal).sa_sigaction == libc::SIG_DFL {
            set(signal, &ours(&default_action()));
        } else {
            let is_default = |next: &Action| next.sa_sigaction == libc::SIG_DFL;
            change_behind_guard(signal, is_default, &ours(&default_action()));
        }
    }
}

/// Changes the action that follows the handler of the check `guard`, where that stands for `signal`, from
/// one that `is_expected` to `new`.
fn change_behind_guard(signal: i32, is_expected: impl Fn(&Action) -> bool, new: &Action) {
    let mut next = default_action();
    // SAFETY: asks only, with a place for the answer.
    let asked = unsafe { guarded::register(signal, std::ptr::null(), &raw mut next) };
    if asked.is_some() && is_expected(&next) {
        // SAFETY: a complete action, as in `set`.
        unsafe { guarded::register(signal, new, std::ptr::null_mut()) };
    }
}

/// Puts the default actions back.
pub(super) fn end() {
    if !IS_ON.swap(false, Ordering::AcqRel) {
        return;
    }
    for signal in DEADLY {
        guarded::stand_in(signal, None);
        if is_ours(&ask(signal)) {
            set(signal, &default_action());
        } else {
            change_behind_guard(signal, is_ours, &default_action());
        }
    }
}

/// Registers an action on the program's behalf with `register`, which gets what to register.
///
/// # Safety
/// * `new` is null or an action; `old` is null or a place for one.
pub(super) unsafe fn register(
    signal: i32,
    new: *const Action,
    old: *mut Action,
    register: impl FnOnce(*const Action) -> usize,
) -> usize {
    if !stands_for(signal) {
        return register(new);
    }
    let replaced = if new.is_null() {
        None
    } else {
        // SAFETY: not null, so it is an action.
        let new = unsafe { new.read() };
        (new.sa_sigaction == libc::SIG_DFL).then(|| ours(&new))
    };
    let status = register(replaced.as_ref().map_or(new, std::ptr::from_ref));
    if super::real::is_success(status) && !old.is_null() {
        // SAFETY: not null, so it is a place for an action, and one was just written there.
        let before = unsafe { old.read() };
        if is_ours(&before) {
            // SAFETY: as above.
            unsafe { old.write(default_action()) };
        }
    }
    status
}

/// Holds other threads that crash from now on: the process has come to its end, and is reported.
///
/// Not undone: what is left is the way from the last destructor to the kernel.
pub fn hold_crashing_threads() {
    ENDING.store(this_thread(), Ordering::Release);
    for signal in CRASHES {
        set(signal, &ours(&default_action()));
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // In a child that shares its parent's memory for a moment nothing may be written.
    let is_this_process =
        tracker::existing().is_some_and(|tracker| tracker.session().is_this_process());
    if is_this_process {
        if !is_first_to_end() {
            wait_for_the_end();
        }
        let attempted_for = ATTEMPTED_FOR.swap(0, Ordering::AcqRel);
        if attempted_for != 0 {
            on_large_stack(&STACKS[1], || give_up_attempt(attempted_for));
        }
        // SAFETY: what this handler was given; it is registered with `SA_SIGINFO`.
        let crash = unsafe { Crash::read(info, context.cast()) };
        on_large_stack(&STACKS[0], || speak(signal, &crash));
    }
    set(signal, &default_action());
    // SAFETY: with `SA_SIGINFO` the kernel passes what it knows of the signal.
    let code = unsafe { (*info).si_code };
    if code <= 0 || !FAULTS.contains(&signal) {
        // It is blocked while we are here, and ends the process when we leave.
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(signal) };
    }
}

/// Does `work` where it has room: on `stack` instead of a small stack for signals.
fn on_large_stack(stack: &OwnStack, work: impl FnOnce()) {
    if signal_stack::is_on_a_small_one() {
        stack.run(work);
    } else {
        work();
    }
}

/// Writes the report, unless it is our own work that was interrupted: then its locks are held.
fn speak(signal: i32, crash: &Crash) {
    if is_our_own_work() {
        return;
    }
    if let Some(tracker) = tracker::existing() {
        let _ours = OurOwnWork::begin();
        tracker.note_death(Death {
            signal: signal.unsigned_abs(),
            address: None,
            here: StackId::UNKNOWN,
        });
        if CRASHES.contains(&signal) {
            look_at_crash(tracker, signal, crash);
        }
    }
    leave::speak();
}

/// Notes where the thread was, and reports what it likely died of.
fn look_at_crash(tracker: &Tracker, signal: i32, crash: &Crash) {
    let here = attempt(signal, || tracker.stack_at_death(crash.place()));
    tracker.note_death(Death {
        signal: signal.unsigned_abs(),
        address: crash.address,
        here,
    });
    let is_found = given::look_at_death(tracker, crash.stack_pointer, here);
    if signal == libc::SIGSEGV {
        let address = crash.address.unwrap_or(Address::NULL);
        truncation::look_at_fault(tracker, address.get());
        if !is_found {
            tracker.report_followed(&crash.registers, crash.stack_pointer, here);
        }
    }
}

/// Does what may crash in its turn, for what the program broke may be what is read: then
/// [`give_up_attempt`] goes on in its place.
fn attempt<T>(signal: i32, work: impl FnOnce() -> T) -> T {
    block(libc::SIG_UNBLOCK, &FAULTS);
    ATTEMPTED_FOR.store(signal, Ordering::Release);
    let came_of_it = work();
    ATTEMPTED_FOR.store(0, Ordering::Release);
    came_of_it
}

/// Writes the report without what was attempted, and dies of the first signal. The interpreter is not
/// read again.
fn give_up_attempt(signal: i32) {
    if let Some(tracker) = tracker::existing() {
        tracker.capture().turn_off_python_reader();
    }
    leave::speak();
    set(signal, &default_action());
    block(libc::SIG_UNBLOCK, &[signal]);
    // SAFETY: sends a signal to this thread, which dies of it.
    unsafe { libc::raise(signal) };
}

fn block(how: i32, signals: &[i32]) {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: a place for a set, which this call fills.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: a set, and the number of a signal.
        unsafe { libc::sigaddset(mask.as_mut_ptr(), signal) };
    }
    // SAFETY: a set; the old one is not asked for.
    unsafe { libc::pthread_sigmask(how, mask.as_ptr(), std::ptr::null_mut()) };
}

/// Whether this thread is the one to end the process.
fn is_first_to_end() -> bool {
    let this = this_thread();
    let before = ENDING.load(Ordering::Acquire);
    // What a forked child inherited says nothing of it.
    let is_free = before == 0 || before >> 32 != this >> 32;
    before == this
        || is_free
            && ENDING
                .compare_exchange(before, this, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
}

fn wait_for_the_end() -> ! {
    loop {
        // SAFETY: waits for a signal, and takes nothing.
        unsafe { libc::pause() };
    }
}

fn this_thread() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() }.cast_unsigned();
    u64::from(std::process::id()) << 32 | u64::from(thread)
}

/// Our handler, with the mask of the action that it stands for.
fn ours(standing_for: &Action) -> Action {
    let handler: Handler = on_signal;
    let mut action = *standing_for;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action
}

fn is_ours(action: &Action) -> bool {
    let handler: Handler = on_signal;
    action.sa_sigaction == handler as usize
}

fn ask(signal: i32) -> Action {
    let mut action = default_action();
    // SAFETY: only asks; `action` is a place for the answer.
    unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    action
}

fn set(signal: i32, action: &Action) {
    let action: *const Action = action;
    // SAFETY: a complete action, whose handler is a function of this object, which is never
    // unloaded. A refusal leaves everything as it was.
    unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
}

fn default_action() -> Action {
    // SAFETY: zeroes are an action: the default one, with no flags and an empty mask.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_handler_is_told_as_the_default_and_stays_where_the_default_is_asked_for() {
        let signal = libc::SIGUSR2;
        let real = |new: *const Action, old: *mut Action| {
            // SAFETY: the pointers that `register` was given, or an action of its own.
            let status = unsafe { libc::sigaction(signal, new, old) };
            usize::try_from(status).expect("the signal exists")
        };
        begin();
        assert!(is_ours(&ask(signal)));
        let mut old = default_action();
        old.sa_sigaction = 1;
        let place = &raw mut old;
        // SAFETY: null asks, and `place` is a place for the answer.
        unsafe {
            register(signal, std::ptr::null(), place, |new| real(new, place));
        }
        assert_eq!(old.sa_sigaction, libc::SIG_DFL);
        let mut ignore = default_action();
        ignore.sa_sigaction = libc::SIG_IGN;
        // SAFETY: an action, and no place.
        unsafe {
            register(signal, &raw const ignore, std::ptr::null_mut(), |new| {
                real(new, std::ptr::null_mut())
            });
        }
        assert_eq!(ask(signal).sa_sigaction, libc::SIG_IGN, "the program's own");
        let default = default_action();
        // SAFETY: as above.
        unsafe {
            register(signal, &raw const default, place, |new| real(new, place));
        }
        assert_eq!(old.sa_sigaction, libc::SIG_IGN);
        assert!(is_ours(&ask(signal)), "in the place of the default again");
        end();
        assert_eq!(ask(signal).sa_sigaction, libc::SIG_DFL);
        assert!(!is_ours(&ask(libc::SIGTERM)));
    }
}
