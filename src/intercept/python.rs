//! What interception asks of the Python reader.

use crate::capture::foreign::ThreadState;
use crate::memory::reentry::OurOwnWork;
use crate::tracker;
use crate::tracker::options::PythonFrames;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether the interpreter was looked for.
static LOOKED: AtomicU32 = AtomicU32::new(0);

/// The Python frame on top of this thread's stack; zero when there is none or it cannot be read.
#[inline]
pub(super) fn top_frame() -> usize {
    tracker::existing().map_or(0, |tracker| tracker.capture().top_python_frame())
}

/// The interpreter's state of this thread, to be remembered for a foreign call, and its
/// [`top_frame`].
#[inline]
pub(super) fn thread_state_and_top() -> (ThreadState, usize) {
    tracker::existing().map_or((ThreadState::UNKNOWN, 0), |tracker| {
        tracker.capture().thread_state_and_top()
    })
}

/// Begins to read Python stacks, once. Called from calls that an interpreter makes, so there is
/// one: a process that was started under `LD_PRELOAD` has nobody else to ask for it.
#[inline]
pub(super) fn connect_once() {
    if !was_looked_for() {
        connect();
    }
}

/// Whether [`connect_once`] was called.
#[inline]
pub(super) fn was_looked_for() -> bool {
    LOOKED.load(Ordering::Relaxed) != 0
}

/// Whether the interpreter takes every object from glibc, as the environment may ask.
pub(super) fn has_small_objects_from_glibc() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        std::env::var_os("PYTHONMALLOC")
            .is_some_and(|name| name == "malloc" || name == "malloc_debug")
    })
}

#[cold]
fn connect() {
    if LOOKED.swap(1, Ordering::AcqRel) != 0 {
        return;
    }
    let _ours = OurOwnWork::begin();
    if let Some(tracker) = tracker::tracker()
        && tracker.session().options().python_frames == PythonFrames::Native
    {
        tracker.capture().connect_python();
    }
}
