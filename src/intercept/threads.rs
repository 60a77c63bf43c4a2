//! `pthread_create`: a thread that is started during a foreign call belongs to it.
//!
//! Outside a foreign call the real function is called as it is: `OpenBLAS`'s threads, started at
//! import, are nobody's.

#![expect(
    unsafe_code,
    reason = "passes a block through the thread's argument, and calls its start"
)]

use std::ffi::c_void;
use std::ptr::NonNull;

use super::entry::{Frame, FramePlace};
use super::errno::KeptErrno;
use super::foreign_notes::{self, ForeignCall, ForeignNotes};
use super::functions::Function;
use super::gate;
use super::real::{Real, is_success};
use super::targets::Variant;
use crate::capture::foreign::{self, ForeignFunctionId};
use crate::ledger::StackId;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::memory::thread_local::{Word, get, set};
use crate::tracker;

/// The program's start function.
type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What the new thread needs to know.
struct Legacy {
    start: Start,
    argument: *mut c_void,
    function: ForeignFunctionId,
    /// Where the thread was started: its own stack has no Python code.
    origin: StackId,
}

/// `int pthread_create(pthread_t *, const pthread_attr_t *, void *(*start)(void *), void *)`
pub(super) extern "C-unwind" fn pthread_create(
    thread: usize,
    attributes: usize,
    start: Start,
    argument: *mut c_void,
    frame: FramePlace,
    variant: Variant,
) -> usize {
    let frame = frame.frame();
    let real = Real::of(Function::PthreadCreate, variant);
    let plain = [
        thread,
        attributes,
        start as *const () as usize,
        argument.expose_provenance(),
    ];
    if !gate::is_watching() || is_our_own_work() {
        return real.call4(plain);
    }
    // The call must be going on; one that was left is forgotten here.
    if foreign_notes::with_notes(frame, |_| ()).is_none() {
        return real.call4(plain);
    }
    let Some(legacy) = legacy(start, argument, frame) else {
        return real.call4(plain);
    };
    let legacy = Box::into_raw(legacy);
    let begin: Start = begin;
    let begin = begin as *const () as usize;
    let status = real.call4([thread, attributes, begin, legacy.expose_provenance()]);
    if !is_success(status) {
        // SAFETY: no thread was started, so the box is still this function's.
        drop(unsafe { Box::from_raw(legacy) });
    }
    status
}

/// What the new thread needs to know.
fn legacy(start: Start, argument: *mut c_void, frame: Frame) -> Option<Box<Legacy>> {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let origin = match get(Word::SuppliedOrigin) {
        0 => tracker::existing()?
            .capture()
            .here(gate::place_of_caller(frame.caller())),
        // Started by a thread that has no Python code either.
        origin => StackId(u32::try_from(origin).ok()?),
    };
    let function = foreign::current();
    Some(Box::new(Legacy {
        start,
        argument,
        function,
        origin,
    }))
}

/// The first function of a thread started during a foreign call.
unsafe extern "C-unwind" fn begin(legacy: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` above passed a box of this type to this thread alone.
    let legacy = unsafe { Box::from_raw(legacy.cast::<Legacy>()) };
    let Legacy {
        start,
        argument,
        function,
        origin,
    } = *legacy;
    set(Word::SuppliedOrigin, origin.0 as usize);
    let mut notes = ForeignNotes::new(false, 0);
    // Ends also when the thread is cancelled or calls `pthread_exit`, which unwinds.
    let _call = ForeignCall::begin_thread(NonNull::from(&mut notes), function);
    // SAFETY: the program's own start function with its own argument, called once.
    unsafe { start(argument) }
}
