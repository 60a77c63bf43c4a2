//! Making read-only slots writable, and read-only again.

#![expect(unsafe_code, reason = "mprotect is a foreign call")]

use std::ffi::c_int;

use super::image::Range;
use super::mappings::Permissions;
use crate::memory::refusal::{Request, is_refused};

/// Pages that can be written until this is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    range: Range,
    before: Permissions,
}

impl Opened {
    /// Adds the permission to write to whole pages; `None` when the kernel refuses, as it does for
    /// sealed memory.
    ///
    /// `before` is what the kernel says of these pages now. Executable pages are not opened: systems
    /// that forbid memory both writable and executable kill the process for it.
    pub(super) fn new(range: Range, before: Permissions) -> Option<Self> {
        if before.execute || !before.read {
            return None;
        }
        let opened = protect(range, libc::PROT_READ | libc::PROT_WRITE);
        opened.then_some(Self { range, before })
    }

    /// Whether `address` can be written now.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.range.contains(address)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let write = if self.before.write {
            libc::PROT_WRITE
        } else {
            0
        };
        // Refused only when memory for the kernel's own tables is lacking; the pages then stay
        // writable, which harms nobody.
        let _ = protect(self.range, libc::PROT_READ | write);
    }
}

fn protect(range: Range, protection: c_int) -> bool {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the callers pass pages of a loaded object that the dynamic linker's lock keeps
    // mapped; reading stays allowed throughout, and nobody relies on a write to them failing.
    !is_refused(Request::OpenSlots)
        && unsafe { libc::mprotect(start, range.end - range.start, protection) == 0 }
}
