//! Switching interception on and off, and the addresses by which we know ourselves.

#![expect(unsafe_code, reason = "asks the kernel's auxiliary vector")]

use std::fmt;
use std::sync::OnceLock;

use super::functions::Function;
use super::loaded;
use super::owner::KnownPlaces;
use super::pass::Pass;
use super::patching;
use super::targets::{self, Variant};
use super::{chunk, death, foreign_calls, gate, type_call};
use crate::tracker;
use crate::tracker::session::Scope;

impl fmt::Display for InstallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LostInFork => {
                "this process was forked from one that was just beginning to intercept calls: \
                 start heapledger in a process of its own"
            }
        })
    }
}

impl std::error::Error for InstallError {}

static PLACES: OnceLock<KnownPlaces> = OnceLock::new();

/// Whether a call could be intercepted, and why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstallError {
    /// A forked child of a process that forked in the middle of rewriting slots.
    LostInFork,
}

fn places() -> &'static KnownPlaces {
    PLACES.get_or_init(|| KnownPlaces {
        ours: places as *const () as usize,
        linker_base: auxiliary(libc::AT_BASE),
        vdso: auxiliary(libc::AT_SYSINFO_EHDR),
    })
}

fn auxiliary(kind: libc::c_ulong) -> usize {
    // SAFETY: getauxval takes any number and answers zero for one it does not know.
    usize::try_from(unsafe { libc::getauxval(kind) }).unwrap_or_default()
}

/// Whether calls are being received.
#[must_use]
pub fn is_on() -> bool {
    gate::is_on()
}

/// Begins to receive calls; returns how many slots were rewritten.
///
/// # Errors
/// [`InstallError`] says why no slot was touched.
pub fn install(scope: Scope) -> Result<usize, InstallError> {
    let was_on = gate::is_on();
    if !was_on {
        watch_forks();
        chunk::learn_cache_key();
    }
    let slot_count = patching::begin(places()).ok_or(InstallError::LostInFork)?;
    if !was_on && let Some(tracker) = tracker::tracker() {
        tracker.begin_watch();
    }
    // Last: a block is recorded only when every slot that it may be released through leads to us.
    gate::set_scope(scope);
    if patching::has_new_libraries() {
        // Opened since the slots were rewritten: its own did not lead to us until now.
        look_for_new_libraries();
        doubt_what_is_live();
    }
    foreign_calls::look_at_start();
    if has_report_at_exit() {
        death::begin();
    }
    Ok(slot_count)
}

/// Whether a report is to be written when the process ends.
fn has_report_at_exit() -> bool {
    tracker::existing().is_some_and(|tracker| tracker.session().options().has_report_at_exit())
}

/// What was recorded until now proves nothing: some slots did not lead to us.
pub(super) fn doubt_what_is_live() {
    if let Some(tracker) = tracker::existing() {
        tracker.doubt_what_is_live();
    }
}

/// Restores every slot, when the watch has ended. Entries that the program still holds pass on to the real functions.
///
/// While the program holds blocks between guard pages the slots stay, and pass on what is not such a
/// block: nobody else can release one.
pub fn remove() {
    if let Some(tracker) = tracker::existing() {
        tracker.end_watch();
    }
    gate::set_scope(Scope::Explicit);
    death::end();
    type_call::end();
    if !tracker::existing().is_some_and(tracker::Tracker::has_guarded_blocks) {
        patching::end(places());
    }
}

/// Whether every library was looked at, as far as can be told without a lock.
#[inline]
pub(super) fn knows_every_library() -> bool {
    patching::knows_every_library()
}

/// Looks whether libraries were loaded since the last pass, and rewrites their slots.
#[inline]
pub(super) fn look_for_new_libraries() {
    patching::look_for_new_libraries(places());
}

/// The variant of `function` that stands for what `dlsym` found, and the library that has it.
pub(super) fn entry_for(function: Function, found: usize) -> Option<(Variant, Vec<u8>)> {
    let mut answer = None;
    patching::with_book(|_| {
        loaded::with_images(&mut |images, _| {
            let pass = Pass::for_lookup(images, places());
            let real = pass.behind_stub(function, found);
            let library = images.iter().find(|image| image.contains(real));
            let library = library.map_or_else(Vec::new, |image| image.name().to_vec());
            let variant = targets::variant_for(function, pass.target_at(real));
            answer = variant.map(|variant| (variant, library));
        });
    });
    answer
}

extern "C" fn after_fork_in_child() {
    patching::after_fork_in_child();
}

/// Has the book looked after in forked children; once for the process. A refusal (no memory) means
/// that a child of a process that forked in the middle of a pass waits at its next pass.
fn watch_forks() {
    static WATCHED: OnceLock<bool> = OnceLock::new();
    WATCHED.get_or_init(|| {
        // SAFETY: the handler is a function of this object, which is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) == 0 }
    });
}
