//! The panic barrier.

use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

static SILENCE: Once = Once::new();

/// Runs `work` as our own, and returns `fallback` where it panics.
///
/// A panic is a mistake of ours; the program under test neither unwinds nor sees a message.
pub(super) fn barrier<T>(fallback: T, work: impl FnOnce() -> T) -> T {
    let _ours = OurOwnWork::begin();
    // Unwind-safe: every shared structure of ours is changed by single atomic steps, or behind a
    // lock that does not poison and whose holders change one thing at a time.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(fallback)
}

/// Keeps panics inside our own work from printing; others print as before.
pub(super) fn silence_own_panics() {
    SILENCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_our_own_work() {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_fallback_and_leaves_no_flag_behind() {
        silence_own_panics();
        let answer = barrier(7, || {
            if is_our_own_work() {
                std::panic::panic_any(())
            } else {
                8
            }
        });
        assert_eq!(answer, 7);
        assert!(!is_our_own_work());
    }
}
