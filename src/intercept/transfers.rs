//! Memory that the kernel reads and writes for the program: `read`, `write` and their kin, and the C
//! library's streams, which hand large pieces to the kernel.
//!
//! The kernel makes no access of which the processor would tell: where a page is closed, the call fails. So
//! the pages that such a call would need are opened before, and how many bytes it did transfer says
//! afterwards whether it touched what it must not. A call with a larger number than the block has is no error
//! by itself: less may arrive.

use super::entry::{Frame, FramePlace};
use super::errno::KeptErrno;
use super::functions::Function;
use super::gate;
use super::real::Real;
use super::targets::Variant;
use crate::detect::finding::Access;
use crate::memory::Address;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker::spans::{BadSpan, Span};
use crate::tracker::{self, Tracker};

/// A call that transfers memory.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    start: usize,
    /// How many elements are asked for, and the bytes of each.
    count: usize,
    unit: usize,
    access: Access,
}

impl Transfer {
    /// Makes the call, with closed pages opened where it needs them, and reports what it touched.
    #[inline]
    fn make(self, frame: Frame, call: impl FnOnce() -> usize) -> usize {
        if !gate::is_on() || is_our_own_work() {
            return call();
        }
        let span = |count: usize| Span {
            start: Address::new(self.start),
            byte_count: count.saturating_mul(self.unit),
            access: self.access,
        };
        let Some((tracker, bad)) = prepared(&span(self.count)) else {
            return call();
        };
        // Nothing with an end to its scope lives here: the thread may be cancelled in the call.
        let result = call();
        if isize::try_from(result).is_ok()
            && let Some(bad) = bad.shortened(span(result.min(self.count)))
        {
            let _errno = KeptErrno::keep();
            let _ours = OurOwnWork::begin();
            tracker.report_transfer(&bad, gate::place_for(frame));
        }
        result
    }
}

/// The span, if it must not be touched as a whole: with what is closed of it opened.
#[inline]
fn prepared(span: &Span) -> Option<(&'static Tracker, BadSpan)> {
    let tracker = tracker::existing()?;
    let bad = tracker.judge_span(span)?;
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    // Asked before: afterwards the margin may be damaged by this very call.
    if !tracker.is_certain(&bad) {
        return None;
    }
    tracker.open_span(&bad);
    Some((tracker, bad))
}

/// `ssize_t read(int, void *, size_t)`
pub(super) extern "C-unwind" fn read(
    file: usize,
    to: usize,
    count: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let call = || Real::of(Function::Read, variant).call3(file, to, count);
    bytes(to, count, Access::Write).make(frame, call)
}

/// `ssize_t write(int, const void *, size_t)`
pub(super) extern "C-unwind" fn write(
    file: usize,
    from: usize,
    count: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    let call = || Real::of(Function::Write, variant).call3(file, from, count);
    bytes(from, count, Access::Read).make(frame, call)
}

/// Entries of functions with four arguments: the row, which argument is the memory, how many elements and
/// of how many bytes, and what is done to it.
macro_rules! with_four_arguments {
    ($($(#[$doc:meta])* $name:ident, $row:ident, |$arguments:ident| $transfer:expr;)*) => {
        $($(#[$doc])*
        pub(super) extern "C-unwind" fn $name(
            first: usize,
            second: usize,
            third: usize,
            fourth: usize,
            frame: FramePlace,
            variant: Variant,
        ) -> usize {
            let $arguments = [first, second, third, fourth];
            let call = || Real::of(Function::$row, variant).call4($arguments);
            $transfer.make(frame.frame(), call)
        })*
    };
}

with_four_arguments! {
    /// `ssize_t pread(int, void *, size_t, off_t)`
    pread, Pread, |it| bytes(it[1], it[2], Access::Write);
    /// `ssize_t pread64(int, void *, size_t, off64_t)`
    pread64, Pread64, |it| bytes(it[1], it[2], Access::Write);
    /// `ssize_t recv(int, void *, size_t, int)`
    recv, Recv, |it| bytes(it[1], it[2], Access::Write);
    /// `ssize_t pwrite(int, const void *, size_t, off_t)`
    pwrite, Pwrite, |it| bytes(it[1], it[2], Access::Read);
    /// `ssize_t pwrite64(int, const void *, size_t, off64_t)`
    pwrite64, Pwrite64, |it| bytes(it[1], it[2], Access::Read);
    /// `ssize_t send(int, const void *, size_t, int)`
    send, Send, |it| bytes(it[1], it[2], Access::Read);
    /// `size_t fread(void *, size_t, size_t, FILE *)`
    fread, Fread, |it| elements(it[0], (it[1], it[2]), Access::Write);
    /// `size_t fwrite(const void *, size_t, size_t, FILE *)`
    fwrite, Fwrite, |it| elements(it[0], (it[1], it[2]), Access::Read);
}

fn bytes(start: usize, count: usize, access: Access) -> Transfer {
    elements(start, (1, count), access)
}

fn elements(start: usize, (unit, count): (usize, usize), access: Access) -> Transfer {
    Transfer {
        start,
        count,
        unit,
        access,
    }
}
