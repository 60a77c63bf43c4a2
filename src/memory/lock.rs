//! A mutex for error paths: never allocates, never poisons.
//!
//! `std::sync::Mutex` is a futex word on Linux and allocates nothing even when contended;
//! `parking_lot` allocates when a thread has to wait (measured: two allocations), which inside an
//! intercepted `malloc` is a deadlock other tools have met.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex whose holder's panic does not lock everybody else out.
#[derive(Debug, Default)]
pub struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the lock. A holder that panicked left a value that is still well-formed: every
    /// user of this type makes its change in one step.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has the lock.
    #[cfg(test)]
    pub fn is_held(&self) -> bool {
        matches!(self.0.try_lock(), Err(std::sync::TryLockError::WouldBlock))
    }
}
