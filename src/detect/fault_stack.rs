//! A stack for judging accesses on.
//!
//! The stack for signals that a program registers may be as small as a few KiB (`faulthandler`'s is),
//! and unwinding and storing a finding need more. So the judgement runs on a stack of ours, one thread
//! at a time.

#![expect(unsafe_code, reason = "switches stacks around a call")]

use crate::memory::pages;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const STACK_BYTE_COUNT: usize = 512 << 10;

/// The end of the stack; zero before [`prepare`].
static TOP: AtomicUsize = AtomicUsize::new(0);
/// The thread that is on it; zero when nobody is.
static OCCUPANT: AtomicU32 = AtomicU32::new(0);

/// Maps the stack, once. Without one, work is done on the stack it is called on.
pub(super) fn prepare() {
    if TOP.load(Ordering::Acquire) != 0 {
        return;
    }
    let Some(mapped) = pages::map(STACK_BYTE_COUNT) else {
        return;
    };
    let top = mapped.expose_provenance().get() + STACK_BYTE_COUNT;
    if TOP
        .compare_exchange(0, top, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        // SAFETY: mapped above, and nobody else knows it.
        let _ = unsafe { pages::unmap(mapped, STACK_BYTE_COUNT) };
    }
}

/// Does `work` on our stack, waiting for another thread that is on it.
pub(super) fn on_own_stack<W: FnOnce() -> T, T>(work: W) -> Option<T> {
    // SAFETY: takes no argument.
    let thread = unsafe { libc::gettid() }.cast_unsigned();
    let top = TOP.load(Ordering::Acquire);
    if top == 0 || OCCUPANT.load(Ordering::Acquire) == thread {
        return Some(work());
    }
    while OCCUPANT
        .compare_exchange(0, thread, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        // SAFETY: takes no argument. The thread on the stack waits for none of ours.
        unsafe { libc::sched_yield() };
    }
    let mut task: (Option<W>, Option<T>) = (Some(work), None);
    // SAFETY: the stack is ours alone now and large enough, and `run` gets what it expects.
    unsafe { call_on(top, run::<W, T>, (&raw mut task).cast()) };
    OCCUPANT.store(0, Ordering::Release);
    task.1
}

extern "C" fn run<W: FnOnce() -> T, T>(task: *mut c_void) {
    // SAFETY: `on_own_stack` passes its own task, which it uses again only afterwards.
    let task = unsafe { &mut *task.cast::<(Option<W>, Option<T>)>() };
    task.1 = task.0.take().map(|work| work());
}

/// Calls `function` with the stack pointer at `top`.
///
/// # Safety
/// * `top` is a multiple of 16, the end of mapped memory that nobody else uses.
/// * `function` returns.
#[cfg(target_arch = "x86_64")]
unsafe fn call_on(top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: r12 keeps the stack pointer over the call, for the function restores it; everything
    // else that a call may change is declared.
    unsafe {
        core::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = in(reg) function,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn call_on(_top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    function(argument);
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    fn place_of_local() -> usize {
        let local = 0_u8;
        (&raw const local).addr()
    }

    #[test]
    fn work_is_done_on_our_stack_and_its_result_comes_back() {
        prepare();
        let top = TOP.load(Ordering::Acquire);
        let place = on_own_stack(place_of_local).expect("the work is done");
        assert!((top - STACK_BYTE_COUNT..top).contains(&place));
        let nested = on_own_stack(|| on_own_stack(place_of_local)).flatten();
        assert!(nested.is_some(), "in place, without waiting for itself");
        assert_eq!(OCCUPANT.load(Ordering::Acquire), 0);
    }
}
