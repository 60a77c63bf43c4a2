//! The library's own beginning and end in a process.
//!
//! The loader calls the first function when it has mapped the library (under `LD_PRELOAD` before
//! the program starts) and the second after `exit` has run every handler: the interpreter is
//! finalised then, so what is still allocated had its chance to be released.

#![expect(
    unsafe_code,
    reason = "places function pointers where the loader finds them"
)]

use super::bar::Bar;
use super::barrier::{barrier, silence_own_panics};
use super::reports;
use super::session;
use crate::capture::EventPlace;
use crate::detect::imprint::MomentKind;
use crate::memory::reentry::OurOwnWork;
use crate::report::{Format, TextOptions, files};
use crate::tracker::options::Options;
use crate::tracker::{existing, log, tracker};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(all(target_os = "linux", not(any(miri, loom))))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

#[cfg(all(target_os = "linux", not(any(miri, loom))))]
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

static IS_REPORTED: AtomicBool = AtomicBool::new(false);

extern "C" fn at_load() {
    barrier((), || {
        silence_own_panics();
        let log_trouble = log::install(environment("HEAPLEDGER_LOG").as_deref()).err();
        let options = environment("HEAPLEDGER_OPTIONS").filter(|_| is_preloaded());
        if options.is_none() && log_trouble.is_none() {
            return;
        }
        let Some(tracker) = tracker() else { return };
        if let Some(trouble) = log_trouble {
            tracker.session().note_trouble(&trouble);
        }
        if let Some(options) = options {
            start_by_environment(&options);
        }
    });
}

/// Starts with the environment's options. There is nobody to answer to here: a mistake in them is
/// noted for the report and the log, and the options before it hold.
fn start_by_environment(text: &str) {
    let Some(tracker) = tracker() else { return };
    let options = Options::of_session().with(text).unwrap_or_else(|error| {
        tracker
            .session()
            .note_trouble(&format!("HEAPLEDGER_OPTIONS: {error}"));
        Options::of_session()
    });
    tracker.session().begin_by_environment();
    session::start(options);
}

extern "C" fn at_exit() {
    barrier((), write_exit_report);
}

/// Writes the report that the options ask for, once. Harmless to call again, and in a child that
/// shares this process's memory for a moment.
pub(crate) fn write_exit_report() {
    let Some(tracker) = existing() else { return };
    if !tracker.session().is_this_process() {
        return;
    }
    let options = tracker.session().options();
    if !options.has_report_at_exit() || IS_REPORTED.swap(true, Ordering::AcqRel) {
        return;
    }
    let _ours = OurOwnWork::begin();
    crate::intercept::hold_crashing_threads();
    tracker.verify(MomentKind::End, &EventPlace::UNKNOWN);
    // The program that `run` started has ended, and its user waits.
    let is_awaited = options.run_by == Some(std::os::unix::process::parent_id());
    let report = {
        let mut bar = Bar::on_standard_error(is_awaited);
        reports::whole(tracker, &mut |done, total| bar.show(done, total))
    };
    let formats = [
        (options.json, Format::Json),
        (options.text, Format::Text(TextOptions::default())),
    ];
    for (pattern, format) in formats {
        let Some(pattern) = pattern else { continue };
        let path = files::expand(&pattern);
        let text = reports::written(&report, format);
        if let Err(error) = files::write_whole(Path::new(&path), text.as_bytes()) {
            tracing::error!("the report could not be written to {path}: {error}");
        }
    }
}

/// A variable of the environment; none for a program that runs with more rights than its user, and
/// none that is not UTF-8.
fn environment(name: &str) -> Option<String> {
    // SAFETY: asks the C library for a number the kernel gave at start-up.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if is_privileged {
        None
    } else {
        std::env::var(name).ok()
    }
}

/// Whether the loader was asked to put this library in front of the program's own: by its path or
/// by its name alone, whatever the file is called.
fn is_preloaded() -> bool {
    let Some(list) = environment("LD_PRELOAD") else {
        return false;
    };
    own_file_name().is_some_and(|own| list.split([' ', ':']).any(|path| file_name(path) == own))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name of the file that this library was loaded from.
fn own_file_name() -> Option<String> {
    let place = at_load as *const std::ffi::c_void;
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `found` is a place for one answer. The loader is calling our constructor, so its lock,
    // which is recursive, is this thread's already.
    let is_found = unsafe { libc::dladdr(place, found.as_mut_ptr()) } != 0;
    // SAFETY: all zero bytes are null pointers, and a success filled the structure in.
    let path = unsafe { found.assume_init() }.dli_fname;
    if !is_found || path.is_null() {
        return None;
    }
    // SAFETY: the loader's string, which lives as long as we are loaded: always.
    let path = unsafe { std::ffi::CStr::from_ptr(path) };
    Some(file_name(path.to_str().ok()?).to_owned())
}
