//! The atomics everything above uses, so that loom can stand in for them in model tests.
//!
//! A file that is model-checked imports from here and nowhere else. Under `--cfg loom` the types
//! below record every interleaving; otherwise they are the standard ones.

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(loom))]
pub use std::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Waits a moment inside a bounded retry loop.
pub fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}
