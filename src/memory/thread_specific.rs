//! What the calling thread keeps behind the keys of `pthread_key_create`: thread-local memory as
//! libraries have it that are older than `thread_local`, or that want to hear of the thread's end.

#![expect(unsafe_code, reason = "pthread_getspecific is a foreign call")]

/// glibc's `PTHREAD_KEYS_MAX`; keys are numbers below it.
const KEY_COUNT_MAX: libc::pthread_key_t = 1_024;

/// The values of this thread that are not null.
pub fn values() -> impl Iterator<Item = usize> {
    let value = |key| {
        // SAFETY: a lookup by number. glibc answers null for a key that nobody has created, or whose
        // value this thread has not set.
        unsafe { libc::pthread_getspecific(key) }.addr()
    };
    (0..KEY_COUNT_MAX)
        .map(value)
        .filter(|&address| address != 0)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::ffi::c_void;

    #[test]
    fn a_value_is_seen_by_the_thread_that_set_it() {
        let marked = 0_u8;
        let place = (&raw const marked).addr();
        assert!(values().all(|value| value != place));
        let mut key = 0;
        // SAFETY: `key` is a place for one key, which has no destructor.
        let created = unsafe { libc::pthread_key_create(&raw mut key, None) };
        assert_eq!(created, 0);
        // SAFETY: the key was created above.
        let set = unsafe { libc::pthread_setspecific(key, (&raw const marked).cast::<c_void>()) };
        assert_eq!(set, 0);
        assert!(values().any(|value| value == place));
        let elsewhere = std::thread::spawn(move || values().any(|value| value == place));
        assert!(!elsewhere.join().expect("no panic"));
        // SAFETY: as above, and nobody uses it any more.
        unsafe { libc::pthread_key_delete(key) };
    }
}
