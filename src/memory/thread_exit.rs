//! Being told when a thread ends.
//!
//! A pthread key, because Rust's thread-local destructors register through `__cxa_thread_atexit`,
//! which allocates from glibc on the thread's first use.

#[cfg(not(any(loom, miri)))]
pub use pthread::{call_at_exit, install};
#[cfg(any(loom, miri))]
pub use without::{call_at_exit, install};

#[cfg(not(any(loom, miri)))]
mod pthread {
    #![expect(unsafe_code, reason = "pthread keys are foreign calls")]

    use crate::memory::refusal::{Request, is_refused};
    use std::ffi::c_void;
    use std::sync::OnceLock;

    struct Key {
        number: libc::pthread_key_t,
        callback: fn(),
    }

    static KEY: OnceLock<Option<Key>> = OnceLock::new();

    /// Has `callback` run at the end of every thread that asks with [`call_at_exit`]. The first
    /// call in a process decides; it returns whether the system had a key left.
    pub fn install(callback: fn()) -> bool {
        let make = || {
            let mut number = 0;
            // SAFETY: `number` is a place for one key, and the destructor has the C signature.
            let status = unsafe { libc::pthread_key_create(&raw mut number, Some(at_exit)) };
            (status == 0 && !is_refused(Request::ThreadKey)).then_some(Key { number, callback })
        };
        KEY.get_or_init(make).is_some()
    }

    /// Asks for the callback on this thread. Without [`install`] nothing happens.
    pub fn call_at_exit() {
        if let Some(Some(key)) = KEY.get()
            && !is_refused(Request::ThreadSlot)
        {
            let marker = std::ptr::without_provenance::<c_void>(1);
            // SAFETY: the key was created by `install` and is never deleted; the marker is only
            // compared with null by the C library and never dereferenced. A refusal (no memory)
            // means that this thread's corner is not reused, nothing worse.
            let _ = unsafe { libc::pthread_setspecific(key.number, marker) };
        }
    }

    extern "C" fn at_exit(_marker: *mut c_void) {
        if let Some(Some(key)) = KEY.get() {
            (key.callback)();
        }
    }
}

#[cfg(any(loom, miri))]
mod without {
    /// Model threads do not end on their own: nothing to install.
    pub fn install(_callback: fn()) -> bool {
        false
    }

    /// Nothing to ask for.
    pub fn call_at_exit() {}
}
