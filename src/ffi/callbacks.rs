//! Telling the program of findings and of our own log.

#![expect(unsafe_code, reason = "calls functions that callers gave")]

use super::HlStatus;
use super::reports;
use super::status::respond;
use crate::detect::Finding;
use crate::memory::lock::Lock;
use crate::tracker::log;
use crate::tracker::{Tracker, tracker};
use std::ffi::{c_char, c_void};

/// Gets one finding as JSON text (`length` bytes and a NUL), on the thread that erred, with no lock
/// of ours held. It is called for every occurrence.
pub type HlFindingCallback =
    Option<unsafe extern "C" fn(json: *const c_char, length: usize, context: *mut c_void)>;

/// Gets one line of our own log: level 1 error, 2 warning, 3 information, 4 debug, 5 trace.
pub type HlLogCallback = Option<
    unsafe extern "C" fn(level: u32, message: *const c_char, length: usize, context: *mut c_void),
>;

/// A function and what it wants to be given back.
#[derive(Clone, Copy, Debug)]
struct Registered<F> {
    function: F,
    context: usize,
}

static FINDING: Lock<Option<Registered<HlFindingCallback>>> = Lock::new(None);
static LOG: Lock<Option<Registered<HlLogCallback>>> = Lock::new(None);

/// Has `callback` called for every finding from now on; null ends it. A call under way on another
/// thread is not waited for.
///
/// # Safety
/// * `callback` may be called with `context` from any thread until it is replaced, and for calls
///   under way a moment longer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_set_callback(
    callback: HlFindingCallback,
    context: *mut c_void,
) -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let context = context.expose_provenance();
        *FINDING.lock() = callback.map(|_| Registered {
            function: callback,
            context,
        });
        tracker.session().set_announcer(announce);
        HlStatus::Ok
    })
}

fn announce(tracker: &'static Tracker, finding: &Finding, _is_new: bool) {
    let Some(registered) = *FINDING.lock() else {
        return;
    };
    let Some(function) = registered.function else {
        return;
    };
    let json = reports::finding_json(tracker, finding) + "\0";
    let context = std::ptr::with_exposed_provenance_mut(registered.context);
    // SAFETY: whoever registered the function promised that it may be called from any thread; the
    // text lives until the call returns.
    unsafe { function(json.as_ptr().cast(), json.len() - 1, context) };
}

/// Has `callback` called for every line of our own log from now on; null ends it.
///
/// # Safety
/// * As for `hl_set_callback`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_set_log_callback(
    callback: HlLogCallback,
    context: *mut c_void,
) -> HlStatus {
    respond(|| {
        let context = context.expose_provenance();
        let registered = callback.map(|_| Registered {
            function: callback,
            context,
        });
        let wanted = registered.is_some();
        *LOG.lock() = registered;
        log::forward_to(wanted.then_some(forward));
        HlStatus::Ok
    })
}

fn forward(level: u32, line: &str) {
    let Some(registered) = *LOG.lock() else {
        return;
    };
    let Some(function) = registered.function else {
        return;
    };
    let line = format!("{line}\0");
    let context = std::ptr::with_exposed_provenance_mut(registered.context);
    // SAFETY: as in `announce`.
    unsafe { function(level, line.as_ptr().cast(), line.len() - 1, context) };
}
