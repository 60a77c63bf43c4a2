//! Being told when the process forks, so that no lock is left held in the child.

#![expect(unsafe_code, reason = "pthread_atfork is a foreign call")]

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
    #[cfg(not(miri))]
    // SAFETY: registers dlmalloc's fork handlers; its duties are to the lock it owns alone.
    unsafe {
        dlmalloc::enable_alloc_after_fork();
    }
    let ForkHandlers {
        prepare,
        parent,
        child,
    } = handlers;
    let (prepare, parent, child): (
        unsafe extern "C" fn(),
        unsafe extern "C" fn(),
        unsafe extern "C" fn(),
    ) = (prepare, parent, child);
    // SAFETY: the handlers are functions of this object, which is never unloaded (it is linked
    // with `-z nodelete`), so they outlive every fork.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) == 0 }
}
