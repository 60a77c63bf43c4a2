//! Being told when the process forks, so that no lock is left held in the child.

#![expect(unsafe_code, reason = "pthread_atfork is a foreign call")]

use super::own_heap;
use super::refusal::{Request, is_refused};

/// What to do around a fork.
#[derive(Clone, Copy, Debug)]
pub struct ForkHandlers {
    /// In the parent, before: take every lock.
    pub prepare: extern "C" fn(),
    /// In the parent, after: give the locks back.
    pub parent: extern "C" fn(),
    /// In the child: give the locks back and begin a life of its own.
    pub child: extern "C" fn(),
}

/// Registers the handlers for every fork of this process from now on; `false` when the C library
/// has no memory for them. The own heap protects itself in the same way.
#[must_use]
pub fn install(handlers: ForkHandlers) -> bool {
    // First, so that the own heap is held last and let go first: the other handlers allocate.
    if !register(own_heap::hold, own_heap::let_go, own_heap::let_go) {
        return false;
    }
    let ForkHandlers {
        prepare,
        parent,
        child,
    } = handlers;
    register(prepare, parent, child)
}

fn register(prepare: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    let (prepare, parent, child): (
        unsafe extern "C" fn(),
        unsafe extern "C" fn(),
        unsafe extern "C" fn(),
    ) = (prepare, parent, child);
    // SAFETY: the handlers are functions of this object, which is never unloaded (it is linked
    // with `-z nodelete`), so they outlive every fork.
    !is_refused(Request::ForkHandlers)
        && unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) == 0 }
}
