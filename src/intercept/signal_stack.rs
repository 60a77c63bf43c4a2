//! A stack for our handlers on the main thread: a process that dies with its stack pointer astray (an
//! endless recursion, an `alloca` of a size that was read from released memory) cannot be told of its
//! signal on the stack it was on, and would leave no report.

#![expect(unsafe_code, reason = "sigaltstack is a foreign call")]

use crate::memory::pages;
use std::mem::MaybeUninit;

/// Enough to write a report on; committed page by page.
const STACK_BYTE_COUNT: usize = 1 << 20;

/// Gives the calling thread such a stack, if it is the main thread and has none. It is kept: a handler
/// may be running on it.
pub(super) fn provide() {
    if !is_main_thread() || has_one() {
        return;
    }
    let Some(mapped) = pages::map(STACK_BYTE_COUNT) else {
        return;
    };
    let stack = libc::stack_t {
        ss_sp: std::ptr::with_exposed_provenance_mut(mapped.expose_provenance().get()),
        ss_flags: 0,
        ss_size: STACK_BYTE_COUNT,
    };
    // SAFETY: mapped above, and nobody else's. A refusal leaves everything as it was.
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
}

fn is_main_thread() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() };
    u32::try_from(thread).is_ok_and(|thread| thread == std::process::id())
}

/// Whether the thread has a stack for signals; `true` too where the kernel does not say.
fn has_one() -> bool {
    current().is_none_or(|now| now.ss_flags & libc::SS_DISABLE == 0)
}

/// Whether the calling thread is in a handler, on a stack for signals that is smaller than ours: the
/// program's own, with its heap right below.
pub(super) fn is_on_a_small_one() -> bool {
    current()
        .is_some_and(|now| now.ss_flags & libc::SS_ONSTACK != 0 && now.ss_size < STACK_BYTE_COUNT)
}

fn current() -> Option<libc::stack_t> {
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: only asks, with a place for the answer.
    let status = unsafe { libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: zeroes are such a structure, and the kernel wrote one over them.
    let now = unsafe { now.assume_init() };
    (status == 0).then_some(now)
}
