//! The function that a foreign call is about to call: what has to be known of it, and done, before.
//!
//! Nearly every function was called before, by a program that has loaded nothing since: then a few
//! loads answer.

use super::errno::KeptErrno;
use super::owner::Owner;
use super::page_kinds::{self, PageKind};
use super::{entry, install, python};
use crate::capture::foreign::ForeignFunctionId;
use crate::memory::Address;
use crate::memory::reentry::OurOwnWork;
use crate::tracker;

/// A function of somebody else's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    /// Its name.
    pub(super) id: ForeignFunctionId,
    /// Whether it is one of those we intercept, so that the machinery of foreign calls is its caller.
    pub(super) is_direct: bool,
    /// Whether the C library has it.
    pub(super) is_in_c_library: bool,
}

impl Called {
    /// What is known of the function at an address, after libraries loaded since the last call have
    /// been looked at; `None` for one of this library's own, except an entry, which stands for another
    /// function.
    #[inline]
    pub(super) fn look(function: usize) -> Option<Self> {
        let kind = page_kinds::kind_of(function);
        let is_ours = kind == PageKind::Image(Owner::Ourselves);
        if is_ours && !entry::is_listed(function) {
            return None;
        }
        let id = match known(function) {
            Some(id) => id,
            None => learn(function)?,
        };
        Some(Self {
            id,
            is_direct: is_ours,
            is_in_c_library: kind == PageKind::Image(Owner::CRuntime),
        })
    }
}

/// The name of a function that was called before, when nothing has changed since.
#[inline]
fn known(function: usize) -> Option<ForeignFunctionId> {
    if !install::knows_every_library() || !python::was_looked_for() {
        return None;
    }
    let capture = tracker::existing()?.capture();
    capture.known_foreign_function(Address::new(function))
}

/// Looks at libraries loaded since the last call, and gives the function its name.
#[inline(never)]
fn learn(function: usize) -> Option<ForeignFunctionId> {
    let _errno = KeptErrno::keep();
    install::look_for_new_libraries();
    python::connect_once();
    let _ours = OurOwnWork::begin();
    let capture = tracker::tracker()?.capture();
    Some(capture.foreign_function_at(Address::new(function)))
}
