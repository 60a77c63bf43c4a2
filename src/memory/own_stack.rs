//! Stacks of our own for work in signal handlers.
//!
//! The stack for signals that a program registers may be as small as a few KiB (`faulthandler`'s is, and
//! the program's heap lies right below it), and unwinding, storing a finding and writing a report need
//! more. So such work runs on a stack of ours, one thread at a time.

#![expect(unsafe_code, reason = "switches stacks around a call")]

use super::pages;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const STACK_BYTE_COUNT: usize = 1 << 20;

/// One stack: address space that is committed page by page.
#[derive(Debug)]
pub struct OwnStack {
    /// The end of the stack; zero before [`OwnStack::prepare`].
    top: AtomicUsize,
    /// The thread that is on it; zero when nobody is.
    occupant: AtomicU32,
}

impl OwnStack {
    /// A stack that is not mapped yet.
    #[expect(
        clippy::new_without_default,
        reason = "made once, as a constant for a static variable"
    )]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            top: AtomicUsize::new(0),
            occupant: AtomicU32::new(0),
        }
    }

    /// Maps the stack, once. Without one, work is done on the stack it is called on.
    pub fn prepare(&self) {
        if self.top.load(Ordering::Acquire) != 0 {
            return;
        }
        let Some(mapped) = pages::map(STACK_BYTE_COUNT) else {
            return;
        };
        let top = mapped.expose_provenance().get() + STACK_BYTE_COUNT;
        if self
            .top
            .compare_exchange(0, top, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: mapped above, and nobody else knows it.
            let _ = unsafe { pages::unmap(mapped, STACK_BYTE_COUNT) };
        }
    }

    /// Does `work` on this stack, waiting for another thread that is on it; where it is when the calling
    /// thread is on it already.
    pub fn run<W: FnOnce() -> T, T>(&self, work: W) -> Option<T> {
        // SAFETY: takes no argument.
        let thread = unsafe { libc::gettid() }.cast_unsigned();
        let top = self.top.load(Ordering::Acquire);
        if top == 0 || self.occupant.load(Ordering::Acquire) == thread {
            return Some(work());
        }
        while self
            .occupant
            .compare_exchange(0, thread, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: takes no argument. The thread on the stack waits for none of ours.
            unsafe { libc::sched_yield() };
        }
        let mut task: (Option<W>, Option<T>) = (Some(work), None);
        // SAFETY: the stack is ours alone now and large enough, and `run` gets what it expects.
        unsafe { call_on(top, run::<W, T>, (&raw mut task).cast()) };
        self.occupant.store(0, Ordering::Release);
        task.1
    }
}

extern "C" fn run<W: FnOnce() -> T, T>(task: *mut c_void) {
    // SAFETY: `OwnStack::run` passes its own task, which it uses again only afterwards.
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
        let stack = OwnStack::new();
        let outside = stack.run(place_of_local).expect("in place");
        stack.prepare();
        let top = stack.top.load(Ordering::Acquire);
        let ours = top - STACK_BYTE_COUNT..top;
        assert!(!ours.contains(&outside));
        let place = stack.run(place_of_local).expect("the work is done");
        assert!(ours.contains(&place));
        let nested = stack.run(|| stack.run(place_of_local)).flatten();
        assert!(nested.is_some(), "in place, without waiting for itself");
        assert_eq!(stack.occupant.load(Ordering::Acquire), 0);
    }
}
