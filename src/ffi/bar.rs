//! A bar on standard error for a report that takes longer than a second, where somebody is looking.
//!
//! `python/heapledger/cli/progress.py` draws the same one for saved reports.

#![expect(unsafe_code, reason = "writes to a descriptor that is the program's")]

use std::time::{Duration, Instant};

/// Work that is done by then needs no bar.
const DELAY: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// The bar; when it is dropped, its line is empty again.
#[derive(Debug)]
pub(super) struct Bar {
    is_seen: bool,
    is_drawn: bool,
    next_draw: Instant,
}

impl Bar {
    /// A bar that is shown if it `is_wanted` and standard error is a terminal.
    pub(super) fn on_standard_error(is_wanted: bool) -> Self {
        Self {
            // SAFETY: asks about a descriptor, which may be closed.
            is_seen: is_wanted && unsafe { libc::isatty(libc::STDERR_FILENO) } == 1,
            is_drawn: false,
            next_draw: Instant::now() + DELAY,
        }
    }

    /// Shows that `done` steps of `total` are done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if !self.is_seen || now < self.next_draw || total == 0 {
            return;
        }
        self.next_draw = now + REDRAW;
        self.is_drawn = true;
        write(&drawn(done, total));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_drawn {
            write("\r\x1b[K");
        }
    }
}

fn drawn(done: u64, total: u64) -> String {
    let width = |share: u64| usize::try_from(share).unwrap_or(0);
    let filled = width(WIDTH * done / total);
    let (full, empty) = ("#".repeat(filled), ".".repeat(width(WIDTH) - filled));
    let percent = 100 * done / total;
    format!("\rheapledger: looking names up [{full}{empty}] {percent:3} %")
}

/// What cannot be shown is not worth an error.
fn write(text: &str) {
    // SAFETY: the bytes are there for the length given.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_the_left() {
        let bar = |done, total| drawn(done, total).split_off(1);
        let (empty, half) = (
            ".".repeat(30),
            format!("{}{}", "#".repeat(15), ".".repeat(15)),
        );
        assert_eq!(
            bar(0, 7),
            format!("heapledger: looking names up [{empty}]   0 %")
        );
        assert_eq!(
            bar(50, 100),
            format!("heapledger: looking names up [{half}]  50 %")
        );
        assert!(bar(7, 7).ends_with("] 100 %"));
    }

    #[test]
    fn nothing_is_drawn_in_the_first_second_nor_for_nobody() {
        let mut early = Bar {
            is_seen: true,
            is_drawn: false,
            next_draw: Instant::now() + DELAY,
        };
        early.show(1, 2);
        assert!(!early.is_drawn);
        let mut unseen = Bar::on_standard_error(false);
        unseen.next_draw = Instant::now();
        unseen.show(1, 2);
        assert!(!unseen.is_drawn);
    }
}
