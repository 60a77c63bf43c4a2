//! The reentry flag: while our own code runs on a thread, what it does passes unseen.

use super::thread_local::{Word, get, set};

/// Proof that our own code is running on this thread; leaving scope lowers the flag.
#[derive(Debug)]
pub struct OurOwnWork {
    // Raising the flag on one thread and lowering it on another would blind the first for ever.
    _stays_on_this_thread: std::marker::PhantomData<*const ()>,
}

impl OurOwnWork {
    /// Raises the flag; `None` when it is up already, so this event is our own doing.
    #[inline]
    #[must_use]
    pub fn begin() -> Option<Self> {
        if is_our_own_work() {
            return None;
        }
        set(Word::Reentry, 1);
        Some(Self {
            _stays_on_this_thread: std::marker::PhantomData,
        })
    }
}

impl Drop for OurOwnWork {
    #[inline]
    fn drop(&mut self) {
        set(Word::Reentry, 0);
    }
}

/// Runs `work` with the flag down, as if it were the program's, and puts the flag back.
pub fn as_the_program<T>(work: impl FnOnce() -> T) -> T {
    struct PutBack(usize);
    impl Drop for PutBack {
        fn drop(&mut self) {
            set(Word::Reentry, self.0);
        }
    }
    let _put_back = PutBack(get(Word::Reentry));
    set(Word::Reentry, 0);
    work()
}

/// Whether the flag is up on this thread.
#[inline]
#[must_use]
pub fn is_our_own_work() -> bool {
    get(Word::Reentry) != 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_up_exactly_while_the_guard_lives() {
        assert!(!is_our_own_work());
        let guard = OurOwnWork::begin().expect("the flag was down");
        assert!(is_our_own_work());
        assert!(OurOwnWork::begin().is_none(), "nested work is our own");
        as_the_program(|| assert!(!is_our_own_work()));
        assert!(is_our_own_work());
        drop(guard);
        assert!(!is_our_own_work());
    }
}
